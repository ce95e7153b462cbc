"""Limb movements and periodic series, against small nights worked out by hand."""

import numpy as np
import pytest

from sleepmami_jax.tasks.limb_movement import (
    ROOM,
    limb_movement_rules,
    limb_movement_statistics,
    periodic_series,
)
from tests.support.events import N2, Event, EventKind, R, W, hypnogram, hypopnea, limb_movement, spans

ASLEEP = np.full(60, N2, np.int8)


def test_durations_and_both_legs():
    marks = [limb_movement(0, 0.4), limb_movement(20, 0.5), limb_movement(40, 10), limb_movement(60, 10.1)]
    assert spans(limb_movement_rules(marks)) == [(20, 20.5), (40, 50)]
    both = [limb_movement(0), limb_movement(4.9), limb_movement(8), limb_movement(12.9)]
    assert spans(limb_movement_rules(both)) == [(0, 2), (8, 10)]
    assert spans(limb_movement_rules([limb_movement(0, 1), limb_movement(1.5, 1)])) == [(0, 2.5)]  # one, interrupted


@pytest.mark.parametrize(
    ("onset_s", "counts"), [(97.4, True), (97.5, False), (110, False), (120.5, False), (120.6, True)]
)
@pytest.mark.parametrize("kind", [EventKind.HYPOPNEA, EventKind.CENTRAL_APNEA, EventKind.RERA])
def test_within_half_a_second_of_a_breathing_event_none_counts(onset_s, counts, kind):
    events = [Event(kind, 100.0, 20.0), limb_movement(onset_s, 2)]
    assert bool(ROOM.counted(events, ASLEEP)) == counts


def test_only_in_sleep():
    stages = hypnogram((W, 2), (N2, 2))
    assert spans(ROOM.counted([limb_movement(30), limb_movement(59, 2), limb_movement(90)], stages)) == [
        (59, 61),
        (90, 92),
    ]


def test_a_series_is_four_or_more_five_to_ninety_seconds_apart():
    def series(*onsets_s):
        return [len(members) for members in periodic_series([limb_movement(s) for s in onsets_s])]

    assert series(0, 5, 95, 185) == [4]
    assert series(0, 5, 95) == [] and series(0, 30, 60, 150.1) == []
    assert series(0, 30, 60, 90, 200, 230, 260, 290, 320) == [4, 5]
    assert series(0, 4.9, 30, 60, 90) == [4]  # the first two begin too near each other


def test_statistics_by_hand():
    stages = hypnogram((N2, 60), (R, 60))  # an hour of sleep
    movements = [limb_movement(s) for s in (0, 30, 60, 90, 1000, 2000)]
    s = limb_movement_statistics({"limb_movement": movements}, stages)
    assert (s["limb_movements"], s["limb_movement_index_per_h"]) == (6, 6)
    assert (s["plms"], s["plm_series"]) == (4, 1)
    awake = limb_movement_statistics({"limb_movement": []}, hypnogram((W, 10)))
    assert awake["limb_movement_index_per_h"] is None


def test_movements_from_probabilities():
    yes = np.zeros(200)
    yes[20:22] = yes[60:63] = yes[100:112] = 0.9  # two of a good length, and one that is too long
    movements = ROOM.decode(np.stack([1 - yes, yes], 1), 0.5)
    assert spans(movements) == [(20, 22), (60, 63)]
    beside = [hypopnea(50, 12.0), *movements]
    assert spans(ROOM.counted(beside, ASLEEP)) == [(20, 22)]
