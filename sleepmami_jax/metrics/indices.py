"""Agreement of two methods on a number of each night, such as the AHI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from sleepmami_jax.metrics.people import intervals, known
from sleepmami_jax.tasks.breathing import SEVERITIES, SEVERITY_CUTS

LIMITS_SD = 1.96
"""Of 95 % of differences, if they are normal (Bland and Altman 1986)."""
_CLASSES = len(SEVERITIES)


def _icc_rows(ratings: np.ndarray) -> np.ndarray:
    """(n, k) -> (n, k + 3): one, what each rater says, the sum of its squares, the square of its sum."""
    ones, squares, totals = np.ones(len(ratings)), (ratings**2).sum(1), ratings.sum(1) ** 2
    return np.column_stack([ones, ratings, squares, totals])


def _icc_of(sums: np.ndarray) -> np.ndarray:
    """ICC(2,1): two-way random effects, absolute agreement, one rater (Shrout and Fleiss 1979), of sums of `_icc_rows`.

    (MSR - MSE) / (MSR + (k - 1) MSE + k (MSC - MSE) / n), with mean squares of rows (nights), columns (raters) and the
    rest. NaN with fewer than two nights, or without any spread.
    """
    n, each, squares, totals = sums[..., 0], sums[..., 1:-2], sums[..., -2], sums[..., -1]
    k = each.shape[-1]
    correction = each.sum(-1) ** 2 / (n * k)
    rows, columns = totals / k - correction, (each**2).sum(-1) / n - correction
    rest = np.maximum(squares - correction - rows - columns, 0)
    rows, columns, rest = rows / (n - 1), columns / (k - 1), rest / ((n - 1) * (k - 1))
    below = rows + (k - 1) * rest + k * (columns - rest) / n
    return np.where((n > 1) & (below > 0), (rows - rest) / below, np.nan)


def index_metrics(
    references_per_h: Sequence[float | None],
    predictions_per_h: Sequence[float | None],
    severity: Callable[[float], str] | None = None,
    people: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Agreement of an index over nights: error, ICC(2,1), Bland-Altman limits (mean ± 1.96 SD of the differences).

    Nights where either is None (no sleep, no sensor) are left out and counted.

    >>> index_metrics([4.0, 12.0, 31.0], [6.0, 12.0, 28.0])["mae_per_h"]
    1.666...

    Args:
      references_per_h, predictions_per_h: events per hour of each night.
      severity: index -> its class, where there are classes (of the AHI).
      people: whose night each is; with it there are bootstrap intervals over people.

    Returns:
      n_nights, n_left_out, mae_per_h, bias_per_h, limits_of_agreement_per_h (two values), bias_slope (of the
      difference on the mean of both), icc, pearson_r; with `severity` severity_accuracy, severity_kappa (linear
      weights: classes are in order), severity_confusion (rows reference) and sensitivity and specificity at each
      cut; with `people` `interval`, by name. None where too few nights define it.
    """
    both = list(zip(references_per_h, predictions_per_h, strict=True))
    kept = [place for place, pair in enumerate(both) if None not in pair]
    ratings = np.array([both[place] for place in kept], float).reshape(-1, 2)
    rows = [_icc_rows(ratings), ratings**2, np.abs(ratings[:, 1:] - ratings[:, :1])]
    if severity is not None:
        classes = [[SEVERITIES.index(severity(value)) for value in pair] for pair in ratings]
        places = np.array([one * _CLASSES + other for one, other in classes], int)
        rows.append(np.eye(_CLASSES**2)[places])
    rows, figures = np.concatenate(rows, axis=1), partial(_index_figures, severity is not None)
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = {name: known(value) for name, value in figures(rows.sum(axis=0)).items()}
    lower, upper = pooled.pop("limit_lower_per_h"), pooled.pop("limit_upper_per_h")
    metrics = {"n_nights": len(kept), "n_left_out": len(both) - len(kept)} | pooled
    metrics["limits_of_agreement_per_h"] = None if lower is None else [lower, upper]
    if severity is not None:
        confusion = rows[:, -(_CLASSES**2) :].sum(axis=0).astype(int).reshape(_CLASSES, -1)
        metrics["severity_confusion"] = confusion.tolist() if len(kept) else None
    if people is not None:
        metrics["interval"] = intervals(rows, [people[place] for place in kept], figures)
    return metrics


def _index_figures(classed: bool, sums: np.ndarray) -> dict[str, np.ndarray]:
    """Of (..., 8) sums of the ICC's rows, squares of either side and absolute differences; then of the classes."""
    n, products = sums[..., 0], (sums[..., 4] - sums[..., 3]) / 2
    mean, other_mean = sums[..., 1] / n, sums[..., 2] / n
    spread, other_spread = sums[..., 5] / n - mean**2, sums[..., 6] / n - other_mean**2
    together = products / n - mean * other_mean
    bias = other_mean - mean
    sd = np.sqrt(np.maximum(spread + other_spread - 2 * together, 0) * n / (n - 1))
    is_spread = (n > 2) & (np.minimum(spread, other_spread) > 1e-9)
    figures = {
        "mae_per_h": sums[..., 7] / n,
        "bias_per_h": bias,
        "limit_lower_per_h": bias - LIMITS_SD * sd,
        "limit_upper_per_h": bias + LIMITS_SD * sd,
        "bias_slope": np.where(is_spread, 2 * (other_spread - spread) / (spread + other_spread + 2 * together), np.nan),
        "icc": _icc_of(sums[..., :5]),
        "pearson_r": np.where(is_spread, together / np.sqrt(spread * other_spread), np.nan),
    }
    return figures | (_severity_figures(sums[..., 8:]) if classed else {})


def _severity_figures(counts: np.ndarray) -> dict[str, np.ndarray]:
    table = counts.reshape(*counts.shape[:-1], _CLASSES, _CLASSES)
    n, human, ours = table.sum((-2, -1)), table.sum(-1), table.sum(-2)
    distance = np.abs(np.subtract.outer(np.arange(_CLASSES), np.arange(_CLASSES)))
    by_chance = (human[..., :, None] * ours[..., None, :] * distance).sum((-2, -1)) / n
    figures = {
        "severity_accuracy": np.trace(table, axis1=-2, axis2=-1) / n,
        "severity_kappa": 1 - (table * distance).sum((-2, -1)) / by_chance,
    }
    for place, cut in enumerate(SEVERITY_CUTS, start=1):
        sick, found = human[..., place:].sum(-1), table[..., place:, place:].sum((-2, -1))
        well, spared = human[..., :place].sum(-1), table[..., :place, :place].sum((-2, -1))
        figures |= {f"sensitivity_{cut:g}": found / sick, f"specificity_{cut:g}": spared / well}
    return figures
