"""A figure pooled over nights, of each night, and its mean over nights, with what other people would have made of it.

Whatever is compared leaves one row of counts or sums a night, and every figure is a function of sums of such rows. So
one function gives the pooled figure, that of each night, and that of a thousand cohorts drawn from the same people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Figures = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""(..., K) sums of rows -> by name (...) figures, NaN where they do not exist."""

CONFIDENCE = 0.95
RESAMPLES, BATCH = 2000, 100
"""Of 2000 cohorts 50 lie beyond either limit (our choice; 1000 to 2000 is usual)."""
FEWEST_PEOPLE = 5
"""An interval from fewer people would say less than the reader's own doubt (our choice), and of fewer than five no
figure is given at all where a group of them has a name (`evaluation.subgroups`)."""
MOST_UNDEFINED = 0.05
"""Share of cohorts in which a figure may not exist, such as the F1 of a stage that few people have (our choice)."""


def intervals(rows: np.ndarray, people: Sequence[str], figures: Figures) -> dict[str, list[float] | None]:
    """95 % percentile bootstrap intervals (Efron and Tibshirani 1993) of pooled figures; whole people are drawn.

    Nights of one person are alike, and epochs of one night more so: drawing either would promise too much.

    >>> rows = np.array([[right, 10] for right in (9, 8, 9, 7, 9, 8)])
    >>> intervals(rows, list("abcdef"), lambda sums: {"accuracy": sums[..., 0] / sums[..., 1]})["accuracy"]
    [0.766..., 0.883...]

    Args:
      rows: (N, K), one a night.
      people: whose night each of them is.

    Returns:
      by name of the figure [lower, upper], None where it hardly exists; of fewer than `FEWEST_PEOPLE`, nothing.
    """
    rng, sums = np.random.default_rng(0), _by_person(np.asarray(rows, float), people)
    n = len(sums)
    if n < FEWEST_PEOPLE:
        return {}
    drawn = [rng.multinomial(n, np.full(n, 1 / n), BATCH) @ sums for _ in range(RESAMPLES // BATCH)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: _limits(values) for name, values in figures(np.concatenate(drawn)).items()}


def over_people(rows: np.ndarray, people: Sequence[str], figures: Figures) -> dict[str, dict[str, Any]]:
    """Figures of each night and their mean over nights, and intervals of pooled figures and of means.

    A night in which a figure does not exist, such as the F1 of events that neither side has, is not in its mean.

    Args:
      rows, people, figures: as in `intervals`.

    Returns:
      `mean`, `interval`, `interval_of_mean` and `per_night`, in the order of the rows, each by name of the figure.
    """
    rows = np.asarray(rows, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        nights = {name: np.asarray(values, float) for name, values in figures(rows).items()}
    values = np.stack(list(nights.values()), axis=1)
    exists = np.isfinite(values)
    of_mean = np.concatenate([np.where(exists, values, 0), exists], axis=1)

    def means(sums: np.ndarray) -> dict[str, np.ndarray]:
        total, count = np.split(sums, 2, axis=-1)
        return dict(zip(nights, np.moveaxis(total / count, -1, 0), strict=True))

    with np.errstate(divide="ignore", invalid="ignore"):
        mean = means(of_mean.sum(axis=0))
    return {
        "mean": {name: known(value) for name, value in mean.items()},
        "interval": intervals(rows, people, figures),
        "interval_of_mean": intervals(of_mean, people, means),
        "per_night": {name: [known(value) for value in night] for name, night in nights.items()},
    }


def known(value: float) -> float | None:
    """A number as JSON has it: None for what is not finite."""
    return float(value) if np.isfinite(value) else None


def _by_person(rows: np.ndarray, people: Sequence[str]) -> np.ndarray:
    if len(rows) != len(people):
        raise ValueError(f"{len(rows)} rows but {len(people)} names; expected the person of every night")
    names, person = np.unique(list(people), return_inverse=True)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, person, rows)
    return sums


def _limits(values: np.ndarray) -> list[float] | None:
    if np.isfinite(values).mean() < 1 - MOST_UNDEFINED:
        return None
    tail = (1 - CONFIDENCE) / 2
    return [float(limit) for limit in np.quantile(values[np.isfinite(values)], (tail, 1 - tail))]
