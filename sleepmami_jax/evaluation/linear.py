"""What a night's vector knows of the person: linear probes beside guessing, for a number, a yes or no, and a risk.

All three are linear with an L2 penalty, and learnt alike (`learn`): features in blocks, such as age, sex and BMI, then
the night's vector. The penalty of a block is chosen by cross-validation over people, that of the blocks before it
stays: a block of hundreds of numbers that know nothing costs those before it nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from sleepmami_jax.evaluation.cox import PartialLikelihood, cox_coefficients
from sleepmami_jax.metrics.survival import auroc

FOLDS = 5
PENALTIES = 10.0 ** np.arange(6, -3, -1)
"""On the square of coefficients of features of unit variance, beside the summed loss; the largest of equals."""
MIN_SUBJECTS = 4
"""Fewer people than this on the training side cannot be split for choosing the penalty."""

Labels = Sequence[float | None]
"""One a night: a number, or a yes or no; None where it is not known."""
Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class LinearModel:
    """A linear model with an L2 penalty of 1.

    Attributes:
      fit: features (N, P) and what is known (N,) or (N, 2) -> what predicts (M,) of features (M, P).
      loss: predictions of all (N,), what is known, and which were left out of the fit (N,) bool -> their loss, summed.
      split: what is known -> (N,) bool, of which each fold must leave both to learn from; None where there is no such.
    """

    fit: Callable[[np.ndarray, np.ndarray], Predict]
    loss: Callable[[np.ndarray, np.ndarray, np.ndarray], float]
    split: Callable[[np.ndarray], np.ndarray | None]


def _ridge(x: np.ndarray, y: np.ndarray) -> Predict:
    return Ridge(1.0).fit(x, y).predict


def _squares(predicted: np.ndarray, y: np.ndarray, out: np.ndarray) -> float:
    return float(np.square(predicted - y)[out].sum())


def _logistic(x: np.ndarray, y: np.ndarray) -> Predict:
    return LogisticRegression(max_iter=1000).fit(x, y).decision_function


def _log_loss(predicted: np.ndarray, y: np.ndarray, out: np.ndarray) -> float:
    return float(np.logaddexp(0, np.where(y, -predicted, predicted))[out].sum())


def _cox(x: np.ndarray, y: np.ndarray) -> Predict:
    coefficients = cox_coefficients(x, y[:, 0], y[:, 1] > 0, penalty=1.0)
    return lambda others: others @ coefficients


def _partial_loss(predicted: np.ndarray, y: np.ndarray, out: np.ndarray) -> float:
    """What those left out add to the partial likelihood of all (Verweij and van Houwelingen, Stat Med 1993): their own
    risk sets would be too small."""
    whole, rest = (PartialLikelihood(y[s, 0], y[s, 1] > 0).value(predicted[s]) for s in (slice(None), ~out))
    return rest - whole


NUMBER = LinearModel(_ridge, _squares, lambda y: None)
YES_OR_NO = LinearModel(_logistic, _log_loss, lambda y: y.astype(bool))
RISK = LinearModel(_cox, _partial_loss, lambda y: y[:, 1] > 0)
"""What is known is (time, event) of each person, as in `cox_coefficients`."""


class Learnt:
    """A probe as it was learnt from some blocks of features.

    Args:
      blocks: each (N, P) float, NaN where unknown, which becomes the mean and a flag.
      y: what is known of each, as `probe` takes it.
      groups: (N,) whose they are: all of a person are in one fold.
      before: of the same people and `y`, learnt from all of these blocks but the last.

    Raises:
      ValueError: fewer than `MIN_SUBJECTS` people, or one of the two `probe.split` tells apart is missing.
    """

    def __init__(
        self,
        probe: LinearModel,
        blocks: Sequence[np.ndarray],
        y: np.ndarray,
        groups: np.ndarray,
        before: Learnt | None = None,
    ):
        self._parts = list(before._parts) if before else []
        folds = _folds(probe, y, groups)
        with threadpool_limits(1, "blas"):  # these are small, and threads wait for each other most of the time
            for block in blocks[len(self._parts) :]:
                fill = SimpleImputer(add_indicator=True, keep_empty_features=True)
                scaler = make_pipeline(fill, StandardScaler()).fit(block)
                losses = []
                for penalty in PENALTIES:
                    x = _joined([*self._parts, (scaler, penalty)], blocks)
                    losses.append(sum(probe.loss(probe.fit(x[~out], y[~out])(x), y, out) for out in folds))
                self._parts.append((scaler, PENALTIES[int(np.argmin(losses))]))
            self._predict = probe.fit(_joined(self._parts, blocks), y)

    def __call__(self, blocks: Sequence[np.ndarray]) -> np.ndarray:
        """(M,) of the same blocks of M others: a number, log odds, or a log hazard."""
        return self._predict(_joined(self._parts, blocks))


def number_probe(
    x: np.ndarray, labels: Labels, subjects: Sequence[str], x_test: np.ndarray, test_labels: Labels
) -> dict[str, Any]:
    """Mean absolute error and R2 of ridge regression on night vectors, and the error of always saying the median.

    Nights whose number is unknown are left out.

    Args:
      x, labels, subjects: (N, D) float, numbers and who it is, of N nights.
      x_test, test_labels: (M, D) float and numbers of M nights of other people.

    Returns:
      n_train, n_test, mae, r2, mae_median; the last three None with fewer than 4 people to train on or nobody to test.
    """
    x, y, groups, x_test, y_test = _known(x, labels, subjects, x_test, test_labels, float)
    result: dict[str, Any] = {"n_train": len(y), "n_test": len(y_test)}
    if len(set(groups)) < MIN_SUBJECTS or not len(y_test):
        return result | {"mae": None, "r2": None, "mae_median": None}
    error = Learnt(NUMBER, [x], y, groups)([x_test]) - y_test
    spread = np.square(y_test - y_test.mean()).sum()
    return result | {
        "mae": float(np.abs(error).mean()),
        "r2": float(1 - np.square(error).sum() / spread) if spread else None,
        "mae_median": float(np.abs(np.median(y) - y_test).mean()),
    }


def is_man(sex: str | None) -> bool | None:
    """The label of a sex for `binary_probe`."""
    return None if sex is None else sex == "M"


def binary_probe(
    x: np.ndarray, labels: Labels, subjects: Sequence[str], x_test: np.ndarray, test_labels: Labels
) -> dict[str, Any]:
    """AUROC of logistic regression on night vectors for a yes or no; guessing has 0.5.

    As `number_probe`, with True, False or None in place of numbers.

    Returns:
      n_train, n_test, auroc; the last None with fewer than 4 people or one class only on either side.
    """
    x, y, groups, x_test, y_test = _known(x, labels, subjects, x_test, test_labels, bool)
    result: dict[str, Any] = {"n_train": len(y), "n_test": len(y_test)}
    if len(set(y_test)) < 2:
        return result | {"auroc": None}
    try:
        predict = Learnt(YES_OR_NO, [x], y, groups)
    except ValueError:
        return result | {"auroc": None}
    return result | {"auroc": float(auroc(y_test, predict([x_test])))}


def _joined(parts, blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Blocks side by side, of such a scale that a penalty of 1 is each one's own."""
    scaled = [
        scaler.transform(block) / np.sqrt(penalty) for (scaler, penalty), block in zip(parts, blocks, strict=False)
    ]
    return np.concatenate(scaled, 1)


def _folds(probe: LinearModel, y: np.ndarray, groups: np.ndarray) -> list[np.ndarray]:
    """(N,) bool of each fold, whom it leaves out."""
    people, two = len(set(groups)), probe.split(y)
    if people < MIN_SUBJECTS or (two is not None and len(set(two)) < 2):
        raise ValueError(
            f"{people} people to learn from, or all of them alike: expected {MIN_SUBJECTS}, and not all alike"
        )
    n = min(FOLDS, people)
    if two is None:
        chosen = GroupKFold(n).split(y, groups=groups)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of fewer of one kind than folds; those without are left out
            chosen = list(StratifiedGroupKFold(n, shuffle=True, random_state=0).split(y, two, groups))
        chosen = [fold for fold in chosen if len(set(two[fold[0]])) == 2]
    masks = []
    for _, places in chosen:
        masks.append(np.zeros(len(y), bool))
        masks[-1][places] = True
    if not masks:
        raise ValueError("no fold of people leaves both to learn from; expected more of whom there are few")
    return masks


def _known(train_vectors, train_labels, subjects, test_vectors, test_labels, number):
    """Arrays of the nights whose label is known, labels turned to numbers by `number`."""
    if not len(train_vectors) == len(train_labels) == len(subjects):
        raise ValueError(
            f"{len(train_vectors)} vectors, {len(train_labels)} labels and {len(subjects)} subjects to train on: "
            "expected one of each a night"
        )
    if len(test_vectors) != len(test_labels):
        raise ValueError(f"{len(test_vectors)} vectors but {len(test_labels)} labels to test on")
    train, test = (np.array([label is not None for label in side], bool) for side in (train_labels, test_labels))
    y, y_test = (np.array([number(v) for v in side if v is not None]) for side in (train_labels, test_labels))
    x, x_test = np.asarray(train_vectors, np.float64)[train], np.asarray(test_vectors, np.float64)[test]
    return x, y, np.asarray(subjects)[train], x_test, y_test
