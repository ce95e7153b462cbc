"""Cox's proportional hazards, fitted on the full risk set: who is at risk is never a batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, lstsq

STEPS, HALVINGS = 100, 30
CLOSE = 1e-10
"""The squared Newton decrement, in units of log-likelihood, at which a fit is finished."""


@dataclass(frozen=True)
class PartialLikelihood:
    """Cox's log partial likelihood of some people, ties by Efron (J Am Stat Assoc 1977).

    Args:
      time: (N,) when the event came, or how long nobody saw it come.
      event: (N,) bool, which of the two.
    """

    time: np.ndarray
    event: np.ndarray

    def __post_init__(self):
        order = np.argsort(self.time, kind="stable")
        time = self.time[order]
        start = np.searchsorted(time, time)
        ended = np.flatnonzero(self.event[order])
        first, tied = np.unique(start[ended], return_inverse=True)
        among = np.bincount(tied, minlength=len(first))
        before = np.concatenate([[0], among.cumsum()[:-1]])
        share = (np.arange(len(ended)) - before[tied]) / among[tied]  # of the tied that count as gone already
        passed = np.searchsorted(time[ended], time, side="right")
        known = {"_order": order, "_ended": ended, "_start": start[ended], "_tied": tied, "_share": share}
        for name, value in (known | {"_passed": passed}).items():
            object.__setattr__(self, name, value)

    def value(self, risk: np.ndarray) -> float:
        """Of log hazards (N,), which may be as far apart as a step too long puts them."""
        risk = risk[self._order]
        at_risk = np.logaddexp.accumulate(risk[::-1])[::-1][self._start]
        tied = np.bincount(self._tied, np.exp(risk[self._ended] - at_risk))[self._tied]
        return float((risk[self._ended] - at_risk - np.log1p(-self._share * tied)).sum())

    def slope(self, x: np.ndarray, risk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient (P,) and information (P, P) by the coefficients of features (N, P) with these log hazards (N,)."""
        x, hazard = x[self._order], np.exp(risk - risk.max(initial=0.0))[self._order]
        at_risk = self._at_risk(hazard[:, None])[:, 0]
        # Every event takes from all at risk their share of one; from those tied with it, what is left of theirs.
        taken = np.concatenate([[0.0], (1 / at_risk).cumsum()])[self._passed]
        spared = np.bincount(self._tied, self._share / at_risk)[self._tied]
        expected = hazard * taken
        expected[self._ended] -= hazard[self._ended] * spared
        means = self._at_risk(hazard[:, None] * x) / at_risk[:, None]
        observed = np.zeros(len(x))
        observed[self._ended] = 1
        return x.T @ (observed - expected), (x * expected[:, None]).T @ x - means.T @ means

    def _at_risk(self, values: np.ndarray) -> np.ndarray:
        """Sums over the risk set of each event, (N, K) by time -> (events, K), Efron's part of the tied taken off."""
        later = values[::-1].cumsum(0)[::-1][self._start]
        tied = np.zeros((self._tied.max(initial=-1) + 1, values.shape[1]))
        np.add.at(tied, self._tied, values[self._ended])
        return later - self._share[:, None] * tied[self._tied]


def cox_coefficients(x: np.ndarray, time: np.ndarray, event: np.ndarray, penalty: float = 0.0) -> np.ndarray:
    """(P,) float64 coefficients of log hazard by features (N, P): those of the greatest partial likelihood less
    penalty / 2 times their square, by Newton's method with halved steps.

    >>> x = np.array([[0.0], [1.0], [0.0], [1.0]])
    >>> cox_coefficients(x, np.array([4, 1, 2, 3]), np.array([True, True, True, False])).round(3)
    array([0.347])

    Without a penalty, features that part those with the event from all others have coefficients as large as rounding
    allows.

    Raises:
      ValueError: there is no event, a number is not finite, or no end comes within `STEPS`.
    """
    x, time, event = np.asarray(x, np.float64), np.asarray(time, np.float64), np.asarray(event, bool)
    if not event.any():
        raise ValueError("nobody has the event; expected some to learn from")
    if not (np.isfinite(x).all() and np.isfinite(time).all()):
        raise ValueError("features or times have values that are no finite numbers; expected float numbers")
    likelihood, own = PartialLikelihood(time, event), np.zeros(x.shape[1])
    x = x - x.mean(0)
    value = likelihood.value(x @ own)
    for _ in range(STEPS):
        gradient, information = likelihood.slope(x, x @ own)
        gradient = gradient - penalty * own
        step = _solved(information + penalty * np.eye(len(own)), gradient)
        if gradient @ step < CLOSE:
            return own
        for halving in range(HALVINGS):
            tried = own + step / 2**halving
            reached = likelihood.value(x @ tried) - penalty / 2 * tried @ tried
            if reached > value:
                break
        else:
            return own  # as far as the numbers reach
        own, value = tried, reached
    raise ValueError(f"no greatest likelihood after {STEPS} steps; give a penalty above {penalty:g}, or fewer features")


def _solved(information: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    try:
        return cho_solve(cho_factor(information), gradient)
    except LinAlgError:  # features that say the same, and nothing that chooses between them
        return lstsq(information, gradient)[0]
