"""What guessing reaches: the number that every result stands beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipeline.night import EPOCH_S, STAGES, UNKNOWN_STAGE, Event, EventKind
from sleepmami_jax.metrics.events import event_metrics
from sleepmami_jax.metrics.staging import staging_metrics


def majority_stage(train_stages: Sequence[np.ndarray]) -> int:
    """Code of the commonest stage of the training nights; the first in `STAGES` of equals.

    Raises:
      ValueError: no epoch is scored.
    """
    scored = np.concatenate([np.asarray(stages) for stages in train_stages])
    counts = np.bincount(scored[scored != UNKNOWN_STAGE], minlength=len(STAGES))
    if not counts.sum():
        raise ValueError("no training epoch is scored: there is no commonest stage")
    return int(counts.argmax())


def majority_metrics(train_stages: Sequence[np.ndarray], test_stages: Sequence[np.ndarray]) -> dict[str, Any]:
    """Staging metrics of calling every test epoch the commonest training stage."""
    code = majority_stage(train_stages)
    predictions = [np.full(len(stages), code, np.int8) for stages in test_stages]
    return {"stage": STAGES[code]} | staging_metrics(test_stages, predictions)


def event_baselines(
    train_events: Sequence[Sequence[Event]],
    train_stages: Sequence[np.ndarray],
    test_events: Sequence[Sequence[Event]],
    test_stages: Sequence[np.ndarray],
) -> dict[str, float | str | None]:
    """F1 (any overlap, one to one) of marking test nights without looking at any signal.

    Both guesses put events of the training nights' median length into the test nights' own sleep, which flatters them:
    `f1_everything` fills it end to end, `f1_random` draws as many a sleeping hour as the training nights have, at
    random. Marking nothing has F1 0, or no F1 where there is nothing to find.

    Args:
      train_events, test_events: counted events of one task, a night each (`sleepmami_jax.tasks`).
      train_stages, test_stages: (E,) codes, a night each.

    Returns:
      f1_everything, f1_random, best ("everything" or "random"), f1_best; all None without training events or
      without events to find.
    """
    durations = [e.duration_s for events in train_events for e in events]
    train_sleep_s = sum(int((np.asarray(s) > 0).sum()) for s in train_stages) * EPOCH_S
    if not durations or not train_sleep_s or not any(test_events):
        return {"f1_everything": None, "f1_random": None, "best": None, "f1_best": None}
    duration_s = float(np.median(durations))
    rng = np.random.default_rng(0)
    everything, random = [], []
    for stages in test_stages:
        sleep_starts = np.flatnonzero(np.asarray(stages) > 0) * EPOCH_S
        seconds = (sleep_starts[:, None] + np.arange(EPOCH_S)).ravel()  # every second of sleep
        everything.append(_place(seconds[:: max(1, round(duration_s))], duration_s))
        n_events = min(len(seconds), round(len(seconds) * len(durations) / train_sleep_s))
        random.append(_place(np.sort(rng.choice(seconds, n_events, replace=False)), duration_s))
    f1 = {
        "everything": event_metrics(test_events, everything)["f1"],
        "random": event_metrics(test_events, random)["f1"],
    }
    best = max(f1, key=f1.__getitem__)
    return {"f1_everything": f1["everything"], "f1_random": f1["random"], "best": best, "f1_best": f1[best]}


def _place(onsets_s: np.ndarray, duration_s: float) -> list[Event]:
    # The kind plays no part in matching.
    return [Event(EventKind.ARTIFACT, float(onset_s), duration_s) for onset_s in onsets_s]


def median_index_mae(train_per_h: Sequence[float], test_per_h: Sequence[float]) -> float | None:
    """Mean absolute error of giving every test night the training nights' median index; None without nights."""
    if not len(train_per_h) or not len(test_per_h):
        return None
    return float(np.abs(np.median(train_per_h) - np.asarray(test_per_h)).mean())
