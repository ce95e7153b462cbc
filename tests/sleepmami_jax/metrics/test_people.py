"""Intervals over people: as wide as they should be, and as scipy's."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from sleepmami_jax.metrics.people import intervals, over_people


def accuracy(sums):
    return {"accuracy": sums[..., 0] / sums[..., 1]}


def test_intervals_are_those_of_scipy():
    rng = np.random.default_rng(1)
    rows = np.column_stack([rng.binomial(50, 0.8, 40), np.full(40, 50)])
    people = [str(i) for i in range(40)]
    theirs = bootstrap(
        (rows[:, 0] / 50,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert intervals(rows, people, accuracy)["accuracy"] == pytest.approx([theirs.low, theirs.high], abs=0.004)


def test_an_interval_holds_the_truth_as_often_as_it_promises():
    """Thirty people whose own accuracies spread about 0.8, four nights each: nights alone would promise too much."""
    rng, people, held, narrow = np.random.default_rng(0), [str(i // 4) for i in range(120)], 0, 0
    for _ in range(60):
        own = np.repeat(rng.beta(16, 4, 30), 4)
        rows = np.column_stack([rng.binomial(100, own), np.full(120, 100)])
        lower, upper = intervals(rows, people, accuracy)["accuracy"]
        held += lower <= 0.8 <= upper
        lower, upper = intervals(rows, [str(i) for i in range(120)], accuracy)["accuracy"]
        narrow += lower <= 0.8 <= upper
    assert 52 <= held <= 60 and narrow < 48


def test_pooled_and_mean_are_two_things():
    """A long bad night weighs more in the pooled figure; one where it does not exist is not in the mean."""
    rows = np.array([[10, 10], [10, 10], [0, 80], [0, 0], [10, 10], [5, 10]])
    told = over_people(rows, list("aabcde"), accuracy)
    assert told["per_night"]["accuracy"] == [1, 1, 0, None, 1, 0.5]
    assert told["mean"]["accuracy"] == pytest.approx(3.5 / 5)
    lower, upper = told["interval"]["accuracy"]
    assert lower < 35 / 120 < upper and told["interval_of_mean"]["accuracy"] != [lower, upper]
    assert told == over_people(rows, list("aabcde"), accuracy)


def test_few_people_and_what_hardly_exists_have_no_interval():
    rows = np.array([[1, 1]] * 4)
    assert over_people(rows, list("abcd"), accuracy)["interval"] == {}
    assert intervals(np.array([[1, 1]] + [[0, 0]] * 5), list("abcdef"), accuracy)["accuracy"] is None
    with pytest.raises(ValueError, match="4 rows but 1 names"):
        intervals(rows, ["a"], accuracy)
