"""A few scored epochs of a night put its stages right: as little as helps, and nothing where nothing helps.

What a model says of an epoch, log probabilities l (5,), becomes `softmax(l / T + b + W z)`: a temperature, a prior
shift, and a small head on the night's own micro tokens z. Which of them are let loose is decided by cross-validation
on the epochs that were given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from data_pipeline.night import STAGES

FEWEST_EPOCHS = 10
"""Scored, without which nothing is changed."""
PARTS = 8
"""Of the tokens of a night: principal components that a head looks at."""
FOLDS = 5
LEAST_GAIN, STANDARD_ERRORS = 0.02, 1.5
"""Nats an epoch that cross-validation must win, after so many standard errors are taken off: less is chance."""
LEAST_P = 1e-4
CANDIDATES = {
    "the share of each stage": (1.0, np.inf, np.inf),
    "the share of each stage and the certainty": (1.0, 1.0, np.inf),
    "these and a small head": (1.0, 1.0, 10.0),
    "these and a head": (1.0, 1.0, 1.0),
}
"""What is let loose: penalties of a square of b, of log T and of W; an infinite one keeps it as it is."""


@dataclass(frozen=True)
class Repair:
    """What was changed, and what it won.

    Attributes:
      what: of `CANDIDATES`; "" where nothing was changed.
      epochs: how many scored ones were given.
      right_before, right_after: share of them that is right as the model says it, and when left out of the fitting.
      probs: (E, 5) float32.
    """

    what: str
    epochs: int
    right_before: float
    right_after: float
    probs: np.ndarray

    @property
    def sentence(self) -> str:
        """For a reader."""
        if not self.what:
            return f"Nothing was changed by {self.epochs} scored epochs: no change was better on those left out."
        scores = f"of those left out in turn {self.right_after:.0%} are right, before {self.right_before:.0%}"
        return f"Changed by {self.epochs} scored epochs: {self.what}; {scores}."


def repair(probs: np.ndarray, tokens: np.ndarray | None, codes: np.ndarray) -> Repair:
    """Stages as they should be said, by those that are known.

    Args:
      probs: (E, 5) as the model says them. tokens: (E, D) mean micro token of each epoch, None where there are none.
      codes: (E,) stages that somebody scored, -1 elsewhere.

    Raises:
      ValueError: no epoch is scored.
    """
    known = np.flatnonzero(codes >= 0)
    if not len(known):
        raise ValueError("no scored epoch to put the stages right by")
    logs, parts, given = np.log(np.maximum(probs.astype(np.float64), LEAST_P)), _parts(tokens, len(probs)), codes[known]
    right = float((logs[known].argmax(axis=1) == given).mean())
    nothing = Repair("", len(known), right, right, probs)
    if len(known) < FEWEST_EPOCHS:
        return nothing
    rows = np.arange(len(known))
    plain = -_log_softmax(logs[known])[rows, given]
    best, most = nothing, 0.0
    for what, penalties in CANDIDATES.items():
        left_out = np.empty((len(known), len(STAGES)))
        for fold in range(min(FOLDS, len(known))):
            test = np.arange(len(known)) % FOLDS == fold
            theta = _fit(logs[known[~test]], parts[known[~test]], given[~test], penalties)
            left_out[test] = _apply(theta, logs[known[test]], parts[known[test]])
        gain = plain + left_out[rows, given]
        won = float(gain.mean())
        is_sure = won - STANDARD_ERRORS * gain.std() / np.sqrt(len(known)) > LEAST_GAIN
        after = float((left_out.argmax(axis=1) == given).mean())
        if is_sure and won > most and after >= right:
            theta = _fit(logs[known], parts[known], given, penalties)
            fixed = np.exp(_apply(theta, logs, parts)).astype(np.float32)
            best, most = Repair(what, len(known), right, after, fixed), won
    return best


def _parts(tokens: np.ndarray | None, n_epochs: int) -> np.ndarray:
    """(E, PARTS) principal components of a night's tokens, each of unit spread."""
    if tokens is None:
        return np.zeros((n_epochs, 0))
    x = tokens - tokens.mean(axis=0)
    x = x / np.maximum(x.std(axis=0), 1e-6)
    left, size, _ = np.linalg.svd(x, full_matrices=False)
    return left[:, :PARTS] * np.sqrt(n_epochs) * (size[:PARTS] > 1e-6)


Theta = tuple[np.ndarray, float, np.ndarray]
"""b (5,), log T, W (PARTS, 5)."""


def _apply(theta: Theta, logs: np.ndarray, parts: np.ndarray) -> np.ndarray:
    b, log_t, w = theta
    return _log_softmax(logs / np.exp(log_t) + b + parts @ w)


def _fit(logs: np.ndarray, parts: np.ndarray, codes: np.ndarray, penalties: tuple[float, float, float]) -> Theta:
    k, n_parts = len(STAGES), parts.shape[1]
    has_t, has_w = np.isfinite(penalties[1]), np.isfinite(penalties[2]) and n_parts > 0

    def unpack(x: np.ndarray) -> Theta:
        w = x[k + 1 :].reshape(n_parts, k) if has_w else np.zeros((n_parts, k))
        return x[:k], float(x[k]) if has_t else 0.0, w

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        b, log_t, w = unpack(x)
        said = _apply((b, log_t, w), logs, parts)
        held = penalties[0] * np.square(b).sum()
        off = np.exp(said) - np.eye(k)[codes]  # of the loss by what the softmax is of
        slope = [off.sum(axis=0) + penalties[0] * b, [0.0]]
        if has_t:
            held += penalties[1] * log_t**2
            slope[1] = [-(off * logs).sum() / np.exp(log_t) + penalties[1] * log_t]
        if has_w:
            held += penalties[2] * np.square(w).sum()
            slope.append((parts.T @ off + penalties[2] * w).ravel())
        return float(held / 2 - said[np.arange(len(codes)), codes].sum()), np.concatenate(slope)

    x = minimize(loss, np.zeros(k + 1 + (n_parts * k if has_w else 0)), jac=True, method="L-BFGS-B").x
    return unpack(x)


def _log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.logaddexp.reduce(x, axis=1, keepdims=True)
