"""AdamW with a schedule in steps, gradient clipping, and decay by the kind of parameter."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sleepmami_jax.config import ConfigError, OptimizerConfig

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
    if config.schedule == "wsd":
        fall = max(1, steps // 5)
        return optax.join_schedules(
            [
                optax.linear_schedule(0.0, config.learning_rate, warmup),
                optax.constant_schedule(config.learning_rate),
                optax.linear_schedule(config.learning_rate, 0.0, fall),
            ],
            [warmup, steps - fall],
        )
    raise ConfigError(f"optimizer.schedule={config.schedule!r}: expected 'cosine' or 'wsd'")


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Acts on flat dictionaries of parameters, as two long vectors: those that decay and those that do not.

    Norms and moments of hundreds of small arrays would be hundreds of kernels to compile.
    """
    chain = optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.scale_by_adam(b2=config.b2),
        optax.add_decayed_weights(config.weight_decay, mask={True: True, False: False}),
        optax.scale_by_learning_rate(schedule(config, steps)),
    )

    def update(gradients, state, params):
        updates, state = chain.update(_vectors(gradients), state, _vectors(params))
        return _arrays(updates, params), state

    return optax.GradientTransformation(lambda params: chain.init(_vectors(params)), update)


def global_norm(gradients: dict[str, jax.Array]) -> jax.Array:
    """The Euclidean norm of all arrays together."""
    return optax.tree.norm(_vectors(gradients))


def _names(arrays, decaying: bool) -> list[str]:
    return sorted(name for name in arrays if decays(name) is decaying)


def _vectors(arrays: dict[str, jax.Array]) -> dict[bool, jax.Array]:
    """All arrays that decay (True), and all that do not (False), end to end."""
    return {
        decaying: jnp.concatenate(
            [jnp.ravel(arrays[name]) for name in _names(arrays, decaying)] or [jnp.zeros(0)]
        )
        for decaying in (False, True)
    }


def _arrays(vectors: dict[bool, jax.Array], like: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The inverse of `_vectors`, with the names and shapes of `like`."""
    arrays = {}
    for decaying, vector in vectors.items():
        names = _names(like, decaying)
        parts = jnp.split(vector, np.cumsum([like[name].size for name in names])[:-1])
        arrays |= {
            name: part.reshape(like[name].shape) for name, part in zip(names, parts, strict=bool(names))
        }
    return arrays
