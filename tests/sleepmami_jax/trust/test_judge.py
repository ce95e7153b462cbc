"""A usual night is believed; one with something wrong is not, and the reason is said."""

import re
from dataclasses import asdict, replace

import numpy as np
import pytest

from data_pipeline.from_json import from_json
from data_pipeline.tasks import BREATHING, STAGES
from sleepmami_jax.trust.judge import UNSURE, judge_looks, mean_tokens
from sleepmami_jax.trust.looks import look
from sleepmami_jax.trust.reference import Reference, Risk
from sleepmami_jax.trust.shifts import SHIFTS
from tests.sleepmami_jax.trust.conftest import sure_probs, tokens_of
from tests.support.signals import night_of_noise

TASKS = (STAGES, BREATHING)


def looks_of(night):
    return [seen for channel in night.channels if (seen := look(channel))]


def judged(reference, night, probs=None, tokens=None):
    probs = sure_probs(night.scoring.stages) if probs is None else probs
    scorable = np.ones(night.n_epochs, bool)
    return judge_looks(
        reference, TASKS, looks_of(night), tokens_of(night, 99) if tokens is None else tokens, probs, scorable
    )


def shifted(night, name):
    return next(s for s in SHIFTS if s.name == name).apply(night, np.random.default_rng(0))


@pytest.fixture(scope="module")
def night():
    return night_of_noise(seed=77)


def test_a_usual_night_is_believed_without_a_word(reference, night):
    seen = judged(reference, night)
    assert seen.reliable == {"stages": True, "breathing": True} and not seen.reasons
    assert not seen.unsure.any() and seen.epoch_risk.shape == (night.n_epochs,)


@pytest.mark.parametrize(
    ("shift", "task", "slots", "words"),
    [
        ("EEG and EMG exchanged", "stages", ("C3", "C4"), "looks like an EMG"),
        ("an ECG as EEG", "stages", ("C3", "C4"), "looks like an ECG"),
        ("a belt as EEG", "stages", ("C3", "C4"), "is unlike|looks like|too"),
        ("EEG with noise of 3 times its spread", "stages", ("C3", "C4"), "too much power above 12 Hz: noise"),
        ("mains of 5 times the EEG at 50 Hz", "stages", ("C3", "C4"), "too much power above 12 Hz: noise, mains"),
        ("EEG below 5 Hz only", "stages", ("C3", "C4"), "hardly any power above 12 Hz: filtered"),
        ("EEG above 5 Hz only", "stages", ("C3", "C4"), "hardly any power below 12 Hz: filtered"),
        ("a pulse rate as SpO2", "breathing", ("SPO2",), "no person's saturation"),
        ("an EEG as breathing", "breathing", ("THORAX",), "is unlike|too much power"),
    ],
)
def test_what_is_wrong_is_not_believed_and_named(reference, night, shift, task, slots, words):
    seen = judged(reference, shifted(night, shift))
    assert not seen.reliable[task]
    said = [r for r in seen.reasons if set(slots) <= set(r.partition(":")[0].split(", "))]
    assert any(re.search(words, reason) for reason in said), seen.reasons


def test_a_wrong_unit_is_no_reason_alone_but_is_said_where_the_shape_is_wrong_too(reference, night):
    louder = shifted(night, "EEG 1000 times")
    assert judged(reference, louder).reasons == ()  # gain is normalised away
    broken = judged(reference, shifted(louder, "EEG with noise of 3 times its spread"))
    assert any("times larger than usual: check its unit" in reason for reason in broken.reasons)


def test_a_model_that_doubts_everything_is_not_believed(reference, night):
    vague = np.full((night.n_epochs, 5), 0.2, np.float32)
    vague[:, 0] += 1e-3
    seen = judged(reference, night, vague)
    assert seen.risk["stages"] > UNSURE and any("unsure" in reason for reason in seen.reasons)
    assert seen.unsure.all()


def test_calibrated_probabilities_keep_the_stage_and_an_epoch_without_one_is_wrong(reference, night):
    probs = sure_probs(night.scoring.stages)
    scorable = np.arange(night.n_epochs) % 2 == 0
    seen = judge_looks(reference, TASKS, looks_of(night), tokens_of(night), probs, scorable)
    assert (seen.stage_probs.argmax(axis=1) == probs.argmax(axis=1)).all()
    assert seen.stage_probs.max() < probs.max()  # temperature 1.25
    assert (seen.epoch_risk[~scorable] == 1).all() and (seen.epoch_risk[scorable] < 1).all()


def test_no_index_is_surer_than_the_stages_that_it_is_by(reference, night):
    vague = np.full((night.n_epochs, 5), 0.2, np.float32)
    risk = judged(reference, night, vague).risk
    own = replace(reference, night={"breathing": reference.night["breathing"]})
    assert judged(own, night, vague).risk["breathing"] < 0.5 < risk["stages"] <= risk["breathing"]


def test_a_stage_that_was_never_met_is_said(reference, night):
    seen = judged(replace(reference, never=("N3", "REM")), night)
    assert any("had N3 or REM" in reason for reason in seen.reasons)


def test_unusual_tokens_raise_the_risk_of_their_epochs(reference, night):
    x, there = tokens_of(night, 99)["EEG"]
    x = x.copy()
    x[10:20] += 12
    plain, odd = judged(reference, night), judged(reference, night, tokens={"EEG": (x, there)})
    assert (odd.epoch_risk[10:20] > plain.epoch_risk[10:20]).all()


def test_the_reference_comes_back_from_json_and_a_damaged_one_is_refused(reference):
    said = asdict(reference)
    assert from_json(Reference, said) == reference
    with pytest.raises(ValueError, match="looks"):
        from_json(Reference, said | {"looks": 3})
    with pytest.raises(ValueError, match="temperature of stages"):
        replace(reference, temperature={"stages": 0.0})
    with pytest.raises(ValueError, match="weights"):
        Risk(("a",), (-1.0,), (0.0,), 0.0, 1, 0)


def test_mean_tokens_are_of_those_that_are_there():
    x = np.arange(2 * 3 * 1, dtype=np.float32).reshape(2, 3, 1)
    ok = np.array([[True, False, True], [False, False, False]])
    means = mean_tokens(x, ok, np.array([0, 0, 1]), ("EEG", "EOG"))
    np.testing.assert_array_equal(means["EEG"][0], [[0], [0]])
    assert means["EEG"][1].tolist() == [True, False] and means["EOG"][0][0, 0] == 2
    assert "EOG" not in mean_tokens(x, ok & False, np.array([0, 0, 1]), ("EEG", "EOG"))
