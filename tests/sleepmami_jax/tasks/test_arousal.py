"""Arousals: rules and which of them end a breathing event, against small nights worked out by hand."""

import numpy as np

from sleepmami_jax.tasks.arousal import ROOM, arousal_rules, link_arousals, link_limb_movements
from tests.support.events import N2, W, arousal, hypopnea, limb_movement, spans


def test_arousals_need_ten_seconds_between_them():
    kept = arousal_rules([arousal(0, 2.9), arousal(20, 3), arousal(32.9, 5), arousal(48, 5)])
    assert spans(kept) == [(20, 23), (48, 53)]  # too short; kept; 9.9 s after the last; kept
    assert spans(arousal_rules([arousal(20, 3), arousal(33, 5)])) == [(20, 23), (33, 38)]


def test_an_arousal_that_ends_in_waking_counts_as_its_first_fifteen_seconds():
    kept = arousal_rules([arousal(0, 600), arousal(609, 5), arousal(700, 15)])
    assert spans(kept) == [(0, 15), (700, 715)]  # cut; 9 s after the awakening, not after the cut; kept
    assert arousal_rules(kept) == kept


def test_an_arousal_may_lie_in_the_wake_that_it_makes():
    stages = np.array([N2, W, W], np.int8)
    assert spans(ROOM.counted([arousal(35), arousal(50), hypopnea(0, 20)], stages)) == [(35, 40)]


def test_arousal_window_and_one_arousal_for_one_event():
    event = [hypopnea(0, 20)]
    for onset_s, linked in ((13.9, False), (14, True), (34, True), (34.1, False)):
        assert bool(link_arousals(event, [arousal(onset_s)])) == linked, onset_s
    two = [hypopnea(0, 20), hypopnea(22, 10)]
    assert link_arousals(two, [arousal(31)]) == {1: 0}  # the nearer event takes it
    assert link_arousals(two, [arousal(31), arousal(33)]) == {1: 0, 0: 1}


def test_a_limb_movement_and_its_arousal_lie_less_than_half_a_second_apart():
    movement = [limb_movement(100, 2)]
    for onset_s, linked in ((94.5, False), (94.6, True), (101, True), (102.4, True), (102.5, False)):
        assert bool(link_limb_movements(movement, [arousal(onset_s, 5)])) == linked, onset_s
    assert link_limb_movements([limb_movement(100, 2), limb_movement(102, 2)], [arousal(102, 5)]) == {0: 0}


def test_arousals_by_hand():
    yes = np.zeros(100)
    yes[10:12] = yes[30:33] = yes[40:45] = yes[60:65] = 0.9
    probs = np.stack([1 - yes, yes], 1)
    assert spans(ROOM.decode(probs, 0.5)) == [(30, 33), (60, 65)]  # too short; kept; 7 s after the last; kept
    assert ROOM.decode(probs, 0.9) == ()  # above the threshold, not at it


def test_people_and_the_model_are_held_to_one_rule():
    """A stretch of 40 s, marked by a scorer and found by the model, is one and the same arousal."""
    yes = np.full(120, 0.1)
    yes[20:60] = 0.6
    yes[50:58] = 0.9  # most probable near its end
    stages = np.full(4, N2, np.int8)
    by_model = ROOM.counted(ROOM.decode(np.stack([1 - yes, yes], 1), 0.5), stages)
    assert by_model == ROOM.counted([arousal(20, 40)], stages) == (arousal(20, 15),)
