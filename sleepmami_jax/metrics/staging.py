"""Agreement between two hypnograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import cohen_kappa_score, confusion_matrix, f1_score

from data_pipeline.night import STAGES

CODES = list(range(len(STAGES)))


def staging_metrics(references: Sequence[np.ndarray], predictions: Sequence[np.ndarray]) -> dict[str, Any]:
    """Pooled over all epochs of all nights, and the median over nights.

    An epoch counts when both hypnograms know it (code >= 0). F1 is None for a stage that neither has, and
    macro-F1 is the mean over the others. Kappa is Cohen's without weights: stages have no order. It is None
    when both hypnograms are one and the same stage throughout, where it does not exist.

    >>> staging_metrics([np.array([0, 2, 2, 3])], [np.array([0, 2, 3, 3])])["accuracy"]
    0.75

    Args:
      references: (E,) codes a night.
      predictions: (E,) codes a night, the same lengths.

    Returns:
      n_epochs, n_nights, accuracy, macro_f1, kappa, f1_per_stage and kappa_per_stage (one against the rest),
      confusion (rows reference, columns prediction), accuracy_median, macro_f1_median, kappa_median.

    Raises:
      ValueError: lengths differ, or no epoch counts.
    """
    nights = []
    for i, (reference, predicted) in enumerate(zip(references, predictions, strict=True)):
        if len(reference) != len(predicted):
            raise ValueError(f"night {i}: {len(reference)} reference epochs but {len(predicted)} predicted ones")
        known = (np.asarray(reference) >= 0) & (np.asarray(predicted) >= 0)
        if known.any():
            nights.append((np.asarray(reference)[known], np.asarray(predicted)[known]))
    if not nights:
        raise ValueError("no epoch is scored in both hypnograms: nothing to compare")
    reference, predicted = (np.concatenate(side) for side in zip(*nights, strict=True))
    metrics = {"n_epochs": len(reference), "n_nights": len(nights)} | _agreement(reference, predicted)
    metrics["f1_per_stage"] = {
        STAGES[code]: float(f1) if (reference == code).any() or (predicted == code).any() else None
        for code, f1 in zip(
            CODES, f1_score(reference, predicted, labels=CODES, average=None, zero_division=0), strict=True
        )
    }
    metrics["kappa_per_stage"] = {STAGES[code]: _kappa(reference == code, predicted == code) for code in CODES}
    metrics["confusion"] = confusion_matrix(reference, predicted, labels=CODES).tolist()
    per_night = [_agreement(*night) for night in nights]
    for name in ("accuracy", "macro_f1", "kappa"):
        values = [night[name] for night in per_night if night[name] is not None]
        metrics[f"{name}_median"] = float(np.median(values)) if values else None
    return metrics


def best_shift(reference: np.ndarray, predicted: np.ndarray, most_epochs: int = 120) -> tuple[int, float]:
    """By how many epochs a reference (E,) must be moved to agree best with a prediction (E,), and kappa there.

    A scoring that starts at another time than its recording agrees with nothing until it is moved. Shifts that leave
    less than half of the epochs to compare are not looked at; (0, -1.0) where there is none.
    """
    n, best = len(reference), (0, -1.0)
    most_epochs = min(most_epochs, n - 1)
    least = np.count_nonzero((reference >= 0) & (predicted >= 0)) / 2
    for shift in sorted(range(-most_epochs, most_epochs + 1), key=abs):
        one, other = reference[max(0, -shift) : n - max(0, shift)], predicted[max(0, shift) : n + min(0, shift)]
        known = (one >= 0) & (other >= 0)
        if not known.any() or known.sum() < least:
            continue
        pairs = np.bincount(one[known] * len(CODES) + other[known], minlength=len(CODES) ** 2)
        share = pairs.reshape(len(CODES), -1) / known.sum()
        by_chance = float(share.sum(0) @ share.sum(1))
        if by_chance < 1 and (kappa := float(np.trace(share) - by_chance) / (1 - by_chance)) > best[1]:
            best = shift, kappa
    return best


def _agreement(reference: np.ndarray, predicted: np.ndarray) -> dict[str, float | None]:
    return {
        "accuracy": float((reference == predicted).mean()),
        "macro_f1": float(f1_score(reference, predicted, average="macro", zero_division=0)),
        "kappa": _kappa(reference, predicted),
    }


def _kappa(reference: np.ndarray, predicted: np.ndarray) -> float | None:
    if len(np.union1d(reference, predicted)) < 2:
        return None
    return float(cohen_kappa_score(reference, predicted))
