"""Stages read from features by a linear map."""

from __future__ import annotations

import numpy as np
import pytest

from sleepmami_jax.training.probe import stage_probe

N, PEOPLE = 120, 4


def epochs(width: int = 30):
    """(x, stage, person) of epochs that say nothing of their stages; half of the stages are N2."""
    rng = np.random.default_rng(0)
    stage = np.where(rng.random(N) < 0.4, 2, rng.integers(0, 5, N))
    return rng.standard_normal((N, width)).astype(np.float32), stage, np.arange(N) % PEOPLE


def test_what_is_in_the_features_is_read_and_what_is_not_is_guessed():
    blind = stage_probe(*epochs())
    x, stage, person = epochs()
    assert blind["probe_guess"] == pytest.approx((stage == 2).mean())  # the commonest in either half
    assert abs(blind["probe_accuracy"] - blind["probe_guess"]) < 0.1
    x[:, :5] += 5 * np.eye(5)[stage]
    assert stage_probe(x, stage, person)["probe_accuracy"] > 0.9
    assert stage_probe(1e3 * x + 7, stage, person)["probe_accuracy"] > 0.9  # whatever the unit


def test_nobody_is_predicted_from_their_own_epochs():
    x, stage, person = epochs(4)
    rng = np.random.default_rng(1)
    own = rng.permuted(np.tile(np.arange(5), (PEOPLE, 1)), axis=1)  # each person's own code of the stages
    x[:, :] = 0.1 * x
    x = np.concatenate([x, 3 * np.eye(PEOPLE * 5)[person * 5 + own[person, stage]]], 1)
    assert stage_probe(x, stage, person)["probe_accuracy"] < 0.7  # within a person it would be 1


def test_unknown_stages_count_nowhere_and_one_person_is_none():
    x, stage, person = epochs()
    more = np.concatenate([x, 100 + x]), np.concatenate([stage, np.full(N, -1)]), np.concatenate([person, person + 9])
    assert stage_probe(*more) == stage_probe(x, stage, person)
    assert stage_probe(x, stage, np.zeros(N, int)) == {}
    assert stage_probe(x, np.full(N, -1), person) == {}
    constant = np.ones_like(x)  # such as a channel that nobody has
    assert np.isfinite(list(stage_probe(constant, stage, person).values())).all()
