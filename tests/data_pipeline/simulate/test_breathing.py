"""Breathing events show in flow, belts and saturation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import signal

from data_pipeline.night import APNEAS, BREATHING_EVENTS, EPOCH_S, EventKind
from data_pipeline.simulate.breathing import make_breathing
from data_pipeline.simulate.constitution import PLAIN
from data_pipeline.simulate.hypnogram import N2, W
from data_pipeline.simulate.person import draw_person


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


def _heights(samples, start_s, stop_s, rate_hz=16):
    """Peak to peak of the middle nine tenths."""
    return np.subtract(*np.percentile(samples[round(start_s * rate_hz) : round(stop_s * rate_hz)], [95, 5]))


def test_varied_events_show_in_the_flow_as_deep_as_the_truth_says(varied_people):
    """What a recorder's own high-pass leaves, against the breaths of the minute before."""
    high_pass = signal.butter(2, 0.1, "highpass", fs=16, output="sos")
    apneas, hypopneas, shallow = [], [], []
    for index, (person, stages, events) in enumerate(varied_people[:8]):
        breathing = make_breathing(np.random.default_rng(index), person, stages, events, 16, variety=1)
        flow = signal.sosfiltfilt(high_pass, breathing.thermistor)
        for event in events:
            start = event.onset_s + event.detail.get("closing_s", 1.0) + 2.5  # the thermistor cools slowly
            stop = event.end_s - event.detail.get("opening_s", 1.0)
            if (
                event.kind not in BREATHING_EVENTS
                or event.onset_s < 60
                or stop - start < 4
                or "cycle_s" in event.detail
            ):
                continue
            before = max(_heights(flow, event.onset_s - s - 6, event.onset_s - s) for s in range(0, 60, 6))
            kept = _heights(flow, start, stop) / before
            is_near_miss = "near_miss" in event.detail and event.detail["flow_left"] >= 0.75
            (apneas if event.kind in APNEAS else shallow if is_near_miss else hypopneas).append(kept)
    assert len(apneas) > 50 and len(hypopneas) > 50 and len(shallow) > 50
    assert np.median(apneas) < 0.1 and np.percentile(apneas, 90) < 0.15
    assert 0.2 < np.median(hypopneas) < 0.6 < np.median(shallow)


def test_varied_saturation_falls_as_deep_as_the_truth_says(varied_people):
    deep = []
    for index, (person, stages, events) in enumerate(varied_people[:8]):
        spo2 = make_breathing(np.random.default_rng(index), person, stages, events, 16, variety=1).spo2_percent
        alone = [e for e in events if e.kind is EventKind.DESATURATION and e.scored]
        for before, event, after in zip(alone, alone[1:], alone[2:], strict=False):
            if before.end_s + 20 < event.onset_s and event.end_s + 20 < after.onset_s:
                around = spo2[int(event.onset_s) - 8 : int(event.end_s) + 3]
                deep.append((around[:10].max() - around.min()) / event.detail["depth_percent"])
    assert len(deep) > 30
    assert np.median(deep) == pytest.approx(1, abs=0.1) and np.percentile(deep, 5) > 0.7


def test_no_two_nights_breathe_alike():
    """Gain, shape and lag of the flow, over people with quiet nights."""
    person = draw_person(np.random.default_rng(0), "x", variety=0)
    stages = np.full(240, N2, np.int8)
    drifts, ratios = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        own = draw_person(rng, "x", variety=1).constitution
        breathing = make_breathing(rng, replace(person, constitution=own), stages, [], 16, variety=1)
        blocks = breathing.thorax.reshape(24, -1).std(axis=1)
        drifts.append(blocks.max() / blocks.min())
        crests = np.percentile(breathing.nasal_pressure, 95), -np.percentile(breathing.nasal_pressure, 5)
        ratios.append(crests[0] / crests[1])
    assert np.median(drifts) > 1.3
    assert max(ratios) > 1.5 * min(ratios)


def test_a_split_night_changes_its_flow_and_keeps_its_belts():
    person = draw_person(np.random.default_rng(0), "x", variety=0)
    stages = np.full(240, N2, np.int8)
    breathing = make_breathing(np.random.default_rng(1), person, stages, [], 16, variety=1, cpap_from_s=3600.0)
    before, after = slice(0, 3600 * 16), slice(4300 * 16, None)
    assert breathing.nasal_pressure[after].mean() > breathing.nasal_pressure[before].mean() + 0.2
    thermistor = [
        np.median(
            [_heights(breathing.thermistor, s, s + 8) for s in range(part.start // 16, part.start // 16 + 2400, 60)]
        )
        for part in (before, after)
    ]
    assert thermistor[1] < 0.3 * thermistor[0]
    assert breathing.abdomen[after].std() > 0.3 * breathing.abdomen[before].std()


def test_an_irregular_breather_is_one_awake_most_of_all():
    stages = np.repeat([W, N2], 240).astype(np.int8)
    spreads = {}
    for irregularity in (0.6, 1.6):
        person = draw_person(np.random.default_rng(0), "x", variety=0)
        person = replace(person, constitution=replace(PLAIN, irregularity=irregularity))
        times_s = make_breathing(np.random.default_rng(1), person, stages, [], 16, variety=1).breath_times_s
        awake = times_s[:-1] < 240 * EPOCH_S
        spreads[irregularity] = [np.diff(times_s)[part].std() for part in (awake, ~awake)]
    assert spreads[1.6][1] > 1.8 * spreads[0.6][1]
    assert all(awake > 1.5 * asleep for awake, asleep in spreads.values())
