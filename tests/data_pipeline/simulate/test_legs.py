"""Legs at rest, and movements that are scored and that are not."""

from dataclasses import replace

import numpy as np

from data_pipeline.night import EventKind
from data_pipeline.simulate.constitution import PLAIN
from data_pipeline.simulate.hypnogram import N2
from data_pipeline.simulate.legs import make_legs
from data_pipeline.simulate.person import draw_person


def limbs_of(varied_people, *, near_miss):
    return [
        (person, event)
        for person, _, events in varied_people
        for event in events
        if event.kind is EventKind.LIMB_MOVEMENT and ("near_miss" in event.detail) == near_miss
    ]


def test_movements_of_all_strengths(varied_people):
    strengths = [event.detail["amplitude_uv"] for _, event in limbs_of(varied_people, near_miss=False)]
    assert np.percentile(strengths, 5) < 60 and np.percentile(strengths, 95) > 250


def test_near_misses_are_weak_short_or_long_and_not_scored(varied_people):
    found = {"weak": 0, "short": 0, "long": 0}
    for _, event in limbs_of(varied_people, near_miss=True):
        assert not event.scored
        if event.duration_s < 0.5:
            found["short"] += 1
        elif event.duration_s > 10:
            found["long"] += 1
        else:
            assert event.detail["amplitude_uv"] <= 20
            found["weak"] += 1
    assert min(found.values()) > 30, found


def test_scored_movements_stand_8_uv_over_rest_and_weak_ones_do_not(varied_people):
    """By the rectified EMG in tenths of a second, as the AASM manual's rule is read."""
    heights = {True: [], False: []}
    for index, (person, stages, events) in enumerate(varied_people[:12]):
        weak = [e for e in events if "near_miss" in e.detail and e.kind is EventKind.LIMB_MOVEMENT]
        weak = [e for e in weak if 0.5 <= e.duration_s <= 10]
        scored = [e for e in events if e.kind is EventKind.LIMB_MOVEMENT and e.scored][: max(5, len(weak))]
        legs = make_legs(np.random.default_rng(index), person, stages, events, 128, variety=1)
        level = np.abs(legs[:, : legs.shape[1] // 16 * 16]).reshape(2, -1, 16).mean(axis=2)  # an eighth of a second
        for event in weak + scored:
            side = {"left": [0], "right": [1], "both": [0, 1]}[event.detail["side"]]
            start, stop = round(event.onset_s * 8), max(round(event.end_s * 8), round(event.onset_s * 8) + 1)
            rest = np.median(level[side, max(0, start - 160) : start - 8], axis=1)
            heights[event.scored].append((level[side, start:stop].max(axis=1) - rest).max())
    assert len(heights[False]) > 20
    assert np.mean(np.array(heights[True]) > 8) > 0.95
    assert np.mean(np.array(heights[False]) > 8) < 0.1


def test_each_leg_rests_at_its_own_level():
    person = draw_person(np.random.default_rng(0), "x", variety=0)
    person = replace(person, constitution=replace(PLAIN, leg_rest_uv=(1.0, 4.0)))
    left, right = make_legs(np.random.default_rng(1), person, np.full(480, N2, np.int8), [], 64, variety=1)
    assert 2.5 < np.median(np.abs(right)) / np.median(np.abs(left)) < 6
