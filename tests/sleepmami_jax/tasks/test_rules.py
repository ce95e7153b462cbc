"""What the rules of several tasks are made of, against small nights worked out by hand."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.tasks import BREATHING
from sleepmami_jax.tasks.breathing import breathing_rules
from sleepmami_jax.tasks.rules import count_in_sleep, keep_by_duration, merge
from tests.support.events import APNEA, CENTRAL, HYPOPNEA, N1, OBSTRUCTIVE, Event, W, hypopnea, spans


def test_merge_joins_a_gap_of_three_seconds_and_no_more():
    assert spans(merge([hypopnea(0, 10), hypopnea(13, 10)], BREATHING)) == [(0, 23)]
    assert spans(merge([hypopnea(0, 10), hypopnea(13.1, 10)], BREATHING)) == [(0, 10), (13.1, 23.1)]
    assert spans(merge([hypopnea(20, 5), hypopnea(0, 60)], BREATHING)) == [(0, 60)]  # one inside the other, any order


@pytest.mark.parametrize(
    ("first", "second", "joint"),
    [(HYPOPNEA, CENTRAL, CENTRAL), (CENTRAL, OBSTRUCTIVE, APNEA), (HYPOPNEA, HYPOPNEA, HYPOPNEA)],
)
def test_joint_kind(first, second, joint):
    assert merge([Event(first, 0, 10), Event(second, 10, 10)], BREATHING)[0].kind == joint


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), max_size=12), st.integers(0, 5))
def test_merge_is_idempotent_and_keeps_every_marked_second(marks, gap_s):
    events = [hypopnea(onset_s, duration_s) for onset_s, duration_s in marks]
    task = replace(BREATHING, join_s=gap_s)
    merged = merge(events, task)
    assert merge(merged, task) == merged
    assert all(b.onset_s - a.end_s > gap_s for a, b in pairwise(merged))
    assert all(any(m.onset_s <= e.onset_s and e.end_s <= m.end_s for m in merged) for e in events)


def test_durations_include_the_limits():
    events = [hypopnea(0, 9.9), hypopnea(100, 10), hypopnea(200, 180), hypopnea(400, 180.1)]
    assert spans(keep_by_duration(events, 10, 180)) == [(100, 110), (200, 380)]
    assert spans(breathing_rules(events)) == [(100, 110), (200, 380)]
    assert spans(breathing_rules([hypopnea(0, 5), hypopnea(7, 5)])) == [(0, 12)]  # merged first, then measured


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
