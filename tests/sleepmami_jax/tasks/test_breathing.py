"""Apneas and hypopneas: rules, the AHI and desaturations, against small nights worked out by hand."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.modalities import Modality
from data_pipeline.night import Channel
from sleepmami_jax.tasks.arousal import arousal_statistics
from sleepmami_jax.tasks.breathing import (
    ROOM,
    breath_s,
    breathing_rules,
    breathing_statistics,
    cheyne_stokes_like_min,
    link_desaturations,
    room_of_child,
    runs_of,
    severity,
    typed,
)
from sleepmami_jax.tasks.stages import sleep_statistics
from tests.support.events import (
    APNEA,
    CENTRAL,
    HYPOPNEA,
    N1,
    N2,
    N3,
    OBSTRUCTIVE,
    Event,
    EventKind,
    R,
    W,
    arousal,
    hypnogram,
    hypopnea,
    spans,
)


def test_apneas_in_a_row_are_counted_however_short_the_breath_between():
    chain = [Event(APNEA, 27.5 * i, 25.0) for i in range(8)]
    assert ROOM.counted(chain, np.full(10, N2)) == tuple(chain)
    fragments = [hypopnea(0, 6), hypopnea(8, 6), hypopnea(40, 30), hypopnea(71, 4)]
    assert spans(breathing_rules(fragments)) == [(0, 14), (40, 75)]


def test_counted_breathing_takes_breathing_only():
    stages = np.full(4, N2, np.int8)
    counted = ROOM.counted([arousal(0, 12), hypopnea(30, 12), Event(EventKind.RERA, 60, 20)], stages)
    assert spans(counted) == [(30, 42)]


def test_desaturation_window():
    event = [hypopnea(0, 20)]
    for nadir_s, linked in ((9.9, False), (10, True), (65, True), (65.1, False)):
        assert bool(link_desaturations(event, [nadir_s])) == linked, nadir_s
    two = [hypopnea(0, 20), hypopnea(25, 15)]
    assert link_desaturations(two, [38, 60]) == {0: 0, 1: 1}  # each lags its own event
    assert link_desaturations(two, [41]) == {1: 0}


def test_breathing_events_by_hand():
    probs = np.tile([1.0, 0.0, 0.0], (300, 1))
    probs[20:26] = probs[29:35] = [0.2, 0.6, 0.2]  # 6 s + 3 s gap + 6 s: one hypopnea of 15 s
    probs[100:109] = [0.0, 0.0, 1.0]  # 9 s: too short
    probs[150:170] = [0.3, 0.3, 0.4]  # an apnea
    found = [(e.kind, e.onset_s, e.end_s) for e in ROOM.decode(probs, 0.5)]
    assert found == [(HYPOPNEA, 20, 35), (APNEA, 150, 170)]
    assert ROOM.decode(probs, 0.75) == (hypopnea(20, 15),)
    assert ROOM.decode(np.tile([0.0, 1.0, 0.0], (300, 1)), 0.5) == ()  # 300 s is no event


def test_breathing_statistics_by_hand():
    stages = hypnogram((W, 20), (N2, 120), (R, 60), (R, 60))  # 2 h of sleep, half of it REM
    breathing = [
        hypopnea(590, 20),  # begins in wake, ends in N2: in the AHI, in neither stage
        hypopnea(1000, 30),
        Event(APNEA, 4300, 20.0),
        Event(OBSTRUCTIVE, 6000, 10.0),
    ]
    s = breathing_statistics({"breathing": breathing}, stages)
    assert (s["apneas"], s["hypopneas"], s["ahi_per_h"]) == (2, 2, 2)
    assert (s["breathing_event_mean_s"], s["breathing_event_longest_s"]) == (20, 30)
    assert s["ahi_severity"] == "none"
    a = arousal_statistics({"arousal": [arousal(1028), arousal(2000)]}, stages)
    assert (a["arousals"], a["arousal_index_per_h"]) == (2, 1)


def test_the_pace_of_events_is_that_of_runs():
    chain = [hypopnea(60 * n, 20) for n in range(4)]
    series, cycles_s = runs_of([*chain, hypopnea(1000, 20), hypopnea(1100, 20)])  # two are no run
    assert [len(members) for members in series] == [4] and cycles_s == [60, 60, 60]
    s = breathing_statistics({"breathing": [*chain, hypopnea(1000, 20)]}, hypnogram((N2, 60)))
    assert (s["breathing_cycle_median_s"], s["breathing_in_runs_pct"]) == (60, 80)
    central = [Event(CENTRAL, 45.0 * n, 20.0) for n in range(3)]
    assert cheyne_stokes_like_min(central) == pytest.approx(110 / 60)
    assert cheyne_stokes_like_min([*central[:2], Event(OBSTRUCTIVE, 90.0, 20.0)]) == 0
    assert cheyne_stokes_like_min([Event(CENTRAL, 39.0 * n, 20.0) for n in range(5)]) == 0  # too quick
    assert cheyne_stokes_like_min([hypopnea(45 * n, 20) for n in range(5)]) == 0  # not one is an apnea


def test_an_apnea_gets_the_type_that_its_seconds_show():
    probs = np.tile([0.7, 0.0, 0.3, 0.0], (100, 1))
    probs[40:60] = [0.1, 0.5, 0.3, 0.1]
    probs[60:] = [1.0, 0.0, 0.0, 0.0]  # no belt
    marks = [Event(APNEA, 10.0, 20.0), hypopnea(20, 10), Event(APNEA, 40.0, 20.0), Event(APNEA, 70.0, 20.0)]
    told = typed(marks, probs)
    assert [e.kind for e, _ in told] == [CENTRAL, HYPOPNEA, OBSTRUCTIVE, APNEA]
    assert [p for _, p in told] == [1, None, pytest.approx(5 / 9), None]


def test_events_of_a_child_last_two_of_its_breaths():
    t = np.arange(32 * 600) / 32
    belt = Channel("THORAX", Modality.RESP, np.sin(2 * np.pi * t / 2.5), np.zeros(600, np.uint8), "", "", 32.0)
    assert breath_s(belt, np.full(20, N2)) == pytest.approx(2.5)
    assert breath_s(belt, np.zeros(20, int)) == breath_s(None, np.full(20, N2)) == 3
    room = room_of_child(ROOM, 2.5)
    assert spans(room.permitted([hypopnea(0, 4.9), hypopnea(30, 5)])) == [(30, 35)]
    assert "two breaths (5.0 s)" in room.definitions["ahi_per_h"]
    assert room.statistics({"breathing": [hypopnea(30, 5)] * 6}, hypnogram((N2, 120)))["ahi_severity"] == "moderate"


def test_severity_cuts_belong_to_the_worse_class():
    found = [severity(x) for x in (0, 4.99, 5, 14.99, 15, 29.99, 30, 120)]
    assert found == ["none", "none", "mild", "mild", "moderate", "moderate", "severe", "severe"]


@pytest.mark.skipif(
    "SLEEPMAMI_REAL_DATA" not in os.environ, reason="SLEEPMAMI_REAL_DATA names no folder of real recordings"
)
def test_a_real_night_has_the_minutes_and_events_that_its_scorer_counted():
    folder = Path(os.environ["SLEEPMAMI_REAL_DATA"]) / "ucddb018"
    with (folder / "hypnogram.csv").open(newline="") as file:
        codes = {"W": W, "N1": N1, "N2": N2, "N3": N3, "REM": R}
        stages = np.array([codes[row["stage"]] for row in csv.DictReader(file)], np.int8)
    with (folder / "respiratory_events.csv").open(newline="") as file:
        events = [hypopnea(row["onset_s"], row["duration_s"]) for row in csv.DictReader(file)]
    s = sleep_statistics(stages)
    minutes = [s[f"{name}_min"] for name in ("w", "rem", "n1", "n2", "n3")]
    assert minutes == [164, 9.5, 29, 140, 68.5] and s["trt_min"] == 411
    counted = ROOM.counted(events, stages)
    assert len(counted) == 9
    assert breathing_statistics({"breathing": counted}, stages)["ahi_per_h"] == pytest.approx(9 / (247 / 60))
