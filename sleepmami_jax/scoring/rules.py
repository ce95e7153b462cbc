"""When marks on a night become events that count: durations, merging, sleep, and which event goes with which.

One definition for predicted events in a report and human events in an evaluation. (Training sees every mark as
it was made: `data.labels`.) A rule of the AASM manual is named by its chapter; where the manual gives no number,
the source or our choice is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from data_pipeline.night import APNEAS, BREATHING_EVENTS, EPOCH_S, Event, EventKind

BREATHING_MIN_S = 10.0
"""An apnea or hypopnea lasts at least 10 s (AASM VIII, adults)."""
BREATHING_MAX_S = 180.0
"""Our choice: a longer mark is a period of changed breathing, not one event."""
BREATHING_MERGE_GAP_S = 3.0
"""Our choice: fragments at most 3 s apart are one event; fewer than two breaths fit between them. Two marks that
are each long enough to be an event stay two: apneas in a row are counted, however little is breathed between."""
AROUSAL_MIN_S = 3.0
"""An arousal lasts at least 3 s (AASM V)."""
AROUSAL_MAX_S = 15.0
"""Our choice, after the custom of scorers: a shift that lasts longer is an awakening, which begins with an arousal.
The arousal counts, and is cut here."""
AROUSAL_SEPARATION_S = 10.0
"""An arousal follows at least 10 s of stable sleep (AASM V), so none follows another one sooner."""
AROUSAL_BEFORE_EVENT_END_S = 6.0
AROUSAL_AFTER_EVENT_END_S = 14.0
"""A breathing event's arousal begins from 6 s before to 14 s after the event's end. The manual gives no
window; this one holds 90 % of hypopnea-linked arousals in 11 400 recordings (Zitting et al., J Clin Sleep
Med 2023)."""
DESATURATION_AFTER_EVENT_END_S = 45.0
"""A breathing event's desaturation has its nadir at most 45 s after the event's end. The manual gives no
window; public scorers use 30 to 75 s, and circulation and averaging delay the oximeter by 15 to 40 s."""

TOLERANCE_S = 1e-6
"""Slack for times that went through text or floating-point arithmetic."""


def merge(events: Sequence[Event], gap_s: float, whole_s: float = float("inf")) -> tuple[Event, ...]:
    """Joins events that overlap or lie at most `gap_s` seconds apart; the result is sorted by onset.

    Two events that each last `whole_s` or more are joined only where they overlap or touch.

    The joint kind of two breathing events is the apnea when one of them is a hypopnea (AASM VIII: an event
    that is partly an apnea is an apnea), and `EventKind.APNEA` when they are apneas of two types.

    Raises:
      ValueError: two events to be joined have kinds that have no joint kind.
    """
    merged: list[Event] = []
    for event in sorted(events, key=lambda e: (e.onset_s, e.end_s)):
        last = merged[-1] if merged else None
        both_whole = last is not None and min(last.duration_s, event.duration_s) >= whole_s - TOLERANCE_S
        if last is not None and event.onset_s - last.end_s <= (0.0 if both_whole else gap_s) + TOLERANCE_S:
            merged[-1] = replace(
                last,
                kind=_joint_kind(last.kind, event.kind),
                duration_s=max(last.end_s, event.end_s) - last.onset_s,
            )
        else:
            merged.append(event)
    return tuple(merged)


def _joint_kind(first: EventKind, second: EventKind) -> EventKind:
    if first == second:
        return first
    if not {first, second} <= BREATHING_EVENTS:
        raise ValueError(f"cannot merge a {first} with a {second}: pass events of one family at a time")
    apneas = {first, second} & APNEAS
    return apneas.pop() if len(apneas) == 1 else EventKind.APNEA


def keep_by_duration(
    events: Sequence[Event], min_s: float = 0.0, max_s: float = float("inf")
) -> tuple[Event, ...]:
    """The events that last from `min_s` to `max_s` seconds, both included."""
    return tuple(e for e in events if min_s - TOLERANCE_S <= e.duration_s <= max_s + TOLERANCE_S)


def keep_separated(events: Sequence[Event], gap_s: float) -> tuple[Event, ...]:
    """The events, in order of onset, that begin at least `gap_s` seconds after the last kept one's end."""
    kept: list[Event] = []
    for event in sorted(events, key=lambda e: (e.onset_s, e.end_s)):
        if not kept or event.onset_s - kept[-1].end_s >= gap_s - TOLERANCE_S:
            kept.append(event)
    return tuple(kept)


def count_in_sleep(events: Sequence[Event], stages: np.ndarray, lead_s: float = 0.0) -> tuple[Event, ...]:
    """The events of which any part lies in an epoch scored as sleep (AASM VIII); unknown epochs are not
    sleep.

    Args:
      events: any events.
      stages: (E,) stage codes.
      lead_s: seconds before the onset that count as part of the event.
    """
    asleep = np.asarray(stages) > 0
    return tuple(
        e
        for e in events
        if asleep[
            max(0, int((e.onset_s - lead_s) // EPOCH_S)) : max(
                0, int(np.ceil((e.end_s - TOLERANCE_S) / EPOCH_S))
            )
        ].any()
    )


def breathing_rules(events: Sequence[Event]) -> tuple[Event, ...]:
    """Marks of apneas and hypopneas -> events of a permitted length, asleep or not."""
    return keep_by_duration(
        merge(events, BREATHING_MERGE_GAP_S, BREATHING_MIN_S), BREATHING_MIN_S, BREATHING_MAX_S
    )


def arousals_apart(events: Sequence[Event]) -> tuple[Event, ...]:
    """Marks of arousals -> those long enough and far enough apart, however long, asleep or not.

    What follows an awakening sooner than 10 s is part of it.
    """
    return keep_separated(keep_by_duration(merge(events, 0.0), AROUSAL_MIN_S), AROUSAL_SEPARATION_S)


def arousal_rules(events: Sequence[Event]) -> tuple[Event, ...]:
    """`arousals_apart`, those that are too long cut to their beginning."""
    return tuple(replace(e, duration_s=min(e.duration_s, AROUSAL_MAX_S)) for e in arousals_apart(events))


def counted_breathing(events: Sequence[Event], stages: np.ndarray) -> tuple[Event, ...]:
    """The apneas and hypopneas of a mixed list of events that the AHI counts, by all rules of this module."""
    return count_in_sleep(breathing_rules([e for e in events if e.kind in BREATHING_EVENTS]), stages)


def counted_arousals(events: Sequence[Event], stages: np.ndarray) -> tuple[Event, ...]:
    """The arousals of a mixed list of events that the arousal index counts, by all rules of this module.

    An arousal that wakes the person may lie wholly in an epoch scored W; it counts when the 10 s before it
    touch an epoch of sleep (AASM V).
    """
    arousals = arousal_rules([e for e in events if e.kind == EventKind.AROUSAL])
    return count_in_sleep(arousals, stages, lead_s=AROUSAL_SEPARATION_S)


def link_arousals(breathing: Sequence[Event], arousals: Sequence[Event]) -> dict[int, int]:
    """Which arousal ends which breathing event: {index in `breathing`: index in `arousals`}.

    An arousal is used once and an event has one at most; the nearest pairs (arousal onset to event end) go
    first.
    """
    offsets = [(a.onset_s - b.end_s, i, j) for i, b in enumerate(breathing) for j, a in enumerate(arousals)]
    near = [o for o in offsets if -AROUSAL_BEFORE_EVENT_END_S <= o[0] <= AROUSAL_AFTER_EVENT_END_S]
    linked: dict[int, int] = {}
    used: set[int] = set()
    for _, i, j in sorted((abs(offset), i, j) for offset, i, j in near):
        if i not in linked and j not in used:
            linked[i] = j
            used.add(j)
    return linked


def link_desaturations(breathing: Sequence[Event], nadirs_s: Sequence[float]) -> dict[int, int]:
    """Which desaturation follows which breathing event: {index in `breathing`: index in `nadirs_s`}.

    In order of time, each event takes the first free nadir from its own middle to 45 s after its end, and not
    later than the next event's end: a later one is that event's own.
    """
    order = sorted(range(len(breathing)), key=lambda i: breathing[i].onset_s)
    free = sorted(range(len(nadirs_s)), key=lambda j: nadirs_s[j])
    linked: dict[int, int] = {}
    for place, i in enumerate(order):
        event = breathing[i]
        earliest_s = event.onset_s + event.duration_s / 2
        latest_s = event.end_s + DESATURATION_AFTER_EVENT_END_S
        if place + 1 < len(order):
            latest_s = min(latest_s, breathing[order[place + 1]].end_s)
        j = next((j for j in free if earliest_s <= nadirs_s[j] <= latest_s), None)
        if j is not None:
            linked[i] = j
            free.remove(j)
    return linked
