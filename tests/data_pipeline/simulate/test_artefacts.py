"""Artefacts do what the truth says."""

import numpy as np
from scipy import signal

from data_pipeline.simulate.artefacts import Artefact, add_electric, add_to_breathing, add_to_spo2, draw_artefacts
from data_pipeline.simulate.hypnogram import N2


def test_artefacts_do_what_the_truth_says():
    samples = np.ones(20 * 200, dtype=np.float32)
    add_electric(np.random.default_rng(0), samples, "F3", [Artefact("lead_off", "F3", 5, 5, 0.0)], 60, 200)
    assert not samples[1000:2000].any()
    assert samples[:1000].all() and samples[2000:].all()
    add_electric(np.random.default_rng(0), samples, "F3", [Artefact("mains", "F3", 0, 20, 10.0)], 60, 200)
    frequencies, power = signal.periodogram(samples, 200)
    assert frequencies[np.argmax(power)] == 60
    spo2 = np.full(60, 95.0)
    add_to_spo2(np.random.default_rng(0), spo2, [Artefact("dropout", "SPO2", 10, 5, 0.0)])
    assert list(np.flatnonzero(spo2 == 0)) == [10, 11, 12, 13, 14]


def test_nothing_reaches_a_recorder_past_an_electrode_that_came_off():
    samples = np.ones(20 * 200, dtype=np.float32)
    faults = [Artefact("dead", "F3", 5, 5, 0.0), Artefact("movement", "all", 6, 3, 100.0)]
    add_electric(np.random.default_rng(0), samples, "F3", faults, 60, 200)
    assert not samples[1000:2000].any() and samples[:1000].all()
    add_electric(np.random.default_rng(0), samples, "F3", [Artefact("open", "F3", 10, 10, 40.0)], 60, 200)
    assert 35 < samples[2000:].std() < 45
    belt = np.ones(20 * 16, dtype=np.float32)
    add_to_breathing(np.random.default_rng(0), belt, "THORAX", [Artefact("dead", "THORAX", 5, 5, 0.0)], 16)
    assert not belt[80:160].any()


def test_a_recorder_that_cannot_sample_the_mains_filters_them():
    samples = np.zeros(2000, dtype=np.float32)
    add_electric(np.random.default_rng(0), samples, "F3", [Artefact("mains", "F3", 0, 20, 10.0)], 60, 100)
    assert not samples.any()


def test_an_oximeter_holds_and_wavers():
    spo2 = np.linspace(90, 99, 60)
    faults = [Artefact("stuck", "SPO2", 10, 5, 0.0), Artefact("noisy", "SPO2", 30, 20, 2.0)]
    add_to_spo2(np.random.default_rng(0), spo2, faults)
    assert len(set(spo2[10:15])) == 1
    assert np.diff(spo2[30:50]).std() > 5 * np.diff(spo2[:10]).std()
    assert spo2.max() <= 100


def test_varied_nights_differ_in_their_faults():
    stages = np.full(960, N2, np.int8)
    nights = [draw_artefacts(np.random.default_rng(seed), stages, variety=1) for seed in range(80)]
    kinds = [{artefact.kind for artefact in night} for night in nights]
    assert 0.2 < np.mean([bool({"dead", "open"} & found) for found in kinds]) < 0.8
    movements = [sum(artefact.kind == "movement" for artefact in night) for night in nights]
    assert max(movements) > 4 * max(1, np.median(movements) / 2)
    for night in nights:
        assert all(a.onset_s >= 0 and a.onset_s + a.duration_s <= 960 * 30 + 0.01 for a in night)
    plain = draw_artefacts(np.random.default_rng(0), stages, variety=0)
    assert not {"dead", "open", "stuck", "noisy"} & {artefact.kind for artefact in plain}
