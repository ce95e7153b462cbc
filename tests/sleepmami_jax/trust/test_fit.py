"""Risks and temperatures fitted on cases whose truth is known."""

import numpy as np
import pytest

from sleepmami_jax.trust.fit import fit_risk, fit_temperature, tempered


def test_a_measure_that_tells_is_believed_and_one_that_does_not_is_not():
    rng = np.random.default_rng(0)
    x = {
        "tells": rng.exponential(size=3000),
        "does not": rng.exponential(size=3000),
        "misleads": rng.exponential(size=3000),
    }
    chance = 1 / (1 + np.exp(-(-2 + 1.5 * x["tells"] - 1.0 * x["misleads"])))
    wrong = rng.random(3000) < chance
    risk = fit_risk([x], wrong, np.ones(3000))
    weight = dict(zip(risk.measures, risk.weights, strict=True))
    assert weight["tells"] > 0.9 and weight["does not"] < 0.2 and weight["misleads"] == 0  # none can lower it
    assert risk.cases == 3000 and risk.wrong == wrong.sum()
    assert risk(x).mean() == pytest.approx(wrong.mean(), abs=0.01)


def test_weights_decide_what_counts():
    cases = [{"x": 0.0}, {"x": 1.0}] * 50
    wrong = np.array([False, True] * 50)
    rare = fit_risk(cases, wrong, np.array([0.9, 0.1] * 50))
    even = fit_risk(cases, wrong, np.ones(100))
    assert float(rare({"x": 0.0})) < float(even({"x": 0.0})) < 0.5 < float(even({"x": 1.0}))


def test_the_temperature_undoes_what_was_done():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20000, 5))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    codes = np.array([rng.choice(5, p=p) for p in true[:4000]])
    boastful = tempered(true[:4000], 0.4)
    assert fit_temperature(boastful, codes, np.ones(4000)) == pytest.approx(2.5, rel=0.1)
    np.testing.assert_allclose(tempered(boastful, 2.5), true[:4000], atol=1e-5)
    assert (boastful.argmax(axis=1) == true[:4000].argmax(axis=1)).all()
