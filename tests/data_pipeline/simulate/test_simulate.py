"""The simulator: same bytes from any number of workers, a truth the files keep, physiology as published."""

import csv
import hashlib
import json
from itertools import pairwise

import edfio
import mne
import numpy as np
import pytest
from scipy import signal

from data_pipeline.night import APNEAS, BREATHING_EVENTS, EPOCH_S, STAGES, EventKind, RecordingError
from data_pipeline.simulate import simulate_cohort
from data_pipeline.simulate.artefacts import Artefact, add_electric, add_to_spo2
from data_pipeline.simulate.body import make_chin, make_ecg, make_eog, make_heart_beats, make_legs
from data_pipeline.simulate.breathing import make_breathing
from data_pipeline.simulate.cohort import person_of
from data_pipeline.simulate.eeg import make_eeg
from data_pipeline.simulate.events import draw_events
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W, draw_hypnogram
from data_pipeline.simulate.person import draw_person
from data_pipeline.simulate.sites import SITES
from data_pipeline.simulate.write import RECORD_S

HOURS = (1.0, 1.2)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("cohort")
    return out, simulate_cohort(out, 3, seed=4, hours=HOURS)


@pytest.fixture(scope="module")
def people():
    """200 persons with one whole night each: (person, stages, events), no signals."""
    nights = []
    for index in range(200):
        rng = np.random.default_rng([11, index])
        person = draw_person(rng, f"person-{index}")
        stages = draw_hypnogram(rng, person, 900)
        nights.append((person, stages, draw_events(rng, person, stages)))
    return nights


@pytest.fixture(scope="module")
def signals():
    """One and a half hours with every stage, its events, EEG at 128 Hz, breathing at 32 Hz."""
    rng = np.random.default_rng(8)
    person = draw_person(rng, "one")
    stages = np.repeat([W, N1, N2, N3, N2, REM, N2, N3, REM], 20).astype(np.int8)
    person = type(person)(**(vars(person) | {"ahi_per_h": 30.0, "apnea_share": 0.5, "spo2_percent": 96.0}))
    events = draw_events(rng, person, stages)
    return (
        stages,
        events,
        make_eeg(rng, person, stages, events, 128),
        make_breathing(rng, person, stages, events, 32),
    )


def truth_of(out, path):
    return json.loads((out / "truth" / f"{path.stem}.json").read_text())


def count(events, kinds):
    return sum(event.kind in kinds and event.scored for event in events)


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_two_workers_write_the_same_bytes_as_one(cohort, tmp_path):
    out, _ = cohort
    simulate_cohort(tmp_path, 3, seed=4, hours=HOURS, workers=2)
    assert digests(tmp_path) == digests(out)


def test_seed_changes_the_night(cohort, tmp_path):
    out, paths = cohort
    other = simulate_cohort(tmp_path, 1, seed=5, hours=HOURS)
    assert digests(tmp_path)[other[0].name] != digests(out)[paths[0].name]


def test_a_cohort_continues_and_refuses_strangers(tmp_path):
    first = simulate_cohort(tmp_path, 1, site="b", seed=1, hours=(0.5, 0.5))[0]
    written = first.stat().st_mtime_ns
    calls = []
    paths = simulate_cohort(tmp_path, 2, site="b", seed=1, hours=(0.5, 0.5), progress=lambda: calls.append(1))
    assert len(paths) == len(calls) == 2
    assert first.stat().st_mtime_ns == written
    with pytest.raises(RecordingError, match="choose another folder"):
        simulate_cohort(tmp_path, 2, site="b", seed=2, hours=(0.5, 0.5))
    with pytest.raises(RecordingError, match=r"not of this cohort.*sim-b-0001"):
        simulate_cohort(tmp_path, 1, site="b", seed=1, hours=(0.5, 0.5))
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    with pytest.raises(RecordingError, match="changed since it was made"):
        simulate_cohort(tmp_path, 2, site="b", seed=1, hours=(0.5, 0.5))


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"n_nights": 0}, "nights is 0"),
        ({"site": "c"}, "site"),
        ({"hours": (9, 6)}, "hours"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, field):
    with pytest.raises(ValueError, match=field):
        simulate_cohort(tmp_path, **({"n_nights": 1} | arguments))


def test_one_person_in_four_has_two_nights_of_one_site():
    for site in (None, "a"):
        requests = [{"seed": 0, "site": site or "ab"[i % 2], "index": i} for i in range(40)]
        people = [person_of(request) for request in requests]
        nights = {}
        for request, person in zip(requests, people, strict=True):
            nights.setdefault(person.subject_id, []).append((request["site"], person))
        assert len(nights) == 32
        assert sum(len(group) == 2 for group in nights.values()) == 8
        assert all(len(set(group)) == 1 for group in nights.values())  # same site, same traits


@pytest.mark.parametrize("index", [0, 1])
def test_annotations_are_the_truth_in_the_words_of_the_site(cohort, index):
    out, paths = cohort
    truth, site = truth_of(out, paths[index]), SITES["ab"[index]]
    if site.embedded:
        rows = [(a.onset, a.duration, a.text) for a in edfio.read_edf(paths[index]).annotations]
    else:
        with paths[index].with_suffix(".csv").open() as file:
            rows = [(float(r["onset_s"]), float(r["duration_s"]), r["event"]) for r in csv.DictReader(file)]
    words = dict(zip(STAGES, site.stage_words, strict=True))
    expected = [(30.0 * i, 30.0, words[stage]) for i, stage in enumerate(truth["stages"])]
    expected += [
        (e["onset_s"], e["duration_s"], site.event_words[e["kind"]]) for e in truth["events"] if e["scored"]
    ]
    assert sorted(rows) == sorted(expected)
    assert {words[stage] for stage in truth["stages"]} <= {row[2] for row in rows}


@pytest.mark.parametrize("index", [0, 1])
def test_files_open_in_edfio_and_mne_with_the_stated_labels_rates_and_units(cohort, index):
    out, paths = cohort
    site = SITES["ab"[index]]
    edf = edfio.read_edf(paths[index])
    stated = [(lead.label, lead.rate_hz, lead.unit) for lead in site.leads]
    assert [(s.label, s.sampling_frequency, s.physical_dimension) for s in edf.signals] == stated
    n_epochs = len(truth_of(out, paths[index])["stages"])
    assert edf.duration == 30 * n_epochs
    raw = mne.io.read_raw_edf(paths[index], verbose="error")
    assert raw.ch_names == [lead.label for lead in site.leads]
    assert raw.n_times == 30 * n_epochs * max(lead.rate_hz for lead in site.leads)
    if index == 0:
        assert edf.local_patient_identification == "X X X X"
        ours = edf.get_signal("EEG C3-M2").data[:2000]
        np.testing.assert_allclose(raw.get_data("EEG C3-M2")[0, :2000] * 1e6, ours, atol=1e-3)


def test_both_sites_show_microvolts_after_rereferencing(cohort):
    _, paths = cohort
    a, b = (edfio.read_edf(path) for path in paths[:2])
    derived = b.get_signal("C3").data - b.get_signal("M2").data
    chin = 1e3 * (b.get_signal("Chin1").data - b.get_signal("Chin2").data)
    assert 5 < np.median(np.abs(derived)) * 1.48 < 40
    assert 5 < np.median(np.abs(a.get_signal("EEG C3-M2").data)) * 1.48 < 40
    assert np.median(np.abs(derived)) < 0.8 * np.median(np.abs(b.get_signal("C3").data))
    assert 0.5 < np.median(np.abs(chin)) * 1.48 < 25


def test_a_data_record_divides_nights_of_any_length_exactly():
    """edfio refuses signals whose durations, samples / (samples of a record / seconds), differ by rounding."""
    samples = np.arange(1, 1200)  # of one signal in one record; those of annotations are not ours to choose
    for n_epochs in range(6 * 120, 9 * 120 + 1):
        records = n_epochs * EPOCH_S / RECORD_S
        assert records == int(records)
        np.testing.assert_array_equal(samples * records / (samples / RECORD_S), n_epochs * EPOCH_S)


def test_demographics_name_every_night(cohort):
    out, paths = cohort
    with (out / "demographics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["night_id"] for row in rows] == [path.stem for path in paths]
    assert rows[2]["subject_id"] == rows[0]["subject_id"]
    for row, path in zip(rows, paths, strict=True):
        person = truth_of(out, path)["person"]
        assert [float(row["age_years"]), row["sex"], float(row["bmi"])] == [
            person["age_years"],
            person["sex"],
            person["bmi"],
        ]


def test_age_sex_and_bmi_shape_the_night(people):
    """Regression slopes over 200 persons against physiology's: sign and rough size."""
    design = np.array([[1, (p.age_years - 40) / 10, p.sex == "M", p.bmi - 25] for p, _, _ in people], float)

    def slopes(values):
        return np.linalg.lstsq(design, np.array(values), rcond=None)[0][1:]

    sleep_h = [np.count_nonzero(s != W) / 120 for _, s, _ in people]
    n3 = slopes([100 * np.mean(s[s != W] == N3) for _, s, _ in people])
    assert -3.5 < n3[0] < -0.7  # per decade
    assert -9 < n3[1] < -2  # men
    waso = slopes([np.count_nonzero(s[np.argmax(s != W) :] == W) / 2 for _, s, _ in people])
    assert 6 < waso[0] < 18  # Boulos 9.7 min per decade, and AHI's share
    arousals = slopes(
        [count(e, {EventKind.AROUSAL}) / h for (_, _, e), h in zip(people, sleep_h, strict=True)]
    )
    assert 1 < arousals[0] < 5  # Boulos 2.1
    nrem_min = [np.count_nonzero((s == N2) | (s == N3)) / 2 for _, s, _ in people]
    spindles = slopes(
        [count(e, {EventKind.SPINDLE}) / m for (_, _, e), m in zip(people, nrem_min, strict=True)]
    )
    assert -0.6 < spindles[0] < -0.1
    log_ahi = slopes(
        [np.log(0.5 + count(e, BREATHING_EVENTS) / h) for (_, _, e), h in zip(people, sleep_h, strict=True)]
    )
    assert 0.1 < log_ahi[0] < 0.6
    assert 0.3 < log_ahi[1] < 1.3
    assert 0.03 < log_ahi[2] < 0.14
    assert slopes([p.slow_wave_uv for p, _, _ in people])[0] < -5


def test_ahi_medians_are_near_hypnolaus():
    """Heinzer 2015: median 6.9 /h in women, 14.9 in men, 40–85 years; ours within 40 % over its age range."""
    ahi = {"F": [], "M": []}
    for index in range(1200):
        person = draw_person(np.random.default_rng([12, index]), "x")
        if person.age_years >= 40:
            ahi[person.sex].append(person.ahi_per_h)
    assert np.median(ahi["F"]) == pytest.approx(6.9, rel=0.4)
    assert np.median(ahi["M"]) == pytest.approx(14.9, rel=0.4)


def test_scored_events_reach_the_persons_ahi(people):
    made = [count(e, BREATHING_EVENTS) / (np.count_nonzero(s != W) / 120) for _, s, e in people]
    wanted = [person.ahi_per_h for person, _, _ in people]
    assert np.mean(made) == pytest.approx(np.mean(wanted), rel=0.15)
    assert np.corrcoef(made, wanted)[0, 1] > 0.9


def test_cycles_and_stage_order(people):
    lengths, early, shares = [], [], []
    for _, stages, _ in people:
        rem = np.flatnonzero(stages == REM)
        ends = [a for a, b in pairwise(rem) if b - a > 30] + list(rem[-1:])
        lengths += list(np.diff(ends) / 2)
        n3, onset = np.flatnonzero(stages == N3), np.argmax(stages != W)
        if len(n3) > 10:
            early.append(np.mean(n3 < onset + (len(stages) - onset) / 3))
        shares.append([np.mean(stages[stages != W] == stage) for stage in (N1, N2, N3, REM)])
    assert np.median(lengths) == pytest.approx(96, abs=12)  # Cajochen 2024
    assert np.median(early) > 0.5
    assert np.allclose(np.mean(shares, axis=0), [0.11, 0.53, 0.16, 0.20], atol=0.05)


def test_breathing_is_worse_in_rem(people):
    rem_events = rem_h = nrem_events = nrem_h = 0
    longer = []
    for _, stages, events in people:
        breathing = [e for e in events if e.kind in BREATHING_EVENTS and e.scored]
        in_rem = np.array([stages[int(e.onset_s) // 30] == REM for e in breathing], dtype=bool)
        rem_events, nrem_events = rem_events + in_rem.sum(), nrem_events + (~in_rem).sum()
        rem_h, nrem_h = (
            rem_h + np.mean(stages == REM) * 7.5,
            nrem_h + np.mean((stages > W) & (stages < REM)) * 7.5,
        )
        durations = np.array([e.duration_s for e in breathing])
        if in_rem.sum() > 5 and (~in_rem).sum() > 5:
            longer.append(durations[in_rem].mean() / durations[~in_rem].mean())
    assert rem_events / rem_h > 1.2 * nrem_events / nrem_h
    assert 1.2 < np.median(longer) < 1.6  # Findley 1985


def test_scoring_rules_hold(people):
    for _, stages, events in people[:60]:
        arousals = [e for e in events if e.kind is EventKind.AROUSAL]
        assert all(3 <= e.duration_s <= 15 for e in arousals)
        gaps = [b.onset_s - a.end_s for a, b in pairwise(arousals)]
        assert min(gaps, default=10) >= 9.98
        onsets = np.array([e.onset_s for e in arousals])
        for event in events:
            if event.kind in BREATHING_EVENTS:
                assert event.duration_s >= 10
                assert stages[int(event.onset_s) // 30] != W
            if event.kind is EventKind.HYPOPNEA:
                aroused = np.any((onsets > event.end_s - 6) & (onsets < event.end_s + 14))
                assert event.scored == (aroused or event.detail["desaturation_percent"] >= 3)  # rule 1A
            if event.kind is EventKind.DESATURATION:
                assert 10 <= event.onset_s - event.detail["cause_onset_s"] <= 45


def test_desaturations_show_in_the_saturation(signals):
    _, events, _, breathing = signals
    deep = [e for e in events if e.kind is EventKind.DESATURATION and e.scored]
    assert len(deep) > 8
    for event in deep:
        nadir = int(event.detail["nadir_s"])
        before = breathing.spo2_percent[int(event.onset_s) - 2 : int(event.onset_s) + 1].max()
        after = breathing.spo2_percent[nadir - 3 : nadir + 4].min()
        assert before - after > 0.5 * event.detail["depth_percent"]


def test_an_apnea_stops_the_flow_and_its_type_shows_in_the_belts(signals):
    _, events, _, breathing = signals
    apneas = [e for e in events if e.kind in APNEAS]
    assert len(apneas) >= 5

    def swing(samples, start_s, stop_s):
        return np.std(samples[round(start_s * 32) : round(stop_s * 32)])

    typical = np.median([swing(breathing.thermistor, s, s + 10) for s in range(0, 5400, 10)])
    ratios = [swing(breathing.thermistor, e.onset_s + 3, e.end_s - 1.5) / typical for e in apneas]
    assert max(ratios) <= 0.1
    obstructive = [e for e in apneas if e.kind is EventKind.OBSTRUCTIVE_APNEA]
    belts = [
        np.corrcoef(
            breathing.thorax[round((e.onset_s + 2) * 32) : round((e.end_s - 2) * 32)],
            breathing.abdomen[round((e.onset_s + 2) * 32) : round((e.end_s - 2) * 32)],
        )[0, 1]
        for e in obstructive
    ]
    assert np.median(belts) < 0  # paradox
    assert np.corrcoef(breathing.thorax, breathing.abdomen)[0, 1] > 0.6
    for event in apneas:
        effort = swing(breathing.abdomen, event.onset_s + 2, event.end_s - 2)
        if event.kind is EventKind.CENTRAL_APNEA:
            assert effort < 0.15 * np.std(breathing.abdomen)
        elif event.kind is EventKind.OBSTRUCTIVE_APNEA:
            assert effort > 0.2 * np.std(breathing.abdomen)


def test_delta_power_orders_the_stages(signals):
    stages, _, eeg, _ = signals
    frequencies, power = signal.welch(eeg[2].reshape(len(stages), -1), 128, nperseg=512)
    delta = power[:, (frequencies >= 0.5) & (frequencies < 4)].sum(1)
    level = [np.median(delta[stages == stage]) for stage in (REM, N1, N2, N3)]
    assert level[3] > 2 * level[2] > 2 * max(level[:2])
    alpha = power[:, (frequencies >= 8) & (frequencies < 12.5)].sum(1) / power[:, frequencies > 4].sum(1)
    assert np.median(alpha[stages == W]) > 1.3 * np.median(alpha[stages == N1])


def test_spindles_show_in_the_sigma_band(signals):
    _, events, eeg, _ = signals
    sos = signal.butter(4, (11, 16), "bandpass", fs=128, output="sos")
    power = signal.sosfiltfilt(sos, eeg[2].astype(float)) ** 2
    inside = np.zeros(len(power), dtype=bool)
    sleep = np.zeros(len(power), dtype=bool)
    sleep[40 * 30 * 128 : 100 * 30 * 128] = True  # N2, N3, N2
    for event in events:
        if event.kind is EventKind.SPINDLE:
            inside[round(event.onset_s * 128) : round(event.end_s * 128)] = True
    assert inside[sleep].mean() > 0.01
    assert 3 < power[inside & sleep].mean() / power[~inside & sleep].mean() < 60


def test_electrodes_of_one_head_are_correlated(signals):
    correlation = np.corrcoef(signals[2])
    assert 0.45 < correlation[0, 1] < 0.97  # F3, F4
    assert correlation[0, 2] > correlation[0, 4] > 0.1  # F3–C3 above F3–O1


def test_eyes_muscles_and_heart_follow_stage_and_event(signals):
    stages, events, eeg, breathing = signals
    rng = np.random.default_rng(9)
    person = draw_person(rng, "one")
    eog = make_eog(rng, stages, eeg, 128).reshape(2, len(stages), -1)
    lowest = np.array([np.corrcoef(eog[0, i], eog[1, i])[0, 1] for i in range(len(stages))])
    assert np.median(lowest[stages == REM]) < 0 < np.median(lowest[stages == N3])  # saccades; slow waves

    chin = make_chin(rng, stages, events, 128).reshape(len(stages), -1)
    tone = [np.median(np.abs(chin[stages == stage])) for stage in (REM, N3, N2, N1, W)]
    assert tone == sorted(tone)
    assert tone[1] > 2 * tone[0]  # atonia

    legs = make_legs(rng, stages, events, 128)
    for event in events:
        if event.kind is EventKind.LIMB_MOVEMENT and event.detail["side"] == "both":
            burst = legs[:, round(event.onset_s * 128) : round(event.end_s * 128)]
            assert (burst.std(axis=1) > 2 * np.median(np.abs(legs), axis=1)).all()

    beats = make_heart_beats(rng, person, stages, events, breathing.breath_times_s)
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
    ecg = make_ecg(rng, person, beats, 30 * len(stages), 128)
    peaks, _ = signal.find_peaks(ecg, height=0.5 * person.ecg_r_uv, distance=32)
    assert abs(len(peaks) - len(beats)) <= 2


def test_artefacts_do_what_the_truth_says():
    samples = np.ones(20 * 200, dtype=np.float32)
    add_electric(np.random.default_rng(0), samples, "F3", [Artefact("lead_off", "F3", 5, 5, 0.0)], 60, 200)
    assert not samples[1000:2000].any()
    assert samples[:1000].all() and samples[2000:].all()
    add_electric(np.random.default_rng(0), samples, "F3", [Artefact("mains", "F3", 0, 20, 10.0)], 60, 200)
    frequencies, power = signal.periodogram(samples, 200)
    assert frequencies[np.argmax(power)] == 60
    spo2 = np.full(60, 95.0)
    add_to_spo2(spo2, [Artefact("dropout", "SPO2", 10, 5, 0.0)])
    assert list(np.flatnonzero(spo2 == 0)) == [10, 11, 12, 13, 14]
