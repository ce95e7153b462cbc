"""One step: parts of a batch, averaged weights, what is donated, and what a number that is none leaves alone."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepmami_jax.config import Experiment, MicroPretraining, OptimizerConfig
from sleepmami_jax.objectives.reduce import global_mean
from sleepmami_jax.training.sharding import check_batch, lay_out, to_devices
from sleepmami_jax.training.step import initial_state, make_gradient, make_step
from tests.support.meshes import keys_of, mesh_of
from tests.support.toy import toy_loss, toy_phase

MODEL = {"macro/vector/bias": np.zeros(5, np.float32)}
BATCH = 16


def experiment_of(accumulate=1, **optimizer) -> Experiment:
    config = OptimizerConfig(learning_rate=0.1, warmup_steps=1, **optimizer)
    return Experiment("toy", MicroPretraining(), optimizer=config, accumulate=accumulate, steps=20)


def run(experiment, devices=1, steps=3, phase=None):
    """State and metrics after each step."""
    mesh, phase = mesh_of(devices), phase or toy_phase(MODEL, BATCH)
    step = make_step(experiment, phase, mesh)
    state, seen = lay_out(initial_state(experiment, phase), mesh), []
    for _ in range(steps):
        state, metrics = step(state, to_devices(next(phase.batches), mesh))
        seen.append(jax.device_get((state, metrics)))
    return seen


@pytest.mark.parametrize("devices", [1, 4])
def test_parts_of_a_batch_are_as_good_as_the_whole(devices):
    phase, mesh = toy_phase(MODEL, BATCH), mesh_of(devices)
    batch, keys = to_devices(next(phase.batches), mesh), keys_of(BATCH)
    whole = make_gradient(experiment_of(1), phase, mesh_of(1))(phase.params, jax.device_get(batch), keys)
    assert min(np.abs(g).max() for g in whole[1].values()) > 0.1
    for parts in (2, 4):
        gradient = jax.jit(make_gradient(experiment_of(parts), phase, mesh))
        compiled = gradient.lower(phase.params, batch, keys).compile()
        found = compiled(phase.params, batch, keys)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), whole, found)
        moves = [kind for kind in ("all-gather", "all-to-all", "permute") if kind in compiled.as_text()]
        assert not moves, "rows went from one device to another"


def test_a_part_is_a_batch_of_its_own_unless_the_loss_sees_to_it():
    def seen_by(accumulates):
        sizes = set()

        def loss(params, batch, keys, axes):
            sizes.add(len(batch["night"]))
            return toy_loss(params, batch, keys, axes)

        run(experiment_of(4), devices=2, steps=1, phase=toy_phase(MODEL, BATCH, loss, accumulates=accumulates))
        return sizes

    assert seen_by(False) == {2}
    assert seen_by(True) == {8}


def test_a_batch_that_does_not_divide_is_refused():
    check_batch(24, mesh_of(4), 3)
    with pytest.raises(ValueError, match=r"batch=16 .* 4 devices times accumulate=3 parts; .* 12, such as 24"):
        check_batch(16, mesh_of(4), 3)
    with pytest.raises(ValueError, match=r"objective\.batch=6 does not divide over 4 devices; .* 4, such as 8"):
        check_batch(6, mesh_of(4), 1)


def test_the_average_is_of_the_weights_after_every_step():
    decay = 0.7
    seen = run(experiment_of(ema=decay), steps=6)
    for name in ("objective/toy/kernel", "macro/vector/bias"):
        weights = np.array([state["params"][name] for state, _ in seen], np.float64)
        for t in range(1, 7):
            share = decay ** np.arange(t - 1, -1, -1.0)
            mean = np.tensordot(share / share.sum(), weights[:t], 1)
            np.testing.assert_allclose(seen[t - 1][0]["ema"][name], mean, rtol=1e-5, atol=1e-7)
    plain = run(experiment_of(), steps=6)
    assert "ema" not in plain[-1][0]
    assert [metrics["loss"] for _, metrics in plain] == [metrics["loss"] for _, metrics in seen]


def test_a_teacher_is_the_average_so_far_and_at_first_the_weights():
    def loss(params, batch, keys, axes):
        assert "teacher/objective/toy/kernel" not in params
        names = {"teacher": "teacher/macro/vector/bias", "student": "macro/vector/bias"}
        sums = {who: global_mean(params[name].sum(), jnp.ones(()), axes)[0] for who, name in names.items()}
        value, metrics = toy_loss(params, batch, keys, axes)
        return value, metrics | sums

    model = {"macro/vector/bias": np.arange(5, dtype=np.float32)}
    phase = toy_phase(model, BATCH, loss, teacher="macro/")
    seen = run(experiment_of(ema=0.7), devices=4, steps=4, phase=phase)
    assert seen[0][1]["teacher"] == seen[0][1]["student"] == 10.0
    for (before, _), (_, metrics) in itertools.pairwise(seen):
        np.testing.assert_allclose(metrics["teacher"], before["ema"]["macro/vector/bias"].sum(), rtol=1e-6)
    assert seen[2][1]["teacher"] != seen[2][1]["student"]
    assert not any(name.startswith("teacher/") for name in seen[-1][0]["params"])


def test_norms_are_of_gradients_updates_and_new_parameters():
    seen = run(experiment_of(), steps=3)
    for (before, _), (after, metrics) in itertools.pairwise(seen):
        old, new = (
            np.concatenate([s["params"][n].ravel() for n in ("objective/toy/kernel", "macro/vector/bias")])
            for s in (before, after)
        )
        np.testing.assert_allclose(metrics["update_norm"], np.linalg.norm(new - old), rtol=1e-4)
        np.testing.assert_allclose(metrics["parameter_norm"], np.linalg.norm(new), rtol=1e-5)
        assert metrics["gradient_norm"] > 0


@pytest.mark.parametrize("devices", [1, 4])
def test_the_state_is_donated_whole(devices):
    mesh, phase, experiment = mesh_of(devices), toy_phase(MODEL, BATCH), experiment_of(ema=0.5)
    state, batch = lay_out(initial_state(experiment, phase), mesh), to_devices(next(phase.batches), mesh)
    step = make_step(experiment, phase, mesh)
    memory = step.lower(state, batch).compile().memory_analysis()
    assert memory.alias_size_in_bytes >= sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    step(state, batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(batch))


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_step_that_is_no_number_leaves_the_parameters_for_a_look(where):
    def loss(params, batch, keys, axes):
        value, metrics = toy_loss(params, batch, keys, axes)
        second = batch["epoch"].min() == BATCH // 2  # epochs of the second batch; NIGHTS are 2
        second = jax.lax.pmin(second * 1, axes) == 1
        kernel = jax.lax.pmean(params["objective/toy/kernel"].sum(), axes)
        if where == "loss":
            return value + jnp.where(second, jnp.nan, 0.0) * kernel, metrics
        root = jnp.sqrt(jnp.where(second, 0.0, 1.0) * (kernel**2 + 1))
        return value + root - jax.lax.stop_gradient(root), metrics

    seen = run(experiment_of(), steps=4, phase=toy_phase(MODEL, BATCH, loss))
    assert np.isfinite(seen[0][1]["gradient_norm"]) and not np.isfinite(seen[1][1]["gradient_norm"])
    for state, _ in seen[1:]:
        for name, value in seen[0][0]["params"].items():
            np.testing.assert_array_equal(state["params"][name], value, err_msg=name)
