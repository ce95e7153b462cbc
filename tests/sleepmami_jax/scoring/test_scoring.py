"""Rules, events, oximetry and statistics, against small nights worked out by hand."""

import csv
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.night import Channel, Event, EventKind, Modality, Quality
from sleepmami_jax.scoring.events import arousals, breathing_events
from sleepmami_jax.scoring.oximetry import (
    BURDEN_FALLBACK_RULE,
    BURDEN_RULE,
    counted_desaturations,
    desaturations,
    hypoxic_burden,
    oximetry_statistics,
    turning_points,
    valid_spo2,
)
from sleepmami_jax.scoring.prediction import Thresholds
from sleepmami_jax.scoring.rules import (
    arousal_rules,
    breathing_rules,
    count_in_sleep,
    counted_arousals,
    counted_breathing,
    keep_by_duration,
    link_arousals,
    link_desaturations,
    merge,
)
from sleepmami_jax.scoring.statistics import (
    arousal_statistics,
    breathing_statistics,
    severity,
    sleep_cycles,
    sleep_statistics,
)

W, N1, N2, N3, R = range(5)
HYPOPNEA, APNEA = EventKind.HYPOPNEA, EventKind.APNEA
CENTRAL, OBSTRUCTIVE = EventKind.CENTRAL_APNEA, EventKind.OBSTRUCTIVE_APNEA


def hypopnea(onset_s, duration_s):
    return Event(HYPOPNEA, float(onset_s), float(duration_s))


def arousal(onset_s, duration_s=5.0):
    return Event(EventKind.AROUSAL, float(onset_s), float(duration_s))


def spans(events):
    return [(e.onset_s, e.end_s) for e in events]


def hypnogram(*parts):
    """Stages from (code, epochs) pairs."""
    return np.concatenate([np.full(n, code, np.int8) for code, n in parts])


# Rules


def test_merge_joins_a_gap_of_three_seconds_and_no_more():
    assert spans(merge([hypopnea(0, 10), hypopnea(13, 10)], 3)) == [(0, 23)]
    assert spans(merge([hypopnea(0, 10), hypopnea(13.1, 10)], 3)) == [(0, 10), (13.1, 23.1)]
    assert spans(merge([hypopnea(20, 5), hypopnea(0, 60)], 3)) == [(0, 60)]  # one inside the other, any order


def test_apneas_in_a_row_are_counted_however_short_the_breath_between():
    chain = [Event(APNEA, 27.5 * i, 25.0) for i in range(8)]
    assert counted_breathing(chain, np.full(10, N2)) == tuple(chain)
    fragments = [hypopnea(0, 6), hypopnea(8, 6), hypopnea(40, 30), hypopnea(71, 4)]
    assert spans(breathing_rules(fragments)) == [(0, 14), (40, 75)]


@pytest.mark.parametrize(
    ("first", "second", "joint"),
    [(HYPOPNEA, CENTRAL, CENTRAL), (CENTRAL, OBSTRUCTIVE, APNEA), (HYPOPNEA, HYPOPNEA, HYPOPNEA)],
)
def test_joint_kind(first, second, joint):
    assert merge([Event(first, 0, 10), Event(second, 10, 10)], 3)[0].kind == joint


def test_merge_refuses_to_join_two_families():
    with pytest.raises(ValueError, match="one family"):
        merge([hypopnea(0, 10), arousal(5)], 3)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), max_size=12), st.integers(0, 5))
def test_merge_is_idempotent_and_keeps_every_marked_second(marks, gap_s):
    events = [hypopnea(onset_s, duration_s) for onset_s, duration_s in marks]
    merged = merge(events, gap_s)
    assert merge(merged, gap_s) == merged
    assert all(b.onset_s - a.end_s > gap_s for a, b in pairwise(merged))
    assert all(any(m.onset_s <= e.onset_s and e.end_s <= m.end_s for m in merged) for e in events)


def test_durations_include_the_limits():
    events = [hypopnea(0, 9.9), hypopnea(100, 10), hypopnea(200, 180), hypopnea(400, 180.1)]
    assert spans(keep_by_duration(events, 10, 180)) == [(100, 110), (200, 380)]
    assert spans(breathing_rules(events)) == [(100, 110), (200, 380)]
    assert spans(breathing_rules([hypopnea(0, 5), hypopnea(7, 5)])) == [
        (0, 12)
    ]  # merged first, then measured


def test_any_part_in_sleep_counts():
    stages = np.array([W, N1, W, -1], np.int8)  # sleep from 30 to 60 s
    events = [
        hypopnea(10, 20),
        hypopnea(10, 21),
        hypopnea(59, 20),
        hypopnea(60, 20),
        hypopnea(95, 20),
        hypopnea(500, 10),
    ]
    assert spans(count_in_sleep(events, stages)) == [(10, 31), (59, 79)]


def test_arousals_need_ten_seconds_between_them():
    kept = arousal_rules([arousal(0, 2.9), arousal(20, 3), arousal(32.9, 5), arousal(48, 5)])
    assert spans(kept) == [(20, 23), (48, 53)]  # too short; kept; 9.9 s after the last; kept
    assert spans(arousal_rules([arousal(20, 3), arousal(33, 5)])) == [(20, 23), (33, 38)]


def test_an_arousal_that_ends_in_waking_counts_as_its_first_fifteen_seconds():
    kept = arousal_rules([arousal(0, 600), arousal(609, 5), arousal(700, 15)])
    assert spans(kept) == [(0, 15), (700, 715)]  # cut; 9 s after the awakening, not after the cut; kept
    assert arousal_rules(kept) == kept


def test_a_long_run_of_probable_arousal_is_taken_at_its_peak():
    probs = np.full(120, 0.1)
    probs[20:80] = 0.6
    probs[50:58] = 0.9
    (event,) = arousals(probs, 0.5)
    assert event.duration_s == 15 and event.onset_s <= 50 and event.end_s >= 58
    assert spans(arousals(probs, 0.8)) == [(50, 58)]


def test_an_arousal_may_lie_in_the_wake_that_it_makes():
    stages = np.array([N2, W, W], np.int8)
    assert spans(counted_arousals([arousal(35), arousal(50), hypopnea(0, 20)], stages)) == [(35, 40)]


def test_counted_breathing_takes_breathing_only():
    stages = np.full(4, N2, np.int8)
    counted = counted_breathing([arousal(0, 12), hypopnea(30, 12), Event(EventKind.RERA, 60, 20)], stages)
    assert spans(counted) == [(30, 42)]


def test_arousal_window_and_one_arousal_for_one_event():
    event = [hypopnea(0, 20)]
    for onset_s, linked in ((13.9, False), (14, True), (34, True), (34.1, False)):
        assert bool(link_arousals(event, [arousal(onset_s)])) == linked, onset_s
    two = [hypopnea(0, 20), hypopnea(22, 10)]
    assert link_arousals(two, [arousal(31)]) == {1: 0}  # the nearer event takes it
    assert link_arousals(two, [arousal(31), arousal(33)]) == {1: 0, 0: 1}


def test_desaturation_window():
    event = [hypopnea(0, 20)]
    for nadir_s, linked in ((9.9, False), (10, True), (65, True), (65.1, False)):
        assert bool(link_desaturations(event, [nadir_s])) == linked, nadir_s
    two = [hypopnea(0, 20), hypopnea(25, 15)]
    assert link_desaturations(two, [38, 60]) == {0: 0, 1: 1}  # each lags its own event
    assert link_desaturations(two, [41]) == {1: 0}


# Probabilities to events


def test_breathing_events_by_hand():
    probs = np.tile([1.0, 0.0, 0.0], (300, 1))
    probs[20:26] = probs[29:35] = [0.2, 0.6, 0.2]  # 6 s + 3 s gap + 6 s: one hypopnea of 15 s
    probs[100:109] = [0.0, 0.0, 1.0]  # 9 s: too short
    probs[150:170] = [0.3, 0.3, 0.4]  # an apnea
    found = [(e.kind, e.onset_s, e.end_s) for e in breathing_events(probs, 0.5)]
    assert found == [(HYPOPNEA, 20, 35), (APNEA, 150, 170)]
    assert breathing_events(probs, 0.75) == (hypopnea(20, 15),)
    assert breathing_events(np.tile([0.0, 1.0, 0.0], (300, 1)), 0.5) == ()  # 300 s is no event


def test_arousals_by_hand():
    probs = np.zeros(100)
    probs[10:12] = probs[30:33] = probs[40:45] = probs[60:65] = 0.9
    assert spans(arousals(probs, 0.5)) == [(30, 33), (60, 65)]  # too short; kept; 7 s after the last; kept
    assert arousals(probs, 0.9) == ()  # above the threshold, not at it


def test_thresholds_are_probabilities():
    with pytest.raises(ValueError, match=r"arousal is 1\.5"):
        Thresholds(0.5, 1.5)


# Oximetry


def test_valid_spo2_masks_quality_and_range():
    samples = np.float32([97, 0, 49.9, 50, 100.002, 101, 96])  # a header of 0..200 % decodes 100 as 100.002
    quality = np.uint8([0, 0, 0, 0, 0, 0, Quality.FLAT])
    spo2 = valid_spo2(Channel("SPO2", Modality.SPO2, samples, quality, "SaO2", "alias", 1.0))
    np.testing.assert_array_equal(np.isfinite(spo2), [1, 0, 0, 1, 1, 0, 0])
    assert np.nanmax(spo2) == 100


def dip(depth, before=60, fall=20, hold=5, rise=15, after=60, level=96.0):
    down, up = np.linspace(0, depth, fall + 1)[1:], np.linspace(depth, 0, rise + 1)[1:]
    return level - np.concatenate([np.zeros(before), down, np.full(hold, depth), up, np.zeros(after)])


def test_one_desaturation_by_hand():
    (fall,) = desaturations(dip(4))
    assert (fall.onset_s, fall.nadir_s, fall.end_s) == (59, 79, 99)
    assert (fall.peak_percent, fall.nadir_percent) == (96, 92)
    assert len(desaturations(dip(3))) == 1 and not desaturations(dip(2.9))


def test_what_is_no_desaturation():
    assert not desaturations(np.linspace(98, 88, 3600))  # drift over an hour
    assert not desaturations(dip(20, fall=2, hold=1, rise=2))  # a slipped probe
    assert not desaturations(np.full(100, np.nan)) and not desaturations(np.full(100, 95.0))


def test_desaturation_survives_a_short_gap_but_not_a_long_one():
    spo2 = dip(6)
    short = spo2.copy()
    short[65:70] = np.nan
    assert len(desaturations(short)) == 1
    long = np.concatenate([np.full(60, 96.0), np.full(30, np.nan), np.full(60, 90.0)])
    assert not desaturations(long)


def test_recovery_by_less_than_one_and_a_half_points_is_the_same_fall():
    shallow = np.repeat([96, 94, 95, 92, 96], 20).astype(float)
    assert len(desaturations(shallow)) == 1 and desaturations(shallow)[0].peak_percent == 96
    deep = np.repeat([96, 92, 94, 91, 96], 20).astype(float)
    assert len(desaturations(deep)) == 2


@given(st.lists(st.integers(80, 100), min_size=1, max_size=200), st.sampled_from([0.5, 1.5, 3.0]))
def test_turning_points_alternate_and_differ_enough(values, delta):
    x = np.array(values, float)
    points = turning_points(x, delta)
    for (i, sign), (j, other) in pairwise(points):
        assert i < j and sign == -other and (x[i] - x[j]) * sign >= delta
    assert bool(points) == (
        np.ptp(x) >= delta and any(abs(x[i] - x[j]) >= delta for i in range(len(x)) for j in range(i))
    )


def test_oximetry_statistics_count_valid_sleep_only():
    stages = hypnogram((W, 2), (N2, 4), (W, 2))  # sleep from 60 to 180 s
    spo2 = np.full(240, 95.0)
    spo2[:60] = 70  # awake: counts nowhere
    spo2[100:112] = 85
    spo2[112] = 80  # one second is no minimum
    spo2[150:170] = np.nan
    statistics = oximetry_statistics(spo2, counted_desaturations(desaturations(spo2), stages), stages)
    assert statistics["spo2_valid_sleep_min"] == pytest.approx(100 / 60)
    assert statistics["t90_pct"] == pytest.approx(13)
    assert statistics["spo2_min_pct"] == 85 and statistics["spo2_median_pct"] == 95
    assert statistics["odi3_per_h"] == pytest.approx(1 / (100 / 3600))
    assert oximetry_statistics(spo2, (), hypnogram((W, 8)))["odi3_per_h"] is None


def test_hypoxic_burden_of_equal_triangles():
    """Each fall of 6 points over 20 s and back over 20 s has an area of 120 %·s."""
    spo2 = np.concatenate([dip(6, before=130, fall=20, hold=0, rise=20, after=130)] * 3)
    events = [hypopnea(300 * k + 120, 20) for k in range(3)]
    burden, rule = hypoxic_burden(spo2, events, tst_min=60)
    assert burden == pytest.approx(3 * 120 / 60, rel=0.01) and rule == BURDEN_RULE
    flat, rule = hypoxic_burden(np.full(900, 96.0), events, tst_min=60)
    assert flat == 0 and rule == BURDEN_FALLBACK_RULE
    assert hypoxic_burden(spo2, [], 60)[0] == 0 and hypoxic_burden(spo2, events, 0)[0] is None


# Statistics


def test_sleep_statistics_by_hand():
    stages = hypnogram((W, 20), (N1, 10), (N2, 40), (W, 4), (N3, 40), (-1, 2), (R, 20), (W, 10))
    s = sleep_statistics(stages)
    assert s["trt_min"] == 73 and s["tst_min"] == 55 and s["unscored_min"] == 1
    assert s["sol_min"] == 10 and s["lps_min"] == 10 and s["spt_min"] == 58
    assert s["waso_spt_min"] == 2 and s["waso_aasm_min"] == 73 - 10 - 55
    assert s["se_pct"] == pytest.approx(100 * 55 / 73) and s["sme_pct"] == pytest.approx(100 * 55 / 58)
    assert s["rem_latency_min"] == 48 and s["rem_pct_tst"] == pytest.approx(100 * 10 / 55)
    assert s["awakenings"] == 1 and s["cycles"] == 1
    assert s["w_min"] == 17 and s["n3_min"] == 20


def test_persistent_sleep_needs_ten_unbroken_minutes():
    stages = hypnogram((W, 4), (N1, 19), (W, 1), (N2, 20))
    assert sleep_statistics(stages)["sol_min"] == 2 and sleep_statistics(stages)["lps_min"] == 12
    assert sleep_statistics(stages[:-1])["lps_min"] is None


@pytest.mark.parametrize("stages", [hypnogram((W, 10)), hypnogram((-1, 10))], ids=["wake", "unscored"])
def test_no_sleep_gives_none_and_not_nan(stages):
    s = sleep_statistics(stages)
    assert s["tst_min"] == 0 and s["se_pct"] == 0 and s["cycles"] == 0
    assert (
        s["sol_min"] is s["sme_pct"] is s["waso_aasm_min"] is s["rem_latency_min"] is s["n2_pct_tst"] is None
    )
    assert breathing_statistics((), stages)["ahi_per_h"] is None
    assert breathing_statistics((), stages)["ahi_severity"] is None
    assert arousal_statistics((), (), stages)["arousal_index_per_h"] is None


def test_stages_out_of_range_are_refused():
    for wrong in (np.array([], np.int8), np.array([5]), np.array([-2])):
        with pytest.raises(ValueError, match="codes from -1 to 4"):
            sleep_statistics(wrong)


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=120))
def test_times_add_up(codes):
    s = sleep_statistics(np.array(codes, np.int8))
    parts = [s[f"{name}_min"] for name in ("w", "n1", "n2", "n3", "rem", "unscored")]
    assert sum(parts) == s["trt_min"] and sum(parts[1:5]) == s["tst_min"]
    if s["tst_min"]:
        assert s["sol_min"] + s["tst_min"] + s["waso_aasm_min"] == s["trt_min"]
        assert s["waso_spt_min"] <= s["waso_aasm_min"]
    assert all(value is None or np.isfinite(value) for value in s.values())


def test_cycles():
    cycle = [(N2, 60), (R, 20)]
    assert sleep_cycles(hypnogram((W, 10), *cycle, *cycle)) == [(10, 90), (90, 170)]
    assert sleep_cycles(hypnogram((N2, 60), (R, 2))) == [(0, 62)]  # the first REM period may be short
    short = hypnogram(*cycle, (N2, 60), (R, 9), (N2, 40), (R, 20))  # the second may not
    assert sleep_cycles(short) == [(0, 80), (80, 209)]
    assert sleep_cycles(hypnogram((N2, 60), (R, 10), (W, 29), (R, 10))) == [(0, 109)]  # one REM period
    assert sleep_cycles(hypnogram((N2, 29), (R, 20))) == []  # too little before REM
    assert sleep_cycles(hypnogram((N2, 200))) == []


def test_breathing_statistics_by_hand():
    stages = hypnogram((W, 20), (N2, 120), (R, 60), (R, 60))  # 2 h of sleep, half of it REM
    breathing = [
        hypopnea(590, 20),  # begins in wake, ends in N2: in the AHI, in neither stage
        hypopnea(1000, 30),
        Event(APNEA, 4300, 20.0),
        Event(OBSTRUCTIVE, 6000, 10.0),
    ]
    s = breathing_statistics(breathing, stages)
    assert (s["apneas"], s["hypopneas"], s["ahi_per_h"]) == (2, 2, 2)
    assert (s["ahi_nrem_per_h"], s["ahi_rem_per_h"]) == (1, 2)
    assert (s["breathing_event_mean_s"], s["breathing_event_longest_s"]) == (20, 30)
    assert s["ahi_severity"] == "none"
    a = arousal_statistics([arousal(1028), arousal(2000)], breathing, stages)
    assert (a["arousal_index_per_h"], a["respiratory_arousal_index_per_h"]) == (1, 0.5)
    assert a["breathing_with_arousal_pct"] == 25
    assert arousal_statistics([arousal(1028)], None, stages)["breathing_with_arousal_pct"] is None


def test_stage_ahi_needs_fifteen_minutes():
    event = [hypopnea(100, 20)]
    assert breathing_statistics(event, hypnogram((N2, 29)))["ahi_nrem_per_h"] is None
    assert breathing_statistics(event, hypnogram((N2, 30)))["ahi_nrem_per_h"] == 4


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
    counted = counted_breathing(events, stages)
    assert len(counted) == 9
    assert breathing_statistics(counted, stages)["ahi_per_h"] == pytest.approx(9 / (247 / 60))
    assert breathing_statistics(counted, stages)["ahi_rem_per_h"] is None  # 9.5 min of REM
