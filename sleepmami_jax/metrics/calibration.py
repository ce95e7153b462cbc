"""Whether a chance of being wrong is what it says, and what it is worth to leave out where it is high."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

BINS = 10
COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


def calibration_error(risk: np.ndarray, wrong: np.ndarray) -> float:
    """Expected calibration error (Naeini et al., AAAI 2015) of chances (n,) of what is (n,) bool; in `BINS` bins.

    >>> round(calibration_error(np.array([0.1, 0.1, 0.9, 0.9]), np.array([False, False, True, True])), 2)
    0.1
    """
    return float(calibration_figures(calibration_row(risk, wrong))["ece"])


def calibration_row(risk: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """(3 * BINS,) number of cases in each bin, the sum of their chances, and how many are wrong."""
    place = _bin(risk)
    return np.concatenate([np.bincount(place, weights, BINS) for weights in (None, risk, wrong)])


def calibration_figures(sums: np.ndarray) -> dict[str, np.ndarray]:
    """ece, wrong (share of cases) and risk (mean chance) of sums of rows (..., 3 * BINS), each of them (...)."""
    n, risk, wrong = np.split(np.asarray(sums, float), 3, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = n.sum(-1)
        return {
            "ece": np.abs(risk - wrong).sum(-1) / total,
            "wrong": wrong.sum(-1) / total,
            "risk": risk.sum(-1) / total,
        }


def _bin(risk: np.ndarray) -> np.ndarray:
    return np.minimum((risk * BINS).astype(int), BINS - 1)


def reliability_rows(risk: np.ndarray, wrong: np.ndarray) -> list[dict[str, float | int]]:
    """A reliability diagram as rows: of each bin the number of cases, the mean chance, and the share that is wrong."""
    place = _bin(risk)
    return [
        {
            "n": int((place == k).sum()),
            "risk": float(risk[place == k].mean()),
            "wrong": float(wrong[place == k].mean()),
        }
        for k in sorted(set(place.tolist()))
    ]


def risk_coverage(risk: np.ndarray, wrong: np.ndarray) -> dict[float, float]:
    """By share of cases kept, the least risky first, how many of them are wrong.

    >>> risk_coverage(np.array([0.1, 0.2, 0.3, 0.9]), np.array([False, False, False, True]))[1.0]
    0.25
    """
    order = np.argsort(risk, kind="stable")
    return {share: float(wrong[order[: max(round(share * len(order)), 1)]].mean()) for share in COVERAGES}


def calibration_metrics(risk: np.ndarray, wrong: np.ndarray) -> dict[str, Any]:
    """All of these, and the AUROC of the chance for being wrong; None where all are right, or all wrong."""
    risk, wrong = np.asarray(risk, float), np.asarray(wrong, bool)
    both = 0 < wrong.sum() < len(wrong)
    return {
        "n": len(risk),
        "wrong": float(wrong.mean()),
        "risk": float(risk.mean()),
        "ece": calibration_error(risk, wrong),
        "auroc": float(roc_auc_score(wrong, risk)) if both else None,
        "wrong_at_coverage": {f"{share:g}": error for share, error in risk_coverage(risk, wrong).items()},
        "bins": reliability_rows(risk, wrong),
    }
