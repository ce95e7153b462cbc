"""The whole model, and its parameters as one flat dictionary of named arrays.

Flat names ("micro/shared/0/attention/qkv/kernel") are what everything else speaks: which part a run trains, weight
decay, sharding, checkpoints and the safetensors file.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
from flax import nnx

from data_pipeline.night import EPOCH_S, STAGES
from data_pipeline.tasks import Task, TaskKind
from sleepmami_jax.config import ComputeConfig, ModelConfig
from sleepmami_jax.models.initial import Linear, Rngs
from sleepmami_jax.models.macro import FastDecoder, MacroEncoder, SecondsDecoder, epoch_summary
from sleepmami_jax.models.micro import MicroEncoder
from sleepmami_jax.models.stretches import by_stretches

Params = dict[str, jax.Array]
PLAIN = ComputeConfig()


class NightOutput(NamedTuple):
    """What the model says of a night.

    Attributes:
      vector: (N, Dm) the night.
      heads: by name of the task, logits: of stages (N, E, 5) over `night.STAGES`, of events (N, 30 E * rate_hz, K), a
        row a second or a part of one, over none and the classes of the task, or a single number of yes against no where
        there is one class.
    """

    vector: jax.Array
    heads: dict[str, jax.Array]


def head_width(task: Task) -> int:
    """How many numbers the head of a task gives for an epoch or a second."""
    if task.kind is TaskKind.STAGES:
        return len(STAGES)
    return 1 if len(task.events) == 1 else 1 + len(task.events)


def features_width(config: ModelConfig, task: Task) -> int:
    """How wide the features are that the head of a task reads."""
    if task.kind is TaskKind.STAGES:
        return config.macro.dim
    return config.macro.fast_dim if task.rate_hz > 1 else config.macro.seconds_dim


class SleepMaMi(nnx.Module):
    """Micro-Encoder, Macro-Encoder, the path back to seconds and to parts of them, a linear head for each task."""

    def __init__(self, config: ModelConfig, compute: ComputeConfig, tasks: Sequence[Task], *, rngs: Rngs):
        self.config = config
        self.micro = MicroEncoder(config, compute, rngs=rngs)
        self.macro = MacroEncoder(config, compute, rngs=rngs)
        self.seconds = SecondsDecoder(config, compute, rngs=rngs)
        self.tasks = tuple(tasks)
        # What depends on the tasks comes last: what stands before starts alike whatever they are.
        fast = any(task.rate_hz > 1 for task in tasks)
        self.fast = FastDecoder(config, compute, rngs=rngs) if fast else nnx.data(None)
        self.heads = nnx.Dict({t.name: Linear(features_width(config, t), head_width(t), rngs=rngs) for t in tasks})

    def __call__(self, tokens: jax.Array, ok: jax.Array) -> NightOutput:
        """Micro tokens of nights (N, E, L, D) and their mask (N, E, L) -> `NightOutput`."""
        vector, epochs = self.macro(*by_stretches(partial(epoch_summary, config=self.config), tokens, ok))
        seconds = self.seconds(tokens, ok, epochs)
        fast = {}
        if self.fast is not None:
            names = [task.name for task in self.tasks if task.rate_hz > 1]
            fast = self.fast(tokens, ok, seconds, lambda features: {name: self.heads[name](features) for name in names})

        def head(task: Task) -> jax.Array:
            if task.rate_hz > 1:
                return fast[task.name]
            if task.kind is TaskKind.STAGES:
                return self.heads[task.name](epochs)
            logits = by_stretches(self.heads[task.name], seconds.reshape(*ok.shape[:2], EPOCH_S, -1))
            return logits.reshape(len(logits), -1, logits.shape[-1])

        return NightOutput(vector, {task.name: head(task) for task in self.tasks})


def split(module: nnx.Module) -> tuple[nnx.GraphDef, Params]:
    """A module's structure and its parameters by flat name."""
    graph, state = nnx.split(module, nnx.Param)
    flat = nnx.to_flat_state(state)
    return graph, {"/".join(map(str, path)): leaf[...] for path, leaf in flat}


def merge(graph: nnx.GraphDef, params: Params) -> nnx.Module:
    """The inverse of `split`."""
    paths = {tuple(int(p) if p.isdigit() else p for p in name.split("/")): v for name, v in params.items()}
    state = nnx.from_flat_state({path: nnx.Param(value) for path, value in paths.items()})
    return nnx.merge(graph, state)


def create(
    config: ModelConfig, seed: int, compute: ComputeConfig = PLAIN, tasks: Sequence[Task] = ()
) -> tuple[nnx.GraphDef, Params]:
    """A new model with random parameters, float32 whatever `compute.dtype` (see `models.precision`)."""
    graph, params = split(SleepMaMi(config, compute, tasks, rngs=Rngs(seed)))
    return graph, {name: jax.device_put(value) for name, value in params.items()}


def structure(
    config: ModelConfig, compute: ComputeConfig = PLAIN, tasks: Sequence[Task] = ()
) -> tuple[nnx.GraphDef, dict[str, jax.ShapeDtypeStruct]]:
    """The model's structure and the shapes of its parameters, without making any."""
    graph, params = split(SleepMaMi(config, compute, tasks, rngs=Rngs(None)))
    return graph, {name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in params.items()}
