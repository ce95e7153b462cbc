"""What decays, how the learning rate moves, and that the optimiser is AdamW."""

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from sleepmami_jax.config import ModelConfig, OptimizerConfig
from sleepmami_jax.models.initial import Linear, Rngs
from sleepmami_jax.models.sleepmami import split, structure
from sleepmami_jax.objectives.contrastive import ModalityProjection
from sleepmami_jax.objectives.masked import MaskedDecoder
from sleepmami_jax.training.optimizer import SMALL, decays, global_norm, make_optimizer, schedule


def objective_names(config):
    """Flat names of the parameters that only the losses of the two pretrainings have."""

    class Micro(nnx.Module):
        def __init__(self):
            self.decoder = MaskedDecoder(config, 16, rngs=Rngs(0))
            self.projection = ModalityProjection(config, rngs=Rngs(0))

    def macro():
        return Linear(config.macro.dim, config.projection_dim, rngs=Rngs(0))

    shapes = [split(make())[1] for make in (Micro, macro)]
    return {f"objective/{name}": leaf for part in shapes for name, leaf in part.items()}


def test_every_parameter_has_a_decay_rule_and_matrices_are_what_decays(tiny):
    for config in (ModelConfig(), tiny):
        shapes = structure(config)[1] | objective_names(config)
        decaying = {name for name in shapes if decays(name)}
        assert 0 < len(decaying) < len(shapes)
        for name, leaf in shapes.items():
            kind = name.rsplit("/", 1)[-1]
            assert (name in decaying) == (kind in ("kernel", "up", "down")), name
            assert leaf.ndim >= 2 or name not in decaying, name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("macro/levels/0/0/forward/d", False),
        ("macro/levels/0/0/forward/conv_kernel", False),
        ("micro/shared/0/feedforward/up", True),
        ("macro/down/0/kernel", True),
        ("objective/decoder/slots/EEG", False),
        ("objective/projection/log_scale", False),
    ],
)
def test_rules_by_example(name, expected):
    assert decays(name) is expected


def test_a_parameter_without_a_rule_is_an_error():
    with pytest.raises(ValueError, match="micro/novelty: no weight-decay rule matches"):
        decays("micro/novelty")


def rates(steps=100, **options):
    curve = schedule(OptimizerConfig(learning_rate=2.0, **options), steps)
    return np.array([float(curve(step)) for step in range(steps + 1)])


def test_cosine_warms_up_and_ends_at_nothing():
    lr = rates(schedule="cosine", warmup_steps=10)
    np.testing.assert_allclose(lr[:11], np.linspace(0, 2, 11), atol=1e-6)
    np.testing.assert_allclose(lr[10:], 1 + np.cos(np.pi * np.linspace(0, 1, 91)), atol=1e-6)


def test_wsd_warms_up_stays_and_falls_over_the_last_fifth():
    lr = rates(schedule="wsd", warmup_steps=10)
    np.testing.assert_allclose(lr[:11], np.linspace(0, 2, 11), atol=1e-6)
    np.testing.assert_allclose(lr[10:81], 2)
    np.testing.assert_allclose(lr[80:], np.linspace(2, 0, 21), atol=1e-6)


def plain_rate(name, step, steps, warmup_steps, peak):
    """The two schedules as one would write them on paper."""
    warmup = min(warmup_steps, steps // 5)
    if step < warmup:
        return peak * step / warmup
    if name == "cosine":
        return peak * (1 + np.cos(np.pi * min(1, (step - warmup) / (steps - warmup)))) / 2
    return peak * min(1, max(0, (steps - step) / max(1, steps // 5)))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["cosine", "wsd"]), st.integers(1, 10**6), st.integers(0, 10**6), st.data())
def test_schedules_are_the_plain_formula(name, steps, warmup_steps, data):
    config = OptimizerConfig(learning_rate=0.5, schedule=name, warmup_steps=warmup_steps)
    curve = schedule(config, steps)
    ends = (0, min(warmup_steps, steps // 5), steps - steps // 5, steps - 1, steps, 2 * steps)
    for step in (*ends, data.draw(st.integers(0, steps))):
        expected = plain_rate(name, step, steps, warmup_steps, 0.5)
        assert float(curve(step)) == pytest.approx(expected, abs=2e-6), (step, steps)
    assert float(curve(steps - 1)) > 0 or name == "cosine", "the last step would teach nothing"


@pytest.mark.parametrize("name", ["cosine", "wsd"])
@pytest.mark.parametrize("steps", [1, 2, 4, 10])
def test_a_short_run_warms_up_for_a_fifth_at_most_and_learns(name, steps):
    lr = rates(steps, schedule=name, warmup_steps=20)
    assert lr.argmax() == steps // 5
    assert lr.max() == pytest.approx(2)
    assert lr[-1] == pytest.approx(0, abs=1e-6)
    assert lr[:-1].sum() > 0


def test_steps_equal_adamw_on_the_tree_as_it_is():
    rng = np.random.default_rng(0)
    shapes = {
        "a/kernel": (3, 4),
        "a/bias": (4,),
        "b/forward/a_log": (2,),
        "b/up": (2, 3, 3),
        "b/slot": (2, 3),
        "c/kernel": (SMALL // 16, 16),  # large: by itself
        "c/bias": (SMALL,),
    }
    params = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    config = OptimizerConfig(learning_rate=0.01, warmup_steps=1, weight_decay=0.3, clip_norm=0.5)
    ours = make_optimizer(config, steps=10)
    theirs = optax.chain(
        optax.clip_by_global_norm(0.5),
        optax.adamw(
            schedule(config, 10),
            b2=config.b2,
            weight_decay=0.3,
            mask={name: name in ("a/kernel", "b/up", "c/kernel") for name in shapes},
        ),
    )
    states, trees = [ours.init(params), theirs.init(params)], [params, params]
    for step in range(4):
        scale = 0.1 if step == 2 else 3.0  # one step is below the norm that is clipped
        gradients = {n: scale * rng.standard_normal(v.shape).astype(np.float32) for n, v in params.items()}
        for i, optimizer in enumerate((ours, theirs)):
            updates, states[i] = jax.jit(optimizer.update)(gradients, states[i], trees[i])
            trees[i] = optax.apply_updates(trees[i], updates)
    for name in shapes:
        np.testing.assert_allclose(trees[0][name], trees[1][name], atol=1e-6, err_msg=name)
        assert np.abs(trees[0][name] - params[name]).max() > 1e-3


def test_large_parameters_keep_their_names_and_shapes_in_the_state():
    params = {"a/kernel": np.ones((256, SMALL // 256)), "a/bias": np.ones(3), "b/kernel": np.ones((4, 4))}
    moments = make_optimizer(OptimizerConfig(), 10).init(params)[1].mu
    assert {name: m.shape for name, m in moments.items()} == {
        "a/kernel": (256, SMALL // 256),
        "decaying": (16,),
        "other": (3,),
    }


def test_the_global_norm_is_that_of_all_leaves():
    assert float(global_norm({"a/bias": np.array([3.0, 0.0]), "b/kernel": np.array([[4.0]])})) == pytest.approx(5)
