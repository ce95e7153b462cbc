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
