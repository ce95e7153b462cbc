"""The three kinds of run: what each trains, on what data, by what loss.

A phase works on the parameters of the whole model, plus those under "objective/" that only the loss needs and that
no model folder carries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_pipeline.night import EPOCH_S, SLOTS, Modality
from sleepmami_jax.config import (
    ConfigError,
    DataConfig,
    Experiment,
    Finetuning,
    MacroPretraining,
    MicroPretraining,
    ModelConfig,
)
from sleepmami_jax.data.arrays import Slots
from sleepmami_jax.data.batches import epoch_batches, window_batches
from sleepmami_jax.data.embeddings import (
    EmbeddedFolder,
    Encode,
    embed_folder,
    embedded_nights,
    embedded_windows,
)
from sleepmami_jax.data.source import PreparedFolder, chosen_nights
from sleepmami_jax.export.folder import ModelFolder
from sleepmami_jax.models.initial import Linear, Rngs
from sleepmami_jax.models.macro import epoch_means
from sleepmami_jax.models.micro import layout
from sleepmami_jax.models.sleepmami import Params, create, merge, split, structure
from sleepmami_jax.objectives.contrastive import ModalityProjection, leave_one_out, unit
from sleepmami_jax.objectives.demographic import dgcl, standardise, view_mask
from sleepmami_jax.objectives.masked import (
    MaskedDecoder,
    masked_loss,
    places_there,
    sample_hidden,
    sample_visible,
)
from sleepmami_jax.tasks.supervised import task_losses


@dataclass(frozen=True)
class Phase:
    """What the training loop needs to know.

    Attributes:
      params: of the model and, under "objective/", of the loss.
      trainable: the beginnings of the names of those that are trained.
      loss: `(params, batch, keys, axes) -> (loss, metrics)`, run inside `shard_map`.
      batches: an iterator of numpy batches with `get_state` and `set_state`.
      global_batch: examples in a batch, over all devices.
      accumulates: the loss computes `Experiment.accumulate` parts of a batch by itself; else the loop splits it.
    """

    params: Params
    trainable: tuple[str, ...]
    loss: Callable
    batches: Any
    global_batch: int
    accumulates: bool = False


def model_slots(config: ModelConfig) -> Slots:
    """The channels a model looks at, by modality. Raises ConfigError for one that does not exist."""
    for m in Modality:
        unknown = set(config.modalities[m].slots) - set(SLOTS[m])
        if unknown or not config.modalities[m].slots:
            raise ConfigError(
                f"model.modalities.{m}.slots: expected some of {SLOTS[m]}, found {sorted(unknown)}"
            )
    return {m: config.modalities[m].slots for m in Modality}


def micro_encode(config: ModelConfig, params: Params) -> Encode:
    """The frozen Micro-Encoder as a function of numpy arrays of any fixed number of epochs; drops no token."""
    encode = _compiled_encode(config)
    weights = jax.device_put({n: v for n, v in params.items() if not n.startswith("objective/")})

    def run(arrays):
        x, ok = encode(weights, jax.tree.map(jnp.asarray, arrays))
        return np.asarray(x), np.asarray(ok)

    return run


@lru_cache
def _compiled_encode(config: ModelConfig) -> Callable:
    """One compilation a shape of model, whatever the weights."""
    graph, _ = structure(config)

    @jax.jit
    def encode(weights, signals):
        tokens = merge(graph, weights).micro(signals, exact=True)
        return tokens.x, tokens.ok

    return encode


def build(experiment: Experiment, start: ModelFolder | None, workdir: Path, progress: Callable) -> Phase:
    """The phase of an experiment.

    Args:
      start: the model to begin with; None begins with random parameters.
      workdir: where embeddings of a frozen Micro-Encoder are kept.
      progress: `(description, total) -> tick`, shows long preparations.
    """
    if start is None:
        graph, params = create(experiment.model, experiment.seed)
    else:
        graph, _ = structure(experiment.model)
        params = {name: jnp.asarray(value) for name, value in start.params.items()}
    make = {MicroPretraining: _micro, MacroPretraining: _macro, Finetuning: _finetune}[
        type(experiment.objective)
    ]
    return make(experiment, graph, params, workdir, progress)


def _with_objective(params: Params, module: nnx.Module) -> tuple[nnx.GraphDef, Params]:
    graph, extra = split(module)
    return graph, params | {f"objective/{name}": value for name, value in extra.items()}


def _parts(params: Params) -> tuple[Params, Params]:
    """The model's parameters and the objective's own."""
    extra = {n.removeprefix("objective/"): v for n, v in params.items() if n.startswith("objective/")}
    return {n: v for n, v in params.items() if not n.startswith("objective/")}, extra


class _MicroObjective(nnx.Module):
    def __init__(self, model: ModelConfig, dim: int, *, rngs: Rngs):
        self.decoder = MaskedDecoder(model, dim, rngs=rngs)
        self.projection = ModalityProjection(model, rngs=rngs)


def _micro(experiment, graph, params, workdir, progress) -> Phase:
    config: MicroPretraining = experiment.objective
    where = layout(experiment.model.modalities)
    objective = _MicroObjective(experiment.model, config.decoder_dim, rngs=Rngs(experiment.seed + 1))
    extra_graph, params = _with_objective(params, objective)

    def loss(params, batch, keys, axes):
        own, extra = _parts(params)
        model, objective = merge(graph, own), merge(extra_graph, extra)
        there = places_there(batch, where)
        present = jnp.stack([batch[m.value]["present"].any(-1) for m in Modality], 1)
        visible = sample_visible(keys, where, config)
        hidden = sample_hidden(keys, present, config.drop_modality)
        tokens = model.micro(batch, visible, hidden, exact=False)
        rebuilt = objective.decoder(tokens, visible, there)
        amplitude, spectral = masked_loss(rebuilt, batch, visible, hidden, where, axes)
        z, z_present = objective.projection(tokens)
        contrast, found = leave_one_out(z, z_present, objective.projection.log_scale[...], axes)
        router = jax.tree.map(lambda v: jax.lax.pmean(v, axes), tokens.router)
        total = (
            amplitude
            + config.spectral_weight * spectral
            + config.contrast_weight * contrast
            + config.balance_weight * router["balance"]
            + config.router_z_weight * router["z"]
        )
        return total, {
            "amplitude": amplitude,
            "spectral": spectral,
            "contrast": contrast,
            "contrast_accuracy": found,
            "moe_balance": router["balance"],
            "moe_dropped": router["dropped"],
        }

    batches = epoch_batches(
        experiment.data,
        model_slots(experiment.model),
        global_batch=config.batch,
        seed=experiment.seed,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    return Phase(params, ("micro/", "objective/"), loss, batches, config.batch)


def embed_nights(
    model: ModelConfig, params: Params, digest: str, data: DataConfig, out: Path, progress: Callable
) -> list[EmbeddedFolder]:
    """Micro tokens of the chosen nights of every prepared folder, under `out`, one folder for each set of weights."""
    slots, encode = model_slots(model), micro_encode(model, params)
    folders = []
    for i, source in enumerate(data.shards):
        prepared = PreparedFolder.open(source.folder)
        nights = chosen_nights(prepared.manifest, data)
        tick = progress(f"micro tokens of {Path(source.folder).name}", len(nights))
        target = out / digest[:12] / f"{i}-{Path(source.folder).name}"
        folders.append(embed_folder(prepared, target, encode, digest, slots, nights, tick))
    return folders


def embeddings_folder(experiment: Experiment, workdir: Path) -> Path:
    """Where the run keeps micro tokens."""
    return Path(experiment.data.embeddings) if experiment.data.embeddings else workdir / "embeddings"


def frozen_digest(params: Params) -> str:
    return ModelFolder(ModelConfig(), {n: v for n, v in params.items() if n.startswith("micro/")}).digest()


def _macro(experiment, graph, params, workdir, progress) -> Phase:
    config: MacroPretraining = experiment.objective
    where = layout(experiment.model.modalities)
    projection = Linear(
        experiment.model.macro.dim, experiment.model.projection_dim, rngs=Rngs(experiment.seed + 1)
    )
    extra_graph, params = _with_objective(params, projection)
    out = embeddings_folder(experiment, workdir)
    folders = embed_nights(experiment.model, params, frozen_digest(params), experiment.data, out, progress)
    means = jax.jit(lambda x, ok: epoch_means(x.astype(jnp.float32), ok, where))
    batches = embedded_nights(
        folders, experiment.data, config.night_epochs, means, batch=config.batch, seed=experiment.seed
    )

    def loss(params, batch, keys, axes):
        own, extra = _parts(params)
        model, project = merge(graph, own), merge(extra_graph, extra)

        def mask(key, present):
            return view_mask(key, present, config.crop, config.drop_modality, config.drop_epochs)

        # Both views of every night go through the encoder as one batch.
        two = jnp.concatenate([jax.vmap(lambda k, i=i: jax.random.fold_in(k, i))(keys) for i in range(2)])
        present = jax.vmap(mask)(two, jnp.tile(batch["present"], (2, 1, 1)))
        vectors, _ = model.macro(jnp.tile(batch["means"], (2, 1, 1, 1)), present)
        z = unit(project(standardise(vectors.reshape(2, -1, vectors.shape[-1]), axes)))
        contrast, found = dgcl(z, batch["demographics"], config.kernel, config.temperature, axes)
        return contrast, {"view_accuracy": found}

    return Phase(params, ("macro/", "objective/"), loss, batches, config.batch)


def _finetune(experiment, graph, params, workdir, progress) -> Phase:
    config: Finetuning = experiment.objective
    if not experiment.data.scored:
        raise ConfigError("data.scored: fine-tuning learns from labels; set data.scored=true")
    if config.freeze_micro:
        out = embeddings_folder(experiment, workdir)
        folders = embed_nights(
            experiment.model, params, frozen_digest(params), experiment.data, out, progress
        )
        batches = embedded_windows(
            folders, experiment.data, config.epochs, batch=config.batch, seed=experiment.seed
        )
    else:
        batches = window_batches(
            experiment.data,
            model_slots(experiment.model),
            epochs=config.epochs,
            global_batch=config.batch,
            seed=experiment.seed,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def loss(params, batch, keys, axes):
        model = merge(graph, params)
        router = {}
        if config.freeze_micro:
            tokens, ok = batch["tokens"].astype(jnp.float32), batch["ok"]
        else:
            n, e = batch["stage"].shape
            signals = {
                m.value: jax.tree.map(lambda v: v.reshape(n * e, *v.shape[2:]), batch[m.value])
                for m in Modality
            }
            micro = model.micro(signals, exact=False)
            tokens, ok = (v.reshape(n, e, *v.shape[1:]) for v in (micro.x, micro.ok))
            router = jax.tree.map(lambda v: jax.lax.pmean(v, axes), micro.router)
        n, e = batch["stage"].shape
        labels = {"stage": batch["stage"]}
        labels |= {task: v.reshape(n, e * EPOCH_S).astype(jnp.int32) for task, v in batch["seconds"].items()}
        total, metrics = task_losses(model(tokens, ok), labels, config, axes)
        if router:
            total = total + config.balance_weight * router["balance"] + config.router_z_weight * router["z"]
        return total, metrics

    # Labels of epochs say nothing of the night's vector, which stays what pretraining made it.
    macro = tuple(f"macro/{part}" for part in ("enter", "levels", "down", "up", "norm"))
    trainable = (*macro, "seconds/", "heads/") + (() if config.freeze_micro else ("micro/",))
    return Phase(params, trainable, loss, batches, config.batch)
