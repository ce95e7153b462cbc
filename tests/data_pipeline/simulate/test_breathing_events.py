"""Varied breathing events, and what only looks like them."""

import numpy as np
import pytest
from scipy import stats

from data_pipeline.night import BREATHING_EVENTS, EventKind
from data_pipeline.simulate.breathing_events import draw_breathing_events
from data_pipeline.simulate.events import draw_events
from data_pipeline.simulate.hypnogram import N2, W
from data_pipeline.simulate.person import draw_person


def breathing_of(events):
    return [event for event in events if event.kind in BREATHING_EVENTS and "near_miss" not in event.detail]


def test_onsets_do_not_know_of_epochs(varied_people):
    onsets = [event.onset_s % 30 for _, _, events in varied_people for event in breathing_of(events)]
    assert len(onsets) > 3000
    assert stats.kstest(np.array(onsets) / 30, "uniform").statistic < 0.04
    limbs = [e.onset_s % 30 for _, _, events in varied_people for e in events if e.kind is EventKind.LIMB_MOVEMENT]
    assert stats.kstest(np.array(limbs) / 30, "uniform").statistic < 0.04
    assert np.mean(np.array(limbs) % 1 == 0) < 0.02  # nor of seconds


def test_depths_and_beginnings_of_hypopneas_reach_far(varied_people):
    hypopneas = [
        event for _, _, events in varied_people for event in breathing_of(events) if event.kind is EventKind.HYPOPNEA
    ]
    left = [event.detail["flow_left"] for event in hypopneas]
    assert np.percentile(left, 3) < 0.2 and np.percentile(left, 97) > 0.6 and max(left) <= 0.7
    closing = [event.detail["closing_s"] for event in hypopneas]
    assert np.percentile(closing, 5) < 1 and np.percentile(closing, 95) > 4
    assert all(event.detail["closing_s"] < 0.35 * event.duration_s for event in hypopneas)


def test_near_misses_break_a_rule_and_are_not_scored(varied_people):
    seen = {"shallow": 0, "short": 0, "awake": 0}
    for _, stages, events in varied_people:
        real = breathing_of(events)
        for event in events:
            if event.kind not in BREATHING_EVENTS or "near_miss" not in event.detail:
                continue
            assert not event.scored
            is_awake = stages[int(event.onset_s) // 30] == W
            is_shallow, is_short = event.detail["flow_left"] >= 0.75, event.duration_s < 9
            assert is_awake or is_shallow or is_short
            seen["awake" if is_awake else "shallow" if is_shallow else "short"] += 1
            assert all(event.end_s < other.onset_s or event.onset_s > other.end_s for other in real)
    assert min(seen.values()) > 100, seen


def test_a_rera_is_ten_seconds_of_effort_that_end_in_an_arousal(varied_people):
    found = 0
    for *_, events in varied_people:
        arousals_s = np.array([e.onset_s for e in events if e.kind is EventKind.AROUSAL])
        for event in (e for e in events if e.kind is EventKind.RERA):
            after_s = arousals_s - event.end_s
            assert event.scored and event.duration_s >= 10 and event.detail["type"] == "obstructive"
            assert ((after_s > -6) & (after_s < 14)).any()
            found += 1
    assert found > 10


def test_few_events_are_left_under_pressure():
    person = draw_person(np.random.default_rng(0), "x", variety=0)
    person = type(person)(**(vars(person) | {"ahi_per_h": 50.0}))
    stages = np.full(960, N2, np.int8)
    before = after = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        events = draw_breathing_events(rng, person, stages, cpap_from_s=14400.0, variety=1)
        before += sum(event.onset_s < 14400 for event in breathing_of(events))
        after += sum(event.onset_s >= 14400 for event in breathing_of(events))
    assert before > 500 and after < 0.12 * before


def test_periodic_breathing_keeps_its_pace():
    person = draw_person(np.random.default_rng(0), "x", variety=0)
    own = type(person.constitution)(is_periodic=True)
    person = type(person)(**(vars(person) | {"ahi_per_h": 30.0, "constitution": own}))
    stages = np.full(960, N2, np.int8)
    events = breathing_of(draw_events(np.random.default_rng(2), person, stages, variety=1))
    waxing = [event for event in events if "cycle_s" in event.detail]
    assert len(waxing) > 0.9 * len(events) > 50
    gaps = np.diff([event.onset_s for event in waxing])
    assert 45 <= np.median(gaps) <= 75
    assert np.mean([event.kind is EventKind.CENTRAL_APNEA for event in waxing]) == pytest.approx(0.6, abs=0.15)
