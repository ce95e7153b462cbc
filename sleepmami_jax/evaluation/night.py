"""What a night's vector knows of the person: linear probes for age, sex and sleep apnea, beside guessing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from data_pipeline.night import Demographics

FOLDS = 5
ALPHAS = np.logspace(-2, 6, 17).tolist()
CS = np.logspace(-6, 2, 9).tolist()
MIN_SUBJECTS = 4
"""Fewer people than this on the training side cannot be split for choosing the penalty."""
APNEA_AHI_PER_H = 15
"""Moderate sleep apnea (AASM 1999, ICSD-3): the usual yes or no."""


@dataclass(frozen=True)
class Facts:
    """What is known of a night and its person, to be told from the night's vector.

    Attributes:
      subject_id, demographics: as in `Night`.
      ahi_per_h: of the scored events; None where nobody looked for them.
    """

    subject_id: str
    demographics: Demographics
    ahi_per_h: float | None


def night_probe(
    train_vectors: np.ndarray, train: Sequence[Facts], test_vectors: np.ndarray, test: Sequence[Facts]
) -> dict[str, float | None]:
    """All probes of night vectors, flat; guessing has an AUROC of 0.5.

    Args:
      train_vectors: (N, D) float.
      train: N nights.
      test_vectors: (M, D) float; nights of other people.
      test: M nights.

    Returns:
      age_mae, age_mae_mean (always the training mean), sex_auroc, apnea_auroc (AHI >= 15 per hour) and
      apnea_auroc_demographics (by age, sex and BMI alone); None where it cannot be measured.
    """
    subjects = [n.subject_id for n in train]

    def labels(side, of):
        return [of(n) for n in side]

    def age(n):
        return n.demographics.age_years

    def sex(n):
        return n.demographics.sex

    def apnea(n):
        return None if n.ahi_per_h is None else n.ahi_per_h >= APNEA_AHI_PER_H

    ages = age_probe(train_vectors, labels(train, age), subjects, test_vectors, labels(test, age))
    sexes = sex_probe(train_vectors, labels(train, sex), subjects, test_vectors, labels(test, sex))
    sick, sick_test = labels(train, apnea), labels(test, apnea)
    known, known_test = _demographic_features(train, test)
    return {
        "age_mae": ages["mae_years"],
        "age_mae_mean": ages["mae_years_mean_baseline"],
        "sex_auroc": sexes["auroc"],
        "apnea_auroc": binary_probe(train_vectors, sick, subjects, test_vectors, sick_test)["auroc"],
        "apnea_auroc_demographics": binary_probe(known, sick, subjects, known_test, sick_test)["auroc"],
    }


def _demographic_features(train: Sequence[Facts], test: Sequence[Facts]) -> tuple[np.ndarray, np.ndarray]:
    """(N, 6) and (M, 6): age, BMI and sex, the mean of the training side where unknown, and which are known."""

    def table(side):
        rows = [
            (d.age_years, d.bmi, None if d.sex is None else float(d.sex == "M")) for d in (n.demographics for n in side)
        ]
        return np.array(rows, np.float64).reshape(len(side), 3)  # None becomes NaN

    x, x_test = table(train), table(test)
    seen = np.isfinite(x)
    means = np.where(seen, x, 0).sum(0) / np.maximum(seen.sum(0), 1)
    return tuple(
        np.concatenate([np.where(np.isfinite(side), side, means), np.isfinite(side)], 1) for side in (x, x_test)
    )


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
