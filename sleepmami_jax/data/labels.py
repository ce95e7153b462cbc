"""Labels of events second by second, or look by look, the same for records and whole nights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from data_pipeline.night import Event
from data_pipeline.tasks import Task, TaskKind

NOT_SCORED = -1
_HALF = 0.5 + 1e-6  # so that half a second written with rounding errors is not more than half


def places_of(event: Event, start_s: float, n_seconds: int, rate_hz: int = 1) -> np.ndarray:
    """Which of the seconds [start_s, start_s + n_seconds) are an event's, or which of `rate_hz` parts of each.

    Those that it covers more than half of. One that covers none so far, as a spindle or a twitch may of a second, has
    the one of its middle.
    """
    onset, end = (event.onset_s - start_s) * rate_hz, (event.end_s - start_s) * rate_hz
    places = np.arange(int(onset // 1), int(-(-end // 1)))
    places = places[np.minimum(end, places + 1) - np.maximum(onset, places) > _HALF]
    if not len(places):
        places = np.array([int((onset + end) / 2 // 1)])
    return places[(places >= 0) & (places < n_seconds * rate_hz)]


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
    for event in events:
        for task in known:
            if number := task.class_of(event.kind):
                places = places_of(event, start_s, n_seconds, task.rate_hz)
                labels[task.name][places] = np.maximum(labels[task.name][places], number)
    return labels
