"""Arousals: when they count, their index, and which of them end a breathing event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from data_pipeline.night import Event
from data_pipeline.tasks import AROUSAL
from sleepmami_jax.tasks.room import Counted, Room
from sleepmami_jax.tasks.rules import (
    TOLERANCE_S,
    keep_by_duration,
    keep_separated,
    merge,
    per_hour,
    sleep_minutes,
)

SEPARATION_S = 10.0
"""An arousal follows at least 10 s of stable sleep (AASM V), so none follows another one sooner; and one that wakes the
person, and may lie wholly in an epoch scored W, counts when the 10 s before it touch an epoch of sleep."""
AWAKENING_S = 60.0
"""A stretch that looks like one arousal for longer than this is no arousal."""
BEFORE_EVENT_END_S, AFTER_EVENT_END_S = 6.0, 14.0
"""A breathing event's arousal begins from 6 s before to 14 s after the event's end. The manual gives no window; this
one holds 90 % of hypopnea-linked arousals in 11 400 recordings (Zitting et al., J Clin Sleep Med 2023)."""
LIMB_ASSOCIATION_S = 0.5
"""Less lies between a limb movement and its arousal (AASM VII)."""


def arousal_rules(marks: Sequence[Event]) -> tuple[Event, ...]:
    """Marks of arousals -> those long enough and far enough apart, asleep or not.

    A shift that lasts longer than an arousal can is an awakening, which begins with one: it counts, and ends here
    after 15 s, whoever marked it. What follows an awakening sooner than 10 s is part of it.
    """
    apart = keep_separated(keep_by_duration(merge(marks, AROUSAL), AROUSAL.shortest_s, None), SEPARATION_S)
    return tuple(replace(e, duration_s=min(e.duration_s, AROUSAL.longest_s)) for e in apart)


def link_arousals(breathing: Sequence[Event], arousals: Sequence[Event]) -> dict[int, int]:
    """Which arousal ends which breathing event: {index in `breathing`: index in `arousals`}.

    An arousal is used once and an event has one at most; the nearest pairs (arousal onset to event end) go first.

    >>> link_arousals([Event("hypopnea", 100, 20)], [Event("arousal", 50, 5), Event("arousal", 121, 5)])
    {0: 1}
    """
    offsets = [(a.onset_s - b.end_s, i, j) for i, b in enumerate(breathing) for j, a in enumerate(arousals)]
    near = [o for o in offsets if -BEFORE_EVENT_END_S <= o[0] <= AFTER_EVENT_END_S]
    linked: dict[int, int] = {}
    used: set[int] = set()
    for _, i, j in sorted((abs(offset), i, j) for offset, i, j in near):
        if i not in linked and j not in used:
            linked[i] = j
            used.add(j)
    return linked


def link_limb_movements(movements: Sequence[Event], arousals: Sequence[Event]) -> dict[int, int]:
    """Which arousal goes with which limb movement: {index in `movements`: index in `arousals`}.

    They overlap, or less than 0.5 s lie between the end of the one and the onset of the other, whichever is first
    (AASM VII). An arousal is used once, and a movement has one at most; in order of time.
    """
    onsets_s, ends_s = (np.array([getattr(a, name) for a in arousals]) for name in ("onset_s", "end_s"))
    linked: dict[int, int] = {}
    for i, movement in enumerate(movements):
        gaps_s = np.maximum(onsets_s, movement.onset_s) - np.minimum(ends_s, movement.end_s)
        near = np.flatnonzero(gaps_s < LIMB_ASSOCIATION_S - TOLERANCE_S)
        if free := [int(j) for j in near if j not in linked.values()]:
            linked[i] = free[0]
    return linked


def arousal_statistics(counted: Counted, stages: np.ndarray) -> dict[str, Any]:
    """Count and index of counted arousals over a hypnogram (E,)."""
    arousals = counted[AROUSAL.name]
    return {"arousals": len(arousals), "arousal_index_per_h": per_hour(len(arousals), sleep_minutes(stages))}


ROOM = Room(
    AROUSAL,
    permitted=arousal_rules,
    statistics=arousal_statistics,
    definitions={
        "arousal_index_per_h": "arousal index: the arousals listed, per hour of monitored sleep; an arousal lasts "
        "at least 3 s, is cut after 15 s, begins at least 10 s after the last one's end, and it or the 10 s before it "
        "touch sleep",
        "breathing_with_arousal_pct": "an arousal goes with a breathing event when it begins from 6 s before to "
        "14 s after the event's end",
    },
    rows=(
        ("arousal_index_per_h", "Arousal index", "/h"),
        ("arousals", "Arousals", ""),
        ("respiratory_arousal_index_per_h", "Of these, with breathing events", "/h"),
        ("plm_arousal_index_per_h", "With periodic limb movements", "/h"),
        ("spontaneous_arousal_index_per_h", "Spontaneous", "/h"),
        ("breathing_with_arousal_pct", "Breathing events with arousal", "%"),
    ),
    index="arousal_index_per_h",
    lead_s=SEPARATION_S,
    crowded=f"less than {SEPARATION_S:g} s after another",
    endless=(AWAKENING_S, f"count as one of {AROUSAL.longest_s:.0f} s each: they may be wakefulness, or noise"),
)
