"""Agreement on sleep spindles between scorers who mark centres well and lengths badly.

Scorers of spindles often click once, and the length in the file is nominal. So two marks are the same spindle when
their centres are less than `NOMINAL_S` apart: then marks of that length around them overlap. IoU of the lengths as
given is reported beside it, and means something only where both sides measured them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from data_pipeline.night import Event, EventKind
from data_pipeline.runs import runs
from sleepmami_jax.metrics.events import event_metrics

NOMINAL_S = 1.0
"""About the mean length of a spindle, and what DREAMS' second expert gave to every mark."""
LEAST_SHARE_S = 0.3
"""A second in which a spindle lasts at least so long is a spindle second; a mark of 0.5 s or more has one."""


def centred(events: Sequence[Event], first_s: float = 0.0, end_s: float = np.inf) -> list[Event]:
    """Events with their centre in [first_s, end_s), as marks of `NOMINAL_S` around it."""
    centres = [(e, e.onset_s + e.duration_s / 2) for e in events]
    return [
        replace(e, onset_s=centre - NOMINAL_S / 2, duration_s=NOMINAL_S)
        for e, centre in centres
        if first_s <= centre < end_s
    ]


def spindle_metrics(
    references: Sequence[Sequence[Event]], predictions: Sequence[Sequence[Event]], scored_s: Sequence[float]
) -> dict[str, Any]:
    """Agreement on spindles whose centre lies in the first `scored_s` seconds of each recording, pooled.

    Returns:
      n_reference, n_predicted, n_matched, precision, recall, f1: one to one, centres less than `NOMINAL_S` apart;
      f1_iou: {threshold: F1} of the lengths as given. None where the denominator is zero.
    """

    def inside(nights: Sequence[Sequence[Event]]) -> list[list[Event]]:
        whole = zip(nights, scored_s, strict=True)
        return [[e for e in events if e.onset_s + e.duration_s / 2 < end_s] for events, end_s in whole]

    references, predictions = inside(references), inside(predictions)
    by_centre = event_metrics([*map(centred, references)], [*map(centred, predictions)])
    names = ("n_reference", "n_predicted", "n_matched", "precision", "recall", "f1")
    by_length = event_metrics(references, predictions)
    return {name: by_centre[name] for name in names} | {"f1_iou": by_length["f1_iou"]}


def pooled_and_each(
    references: Sequence[Sequence[Event]], predictions: Sequence[Sequence[Event]], scored_s: float
) -> dict[str, Any]:
    """`spindle_metrics` of recordings that were all scored for as long, and `f1_each`, of every one alone."""
    pairs = zip(references, predictions, strict=True)
    each = [spindle_metrics([marks], [found], [scored_s])["f1"] for marks, found in pairs]
    return spindle_metrics(references, predictions, [scored_s] * len(references)) | {"f1_each": each}


def spindle_seconds(events: Sequence[Event], n_seconds: int) -> np.ndarray:
    """(n_seconds,) bool: seconds in which spindles last for `LEAST_SHARE_S` or longer.

    >>> spindle_seconds([Event("spindle", 1.5, 1.0)], 5)
    array([False,  True,  True, False, False])
    """
    seconds = np.arange(n_seconds)
    share = np.zeros(n_seconds)
    for e in events:
        share += np.clip(np.minimum(e.end_s, seconds + 1) - np.maximum(e.onset_s, seconds), 0, None)
    return share >= LEAST_SHARE_S


def spindles_above(probs: np.ndarray, threshold: float) -> list[Event]:
    """Runs of seconds with a probability (S,) at or above the threshold, as spindles."""
    above = runs(np.asarray(probs) >= threshold)
    return [Event(EventKind.SPINDLE, float(start), float(stop - start)) for start, stop in above]
