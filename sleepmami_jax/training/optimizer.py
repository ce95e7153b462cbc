"""AdamW with a schedule in steps, gradient clipping, and decay by the kind of parameter."""

from __future__ import annotations

import re

import jax
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
    """Acts on flat dictionaries of parameters.

    Clipping and Adam see one long vector: hundreds of small arrays would be hundreds of kernels to compile.
    """
    adam = optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.scale_by_adam(b2=config.b2))
    return optax.chain(
        optax.flatten(adam),
        optax.add_decayed_weights(config.weight_decay, mask=lambda params: {n: decays(n) for n in params}),
        optax.scale_by_learning_rate(schedule(config, steps)),
    )


def global_norm(tree) -> jax.Array:
    """The Euclidean norm of all leaves together."""
    return optax.tree.norm(tree)
