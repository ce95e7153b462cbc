"""How good a run is on held-out batches as it goes, when it was best, and when it may end.

What is known of that is part of the state, under "best": a run that is interrupted goes on knowing it, and what a
checkpoint holds is what was known at its step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from data_pipeline.nearest import suggestion
from sleepmami_jax.config import ConfigError, Experiment
from sleepmami_jax.models.sleepmami import Params
from sleepmami_jax.training.phases import Phase
from sleepmami_jax.training.phases.held_out import SEED
from sleepmami_jax.training.probe import stage_probe
from sleepmami_jax.training.sharding import lay_out, shard_gradient, shardings, to_devices
from sleepmami_jax.training.step import averaged, example_keys, make_gradient

State = dict[str, Any]


def ended_early(experiment: Experiment, state: State) -> bool:
    """Whether the run is over, because it was not better for as long as its patience."""
    config = experiment.validation
    if config is None or not config.patience:
        return False
    return int(state["step"]) - int(state["best"]["step"]) >= config.patience * config.every


def kept(experiment: Experiment, state: State) -> Params:
    """The parameters that are exported: of the best validation or the last, and those of the loss alone too."""
    config, weights = experiment.validation, averaged(state)
    # Where no validation gave a number there is none that is best.
    if config is not None and config.keep_best and int(state["best"]["step"]):
        weights |= state["best"]["params"]
    return weights


def outcome(experiment: Experiment, state: State) -> dict[str, Any]:
    """What a card says: the best `value` of the `metric` and its `step`, and which step's weights were kept."""
    config, done, best = experiment.validation, int(state["step"]), state["best"]
    if not int(best["step"]):
        return {"metric": config.metric, "value": None, "step": None, "kept_step": done}
    step = int(best["step"])
    kept_step = step if config.keep_best else done
    return {"metric": config.metric, "value": float(best["value"]), "step": step, "kept_step": kept_step}


class Validator:
    """Measures weights on the run's held-out batches.

    Raises:
      ConfigError: there is no metric of the name that decides.
    """

    def __init__(self, experiment: Experiment, phase: Phase, mesh: Mesh, state: State):
        self._config, self._steps, self._mesh = experiment.validation, experiment.steps, mesh
        self._held, self._drawn = phase.held_out, (replace(experiment, seed=SEED), phase)
        self._loss = jax.jit(make_gradient(experiment, replace(phase, loss=self._held.loss, trainable=()), mesh))
        if self._held.probe is not None:
            probe = self._held.probe.features
            self._features = jax.jit(shard_gradient(probe, mesh, (), experiment.compute.dtype))
        if self._config.keep_best:  # the next step takes the memory of the weights themselves
            places = shardings(state["best"]["params"], mesh)
            self._copy = jax.jit(lambda weights: jax.tree.map(jnp.copy, weights), out_shardings=places)
        self._check_metric(state)

    def due(self, step: int) -> bool:
        """Whether to measure after this step."""
        return step % self._config.every == 0 or step == self._steps

    def measure(self, state: State) -> tuple[State, dict[str, float]]:
        """The state, which may know of a new best, and the means over the held-out batches, each of which counts alike.

        Of micro pretraining also `probe_accuracy` and `probe_guess`, see `probe.stage_probe`.
        """
        weights, seen, probed = averaged(state), [], []
        for rows, keys in self._batches(self._config.batches):
            (loss, metrics), _ = self._loss(weights, rows, keys)
            seen.append({"loss": loss, **metrics})
            if self._held.probe is not None:
                probed.append(self._features(weights, rows, keys)[0][1])
        seen = jax.device_get(seen)
        values = {name: np.mean([np.float64(one[name]) for one in seen]) for name in seen[0]}
        if probed:
            epochs = {name: np.concatenate(parts) for name, parts in _transposed(jax.device_get(probed)).items()}
            people = self._held.probe.people[epochs["night"]]
            values |= stage_probe(epochs["features"], epochs["stage"], people)
        # What follows from a value has to follow in every process, whatever its processor makes of the last digit.
        numbers = multihost_utils.broadcast_one_to_all(np.array(list(values.values()), np.float32))
        values = dict(zip(values, map(float, numbers), strict=True))
        return self._with_best(state, weights, values), values

    def _batches(self, count: int) -> Iterator[tuple[dict, jax.Array]]:
        """The first so many held-out batches on the devices, each with the keys of its examples."""
        batches = self._held.batches
        batches.set_state({"global_next_index": 0})
        try:
            for number in range(count):
                yield to_devices(next(batches), self._mesh), example_keys(*self._drawn, number)
        finally:
            batches.close()  # nothing is read ahead until the next validation

    def _with_best(self, state: State, weights: Params, values: dict[str, float]) -> State:
        value, before = values.get(self._config.metric, math.nan), float(state["best"]["value"])
        better = value < before if self._config.best == "lowest" else value > before
        if not math.isfinite(value) or (math.isfinite(before) and not better):
            return state
        best = lay_out({"step": np.int32(state["step"]), "value": np.float32(value)}, self._mesh)
        if self._config.keep_best:
            best["params"] = self._copy({name: weights[name] for name in state["best"]["params"]})
        return {**state, "best": best}

    def _check_metric(self, state: State) -> None:
        """Before the first step, not at the first validation."""
        ((rows, keys),) = self._batches(1)
        (_, metrics), _ = jax.eval_shape(self._loss, averaged(state), rows, keys)
        names = ["loss", *metrics, *(() if self._held.probe is None else ("probe_accuracy", "probe_guess"))]
        if self._config.metric not in names:
            known = suggestion(self._config.metric, names)
            raise ConfigError(f"no metric {self._config.metric!r}{known}", ("validation", "metric"))


def _transposed(rows: list[dict[str, np.ndarray]]) -> dict[str, list[np.ndarray]]:
    return {name: [row[name] for row in rows] for name in rows[0]}
