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


def age_probe(
    train_vectors: np.ndarray,
    train_ages: Sequence[float | None],
    train_subjects: Sequence[str],
    test_vectors: np.ndarray,
    test_ages: Sequence[float | None],
) -> dict[str, Any]:
    """Mean absolute error in years of ridge regression on night vectors, and of always saying the training mean.

    The penalty is chosen by cross-validation inside the training nights, with all nights of a person in one
    fold. Nights of unknown age are left out and counted.

    Args:
      train_vectors: (N, D) float.
      train_ages: N ages in years, None for unknown.
      train_subjects: N subject identifiers.
      test_vectors: (M, D) float; nights of other people.
      test_ages: M ages in years, None for unknown.

    Returns:
      n_train, n_test, mae_years, mae_years_mean_baseline, alpha; the last three None with fewer than 4
      people to train on or nobody to test.
    """
    x, y, groups, x_test, y_test = _known(train_vectors, train_ages, train_subjects, test_vectors, test_ages, float)
    result: dict[str, Any] = {"n_train": len(y), "n_test": len(y_test)}
    n_people = len(set(groups))
    if n_people < MIN_SUBJECTS or not len(y_test):
        return result | {"mae_years": None, "mae_years_mean_baseline": None, "alpha": None}
    search = GridSearchCV(
        make_pipeline(StandardScaler(), Ridge()),
        {"ridge__alpha": ALPHAS},
        scoring="neg_mean_absolute_error",
        cv=GroupKFold(min(FOLDS, n_people)),
    ).fit(x, y, groups=groups)
    return result | {
        "mae_years": float(np.abs(search.predict(x_test) - y_test).mean()),
        "mae_years_mean_baseline": float(np.abs(y.mean() - y_test).mean()),
        "alpha": search.best_params_["ridge__alpha"],
    }


def sex_probe(
    train_vectors: np.ndarray,
    train_sexes: Sequence[str | None],
    train_subjects: Sequence[str],
    test_vectors: np.ndarray,
    test_sexes: Sequence[str | None],
) -> dict[str, Any]:
    """As `binary_probe`, for "M" against "F"."""

    def man(sexes):
        return [None if sex is None else sex == "M" for sex in sexes]

    return binary_probe(train_vectors, man(train_sexes), train_subjects, test_vectors, man(test_sexes))


def binary_probe(
    train_vectors: np.ndarray,
    train_labels: Sequence[bool | None],
    train_subjects: Sequence[str],
    test_vectors: np.ndarray,
    test_labels: Sequence[bool | None],
) -> dict[str, Any]:
    """AUROC of logistic regression on night vectors for a yes or no; guessing has 0.5.

    As `age_probe`, with True, False or None in place of ages. The penalty is chosen by log-loss, which needs no
    two classes in a fold.

    Returns:
      n_train, n_test, auroc, c; the last two None with fewer than 4 people or one class only on either side.
    """
    x, y, groups, x_test, y_test = _known(train_vectors, train_labels, train_subjects, test_vectors, test_labels, bool)
    result: dict[str, Any] = {"n_train": len(y), "n_test": len(y_test)}
    n_folds = min(FOLDS, len(set(groups)))
    folds = list(GroupKFold(n_folds).split(x, y, groups)) if n_folds >= MIN_SUBJECTS else []
    folds = [fold for fold in folds if len(set(y[fold[0]])) == 2]  # a fold must show the model both classes
    if not folds or len(set(y_test)) < 2:
        return result | {"auroc": None, "c": None}
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        {"logisticregression__C": CS},
        scoring=_log_likelihood,
        cv=folds,
    ).fit(x, y)
    return result | {
        "auroc": float(roc_auc_score(y_test, search.decision_function(x_test))),
        "c": search.best_params_["logisticregression__C"],
    }


def _log_likelihood(model, x: np.ndarray, y: np.ndarray) -> float:
    own = model.predict_proba(x)[np.arange(len(y)), y.astype(int)]
    return float(np.log(np.maximum(own, 1e-12)).mean())  # one night told wrongly with certainty is not the end


def _known(train_vectors, train_labels, train_subjects, test_vectors, test_labels, number):
    """Arrays of the nights whose label is known, labels turned to numbers by `number`."""
    if len(train_vectors) != len(train_labels) or len(train_labels) != len(train_subjects):
        raise ValueError(
            f"{len(train_vectors)} vectors, {len(train_labels)} labels and {len(train_subjects)} subjects to "
            "train on: expected one of each a night"
        )
    if len(test_vectors) != len(test_labels):
        raise ValueError(f"{len(test_vectors)} vectors but {len(test_labels)} labels to test on")
    train = [i for i, label in enumerate(train_labels) if label is not None]
    test = [i for i, label in enumerate(test_labels) if label is not None]
    return (
        np.asarray(train_vectors, np.float64)[train],
        np.array([number(train_labels[i]) for i in train]),
        np.array([train_subjects[i] for i in train]),
        np.asarray(test_vectors, np.float64)[test],
        np.array([number(test_labels[i]) for i in test]),
    )
