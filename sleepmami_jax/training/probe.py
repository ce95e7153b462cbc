"""How well stages can be read from an epoch by a linear map, in closed form: fast enough to ask while a run goes on."""

from __future__ import annotations

import numpy as np

from data_pipeline.night import STAGES

PENALTIES = 10.0 ** np.arange(-3, 4)
"""Of which one is taken, over the mean square of a feature; assumed."""


def stage_probe(x: np.ndarray, stage: np.ndarray, person: np.ndarray) -> dict[str, float]:
    """Accuracy of ridge regression from features to stages, and of always saying the commonest stage.

    Every second person is predicted from the others, and the others from those.

    Args:
      x: (N, F) features of epochs.
      stage: (N,) int codes; -1 is unknown and counts nowhere.
      person: (N,) int, whose epoch it is.

    Returns:
      `probe_accuracy` and `probe_guess`, over all epochs; nothing where fewer than two people have known stages.
    """
    known = stage >= 0
    x, stage, person = x[known].astype(np.float64), stage[known], person[known]
    people, rank = np.unique(person, return_inverse=True)
    if len(people) < 2:
        return {}
    right = guessed = 0
    for half in range(2):
        test = rank % 2 == half
        y = np.eye(len(STAGES))[stage[~test]]
        right += int((_ridge(x[~test], y, x[test]).argmax(1) == stage[test]).sum())
        guessed += int((y.sum(0).argmax() == stage[test]).sum())
    return {"probe_accuracy": right / len(stage), "probe_guess": guessed / len(stage)}


def _ridge(x: np.ndarray, y: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """y (N, K) of features (N, F), continued to others; solved in N dimensions, as there are more features.

    The penalty is that with the least square error of epochs that are left out one at a time, which has a closed form
    too (Allen's PRESS).
    """
    mean, scale = x.mean(0), x.std(0)
    x, wanted = ((v - mean) / np.where(scale > 0, scale, 1.0) for v in (x, wanted))
    values, vectors = np.linalg.eigh(x @ x.T / x.shape[1])
    least, best = np.inf, np.zeros_like(y)
    for penalty in PENALTIES:
        inverse = (vectors / (values + penalty)) @ vectors.T
        weight = inverse @ (y - y.mean(0))
        error = np.square(weight / np.diag(inverse)[:, None]).sum()
        if error < least:
            least, best = error, weight
    return y.mean(0) + wanted @ x.T / x.shape[1] @ best
