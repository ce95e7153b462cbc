"""Measures are 0 where all is usual, and rise with what is not."""

import numpy as np
import pytest

from sleepmami_jax.trust.measures import index_is_wrong, of_epochs, of_night
from sleepmami_jax.trust.shifts import SHIFTS
from tests.sleepmami_jax.trust.conftest import looks_of, sure_probs, tokens_of
from tests.support.signals import night_of_noise


@pytest.fixture(scope="module")
def night():
    return night_of_noise(seed=50)


def measured(reference, night, stages=None, p=0.9):
    stages = night.scoring.stages if stages is None else stages
    return of_night(reference, looks_of(night), tokens_of(night), sure_probs(np.maximum(stages, 0), p), stages)


def test_nothing_is_unusual_about_a_usual_night(reference, night):
    measures = measured(reference, night)
    assert all(value == 0 for name, value in measures.items() if "unlike" in name or "absent" in name)
    assert measures["repeated"] == measures["not scored"] == 0 and measures["unsure"] == pytest.approx(0.1, rel=1e-4)


def test_stages_that_have_nothing_to_do_with_the_spectra_are_alike(reference, night):
    any_stage = np.random.default_rng(0).permutation(night.scoring.stages)
    assert measured(reference, night, any_stage)["alike"] > 0.5 > measured(reference, night)["alike"]


def test_what_is_repeated_is_counted(reference, night):
    looped = next(s for s in SHIFTS if s.name == "the first 10 min again and again").apply(night, None)
    assert measured(reference, looped)["repeated"] == pytest.approx(2 / 3)


def test_one_stage_restlessness_and_gaps(reference, night):
    n = night.n_epochs
    assert measured(reference, night, np.full(n, 2))["one stage"] == 1
    assert measured(reference, night, np.arange(n) % 2)["restless"] == 1
    assert measured(reference, night, np.where(np.arange(n) < n // 2, -1, 2))["not scored"] == 0.5
    nothing = measured(reference, night, np.full(n, -1))
    assert nothing["unsure"] == nothing["not scored"] == 1 and np.isfinite(list(nothing.values())).all()


def test_what_is_not_there_is_said(reference):
    measures = measured(reference, night_of_noise(seed=3, slots=("CHIN", "SPO2")))
    assert measures["EEG absent"] == 1 and measures["EMG absent"] == 0 and measures["alike"] == 0


def test_epochs_that_disagree_with_their_neighbours_stand_alone(reference, night):
    stages = np.full(night.n_epochs, 2)
    stages[30] = 4
    alone = of_epochs(reference, tokens_of(night), sure_probs(stages), stages)["alone"]
    assert alone[30] == 1 and alone[10] == 0 and alone[29] == 0.25


@pytest.mark.parametrize(
    ("said", "truth", "wrong"),
    [
        (12, 10, False),
        (16, 10, True),
        (60, 45, False),
        (70, 45, True),
        (None, 3, True),
        (None, None, False),
        (5.5, 0, True),
    ],
)
def test_an_index_is_wrong_by_more_than_five_and_half_of_itself(said, truth, wrong):
    assert index_is_wrong(said, truth) is wrong
