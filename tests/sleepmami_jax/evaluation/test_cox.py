"""Cox's model against lifelines on its own example, and against its own derivatives."""

import numpy as np
import pytest

from sleepmami_jax.evaluation.cox import PartialLikelihood, cox_coefficients


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 3))
    return x, rng.integers(1, 9, 40).astype(float), rng.random(40) < 0.5


@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_coefficients_are_those_of_lifelines(penalty):
    lifelines = pytest.importorskip("lifelines", reason="needs lifelines, of the dev extra")
    rossi = lifelines.datasets.load_rossi()
    names = [name for name in rossi if name not in ("week", "arrest")]
    rossi[names] = (rossi[names] - rossi[names].mean()) / rossi[names].std()  # lifelines punishes these
    theirs = lifelines.CoxPHFitter(penalizer=penalty).fit(rossi, "week", "arrest")
    time, event = rossi["week"].to_numpy(float), rossi["arrest"].to_numpy(bool)
    ours = cox_coefficients(rossi[names].to_numpy(), time, event, penalty * len(rossi))
    np.testing.assert_allclose(ours, theirs.params_, atol=1e-4)
    assert len(set(time[event])) < event.sum()  # there are ties to get right


def test_the_likelihood_of_ties_by_hand():
    """Two events at time 1 of three people at risk, after Efron."""
    risk = np.log([2.0, 3.0, 5.0])
    found = PartialLikelihood(np.array([1.0, 1.0, 2.0]), np.array([True, True, False])).value(risk)
    assert found == pytest.approx(np.log(2 / 10 * 3 / (10 - 5 / 2)))


def test_slope_and_information_are_its_derivatives(people):
    x, time, event = people
    likelihood, at, step = PartialLikelihood(time, event), np.array([0.3, -0.2, 0.5]), 1e-5
    gradient, information = likelihood.slope(x, x @ at)
    moved = [(x @ (at + d), x @ (at - d)) for d in step * np.eye(3)]
    values = [(likelihood.value(up) - likelihood.value(down)) / (2 * step) for up, down in moved]
    slopes = [(likelihood.slope(x, up)[0] - likelihood.slope(x, down)[0]) / (2 * step) for up, down in moved]
    np.testing.assert_allclose(gradient, values, rtol=1e-6)
    np.testing.assert_allclose(information, -np.array(slopes), rtol=1e-5, atol=1e-8)


def test_a_penalty_is_on_the_square_and_more_features_than_people_are_no_matter(people):
    x, time, event = people
    own = cox_coefficients(x, time, event, 5.0)
    gradient = PartialLikelihood(time, event).slope(x, x @ own)[0]
    np.testing.assert_allclose(gradient, 5.0 * own, atol=1e-4)
    twice = cox_coefficients(np.repeat(x, 20, 1), time, event, 5.0)
    assert twice.shape == (60,) and np.isfinite(twice).all()
    wide = 10 * np.random.default_rng(1).standard_normal((40, 200))  # where a whole first step goes much too far
    own = cox_coefficients(wide, time, event, 1.0)
    np.testing.assert_allclose(PartialLikelihood(time, event).slope(wide, wide @ own)[0], own, atol=1e-3)
    same = cox_coefficients(np.repeat(x, 2, 1), time, event)  # nothing chooses between a feature and its like
    np.testing.assert_allclose(same.reshape(3, 2).sum(1), cox_coefficients(x, time, event), atol=1e-4)


def test_what_cannot_be_fitted_is_refused(people):
    x, time, event = people
    with pytest.raises(ValueError, match="nobody has the event"):
        cox_coefficients(x, time, np.zeros(40, bool))
    with pytest.raises(ValueError, match="no finite numbers"):
        cox_coefficients(np.full_like(x, np.nan), time, event)
