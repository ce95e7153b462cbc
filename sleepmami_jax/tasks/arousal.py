"""Arousals: when they count, their index, and which of them end a breathing event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from data_pipeline.night import Event
from data_pipeline.tasks import AROUSAL, BREATHING
from sleepmami_jax.tasks.room import Counted, Room
from sleepmami_jax.tasks.rules import keep_by_duration, keep_separated, merge, per_hour, share, sleep_minutes

SEPARATION_S = 10.0
"""An arousal follows at least 10 s of stable sleep (AASM V), so none follows another one sooner; and one that wakes the
person, and may lie wholly in an epoch scored W, counts when the 10 s before it touch an epoch of sleep."""
AWAKENING_S = 60.0
"""A stretch that looks like one arousal for longer than this is no arousal."""
BEFORE_EVENT_END_S, AFTER_EVENT_END_S = 6.0, 14.0
"""A breathing event's arousal begins from 6 s before to 14 s after the event's end. The manual gives no window; this
one holds 90 % of hypopnea-linked arousals in 11 400 recordings (Zitting et al., J Clin Sleep Med 2023)."""


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


def arousal_statistics(counted: Counted, stages: np.ndarray) -> dict[str, Any]:
    """Count and index of counted arousals, and how many go with breathing events (None when those are unknown)."""
    arousals, breathing = counted[AROUSAL.name], counted.get(BREATHING.name)
    tst_min = sleep_minutes(stages)
    linked = None if breathing is None else len(link_arousals(breathing, arousals))
    return {
        "arousals": len(arousals),
        "arousal_index_per_h": per_hour(len(arousals), tst_min),
        "respiratory_arousal_index_per_h": None if linked is None else per_hour(linked, tst_min),
        "breathing_with_arousal_pct": None if linked is None else share(linked, len(breathing)),
    }


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
        ("breathing_with_arousal_pct", "Breathing events with arousal", "%"),
    ),
    index="arousal_index_per_h",
    lead_s=SEPARATION_S,
    endless=(AWAKENING_S, f"count as one of {AROUSAL.longest_s:.0f} s each: they may be wakefulness, or noise"),
)
