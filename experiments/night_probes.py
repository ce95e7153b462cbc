"""What vectors of nights know of the person: age, sex, and sleep apnea beside what demographics alone tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_pipeline.night import Demographics
from sleepmami_jax.evaluation.linear import binary_probe, is_man, number_probe

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
      age_mae, age_mae_median (always the training median), sex_auroc, apnea_auroc (AHI >= 15 per hour) and
      apnea_auroc_demographics (by age, sex and BMI alone); None where it cannot be measured.
    """
    subjects = [n.subject_id for n in train]

    def labels(side, of):
        return [of(n) for n in side]

    def age(n):
        return n.demographics.age_years

    def sex(n):
        return is_man(n.demographics.sex)

    def apnea(n):
        return None if n.ahi_per_h is None else n.ahi_per_h >= APNEA_AHI_PER_H

    ages = number_probe(train_vectors, labels(train, age), subjects, test_vectors, labels(test, age))
    sexes = binary_probe(train_vectors, labels(train, sex), subjects, test_vectors, labels(test, sex))
    sick, sick_test = labels(train, apnea), labels(test, apnea)
    known, known_test = _demographic_features(train, test)
    return {
        "age_mae": ages["mae"],
        "age_mae_median": ages["mae_median"],
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
