"""Agreement between two lists of events, and between two indices; and the threshold that makes the most of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from data_pipeline.night import Event
from data_pipeline.tasks import APNEA_TYPE
from sleepmami_jax.tasks.breathing import SEVERITIES

IOUS = (0.1, 0.2, 0.3, 0.5)
"""Overlap thresholds beside "any overlap": 0.2 and 0.3 are customary for spindles and arousals, 0.5 is strict."""
THRESHOLDS = tuple(np.round(np.arange(0.02, 1.0, 0.02), 2).tolist())
"""Probability thresholds that `fit_threshold` tries."""


def iou(reference: Sequence[Event], predicted: Sequence[Event]) -> np.ndarray:
    """(n_reference, n_predicted) intersection over union of every pair in time; 0 where they only touch.

    >>> iou([Event("arousal", 0.0, 10.0)], [Event("arousal", 5.0, 5.0), Event("arousal", 50.0, 5.0)])
    array([[0.5, 0. ]])
    """
    starts, ends = (np.array([[e.onset_s, e.end_s] for e in reference]).reshape(-1, 2).T)[:, :, None]
    other_starts, other_ends = (np.array([[e.onset_s, e.end_s] for e in predicted]).reshape(-1, 2).T)[:, None, :]
    shared = np.clip(np.minimum(ends, other_ends) - np.maximum(starts, other_starts), 0, None)
    union = (ends - starts) + (other_ends - other_starts) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def match(reference: Sequence[Event], predicted: Sequence[Event], min_iou: float = 0.0) -> list[tuple[int, int]]:
    """One-to-one pairs (index in reference, index in predicted): as many as possible, then with the most overlap.

    A pair is possible when the events overlap at all (`min_iou` 0) or their IoU is at least `min_iou`. No
    event is in two pairs: a long prediction over three events finds one of them.

    >>> match([Event("arousal", 0.0, 10.0)], [Event("arousal", 50.0, 5.0), Event("arousal", 2.0, 10.0)])
    [(0, 1)]
    """
    overlap = iou(reference, predicted)
    possible = (overlap > 0) & (overlap >= min_iou - 1e-9)
    # One pair more outweighs all overlap that the others could gain, since each IoU is at most 1.
    weight = np.where(possible, min(overlap.shape) + 1 + overlap, 0)
    rows, columns = linear_sum_assignment(weight, maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if possible[i, j]]


def event_metrics(references: Sequence[Sequence[Event]], predictions: Sequence[Sequence[Event]]) -> dict[str, Any]:
    """Precision, recall and F1 of events matched one to one, pooled over nights.

    Pass events by the same rules on both sides (`sleepmami_jax.tasks`). Any overlap matches for `precision`,
    `recall` and `f1`; `f1_iou` asks for more. F1 is 2 TP / (n_reference + n_predicted). What has a zero
    denominator is None. Onset and end errors are medians of |difference| over matched pairs.

    >>> scorer, model = [Event("arousal", 0.0, 10.0)], [Event("arousal", 2.0, 10.0), Event("arousal", 50.0, 5.0)]
    >>> event_metrics([scorer], [model])["precision"]
    0.5

    Returns:
      n_nights, n_reference, n_predicted, n_matched, precision, recall, f1, f1_median (over nights that have
      events on either side), f1_iou {threshold: F1}, onset_error_median_s, end_error_median_s.
    """
    nights = list(zip(references, predictions, strict=True))
    n_reference = sum(len(reference) for reference, _ in nights)
    n_predicted = sum(len(predicted) for _, predicted in nights)
    pairs = [match(*night) for night in nights]
    n_matched = sum(map(len, pairs))
    onset_errors, end_errors = [], []
    for (reference, predicted), matched in zip(nights, pairs, strict=True):
        onset_errors += [abs(reference[i].onset_s - predicted[j].onset_s) for i, j in matched]
        end_errors += [abs(reference[i].end_s - predicted[j].end_s) for i, j in matched]
    per_night = [_f1(len(m), len(r), len(p)) for (r, p), m in zip(nights, pairs, strict=True) if r or p]
    return {
        "n_nights": len(nights),
        "n_reference": n_reference,
        "n_predicted": n_predicted,
        "n_matched": n_matched,
        "precision": n_matched / n_predicted if n_predicted else None,
        "recall": n_matched / n_reference if n_reference else None,
        "f1": _f1(n_matched, n_reference, n_predicted),
        "f1_median": float(np.median(per_night)) if per_night else None,
        "f1_iou": {
            str(threshold): _f1(sum(len(match(*n, threshold)) for n in nights), n_reference, n_predicted)
            for threshold in IOUS
        },
        "onset_error_median_s": float(np.median(onset_errors)) if onset_errors else None,
        "end_error_median_s": float(np.median(end_errors)) if end_errors else None,
    }


def type_metrics(references: Sequence[Sequence[Event]], predictions: Sequence[Sequence[Event]]) -> dict[str, Any]:
    """Agreement on the types of apneas, of those events that both sides found and gave a type, pooled over nights.

    >>> one, other = Event("central_apnea", 0.0, 20.0), Event("obstructive_apnea", 2.0, 20.0)
    >>> type_metrics([[one]], [[other]])["accuracy"]
    0.0

    Returns:
      n_typed, accuracy, kappa (Cohen's; None where both sides name one and the same type alone), confusion (rows
      reference; obstructive, central, mixed). Accuracy is None without any.
    """
    kinds = [kind for (kind,) in APNEA_TYPE.events]
    pairs = [
        (str(reference[i].kind), str(predicted[j].kind))
        for reference, predicted in zip(references, predictions, strict=True)
        for i, j in match(reference, predicted)
        if reference[i].kind in kinds and predicted[j].kind in kinds
    ]
    one, other = zip(*pairs, strict=True) if pairs else ((), ())
    kappa = cohen_kappa_score(one, other) if len({*one, *other}) > 1 else None
    return {
        "n_typed": len(pairs),
        "accuracy": float(np.mean(np.equal(one, other))) if pairs else None,
        "kappa": None if kappa is None else float(kappa),
        "confusion": confusion_matrix(one, other, labels=list(map(str, kinds))).tolist() if pairs else None,
    }


def _f1(n_matched: int, n_reference: int, n_predicted: int) -> float | None:
    return 2 * n_matched / (n_reference + n_predicted) if n_reference + n_predicted else None


def index_metrics(
    references_per_h: Sequence[float | None],
    predictions_per_h: Sequence[float | None],
    severity: Callable[[float], str] | None = None,
) -> dict[str, Any]:
    """Agreement of an index over nights: error, Bland-Altman limits (mean ± 1.96 SD of the differences).

    Nights where either is None (no sleep, no sensor) are left out and counted.

    Args:
      references_per_h, predictions_per_h: events per hour of each night.
      severity: index -> its class, where there are classes (of the AHI).

    Returns:
      n_nights, n_left_out, mae_per_h, bias_per_h, limits_of_agreement_per_h (two values), pearson_r, and
      with `severity` what `_severity_metrics` returns. None where too few nights define it.
    """
    both = list(zip(references_per_h, predictions_per_h, strict=True))
    kept = [pair for pair in both if None not in pair]
    reference, predicted = np.array(kept, float).reshape(-1, 2).T
    difference = predicted - reference
    has_spread = len(kept) > 2 and reference.std() > 0 and predicted.std() > 0
    spread = 1.96 * difference.std(ddof=1) if len(kept) > 1 else None
    metrics = {
        "n_nights": len(kept),
        "n_left_out": len(both) - len(kept),
        "mae_per_h": float(np.abs(difference).mean()) if kept else None,
        "bias_per_h": float(difference.mean()) if kept else None,
        "limits_of_agreement_per_h": None
        if spread is None
        else [float(difference.mean() - spread), float(difference.mean() + spread)],
        "pearson_r": float(np.corrcoef(reference, predicted)[0, 1]) if has_spread else None,
    }
    if severity is None:
        return metrics
    return metrics | _severity_metrics([severity(x) for x in reference], [severity(x) for x in predicted])


def _severity_metrics(reference: list[str], predicted: list[str]) -> dict[str, Any]:
    """severity_accuracy, severity_kappa (linear weights: classes are in order), severity_confusion (rows reference)."""
    several = len({*reference, *predicted}) > 1
    classes = list(SEVERITIES)
    kappa = cohen_kappa_score(reference, predicted, labels=classes, weights="linear") if several else None
    return {
        "severity_accuracy": float(np.mean(np.equal(reference, predicted))) if reference else None,
        "severity_kappa": None if kappa is None else float(kappa),
        "severity_confusion": confusion_matrix(reference, predicted, labels=classes).tolist() if reference else None,
    }


def fit_threshold(
    probs: Sequence[Any],
    references: Sequence[Sequence[Event]],
    decode: Callable[[Any, float], Sequence[Event]],
    thresholds: Sequence[float] = THRESHOLDS,
) -> float:
    """The threshold with the highest F1 (any overlap, one to one, pooled over nights); of equals the middle one.

    Fit it on validation nights, keep it with the model, and never fit it on the nights that are reported.

    Args:
      probs: what `decode` takes for each night, e.g. (probabilities, stages).
      references: events of each night, by the same rules as `decode`'s.
      decode: (one of `probs`, threshold) -> events.
      thresholds: candidates, ascending.

    Raises:
      ValueError: no reference event in any night, or every candidate finds none of them.
    """
    n_reference = sum(map(len, references))
    if not n_reference:
        raise ValueError("no reference events in these nights: a threshold cannot be fitted without one")
    scores = []
    for threshold in thresholds:
        predictions = [decode(night, threshold) for night in probs]
        n_matched = sum(len(match(r, p)) for r, p in zip(references, predictions, strict=True))
        scores.append(_f1(n_matched, n_reference, sum(map(len, predictions))))
    if not max(scores):
        raise ValueError(
            f"no threshold from {thresholds[0]} to {thresholds[-1]} finds any of the {n_reference} reference "
            "events; train longer, or check that predictions and references are of the same nights"
        )
    best = np.flatnonzero(np.isclose(scores, max(scores)))
    return float(thresholds[best[len(best) // 2]])
