"""Losses of the tasks. A label of -1 is unknown and counts nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from data_pipeline.tasks import Task, TaskKind
from sleepmami_jax.objectives.reduce import global_mean

_DOUBT = 1e-6  # least of 1 - p: below it a power of less than 1 has no slope


def cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    axes,
    *,
    focal: float = 0.0,
    weights: np.ndarray | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Mean cross-entropy (..., K) against int labels (...), and the accuracy, over known labels.

    Args:
      focal: with p what the label's class is given, each counts (1 - p) ** focal of itself (Lin et al. 2017, eq. 4).
      weights: (K,) of the labels' classes; None weighs all alike.
    """
    known = labels >= 0
    label = jnp.maximum(labels, 0)
    logits = logits.astype(jnp.float32)
    loss = jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, label[..., None], -1)[..., 0]
    if focal:
        loss *= jnp.maximum(-jnp.expm1(-loss), _DOUBT) ** focal
    if weights is not None:
        loss *= jnp.asarray(weights, jnp.float32)[label]
    return global_mean(loss, known, axes)[0], global_mean((logits.argmax(-1) == label) * 1.0, known, axes)[0]


def class_weights(counts: Mapping[str, np.ndarray], exponent: float) -> dict[str, np.ndarray]:
    """Of each task the weights of its classes: a power of their inverse frequency, 1 in the mean over labels.

    Args:
      counts: of each task (K,) labels of each class. One that is never seen weighs 1.

    >>> class_weights({"snore": np.array([90, 10])}, 1.0)["snore"].round(2).tolist()
    [0.56, 5.0]
    """
    weights = {}
    for name, count in counts.items():
        raw = np.where(count > 0, np.maximum(count, 1) ** -float(exponent), 0.0)
        mean = (raw * count).sum() / max(count.sum(), 1)
        weights[name] = np.where(count > 0, raw / (mean or 1.0), 1.0)
    return weights


def class_logits(y_NxTxK: jax.Array) -> jax.Array:
    """What a head says as logits of all classes: a single number says yes against a no of 0."""
    if y_NxTxK.shape[-1] > 1:
        return y_NxTxK
    return jnp.concatenate([jnp.zeros_like(y_NxTxK), y_NxTxK], -1)


def task_losses(
    heads: Mapping[str, jax.Array],
    labels: Mapping[str, jax.Array],
    tasks: Sequence[Task],
    axes,
    *,
    focal: float = 0.0,
    weights: Mapping[str, np.ndarray] | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The weighted sum of the tasks' losses, each of them under its name, and `stages_accuracy`.

    Args:
      heads: of windows: `stages` (N, E, 5), events (N, 30 E * rate_hz, K).
      labels: `stages` (N, E), events (N, 30 E * rate_hz); -1 is unknown.
      focal: as in `cross_entropy`.
      weights: of each task, (K,) of its classes; None weighs all alike.
    """
    loss, parts = 0.0, {}
    for task in tasks:
        own = None if weights is None else weights[task.name]
        parts[task.name], accuracy = cross_entropy(
            class_logits(heads[task.name]), labels[task.name], axes, focal=focal, weights=own
        )
        loss += task.loss_weight * parts[task.name]
        if task.kind is TaskKind.STAGES:
            parts["stages_accuracy"] = accuracy
    return loss, parts
