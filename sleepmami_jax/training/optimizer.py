"""AdamW with a schedule in steps, gradient clipping, and decay by the kind of parameter."""

from __future__ import annotations

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sleepmami_jax.config import OptimizerConfig

DECAY = (
    (r"(^|/)(a_log|d|dt_bias|conv_bias|conv_kernel|bias|scale|log_scale)$", False),  # rates, gains, offsets
    (r"(^|/)(slot|slots/\w+|modality|hidden_token)$", False),  # embeddings
    (r"(^|/)(kernel|up|down)$", True),  # matrices
)
"""First match wins; a parameter that matches nothing is an error."""


def decays(name: str) -> bool:
    """Whether weight decay applies to the parameter of this flat name."""
    for pattern, decay in DECAY:
        if re.search(pattern, name):
            return decay
    raise ValueError(f"{name}: no weight-decay rule matches this parameter; add one to optimizer.DECAY")


def schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate by step: linear warm-up, then cosine to 0 or a plateau with a linear fall (WSD)."""
    warmup = min(config.warmup_steps, steps // 5)
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, steps)
    fall = max(1, steps // 5)
    up = optax.linear_schedule(0.0, config.learning_rate, warmup)
    down = optax.linear_schedule(config.learning_rate, 0.0, fall)
    return optax.join_schedules([up, optax.constant_schedule(config.learning_rate), down], [warmup, steps - fall])


SMALL = 2**16
"""Parameters of fewer elements are updated together, end to end in two vectors: those that decay, and the others.

Hundreds of small arrays would be hundreds of kernels to compile. Large ones stay as they are: a copy of them would
cost memory, and one that is sharded cannot lie in a vector without being gathered. Do not shard what is small.
"""
VECTORS = {True: "decaying", False: "other"}  # unlike the names of parameters, without a slash


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Acts on flat dictionaries of parameters. Its moments have the large ones' names; see `SMALL` for the rest."""

    def decaying(packed):
        return {name: name == VECTORS[True] or (name not in VECTORS.values() and decays(name)) for name in packed}

    chain = optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.scale_by_adam(b2=config.b2),
        optax.add_decayed_weights(config.weight_decay, mask=decaying),
        optax.scale_by_learning_rate(schedule(config, steps)),
    )

    def update(gradients, state, params):
        updates, state = chain.update(_packed(gradients), state, _packed(params))
        return _unpacked(updates, params), state

    return optax.GradientTransformation(lambda params: chain.init(_packed(params)), update)


def global_norm(arrays: dict[str, jax.Array]) -> jax.Array:
    """The Euclidean norm of all arrays together."""
    return optax.tree.norm(_packed(arrays))


def running_average(
    average: dict[str, jax.Array], weights: dict[str, jax.Array], decay: float, step: jax.Array
) -> dict[str, jax.Array]:
    """The exponential average of the weights after each of `step` steps, from that after `step - 1`.

    Corrected for its beginning (Kingma & Ba 2015, section 3): the mean of w_1 ... w_t with weights decay**(t - i).
    Neither zeros nor the weights that the run began with are in it, so a short run has a useful average too.
    """
    share = (1 - decay) / -jnp.expm1(step * math.log(decay))
    return {name: old + share * (weights[name] - old) for name, old in average.items()}


def _small(arrays, decaying: bool) -> list[str]:
    return sorted(name for name, v in arrays.items() if v.size < SMALL and decays(name) is decaying)


def _packed(arrays: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Large arrays by name, small ones in two vectors."""
    packed = {name: array for name, array in arrays.items() if array.size >= SMALL}
    for decaying, vector in VECTORS.items():
        parts = [jnp.ravel(arrays[name]) for name in _small(arrays, decaying)]
        packed[vector] = jnp.concatenate(parts or [jnp.zeros(0)])
    return packed


def _unpacked(packed: dict[str, jax.Array], like: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The inverse of `_packed`, with the names and shapes of `like`."""
    arrays = {name: array for name, array in packed.items() if name in like}
    for decaying, vector in VECTORS.items():
        names = _small(like, decaying)
        parts = jnp.split(packed[vector], np.cumsum([like[name].size for name in names])[:-1])
        arrays |= {name: part.reshape(like[name].shape) for name, part in zip(names, parts, strict=bool(names))}
    return arrays
