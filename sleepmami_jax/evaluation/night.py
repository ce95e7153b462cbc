"""What a night's vector knows of the person: linear probes beside guessing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDS = 5
ALPHAS = np.logspace(-2, 6, 17).tolist()
CS = np.logspace(-6, 2, 9).tolist()
MIN_SUBJECTS = 4
"""Fewer people than this on the training side cannot be split for choosing the penalty."""


Labels = Sequence[float | None]
"""One a night: a number, or a yes or no; None where it is not known."""


def age_probe(
    train_vectors: np.ndarray, train_ages: Labels, subjects: Sequence[str], test_vectors: np.ndarray, test_ages: Labels
) -> dict[str, Any]:
    """Mean absolute error in years of ridge regression on night vectors, and of always saying the training mean.

    The penalty is chosen by cross-validation inside the training nights, with all nights of a person in one fold.
    Nights of unknown age are left out.

    Args:
      train_vectors, train_ages, subjects: (N, D) float, ages in years and who it is, of N nights.
      test_vectors, test_ages: (M, D) float and ages of M nights of other people.

    Returns:
      n_train, n_test, mae_years, mae_years_mean_baseline; the last two None with fewer than 4 people to train on or
      nobody to test.
    """
    x, y, groups, x_test, y_test = _known(train_vectors, train_ages, subjects, test_vectors, test_ages, float)
    result: dict[str, Any] = {"n_train": len(y), "n_test": len(y_test)}
    n_people = len(set(groups))
    if n_people < MIN_SUBJECTS or not len(y_test):
        return result | {"mae_years": None, "mae_years_mean_baseline": None}
    probe, folds = make_pipeline(StandardScaler(), Ridge()), GroupKFold(min(FOLDS, n_people))
    search = GridSearchCV(probe, {"ridge__alpha": ALPHAS}, scoring="neg_mean_absolute_error", cv=folds)
    search.fit(x, y, groups=groups)
    return result | {
        "mae_years": float(np.abs(search.predict(x_test) - y_test).mean()),
        "mae_years_mean_baseline": float(np.abs(y.mean() - y_test).mean()),
    }


def is_man(sex: str | None) -> bool | None:
    """The label of a sex for `binary_probe`."""
    return None if sex is None else sex == "M"


def binary_probe(
    x: np.ndarray, labels: Labels, subjects: Sequence[str], x_test: np.ndarray, test_labels: Labels
) -> dict[str, Any]:
    """AUROC of logistic regression on night vectors for a yes or no; guessing has 0.5.

    As `age_probe`, with True, False or None in place of ages. The penalty is chosen by log-loss, which needs no
    two classes in a fold.

    Returns:
      n_train, n_test, auroc; the last None with fewer than 4 people or one class only on either side.
    """
    x, y, groups, x_test, y_test = _known(x, labels, subjects, x_test, test_labels, bool)
    result: dict[str, Any] = {"n_train": len(y), "n_test": len(y_test)}
    n_folds = min(FOLDS, len(set(groups)))
    folds = list(GroupKFold(n_folds).split(x, y, groups)) if n_folds >= MIN_SUBJECTS else []
    folds = [fold for fold in folds if len(set(y[fold[0]])) == 2]  # a fold must show the model both classes
    if not folds or len(set(y_test)) < 2:
        return result | {"auroc": None}
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    search = GridSearchCV(probe, {"logisticregression__C": CS}, scoring=_log_likelihood, cv=folds).fit(x, y)
    return result | {"auroc": float(roc_auc_score(y_test, search.decision_function(x_test)))}


def _log_likelihood(model, x: np.ndarray, y: np.ndarray) -> float:
    own = model.predict_proba(x)[np.arange(len(y)), y.astype(int)]
    return float(np.log(np.maximum(own, 1e-12)).mean())  # one night told wrongly with certainty is not the end


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
