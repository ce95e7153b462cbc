"""Losses of the tasks. A label of -1 is unknown and counts nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from data_pipeline.tasks import Task, TaskKind
from sleepmami_jax.objectives.reduce import global_mean


def cross_entropy(logits: jax.Array, labels: jax.Array, axes) -> tuple[jax.Array, jax.Array]:
    """Mean cross-entropy (..., K) against int labels (...), and the accuracy, over known labels."""
    known = labels >= 0
    label = jnp.maximum(labels, 0)
    logits = logits.astype(jnp.float32)
    loss = jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, label[..., None], -1)[..., 0]
    return global_mean(loss, known, axes)[0], global_mean((logits.argmax(-1) == label) * 1.0, known, axes)[0]


def class_logits(y_NxTxK: jax.Array) -> jax.Array:
    """What a head says as logits of all classes: a single number says yes against a no of 0."""
    if y_NxTxK.shape[-1] > 1:
        return y_NxTxK
    return jnp.concatenate([jnp.zeros_like(y_NxTxK), y_NxTxK], -1)


def task_losses(
    heads: Mapping[str, jax.Array], labels: Mapping[str, jax.Array], tasks: Sequence[Task], axes
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The weighted sum of the tasks' losses, each of them under its name, and `stages_accuracy`.

    Args:
      heads: of windows: `stages` (N, E, 5), events (N, 30 E * rate_hz, K).
      labels: `stages` (N, E), events (N, 30 E * rate_hz); -1 is unknown.
    """
    loss, parts = 0.0, {}
    for task in tasks:
        parts[task.name], accuracy = cross_entropy(class_logits(heads[task.name]), labels[task.name], axes)
        loss += task.loss_weight * parts[task.name]
        if task.kind is TaskKind.STAGES:
            parts["stages_accuracy"] = accuracy
    return loss, parts
