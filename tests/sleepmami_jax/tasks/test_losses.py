"""What a class weighs, what is easy, and what a label that is not quite sure costs: against the formulas by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipeline.tasks import AROUSAL, STAGES
from sleepmami_jax.tasks.losses import class_weights, cross_entropy, task_losses
from tests.support.meshes import on_one_device

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((40, 5)).astype(np.float32) * 2
LABELS = RNG.integers(-1, 5, 40)
WEIGHTS = np.array([0.5, 3.0, 1.0, 2.0, 0.25])


def by_hand(focal=0.0, weights=None) -> float:
    losses = []
    for logits, label in zip(LOGITS.astype(float), LABELS, strict=True):
        if label >= 0:
            p = np.exp(logits) / np.exp(logits).sum()
            loss = -np.log(p[label]) * (1 - p[label]) ** focal
            losses.append(loss * (1 if weights is None else weights[label]))
    return float(np.mean(losses))


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"focal": 2.0},
        {"focal": 0.5},
        {"weights": WEIGHTS},
        {"focal": 1.5, "weights": WEIGHTS},
    ],
    ids=str,
)
def test_the_loss_is_that_of_the_formula(how):
    loss, accuracy = on_one_device(partial(cross_entropy, **how))(LOGITS, LABELS)
    assert loss == pytest.approx(by_hand(**how), rel=1e-5)
    known = LABELS >= 0
    assert accuracy == pytest.approx((LOGITS.argmax(1) == LABELS)[known].mean())


def test_what_is_certain_has_a_slope_of_no_more_than_nothing():
    def loss(logits):
        return cross_entropy(logits, jnp.array([0]), (), focal=0.5)[0]

    slope = jax.grad(loss)(jnp.array([[60.0, -60.0]]))
    assert np.isfinite(slope).all() and np.abs(slope).max() < 1e-3


def test_weights_are_a_power_of_the_inverse_frequency_and_1_in_the_mean():
    counts = {"stages": np.array([400.0, 100.0, 0.0, 500.0]), "snore": np.zeros(2)}
    weights = class_weights(counts, 0.5)
    stages, seen = weights["stages"], counts["stages"] > 0
    assert (stages * counts["stages"]).sum() == pytest.approx(1000)
    assert stages[1] / stages[0] == pytest.approx(2) and stages[0] / stages[3] == pytest.approx((5 / 4) ** 0.5)
    assert stages[~seen].tolist() == [1] and weights["snore"].tolist() == [1, 1]
    assert class_weights(counts, 0.0)["stages"].tolist() == [1, 1, 1, 1]


def test_every_head_is_weighed_by_its_own_classes():
    heads = {"stages": LOGITS[None], "arousal": LOGITS[None, :, :1]}
    labels = {"stages": LABELS[None], "arousal": np.minimum(LABELS, 1)[None]}
    weights = {"stages": WEIGHTS, "arousal": np.array([0.1, 4.0])}

    def run(heads, labels, axes):
        return task_losses(heads, labels, (STAGES, AROUSAL), axes, weights=weights, focal=1.0)

    total, parts = on_one_device(run)(heads, labels)
    assert parts["stages"] == pytest.approx(by_hand(1.0, WEIGHTS), rel=1e-5)
    two = np.concatenate([np.zeros((40, 1), np.float32), LOGITS[:, :1]], 1)
    alone = partial(cross_entropy, focal=1.0, weights=weights["arousal"])
    assert parts["arousal"] == pytest.approx(on_one_device(alone)(two, labels["arousal"][0])[0], rel=1e-5)
    assert total == pytest.approx(parts["stages"] + AROUSAL.loss_weight * parts["arousal"], rel=1e-5)
