"""When marks on a night become events that count: what the rules of several tasks are made of.

One definition for predicted events in a report and human events in an evaluation. (Training sees every mark as
it was made: `data.labels`.) A rule of the AASM manual is named by its chapter; where the manual gives no number,
the source or our choice is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from data_pipeline.night import EPOCH_S, Event
from data_pipeline.tasks import Task

TOLERANCE_S = 1e-6
"""Slack for times that went through text or floating-point arithmetic."""


def merge(events: Sequence[Event], task: Task, whole_s: float = float("inf")) -> tuple[Event, ...]:
    """Joins events of a task that overlap or lie at most `task.join_s` seconds apart; the result is sorted by onset.

    Two events that each last `whole_s` or more are joined only where they overlap or touch. The joint event is of the
    later class of the two (AASM VIII: an event that is partly an apnea is an apnea), and of the first kind of their
    class when they are two kinds of one.

    >>> from data_pipeline.tasks import BREATHING
    >>> [(e.onset_s, e.end_s) for e in merge([Event("hypopnea", 0, 12), Event("hypopnea", 14, 12)], BREATHING)]
    [(0, 26)]
    """
    merged: list[Event] = []
    for event in sorted(events, key=lambda e: (e.onset_s, e.end_s)):
        last = merged[-1] if merged else None
        both_whole = last is not None and min(last.duration_s, event.duration_s) >= whole_s - TOLERANCE_S
        gap_s = 0.0 if both_whole else task.join_s
        if last is not None and event.onset_s - last.end_s <= gap_s + TOLERANCE_S:
            merged[-1] = replace(
                last,
                kind=_joint_kind(task, last.kind, event.kind),
                duration_s=max(last.end_s, event.end_s) - last.onset_s,
            )
        else:
            merged.append(event)
    return tuple(merged)


def _joint_kind(task: Task, first: str, second: str) -> str:
    one, other = task.class_of(first), task.class_of(second)
    if one == other:
        return first if first == second else task.events[one - 1][0]
    return first if one > other else second


def keep_by_duration(events: Sequence[Event], shortest_s: float, longest_s: float | None) -> tuple[Event, ...]:
    """The events that last from `shortest_s` to `longest_s` seconds, both included; None is without end.

    >>> marks = [Event("arousal", 5, 2), Event("arousal", 40, 4)]
    >>> [e.onset_s for e in keep_by_duration(marks, shortest_s=3, longest_s=15)]
    [40]
    """
    most_s = float("inf") if longest_s is None else longest_s
    return tuple(e for e in events if shortest_s - TOLERANCE_S <= e.duration_s <= most_s + TOLERANCE_S)


def keep_separated(events: Sequence[Event], gap_s: float) -> tuple[Event, ...]:
    """The events, in order of onset, that begin at least `gap_s` seconds after the last kept one's end.

    >>> [e.onset_s for e in keep_separated([Event("arousal", 5, 4), Event("arousal", 12, 4)], gap_s=10)]
    [5]
    """
    kept: list[Event] = []
    for event in sorted(events, key=lambda e: (e.onset_s, e.end_s)):
        if not kept or event.onset_s - kept[-1].end_s >= gap_s - TOLERANCE_S:
            kept.append(event)
    return tuple(kept)


def keep_apart(events: Sequence[Event], others: Sequence[Event], margin_s: float) -> tuple[Event, ...]:
    """The events of which no part lies within `margin_s` seconds of one of the others.

    >>> [e.onset_s for e in keep_apart([Event("limb_movement", 9, 2)], [Event("hypopnea", 11.4, 10)], margin_s=0.5)]
    []
    """
    near_s = margin_s + TOLERANCE_S
    return tuple(
        e for e in events if not any(o.onset_s - near_s <= e.end_s and e.onset_s <= o.end_s + near_s for o in others)
    )


def count_in_sleep(events: Sequence[Event], stages: np.ndarray, lead_s: float = 0.0) -> tuple[Event, ...]:
    """The events of which any part lies in an epoch scored as sleep (AASM VIII); unknown epochs are not sleep.

    >>> [e.onset_s for e in count_in_sleep([Event("arousal", 5, 4), Event("arousal", 35, 4)], np.array([0, 2]))]
    [35]

    Args:
      events: any events.
      stages: (E,) stage codes.
      lead_s: seconds before the onset that count as part of the event.
    """
    asleep = np.asarray(stages) > 0

    def touches_sleep(event: Event) -> bool:
        first, end = (event.onset_s - lead_s) // EPOCH_S, np.ceil((event.end_s - TOLERANCE_S) / EPOCH_S)
        return bool(asleep[max(0, int(first)) : max(0, int(end))].any())

    return tuple(filter(touches_sleep, events))


def per_hour(count: float, minutes: float) -> float | None:
    """An index: so many in so many minutes, per hour; None without a minute.

    >>> per_hour(12, minutes=90), per_hour(0, minutes=0)
    (8.0, None)
    """
    return count / (minutes / 60) if minutes else None


def share(part: float, whole: float) -> float | None:
    """Per cent of the whole; None without any."""
    return 100 * part / whole if whole else None


def sleep_minutes(stages: np.ndarray) -> float:
    """Total sleep time of a hypnogram (E,), in minutes."""
    return float((np.asarray(stages) > 0).sum() * EPOCH_S / 60)
