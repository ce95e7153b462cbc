"""Labels of events second by second, or look by look, the same for records and whole nights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from data_pipeline.night import Event
from data_pipeline.tasks import Task, TaskKind

NOT_SCORED = -1
_HALF = 0.5 + 1e-6  # so that half a second written with rounding errors is not more than half


def places_of(
    events: Sequence[Event], start_s: float, n_seconds: int, rate_hz: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the seconds [start_s, start_s + n_seconds) are an event's, or which of `rate_hz` parts of each.

    Those that it covers more than half of. One that covers none so far, as a spindle or a twitch may of a second, has
    the one of its middle.

    Returns:
      (n,) number of an event and (n,) a place of it, both int64.
    """
    onset, end = ((np.array(t) - start_s) * rate_hz for t in zip(*((e.onset_s, e.end_s) for e in events), strict=True))
    first, last = np.floor(onset).astype(int), np.ceil(end).astype(int)
    n = np.maximum(last - first, 0)
    whose = np.repeat(np.arange(len(n)), n)
    places = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n) + first[whose]
    covered = np.minimum(end[whose], places + 1) - np.maximum(onset[whose], places) > _HALF
    whose, places = whose[covered], places[covered]
    short = np.flatnonzero(np.bincount(whose, minlength=len(n)) == 0)
    whose = np.concatenate([whose, short])
    places = np.concatenate([places, np.floor((onset + end) / 2).astype(int)[short]])
    inside = (places >= 0) & (places < n_seconds * rate_hz)
    return whose[inside], places[inside]


def event_labels(
    events: Iterable[Event], scored: Collection[str], tasks: Sequence[Task], start_s: float, n_seconds: int
) -> dict[str, np.ndarray]:
    """Labels of seconds [start_s, start_s + n_seconds), by `places_of`; where two classes meet the later has it.

    Args:
      events: events, onset on the same clock as `start_s`.
      scored: what the scorer looked for, as in `Scoring.scored`.
      tasks: tasks of events.

    Returns:
      By name of the task, (n_seconds * rate_hz,) int8: a class, or -1 throughout when it was not scored. Of types, -1
      outside of the events whose type was told.
    """
    known = [task for task in tasks if task.was_scored(scored)]
    none = {t.name: 0 if t in known and t.kind is not TaskKind.TYPES else NOT_SCORED for t in tasks}
    labels = {t.name: np.full(n_seconds * t.rate_hz, none[t.name], np.int8) for t in tasks}
    events = tuple(events)
    for task in known if events else ():
        classes = {kind: task.class_of(kind) for kind in {event.kind for event in events}}
        own = [event for event in events if classes[event.kind]]
        if own:
            whose, places = places_of(own, start_s, n_seconds, task.rate_hz)
            numbers = np.array([classes[event.kind] for event in own], np.int8)
            np.maximum.at(labels[task.name], places, numbers[whose])
    return labels
