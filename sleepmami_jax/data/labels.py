"""Second-by-second labels of events, the same for records and whole nights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from data_pipeline.night import Event
from data_pipeline.tasks import Task

NOT_SCORED = -1
_HALF_SECOND = 0.5 + 1e-6  # so that half a second written with rounding errors is not more than half


def seconds_of(event: Event, start_s: float, n_seconds: int) -> np.ndarray:
    """Which of the seconds [start_s, start_s + n_seconds) are an event's, counted from `start_s`.

    Those that it covers more than half of. One that covers no second so far, as a spindle or a twitch may, has the
    second of its middle.
    """
    onset_s, end_s = event.onset_s - start_s, event.end_s - start_s
    seconds = np.arange(int(onset_s // 1), int(-(-end_s // 1)))
    covered_s = np.minimum(end_s, seconds + 1) - np.maximum(onset_s, seconds)
    seconds = seconds[covered_s > _HALF_SECOND]
    if not len(seconds):
        seconds = np.array([int((onset_s + end_s) / 2 // 1)])
    return seconds[(seconds >= 0) & (seconds < n_seconds)]


def second_labels(
    events: Iterable[Event], scored: Collection[str], tasks: Sequence[Task], start_s: float, n_seconds: int
) -> dict[str, np.ndarray]:
    """Labels of seconds [start_s, start_s + n_seconds), by `seconds_of`; where two classes meet the later has it.

    Args:
      events: events, onset on the same clock as `start_s`.
      scored: what the scorer looked for, as in `Scoring.scored`.
      tasks: tasks of events.

    Returns:
      By name of the task, (n_seconds,) int8: a class, or -1 throughout when it was not scored.
    """
    labels = {task.name: np.full(n_seconds, 0 if task.was_scored(scored) else NOT_SCORED, np.int8) for task in tasks}
    known = [task for task in tasks if task.was_scored(scored)]
    for event in events:
        for task in known:
            if number := task.class_of(event.kind):
                seconds = seconds_of(event, start_s, n_seconds)
                labels[task.name][seconds] = np.maximum(labels[task.name][seconds], number)
    return labels
