"""Agreement between two lists of events, and the threshold that makes the most of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from data_pipeline.night import Event
from data_pipeline.tasks import APNEA_TYPE, Task
from sleepmami_jax.metrics.people import known

IOUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Overlap thresholds beside "any overlap": 0.2 and 0.3 are customary for spindles and arousals, 0.5 is strict."""
ONSETS_S = (1, 3, 5, 10)
"""Seconds between onsets of one event by two scorers (our choice): less than an arousal lasts, up to a short apnea."""
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
    return _paired(_reaches(overlap, min_iou), overlap)


def _reaches(overlap: np.ndarray, min_iou: float) -> np.ndarray:
    return (overlap > 0) & (overlap >= min_iou - 1e-9)


def _paired(possible: np.ndarray, merit: np.ndarray) -> list[tuple[int, int]]:
    """One-to-one pairs of rows and columns, as many as are possible, then with the most merit (0..1)."""
    rows, columns = np.nonzero(possible)
    if not len(rows):
        return []
    # Events far apart do not compete: each cluster of a few is a problem of its own.
    n = len(possible)
    edges = coo_matrix((np.ones(len(rows)), (rows, n + columns)), shape=(sum(possible.shape),) * 2)
    cluster = connected_components(edges, directed=False)[1][rows]
    order = np.argsort(cluster, kind="stable")
    pairs = []
    for members in np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1):
        if len(members) == 1:
            pairs.append((int(rows[members[0]]), int(columns[members[0]])))
            continue
        own_rows, own_columns = np.unique(rows[members]), np.unique(columns[members])
        block = np.ix_(own_rows, own_columns)
        # One pair more outweighs all merit that the others could gain.
        weight = np.where(possible[block], min(len(own_rows), len(own_columns)) + 1 + merit[block], 0)
        chosen = zip(*linear_sum_assignment(weight, maximize=True), strict=True)
        pairs += [(int(own_rows[i]), int(own_columns[j])) for i, j in chosen if weight[i, j]]
    return sorted(pairs)


def greedy_matches(reference: Sequence[Event], predicted: Sequence[Event]) -> int:
    """How many reference events are found by the greedy rule of SleepFM-2 (arXiv 2609.06849), by which its F1 is.

    In order of time each reference event takes all predictions left that overlap it at all: one is found, the others
    are false. A long prediction over three events finds the first, as in `match`; one that two short ones could share
    may be lost.

    >>> long, first, second = Event("arousal", 0.0, 9.0), Event("arousal", 1.0, 3.0), Event("arousal", 7.0, 9.0)
    >>> greedy_matches([long, second], [first, second]), len(match([long, second], [first, second]))
    (1, 2)
    """
    overlap = iou(reference, predicted) > 0
    free, found = np.ones(len(predicted), bool), 0
    for place in sorted(range(len(reference)), key=lambda i: reference[i].onset_s):
        taken = overlap[place] & free
        found += bool(taken.any())
        free &= ~taken
    return found


def onset_matches(reference: Sequence[Event], predicted: Sequence[Event], tolerance_s: float) -> int:
    """How many one-to-one pairs there are whose onsets lie at most `tolerance_s` apart."""
    onsets, others = (np.array([event.onset_s for event in side]) for side in (reference, predicted))
    apart = np.abs(onsets[:, None] - others[None, :])
    return len(_paired(apart <= tolerance_s + 1e-9, 1 / (1 + apart)))


_COUNTS = (
    "reference",
    "predicted",
    "matched",
    "greedy",
    *(f"iou.{t}" for t in IOUS),
    *(f"onset.{t}" for t in ONSETS_S),
)
_SUMS = ("onset", "end", "onset_late", "end_late")
_PLACE = {name: place for place, name in enumerate((*_COUNTS, *_SUMS))}


def event_rows(references: Sequence[Sequence[Event]], predictions: Sequence[Sequence[Event]]) -> np.ndarray:
    """(N, K) counts and sums of each night that `event_figures` takes."""
    rows = []
    for reference, predicted in zip(references, predictions, strict=True):
        overlap = iou(reference, predicted)
        pairs = _paired(_reaches(overlap, 0), overlap)
        onset = np.array([predicted[j].onset_s - reference[i].onset_s for i, j in pairs])
        end = np.array([predicted[j].end_s - reference[i].end_s for i, j in pairs])
        rows.append(
            [
                *(len(reference), len(predicted), len(pairs), greedy_matches(reference, predicted)),
                *(len(_paired(_reaches(overlap, threshold), overlap)) for threshold in IOUS),
                *(onset_matches(reference, predicted, tolerance_s) for tolerance_s in ONSETS_S),
                *(np.abs(onset).sum(), np.abs(end).sum(), onset.sum(), end.sum()),
            ]
        )
    return np.array(rows, float).reshape(-1, len(_PLACE))


def event_figures(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of sums of `event_rows` (..., K), each of them (...); NaN where a denominator is zero.

    precision, recall and f1 = 2 TP / (n_reference + n_predicted), one to one by any overlap; f1_greedy by
    `greedy_matches`; f1_iou.0.1 to f1_iou.0.9 by overlap, f1_onset.1 and so on by seconds between onsets; mean
    |difference| of onsets and ends of pairs, and mean difference, which is more than 0 where the prediction is late.
    """
    of = {name: sums[..., place] for name, place in _PLACE.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        figures = {"precision": of["matched"] / of["predicted"], "recall": of["matched"] / of["reference"]}
        for name, counts in {"f1": "matched", "f1_greedy": "greedy"}.items():
            figures[name] = 2 * of[counts] / (of["reference"] + of["predicted"])
        for name in _COUNTS[4:]:
            figures[f"f1_{name}"] = 2 * of[name] / (of["reference"] + of["predicted"])
        for end in ("onset", "end"):
            figures[f"{end}_error_mean_s"] = of[end] / of["matched"]
            figures[f"{end}_late_mean_s"] = of[f"{end}_late"] / of["matched"]
    return figures


def event_metrics(
    references: Sequence[Sequence[Event]], predictions: Sequence[Sequence[Event]], rows: np.ndarray | None = None
) -> dict[str, Any]:
    """Precision, recall and F1 of events, pooled over nights; see `event_figures`.

    Pass events by the same rules on both sides (`sleepmami_jax.tasks`). What has a zero denominator is None.

    >>> scorer, model = [Event("arousal", 0.0, 10.0)], [Event("arousal", 2.0, 10.0), Event("arousal", 50.0, 5.0)]
    >>> event_metrics([scorer], [model])["precision"]
    0.5

    Args:
      references, predictions: events of each night.
      rows: their `event_rows`, where these are known already.

    Returns:
      n_nights, n_reference, n_predicted, n_matched, precision, recall, f1, f1_greedy, f1_iou {threshold: F1},
      f1_onset {seconds: F1}, f1_median (over nights that have events on either side), onset_error_mean_s,
      onset_late_mean_s, end_error_mean_s, end_late_mean_s, and the medians of the errors over pairs,
      onset_error_median_s and end_error_median_s.
    """
    rows = event_rows(references, predictions) if rows is None else rows
    nights = list(zip(references, predictions, strict=True))
    total = rows.sum(axis=0)
    nested: dict[str, Any] = {}
    for name, value in event_figures(total).items():
        group, _, key = name.partition(".")
        if key:
            nested.setdefault(group, {})[key] = known(value)
        else:
            nested[name] = known(value)
    f1, pairs = event_figures(rows)["f1"], [match(*night) for night in nights]
    errors = {
        end: [
            abs(getattr(r[i], end) - getattr(p[j], end)) for (r, p), m in zip(nights, pairs, strict=True) for i, j in m
        ]
        for end in ("onset_s", "end_s")
    }
    return {
        "n_nights": len(nights),
        **{f"n_{name}": int(total[_PLACE[name]]) for name in _COUNTS[:3]},
        **nested,
        "f1_median": float(np.median(f1[np.isfinite(f1)])) if np.isfinite(f1).any() else None,
        "onset_error_median_s": float(np.median(errors["onset_s"])) if errors["onset_s"] else None,
        "end_error_median_s": float(np.median(errors["end_s"])) if errors["end_s"] else None,
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


def second_rows(
    references: Sequence[Sequence[Event]], predictions: Sequence[Sequence[Event]], task: Task, seconds: Sequence[int]
) -> np.ndarray:
    """(N, 3 * classes) seconds of each night that are of a class by both, by the reference, by the prediction.

    Args:
      references, predictions: events of `task`, a night each.
      seconds: length of each night.
    """
    rows = []
    for reference, predicted, n in zip(references, predictions, seconds, strict=True):
        human, ours = (_seconds(side, task, n) for side in (reference, predicted))
        rows.append(np.concatenate([(human & ours).sum(1), human.sum(1), ours.sum(1)]))
    return np.array(rows, float).reshape(-1, 3 * len(task.events))


def _seconds(events: Sequence[Event], task: Task, n: int) -> np.ndarray:
    """(classes, n) bool: the seconds that are of an event of each class."""
    marked = np.zeros((len(task.events), n), bool)
    for event in events:
        marked[task.class_of(event.kind) - 1, seconds_of(event)] = True
    return marked


def seconds_of(event: Event) -> slice:
    """The seconds of a recording nearest to an event's limits, one at least.

    >>> seconds_of(Event("arousal", 2.4, 0.2))
    slice(2, 3, None)
    """
    start = max(round(event.onset_s), 0)
    return slice(start, max(round(event.end_s), start + 1))


def second_figures(sums: np.ndarray) -> dict[str, np.ndarray]:
    """f1_second: F1 a second, the mean over classes that either side has (macro), of sums of `second_rows`."""
    both, human, ours = np.split(sums, 3, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        f1 = 2 * both / (human + ours)
        exists = np.isfinite(f1)
        return {"f1_second": np.where(exists, f1, 0).sum(-1) / exists.sum(-1)}


def _f1(n_matched: int, n_reference: int, n_predicted: int) -> float | None:
    return 2 * n_matched / (n_reference + n_predicted) if n_reference + n_predicted else None


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
