"""Second-by-second labels of breathing events and arousals, the same for records and whole nights."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from data_pipeline.night import APNEAS, Event, EventKind, breathing_was_scored

NOT_SCORED = -1
_HYPOPNEA, _AROUSAL = EventKind.HYPOPNEA, EventKind.AROUSAL
SECOND_LABELS = {
    "respiratory": {_HYPOPNEA: 1} | dict.fromkeys(sorted(APNEAS), 2),
    "arousal": {_AROUSAL: 1},
}
"""Task -> event kind -> class; class 0 is none."""
_HALF_SECOND = 0.5 + 1e-6  # so that half a second written with rounding errors is not more than half


def second_labels(
    events: Iterable[Event], scored: Collection[str], start_s: float, n_seconds: int
) -> dict[str, np.ndarray]:
    """Labels of seconds [start_s, start_s + n_seconds).

    A second belongs to an event that covers more than half of it; where an apnea and a hypopnea both do, the
    apnea wins. A task is scored when hypopneas and some kind of apnea (respiratory), or arousals (arousal),
    were looked for.

    Args:
      events: events, onset on the same clock as `start_s`.
      scored: what the scorer looked for, as in `Scoring.scored`.
      start_s: where the first second begins.
      n_seconds: how many.

    Returns:
      For each task of `SECOND_LABELS`, (n_seconds,) int8: a class, or -1 throughout when it was not scored.
    """
    is_scored = {
        "respiratory": breathing_was_scored(scored),
        "arousal": _AROUSAL in scored,
    }
    labels = {
        task: np.full(n_seconds, 0 if is_scored[task] else NOT_SCORED, np.int8) for task in SECOND_LABELS
    }
    for event in events:
        for task, classes in SECOND_LABELS.items():
            if event.kind not in classes or not is_scored[task]:
                continue
            onset_s, end_s = event.onset_s - start_s, event.end_s - start_s
            first, end = max(int(onset_s // 1), 0), min(int(-(-end_s // 1)), n_seconds)
            seconds = np.arange(first, max(first, end))
            covered_s = np.minimum(end_s, seconds + 1) - np.maximum(onset_s, seconds)
            seconds = seconds[covered_s > _HALF_SECOND]
            labels[task][seconds] = np.maximum(labels[task][seconds], classes[event.kind])
    return labels
