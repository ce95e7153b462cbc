"""One optimiser step: keys, gradients (of the batch whole, or part by part), update, running average."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from sleepmami_jax.config import Experiment
from sleepmami_jax.models.sleepmami import Params
from sleepmami_jax.training.optimizer import global_norm, make_optimizer, running_average, schedule
from sleepmami_jax.training.phases import Phase, plan
from sleepmami_jax.training.phases.phase import TEACHER
from sleepmami_jax.training.sharding import AXES, check_batch, make_mesh, shard_gradient, shardings


def trained_part(phase: Phase, params: Params) -> Params:
    """The parameters that the phase trains."""
    return {name: value for name, value in params.items() if name.startswith(phase.trainable)}


def averaged(state: dict[str, Any]) -> Params:
    """The parameters after a step as they are validated and exported: the running average, of those that have one."""
    return {**state["params"], **state.get("ema", {})}


def initial_state(experiment: Experiment, phase: Phase) -> dict[str, Any]:
    """All that a checkpoint keeps: `step`, `params`, `optimizer`; `ema` where weights are averaged; where they are
    validated, `best`: the `step` of the best validation so far, its `value` and, if they are kept, its `params`; where
    steps may be skipped, `skipped`: how many were."""
    trained = trained_part(phase, phase.params)
    state = {
        "step": jnp.zeros((), jnp.int32),
        "params": phase.params,
        "optimizer": make_optimizer(experiment.optimizer, experiment.steps).init(trained),
    }
    if experiment.optimizer.ema:
        state["ema"] = {name: jnp.zeros(value.shape, jnp.float32) for name, value in trained.items()}
    if experiment.optimizer.skip_nonfinite:
        state["skipped"] = jnp.zeros((), jnp.int32)
    if experiment.validation:
        state["best"] = {"step": jnp.zeros((), jnp.int32), "value": jnp.full((), jnp.nan)}
        if experiment.validation.keep_best:
            exported = {name: value for name, value in trained.items() if not name.startswith("objective/")}
            state["best"]["params"] = {name: jnp.zeros(value.shape, jnp.float32) for name, value in exported.items()}
    return state


def _teacher(phase: Phase, state: dict[str, Any]) -> Params:
    """What the loss sees of the running average, which before the first step is the weights themselves."""
    if not phase.teacher:
        return {}
    names = [name for name in state["ema"] if name.startswith(phase.teacher)]
    began = state["step"] > 0
    return {TEACHER + n: jnp.where(began, state["ema"][n], state["params"][n]) for n in names}


def state_shapes(experiment: Experiment, phase: Phase) -> dict[str, Any]:
    """`initial_state` as shapes, also of a phase whose parameters are shapes."""
    return jax.eval_shape(lambda params: initial_state(experiment, replace(phase, params=params)), phase.params)


def example_keys(experiment: Experiment, phase: Phase, step) -> jax.Array:
    """(B,) keys: they depend on the seed, the step and the place in the batch, not on devices, parts or restarts."""
    key = jax.random.fold_in(jax.random.key(experiment.seed), step)
    return jax.random.split(key, phase.global_batch)


def make_gradient(experiment: Experiment, phase: Phase, mesh: Mesh) -> Callable:
    """`(params, batch, keys) -> ((loss, metrics), gradients)` of the trained parameters, over all devices."""
    parts = 1 if phase.accumulates else experiment.accumulate
    return shard_gradient(phase.loss, mesh, phase.trainable, experiment.compute.dtype, parts)


def make_step(experiment: Experiment, phase: Phase, mesh: Mesh) -> Callable:
    """The compiled step `(state, batch) -> (state, metrics)`; the state is donated.

    Parameters that would not be finite, or whose loss is not, stay as they were, so that the step can be looked into.
    Gradients that are not finite spoil the optimiser's moments, so that no later step moves them either; unless it is
    one of the first `optimizer.skip_nonfinite` such steps, which leave moments and running average as they were too.
    """
    config = experiment.optimizer
    optimizer, rate = make_optimizer(config, experiment.steps), schedule(config, experiment.steps)
    gradient = make_gradient(experiment, phase, mesh)

    def step(state, batch):
        keys = example_keys(experiment, phase, state["step"])
        (loss, metrics), gradients = gradient({**state["params"], **_teacher(phase, state)}, batch, keys)
        trained = trained_part(phase, state["params"])
        updates, moments = optimizer.update(gradients, state["optimizer"], trained)
        moved = {name: value + updates[name] for name, value in trained.items()}
        parameter_norm = global_norm(moved)
        finite = jnp.isfinite(loss) & jnp.isfinite(parameter_norm)
        trained = {name: jnp.where(finite, moved[name], value) for name, value in trained.items()}
        metrics = {
            "loss": loss,
            **metrics,
            "gradient_norm": global_norm(gradients),
            "update_norm": global_norm(updates),
            "parameter_norm": parameter_norm,
            "learning_rate": rate(state["step"]),
        }
        new = {**state, "step": state["step"] + 1, "params": {**state["params"], **trained}, "optimizer": moments}
        if config.ema:
            new["ema"] = running_average(state["ema"], trained, config.ema, new["step"])
        if config.skip_nonfinite:
            finite &= jnp.isfinite(metrics["gradient_norm"]) & jnp.isfinite(metrics["update_norm"])
            metrics["skipped"] = state["skipped"] + ~finite
            keep = ~finite & (metrics["skipped"] <= config.skip_nonfinite)
            unmoved = {name: state[name] for name in ("params", "optimizer", "ema") if name in state}
            new |= jax.tree.map(partial(jnp.where, keep), unmoved, {name: new[name] for name in unmoved})
            new["skipped"] = metrics["skipped"]
        return new, metrics

    state = state_shapes(experiment, phase)
    return jax.jit(step, donate_argnums=0, out_shardings=(shardings(state, mesh), NamedSharding(mesh, P())))


def lower(experiment: Experiment, devices: list[jax.Device]) -> tuple[jax.stages.Lowered, Mesh]:
    """The step for these devices, which need not be here, to be compiled, and their mesh; no data is needed.

    Raises:
      ValueError: the batch or a parameter does not divide over the mesh.
    """
    mesh = make_mesh(experiment.mesh, devices)
    check_batch(experiment.objective.batch, mesh, experiment.accumulate)
    phase, batch = plan(experiment)
    state = state_shapes(experiment, phase)
    state = _placed(state, shardings(state, mesh))
    batch = _placed(batch, jax.tree.map(lambda _: NamedSharding(mesh, P(AXES)), batch))
    return make_step(experiment, phase, mesh).lower(state, batch), mesh


def _placed(shapes, where):
    return jax.tree.map(lambda v, s: jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=s), shapes, where)
