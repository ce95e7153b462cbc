"""Macro pretraining: DGCL of whole nights, over frozen micro tokens or from the signals on."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_pipeline.night import Demographics
from sleepmami_jax.config import Experiment, MacroPretraining, ModelConfig
from sleepmami_jax.data.arrays import demographics_arrays
from sleepmami_jax.data.embeddings import BLOCK_EPOCHS
from sleepmami_jax.data.order import Batches
from sleepmami_jax.data.token_batches import embedded_nights
from sleepmami_jax.models.initial import Linear, Rngs
from sleepmami_jax.models.macro import epoch_summary, summary_width
from sleepmami_jax.models.micro import MicroEncoder, layout
from sleepmami_jax.objectives.contrastive import unit
from sleepmami_jax.objectives.demographic import dgcl, view_mask
from sleepmami_jax.objectives.parts import in_parts
from sleepmami_jax.objectives.reduce import global_mean, standardise
from sleepmami_jax.training.phases.phase import (
    Phase,
    frozen_tokens,
    modules,
    read_by,
    router_loss,
    shapes_of,
    signal_window_shapes,
    signals,
    with_objective,
)


def macro_pretraining(experiment: Experiment, graph, params, rngs: Rngs) -> Phase:
    """The phase without its data; the model's structure and parameters, and what draws those of the loss."""
    config: MacroPretraining = experiment.objective
    projection = Linear(experiment.model.macro.dim, experiment.model.projection_dim, rngs=rngs)
    project_graph, params = with_objective(params, projection)
    trainable = ("macro/", "objective/") if config.freeze_micro else ("micro/", "macro/", "objective/")
    loss = macro_loss(experiment, graph, project_graph)
    return Phase(params, trainable, loss, config.batch, accumulates=True)


def macro_batches(experiment: Experiment, params, workdir, progress, rows) -> Batches:
    """Arguments as in `phases.build`."""
    config: MacroPretraining = experiment.objective
    if not config.freeze_micro:
        return signals(experiment, config.night_epochs, rows)
    folders = frozen_tokens(experiment, params, workdir, progress)
    return embedded_nights(folders, experiment.data, config.night_epochs, **read_by(experiment, rows))


def macro_shapes(experiment: Experiment):
    """Shapes of a global batch."""
    config: MacroPretraining = experiment.objective
    if not config.freeze_micro:
        return signal_window_shapes(experiment, config.night_epochs)
    nights = (1, config.night_epochs, len(layout(experiment.model.modalities).tokens))
    night = {
        "summary": np.zeros((*nights, summary_width(experiment.model)), np.float32),
        "present": np.zeros(nights, bool),
        "demographics": {name: v[None] for name, v in demographics_arrays(Demographics()).items()},
        "night": np.zeros(1, np.int32),
        "person": np.zeros(1, np.int32),
    }
    return shapes_of(night, config.batch)


def macro_loss(experiment: Experiment, graph: nnx.GraphDef, project_graph: nnx.GraphDef) -> Callable:
    """`Phase.loss` over batches of `embedded_nights`, or of signals where the Micro-Encoder is trained too."""
    config: MacroPretraining = experiment.objective

    def loss(params, batch, keys, axes):
        model, project = modules(graph, project_graph, params)
        if config.freeze_micro:
            summary, present = batch["summary"], batch["present"]
            balance, metrics = 0.0, {}
        else:
            summary, present, router = night_summary(model.micro, experiment.model, batch, axes)
            balance, metrics = router_loss(router, config)

        def encode(keys, summary, present):  # (n,), (n, E, M, W), (n, E, M) -> (n, 2, Dm)
            # Both views of every night go through the encoder as one batch.
            two = jnp.concatenate([jax.vmap(lambda k, i=i: jax.random.fold_in(k, i))(keys) for i in range(2)])
            seen = jax.vmap(mask)(two, jnp.tile(present, (2, 1, 1)))
            vectors, _ = model.macro(jnp.tile(summary, (2, 1, 1, 1)), seen)
            return vectors.reshape(2, len(keys), -1).swapaxes(0, 1)

        def mask(key, present):
            return view_mask(key, present, config.crop, config.drop_modality, config.drop_epochs)

        vectors = in_parts(encode, experiment.accumulate, keys, summary, present)  # (parts, n, 2, Dm)
        vectors = vectors.reshape(len(keys), 2, -1).swapaxes(0, 1)
        # The batch normalisation of SimCLR's projection. All nights are alike before anything is learnt; without it the
        # softmax is flat, and the quickest way down is to make all vectors one.
        z = unit(project(standardise(vectors, 1.0, axes)))
        people = batch["demographics"], batch["person"]
        contrast, accuracy = dgcl(z, *people, config.kernel, config.temperature, axes)
        return contrast + balance, {"contrast": contrast, "view_accuracy": accuracy, **metrics}

    return loss


def night_summary(
    micro: MicroEncoder, config: ModelConfig, batch: dict, axes
) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
    """Signals of nights -> what `embedded_nights` gives of a frozen Micro-Encoder, block after block of epochs.

    A block never spans two nights, so that what the mixture of experts drops does not depend on the devices.

    Args:
      batch: of `signal_batches`, (N, E, ...).

    Returns:
      `macro.epoch_summary` (N, E, M, W) float32, which modalities are there (N, E, M), and the router's statistics:
      each the mean over the blocks of all devices, by how many tokens a block has.
    """
    n, epochs = batch["epoch_mask"].shape
    block = min(BLOCK_EPOCHS, epochs)
    pad = -epochs % block

    def flat(v):
        v = jnp.pad(v, [(0, 0), (0, pad)] + [(0, 0)] * (v.ndim - 2))
        return v.reshape(-1, *v.shape[2:])

    def encode(signals):
        tokens = micro(signals, exact=False)
        summary, present = epoch_summary(tokens.x.astype(jnp.float32), tokens.ok, config)
        return summary, present, tokens.router, tokens.ok.sum()

    flattened = {m.value: jax.tree.map(flat, batch[m.value]) for m in micro.layout.tokens}
    summary, present, router, count = in_parts(encode, n * (epochs + pad) // block, flattened)
    shaped = (v.reshape(n, epochs + pad, *v.shape[2:])[:, :epochs] for v in (summary, present))
    return *shaped, {name: global_mean(v, count, axes)[0] for name, v in router.items()}
