"""From nights, and from nights with something put wrong, to the `Reference` of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from sleepmami_jax.trust.reference import Risk

PENALTY = 0.05
"""Of a weight's square, a case: a cause that was seen in a few nights is not believed beyond reason."""
LEAST_P = 1e-30
LEAST_SCALE = 0.05
"""Of a measure that hardly ever shows: a glimpse of it must not decide everything."""
MOST_COLD, MOST_HOT = 1.0, 8.0
"""A model is made less sure, never surer: nights of others are harder than those that it is fitted on."""


def fit_risk(measures: Sequence[Mapping[str, np.ndarray | float]], wrong: np.ndarray, weight: np.ndarray) -> Risk:
    """The chance of being wrong by measures, none of which can lower it: with more that is unusual, more is at risk.

    Args:
      measures: of each case the same names; a float, or an array (n,) each of as many cases.
      wrong: (cases,) bool. weight: (cases,) what each counts.
    """
    names = tuple(measures[0])
    x = np.concatenate([np.stack([np.atleast_1d(m[name]) for name in names], axis=-1) for m in measures]).astype(float)
    y, share = wrong.astype(float), weight / weight.sum()
    scale = np.maximum(x.std(axis=0), LEAST_SCALE)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        score = theta[0] + (x / scale) @ theta[1:]
        p = 1 / (1 + np.exp(-score))
        value = share @ (np.logaddexp(0, score) - y * score) + PENALTY / 2 * np.square(theta[1:]).sum() / len(names)
        residual = share * (p - y)
        return value, np.concatenate([[residual.sum()], residual @ (x / scale) + PENALTY * theta[1:] / len(names)])

    bounds = [(None, None), *((0, None) for _ in names)]
    theta = minimize(loss, np.zeros(len(names) + 1), jac=True, method="L-BFGS-B", bounds=bounds).x
    weights = tuple(float(f"{w:.4g}") for w in theta[1:] / scale)
    right = x[~wrong] if (~wrong).any() else x
    usual = tuple(float(f"{value:.4g}") for value in np.percentile(right, 95, axis=0))
    return Risk(names, weights, usual, float(f"{theta[0]:.4g}"), len(y), int(y.sum()))


def fit_temperature(probs: np.ndarray, codes: np.ndarray, weight: np.ndarray) -> float:
    """What log probabilities (n, classes) are divided by, that codes (n,) come as often as they are said to."""
    logs = np.log(np.maximum(probs, LEAST_P))

    def loss(log_t: float) -> float:
        scaled = logs / np.exp(log_t)
        scaled = scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)
        return float(-(weight @ scaled[np.arange(len(codes)), codes]) / weight.sum())

    found = minimize_scalar(loss, bounds=(np.log(MOST_COLD), np.log(MOST_HOT)), method="bounded")
    return float(f"{np.exp(found.x):.4g}")


def tempered(probs: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (n, classes) at a temperature: 1 leaves them, more brings them together."""
    logs = np.log(np.maximum(probs.astype(np.float64), LEAST_P)) / temperature
    return np.exp(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True)).astype(probs.dtype)
