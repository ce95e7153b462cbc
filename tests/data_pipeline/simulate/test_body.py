"""Eyes, muscles and heart."""

import numpy as np
from scipy import signal

from data_pipeline.night import EventKind
from data_pipeline.simulate.body import make_chin
from data_pipeline.simulate.eyes import make_eog
from data_pipeline.simulate.heart import make_ecg, make_heart_beats
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W
from data_pipeline.simulate.legs import make_legs
from data_pipeline.simulate.person import draw_person


def test_eyes_muscles_and_heart_follow_stage_and_event(signals):
    stages, events, eeg, breathing = signals
    rng = np.random.default_rng(9)
    person = draw_person(rng, "one", variety=0)
    eog = make_eog(rng, stages, eeg, 128, None, variety=0).reshape(2, len(stages), -1)
    lowest = np.array([np.corrcoef(eog[0, i], eog[1, i])[0, 1] for i in range(len(stages))])
    assert np.median(lowest[stages == REM]) < 0 < np.median(lowest[stages == N3])  # saccades; slow waves

    chin = make_chin(rng, stages, events, 128, variety=0).reshape(len(stages), -1)
    tone = [np.median(np.abs(chin[stages == stage])) for stage in (REM, N3, N2, N1, W)]
    assert tone == sorted(tone)
    assert tone[1] > 2 * tone[0]  # atonia

    legs = make_legs(rng, person, stages, events, 128, variety=0)
    for event in events:
        if event.kind is EventKind.LIMB_MOVEMENT and event.detail["side"] == "both":
            burst = legs[:, round(event.onset_s * 128) : round(event.end_s * 128)]
            assert (burst.std(axis=1) > 2 * np.median(np.abs(legs), axis=1)).all()

    beats = make_heart_beats(rng, person, stages, events, breathing.breath_times_s, variety=0)
    rate = 60 / np.diff(beats)
    assert rate.min() >= 38
    assert rate.max() <= 155
    rises = [
        rate[np.searchsorted(beats, e.onset_s + 3) : np.searchsorted(beats, e.onset_s + 7)].mean()
        - rate[np.searchsorted(beats, e.onset_s - 8) : np.searchsorted(beats, e.onset_s)].mean()
        for e in events
        if e.kind is EventKind.AROUSAL
    ]
    assert 4 < np.mean(rises) < 25
    ecg = make_ecg(rng, person, beats, breathing.breath_times_s, 30 * len(stages), 128, variety=0)
    peaks, _ = signal.find_peaks(ecg, height=0.5 * person.ecg_r_uv, distance=32)
    assert abs(len(peaks) - len(beats)) <= 2


def test_varied_chins_are_loud_or_faint_with_or_without_atonia():
    stages = np.repeat([W, N2, REM], 10).astype(np.int8)
    wake, ratio = [], []
    for seed in range(80):
        chin = make_chin(np.random.default_rng([51, seed]), stages, [], 128, variety=1.0).reshape(3, -1)
        levels = np.median(np.abs(chin), axis=1) / 0.6745
        wake.append(levels[0])
        ratio.append(levels[0] / levels[2])
    assert min(wake) < 4 and max(wake) > 25
    assert np.mean(np.array(ratio) < 1.6) > 0.05  # no contrast to see
    assert np.median(ratio) > 2.5
