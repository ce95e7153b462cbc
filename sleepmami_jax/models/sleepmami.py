"""The whole model, and its parameters as one flat dictionary of named arrays.

Flat names ("micro/shared/0/attention/qkv/kernel") are what everything else speaks: which part a run trains, weight
decay, sharding, checkpoints and the safetensors file.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
from flax import nnx

from sleepmami_jax.config import ComputeConfig, ModelConfig
from sleepmami_jax.models.initial import Linear, Rngs
from sleepmami_jax.models.macro import MacroEncoder, SecondsDecoder, epoch_means
from sleepmami_jax.models.micro import MicroEncoder
from sleepmami_jax.scoring.prediction import RESPIRATORY_CLASSES

Params = dict[str, jax.Array]
PLAIN = ComputeConfig()


class NightOutput(NamedTuple):
    """What the model says of a night.

    Attributes:
      vector: (N, Dm) the night.
      stage: (N, E, 5) logits over `night.STAGES`.
      respiratory: (N, 30 E, 3) logits over `RESPIRATORY_CLASSES`, one a second.
      arousal: (N, 30 E) logits, one a second.
    """

    vector: jax.Array
    stage: jax.Array
    respiratory: jax.Array
    arousal: jax.Array


class Heads(nnx.Module):
    """Linear heads: stages from epochs, events from seconds."""

    def __init__(self, config: ModelConfig, *, rngs: Rngs):
        self.stage = Linear(config.macro.dim, 5, rngs=rngs)
        self.respiratory = Linear(config.macro.seconds_dim, len(RESPIRATORY_CLASSES), rngs=rngs)
        self.arousal = Linear(config.macro.seconds_dim, 1, rngs=rngs)


class SleepMaMi(nnx.Module):
    """Micro-Encoder, Macro-Encoder, the path back to seconds, and the heads."""

    def __init__(self, config: ModelConfig, compute: ComputeConfig, *, rngs: Rngs):
        self.micro = MicroEncoder(config, compute, rngs=rngs)
        self.macro = MacroEncoder(config, compute, rngs=rngs)
        self.seconds = SecondsDecoder(config, compute, rngs=rngs)
        self.heads = Heads(config, rngs=rngs)

    def __call__(self, tokens: jax.Array, ok: jax.Array) -> NightOutput:
        """Micro tokens of nights (N, E, L, D) and their mask (N, E, L) -> `NightOutput`."""
        vector, epochs = self.macro(*epoch_means(tokens, ok, self.micro.layout))
        seconds = self.seconds(tokens, ok, epochs)
        return NightOutput(
            vector,
            self.heads.stage(epochs),
            self.heads.respiratory(seconds),
            self.heads.arousal(seconds)[..., 0],
        )


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


def create(config: ModelConfig, seed: int, compute: ComputeConfig = PLAIN) -> tuple[nnx.GraphDef, Params]:
    """A new model with random parameters, float32 whatever `compute.dtype` (see `models.precision`)."""
    graph, params = split(SleepMaMi(config, compute, rngs=Rngs(seed)))
    return graph, {name: jax.device_put(value) for name, value in params.items()}


def structure(
    config: ModelConfig, compute: ComputeConfig = PLAIN
) -> tuple[nnx.GraphDef, dict[str, jax.ShapeDtypeStruct]]:
    """The model's structure and the shapes of its parameters, without making any."""
    graph, params = split(SleepMaMi(config, compute, rngs=Rngs(None)))
    return graph, {name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in params.items()}
