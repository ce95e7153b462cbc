"""Hearts that stumble, flutter and look different."""

from dataclasses import replace

import numpy as np
import pytest

from data_pipeline.simulate.constitution import PLAIN
from data_pipeline.simulate.heart import make_ecg, make_heart_beats
from data_pipeline.simulate.hypnogram import N2
from data_pipeline.simulate.person import draw_person

STAGES = np.full(60, N2, np.int8)
BREATH_TIMES_S = np.arange(0, 1801, 4.0)


def person_with(**traits):
    person = draw_person(np.random.default_rng(0), "x", variety=0)
    return replace(person, constitution=replace(PLAIN, **traits))


def beats_of(person):
    return make_heart_beats(np.random.default_rng(1), person, STAGES, [], BREATH_TIMES_S, variety=1)


def ecg_of(person, beats_s, rate_hz=128):
    return make_ecg(np.random.default_rng(2), person, beats_s, BREATH_TIMES_S, 1800, rate_hz, variety=1)


def test_a_fibrillating_heart_has_no_rhythm_and_no_p_wave():
    steady, fibrillating = (np.diff(beats_of(person_with(fibrillates=has))) for has in (False, True))
    jitter = [np.median(np.abs(np.diff(rr))) / np.median(rr) for rr in (steady, fibrillating)]
    assert jitter[1] > 0.15 > 3 * jitter[0]
    assert np.mean(fibrillating) == pytest.approx(np.mean(steady), rel=0.1)
    heights = []
    for person in (person_with(fibrillates=False), person_with(fibrillates=True)):
        beats_s = np.arange(5.0, 1790.0, 1.0)
        ecg = ecg_of(person, beats_s) / person.ecg_r_uv
        beat = np.mean([ecg[round(128 * at) - 40 : round(128 * at) + 10] for at in beats_s], axis=0)
        heights.append(beat[18] - beat[6])  # 0.17 s before R, over the line before it
    assert heights[0] > 0.08 and abs(heights[1]) < 0.03


def test_ventricular_beats_come_early_and_are_wide():
    person = person_with(ectopic_per_h=200.0, is_ventricular=True)
    beats_s = beats_of(person)
    intervals = np.diff(beats_s)
    early = 1 + np.flatnonzero((intervals[1:-1] < 0.75 * intervals[:-2]) & (intervals[1:-1] < 0.75 * intervals[2:])) + 1
    assert 50 < len(early) < 150  # 100 in half an hour
    ecg = ecg_of(person, beats_s) / person.ecg_r_uv

    def width(place):
        around = ecg[round(128 * beats_s[place]) - 12 : round(128 * beats_s[place]) + 13]
        return np.mean(around - around.min() > 0.5 * np.ptp(around))

    usual = np.setdiff1d(np.arange(2, len(beats_s) - 2), early)
    assert np.median([width(place) for place in early]) > 2.5 * np.median([width(place) for place in usual])


def test_breathing_moves_the_base_line_and_only_with_variety():
    person = person_with()
    beats_s = np.arange(1.0, 1799.0, 1.0)
    swings = []
    for variety in (0, 1):
        rng = np.random.default_rng(3)
        ecg = make_ecg(rng, person, beats_s, BREATH_TIMES_S, 1800, 128, variety=variety)
        power = np.abs(np.fft.rfft(ecg)) ** 2
        swings.append(power[445:456].max() / power[480:700].mean())  # 0.25 Hz against its surroundings
    assert swings[1] > 30 * swings[0]
