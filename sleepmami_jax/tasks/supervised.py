"""Losses of the supervised tasks. A label of -1 is unknown and counts nowhere."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sleepmami_jax.config import Finetuning
from sleepmami_jax.models.sleepmami import NightOutput
from sleepmami_jax.objectives.reduce import global_mean


def cross_entropy(logits: jax.Array, labels: jax.Array, axes) -> tuple[jax.Array, jax.Array]:
    """Mean cross-entropy (..., K) against int labels (...), and the accuracy, over known labels."""
    known = labels >= 0
    label = jnp.maximum(labels, 0)
    logits = logits.astype(jnp.float32)
    loss = jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, label[..., None], -1)[..., 0]
    return global_mean(loss, known, axes)[0], global_mean((logits.argmax(-1) == label) * 1.0, known, axes)[0]


def task_losses(out: NightOutput, labels: dict, config: Finetuning, axes) -> tuple[jax.Array, dict]:
    """The weighted sum of the tasks' losses and each of them.

    Args:
      out: of windows (N, E, ...).
      labels: `stage` (N, E), `respiratory` and `arousal` (N, 30 E), -1 unknown.
    """
    stage, stage_accuracy = cross_entropy(out.stage, labels["stage"], axes)
    respiratory, _ = cross_entropy(out.respiratory, labels["respiratory"], axes)
    two = jnp.stack([jnp.zeros_like(out.arousal), out.arousal], -1)
    arousal, _ = cross_entropy(two, labels["arousal"], axes)
    loss = (
        config.stage_weight * stage
        + config.respiratory_weight * respiratory
        + config.arousal_weight * arousal
    )
    parts = {"stage": stage, "respiratory": respiratory, "arousal": arousal, "stage_accuracy": stage_accuracy}
    return loss, parts
