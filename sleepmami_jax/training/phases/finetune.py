"""Fine-tuning of the heads, the Macro-Encoder and, unless it is frozen, the Micro-Encoder on scored windows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_pipeline.tasks import Task
from sleepmami_jax.config import ConfigError, Experiment, Finetuning
from sleepmami_jax.data.augment import augmented
from sleepmami_jax.data.order import Batches
from sleepmami_jax.data.token_batches import embedded_windows
from sleepmami_jax.models.initial import Rngs
from sleepmami_jax.models.micro import layout, token_width
from sleepmami_jax.objectives.masked import places_there, recorded, sample_hidden
from sleepmami_jax.tasks.losses import class_weights, task_losses
from sleepmami_jax.training.lora import LORA, adapters, merged
from sleepmami_jax.training.phases.phase import (
    Phase,
    frozen_tokens,
    modules,
    read_by,
    router_loss,
    shapes_of,
    signal_window_shapes,
    signals,
)

Counts = Mapping[str, np.ndarray]
"""Of each task, how many labels of each of its classes."""


ENCODER = ("micro/", "macro/enter", "macro/levels", "macro/down")
"""What pretraining has learnt; the way back to epochs and seconds, and the heads, learn from labels alone."""


def finetuning(
    experiment: Experiment,
    graph,
    params,
    rngs: Rngs,
    counts: Counts | None = None,
    learnt: Collection[str] | None = None,
) -> Phase:
    """The phase without its data; the model's structure and parameters, and adapters. The loss has none of its own.

    Args:
      counts: of labels, as `data.scored.class_counts` has them, where classes are to be weighed by them.
      learnt: names of the tasks whose heads the model that it begins with has; None is all. Adapters are to what it has
        learnt: all but the heads, or without any head the encoders, and then the rest is trained itself.

    Raises:
      ConfigError: the nights' labels are not asked for, or there is no head to add.
    """
    config: Finetuning = experiment.objective
    if not experiment.data.scored:
        raise ConfigError("data.scored: fine-tuning learns from labels; set data.scored=true")
    # Labels of epochs say nothing of the night's vector, which stays what pretraining made it.
    macro = tuple(f"macro/{part}" for part in ("enter", "levels", "down", "up", "norm"))
    trainable = (*macro, "seconds/", "fast/", "heads/", *(() if config.freeze_micro else ("micro/",)))
    if config.lora_rank:
        known = [name for name in params if name.startswith(trainable) and not name.startswith("heads/")]
        known = known if learnt is None or learnt else [name for name in known if name.startswith(ENCODER)]
        own = tuple(name for name in params if name.startswith(trainable) and name not in known)
        trainable = (LORA, *own)
        params = params | adapters(params, known, config.lora_rank, rngs)
    tasks = config.tasks
    if config.only_new:
        tasks = tuple(task for task in tasks if task.name not in (learnt or ()))
        if not tasks:
            raise ConfigError("objective.only_new: the model that it begins with has all these tasks; name a new one")
        trainable = tuple(f"heads/{task.name}/" for task in tasks)
    return Phase(params, trainable, finetune_loss(experiment, graph, counts, tasks), config.batch)


def finetuning_batches(experiment: Experiment, params, workdir, progress, rows) -> Batches:
    """Arguments as in `phases.build`."""
    config: Finetuning = experiment.objective
    if not config.freeze_micro:
        return signals(experiment, config.epochs, rows, config.event_tasks, config.event_windows)
    folders = frozen_tokens(experiment, params, workdir, progress)
    how = {"event_windows": config.event_windows, **read_by(experiment, rows)}
    return embedded_windows(folders, experiment.data, config.epochs, config.event_tasks, **how)


def finetuning_shapes(experiment: Experiment):
    """Shapes of a global batch."""
    config: Finetuning = experiment.objective
    if not config.freeze_micro:
        return signal_window_shapes(experiment, config.epochs, config.event_tasks)
    tokens = (1, config.epochs, layout(experiment.model.modalities).total)
    window = {
        "tokens": np.zeros((*tokens, token_width(experiment.model)), np.float16),
        "ok": np.zeros(tokens, bool),
        "stage": np.zeros((1, config.epochs), np.int32),
        "seconds": {t.name: np.zeros((1, config.epochs, t.per_epoch), np.int8) for t in config.event_tasks},
        "night": np.zeros(1, np.int32),
        "epoch": np.zeros(1, np.int32),
    }
    return shapes_of(window, config.batch)


def finetune_loss(
    experiment: Experiment, graph: nnx.GraphDef, counts: Counts | None = None, tasks: Sequence[Task] | None = None
) -> Callable:
    """`Phase.loss` over batches of `embedded_windows`, or of signals where the Micro-Encoder is trained too; of some of
    the experiment's tasks where they are given."""
    config: Finetuning = experiment.objective
    weights = None if counts is None else class_weights(counts, config.class_weight)
    how = {"focal": config.focal, "weights": weights}
    where = layout(experiment.model.modalities)

    def hidden_modalities(keys, there):  # (N,), (N, E, L) -> (N, M)
        spans = (where.span(m) for m in where.tokens)
        present = jnp.stack([there[..., span].any((1, 2)) for span in spans], 1)
        return sample_hidden(keys, present, config.drop_modality)

    def loss(params, batch, keys, axes):
        model, _ = modules(graph, None, merged(params))
        batch = augmented(batch, keys, config.augment)
        n, e = batch["stage"].shape
        balance, metrics = 0.0, {}
        if config.freeze_micro:
            tokens, ok = batch["tokens"].astype(jnp.float32), batch["ok"]
            if config.drop_modality:
                ok &= ~hidden_modalities(keys, ok)[:, None, where.modality_of_token()]
        else:
            signals = {
                m.value: jax.tree.map(lambda v: v.reshape(n * e, *v.shape[2:]), batch[m.value]) for m in where.tokens
            }
            hidden = None
            if config.drop_modality:
                there = places_there(recorded(signals, where), where).reshape(n, e, -1)
                hidden = jnp.repeat(hidden_modalities(keys, there), e, axis=0)
            micro = model.micro(signals, hidden=hidden, exact=False, axes=axes)
            tokens, ok = (v.reshape(n, e, *v.shape[1:]) for v in (micro.x, micro.ok))
            balance, metrics = router_loss(micro.router, config)
        labels = {"stages": batch["stage"]}
        labels |= {task: v.reshape(n, -1).astype(jnp.int32) for task, v in batch["seconds"].items()}
        total, parts = task_losses(model(tokens, ok).heads, labels, tasks or config.tasks, axes, **how)
        return total + balance, parts | metrics

    return loss
