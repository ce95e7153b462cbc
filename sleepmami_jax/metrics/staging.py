"""Agreement between two hypnograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipeline.night import STAGES
from sleepmami_jax.metrics.people import known

CODES = list(range(len(STAGES)))
_OF_NIGHTS = ("accuracy", "macro_f1", "kappa")


def confusions(references: Sequence[np.ndarray], predictions: Sequence[np.ndarray]) -> np.ndarray:
    """(N, 25) counts of each night: epochs by stage of the reference, then of the prediction, as `agreement_of` takes.

    An epoch counts when both hypnograms know it (code >= 0).

    Args:
      references: (E,) codes a night.
      predictions: (E,) codes a night, the same lengths.

    Raises:
      ValueError: lengths differ.
    """
    nights = []
    for i, (reference, predicted) in enumerate(zip(references, predictions, strict=True)):
        if len(reference) != len(predicted):
            raise ValueError(f"night {i}: {len(reference)} reference epochs but {len(predicted)} predicted ones")
        nights.append(_confusion(np.asarray(reference, int), np.asarray(predicted, int)))
    return np.array(nights).reshape(-1, len(CODES) ** 2)


def _confusion(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    both = (reference >= 0) & (predicted >= 0)
    return np.bincount(reference[both] * len(CODES) + predicted[both], minlength=len(CODES) ** 2)


def agreement_of(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of (..., 25) counts, see `confusions`; each of them (...), NaN where it does not exist.

    Accuracy; Cohen's kappa (1960) without weights, for stages have no order, which does not exist where both
    hypnograms are one and the same stage; the F1 of each stage, which does not exist for one that neither has, and
    their mean, macro-F1; kappa of each stage against the rest.
    """
    table = np.asarray(counts, float).reshape(*np.shape(counts)[:-1], len(CODES), len(CODES))
    n, both = table.sum((-2, -1)), np.diagonal(table, axis1=-2, axis2=-1)
    human, ours = table.sum(-1), table.sum(-2)
    with np.errstate(divide="ignore", invalid="ignore"):
        f1 = 2 * both / (human + ours)
        exists = np.isfinite(f1)
        macro = np.where(exists, f1, 0).sum(-1) / exists.sum(-1)
        n_each = n[..., None]
        right = (n_each - human - ours + 2 * both) / n_each
        by_chance = (human * ours + (n_each - human) * (n_each - ours)) / n_each**2
        kappas = np.where(by_chance < 1, (right - by_chance) / (1 - by_chance), np.nan)
    of_stage = {f"f1.{stage}": f1[..., code] for code, stage in enumerate(STAGES)}
    of_stage |= {f"kappa.{stage}": kappas[..., code] for code, stage in enumerate(STAGES)}
    return {"accuracy": both.sum(-1) / n, "macro_f1": macro, "kappa": kappa_of(table)} | of_stage


def kappa_of(table: np.ndarray) -> np.ndarray:
    """(...) Cohen's kappa of confusions (..., C, C); NaN where both sides are one and the same class throughout."""
    n, right = table.sum((-2, -1)), np.trace(table, axis1=-2, axis2=-1)
    by_chance = (table.sum(-1) * table.sum(-2)).sum(-1)  # whole numbers, so that full agreement is 1 and not nearly 1
    with np.errstate(invalid="ignore"):
        return (n * right - by_chance) / (n * n - by_chance)


def staging_metrics(references: Sequence[np.ndarray], predictions: Sequence[np.ndarray]) -> dict[str, Any]:
    """Pooled over all epochs of all nights, and the median over nights; see `agreement_of`.

    >>> staging_metrics([np.array([0, 2, 2, 3])], [np.array([0, 2, 3, 3])])["accuracy"]
    0.75

    Args:
      references, predictions: as in `confusions`.

    Returns:
      n_epochs, n_nights, accuracy, macro_f1, kappa, f1_per_stage and kappa_per_stage (one against the rest),
      confusion (rows reference, columns prediction), accuracy_median, macro_f1_median, kappa_median. None for what
      does not exist.

    Raises:
      ValueError: lengths differ, or no epoch counts.
    """
    counts = confusions(references, predictions)
    counts = counts[counts.any(axis=1)]
    if not len(counts):
        raise ValueError("no epoch is scored in both hypnograms: nothing to compare")
    pooled = {name: known(value) for name, value in agreement_of(counts.sum(axis=0)).items()}
    nights = agreement_of(counts)
    kappas = {stage: pooled[f"kappa.{stage}"] for stage in STAGES}
    return {
        "n_epochs": int(counts.sum()),
        "n_nights": len(counts),
        **{name: pooled[name] for name in _OF_NIGHTS},
        "f1_per_stage": {stage: pooled[f"f1.{stage}"] for stage in STAGES},
        "kappa_per_stage": kappas,
        "confusion": counts.sum(axis=0).reshape(len(CODES), -1).tolist(),
        **{f"{name}_median": _median(nights[name]) for name in _OF_NIGHTS},
    }


def _median(values: np.ndarray) -> float | None:
    exists = np.isfinite(values)
    return float(np.median(values[exists])) if exists.any() else None


def best_shift(reference: np.ndarray, predicted: np.ndarray, most_epochs: int = 120) -> tuple[int, float]:
    """By how many epochs a reference (E,) must be moved to agree best with a prediction (E,), and kappa there.

    A scoring that starts at another time than its recording agrees with nothing until it is moved. Shifts that leave
    less than half of the epochs to compare are not looked at; (0, -1.0) where there is none.
    """
    n, best = len(reference), (0, -1.0)
    most_epochs = min(most_epochs, n - 1)
    least = np.count_nonzero((reference >= 0) & (predicted >= 0)) / 2
    for shift in sorted(range(-most_epochs, most_epochs + 1), key=abs):
        counts = _confusion(reference[max(0, -shift) : n - max(0, shift)], predicted[max(0, shift) : n + min(0, shift)])
        if counts.any() and counts.sum() >= least:
            kappa = float(kappa_of(counts.reshape(len(CODES), -1)))
            best = (shift, kappa) if kappa > best[1] else best
    return best
