"""A few scored epochs put stages right where they can, and are left alone where they cannot."""

import numpy as np
import pytest

from sleepmami_jax.trust.repair import FEWEST_EPOCHS, repair


def night(seed=0, n=600, sharpness=3.0):
    """True stages in runs, and probabilities that mostly say them."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(rng.integers(0, 5, n // 10), 10)
    logits = rng.normal(0, 1, (n, 5)) + sharpness * np.eye(5)[truth]
    return truth, logits, rng


def probabilities(logits):
    return (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)


def given(truth, rng, n):
    codes = np.full(len(truth), -1)
    some = rng.choice(len(truth), n, replace=False)
    codes[some] = truth[some]
    return codes


def test_stages_said_too_often_are_said_less():
    truth, logits, rng = night()
    probs = probabilities(logits + np.array([0, 0, 4.0, 0, 0]))
    repaired = repair(probs, None, given(truth, rng, 40))
    before, after = ((p.argmax(axis=1) == truth).mean() for p in (probs, repaired.probs))
    assert repaired.what and after > before + 0.1
    assert repaired.right_before == pytest.approx(before, abs=0.2) and repaired.right_after > repaired.right_before
    assert "40 scored epochs" in repaired.sentence and repaired.what in repaired.sentence


def test_a_head_learns_what_the_probabilities_do_not_say():
    truth, logits, rng = night(1, sharpness=0.3)
    tokens = rng.normal(0, 0.3, (len(truth), 12)) + np.eye(12)[truth]
    repaired = repair(probabilities(logits), tokens, given(truth, rng, 100))
    assert "head" in repaired.what
    assert (repaired.probs.argmax(axis=1) == truth).mean() > 0.8


def test_where_nothing_helps_nothing_is_changed():
    truth, logits, rng = night(2, sharpness=6)
    probs = probabilities(logits)
    repaired = repair(probs, rng.normal(size=(len(truth), 12)), given(truth, rng, 20))
    assert not repaired.what and (repaired.probs == probs).all() and "Nothing was changed" in repaired.sentence


def test_too_few_epochs_change_nothing_and_none_is_refused():
    truth, logits, rng = night(3)
    probs = probabilities(logits + np.array([0, 0, 4.0, 0, 0]))
    assert not repair(probs, None, given(truth, rng, FEWEST_EPOCHS - 1)).what
    with pytest.raises(ValueError, match="no scored epoch"):
        repair(probs, None, np.full(len(truth), -1))
