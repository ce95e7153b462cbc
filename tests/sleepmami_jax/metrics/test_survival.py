"""Concordance and AUROC at a time against lifelines, and against counting pairs."""

from itertools import product

import numpy as np
import pytest

from sleepmami_jax.metrics import survival
from sleepmami_jax.metrics.survival import auroc, auroc_at, bootstrap, concordance


@pytest.fixture(scope="module")
def people():
    """Times and risks that are often equal, of 60 people; a third have the event."""
    rng = np.random.default_rng(0)
    return rng.integers(1, 15, 60).astype(float), rng.random(60) < 0.4, rng.integers(0, 12, 60) / 4


def test_concordance_is_that_of_lifelines(people):
    utils = pytest.importorskip("lifelines.utils", reason="needs lifelines, of the dev extra")
    time, event, risk = people
    assert concordance(time, event, risk) == pytest.approx(utils.concordance_index(time, -risk, event), abs=1e-12)


def test_concordance_by_hand():
    time, event = np.array([1.0, 2.0, 2.0, 3.0]), np.array([True, True, False, False])
    assert concordance(time, event, -time) == pytest.approx(4.5 / 5)  # the two of time 2 are an equal pair
    assert concordance(time, event, np.zeros(4)) == 0.5
    assert np.isnan(concordance(time, np.zeros(4, bool), time))


def test_few_pairs_at_a_time_are_all_pairs(people, monkeypatch):
    weights = bootstrap(60, 3)
    whole = concordance(*people, weights), auroc_at(*people, 8, weights)
    monkeypatch.setattr(survival, "_CHUNK", 100)
    np.testing.assert_allclose((concordance(*people, weights), auroc_at(*people, 8, weights)), whole)


def test_weights_are_people_drawn_again(people):
    drawn = np.random.default_rng(1).integers(60, size=60)
    weights = np.bincount(drawn, minlength=60)[None].astype(float)
    again = [values[drawn] for values in people]
    assert concordance(*again) == pytest.approx(concordance(*people, weights)[0])
    assert auroc_at(*again, 8) == pytest.approx(auroc_at(*people, 8, weights)[0])
    made = bootstrap(60, 2, seed=3)
    assert (made.sum(1) == 60).all() and (made[0] == 1).all() and (made == bootstrap(60, 2, seed=3)).all()


def test_auroc_at_counts_pairs_with_what_censoring_hides(people):
    """Pair by pair, with Kaplan-Meier of censoring by its definition."""
    time, event, risk = people

    def seen_before(t):
        stays = 1.0
        for c in sorted(set(time[~event])):
            if c < t:
                left = ((time > c) | ((time == c) & ~event)).sum()
                stays *= 1 - ((time == c) & ~event).sum() / left
        return stays

    won = total = 0.0
    for i, j in product(np.flatnonzero(event & (time <= 8)), np.flatnonzero(time > 8)):
        weight = 1 / seen_before(time[i])
        total += weight
        won += weight * ((risk[i] > risk[j]) + 0.5 * (risk[i] == risk[j]))
    assert auroc_at(time, event, risk, 8) == pytest.approx(won / total)
    assert np.isnan(auroc_at(time, event, risk, 0.5))


def test_auroc_of_a_yes_or_no():
    assert auroc(np.array([True, False, True, False]), np.array([3.0, 1.0, 2.0, 2.0])) == 3.5 / 4
