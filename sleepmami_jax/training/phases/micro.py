"""Micro pretraining: masked autoencoding of single epochs, and contrast between their modalities."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from sleepmami_jax.config import ComputeConfig, Experiment, MicroPretraining, ModelConfig
from sleepmami_jax.data.arrays import blank_arrays, with_present
from sleepmami_jax.data.augment import augmented
from sleepmami_jax.data.frozen import model_slots
from sleepmami_jax.data.order import Batches
from sleepmami_jax.models.initial import Rngs
from sleepmami_jax.models.macro import epoch_summary
from sleepmami_jax.models.micro import layout
from sleepmami_jax.models.sleepmami import PLAIN
from sleepmami_jax.objectives.contrastive import ModalityProjection, info_nce, leave_one_out, pairwise
from sleepmami_jax.objectives.masked import (
    MaskedDecoder,
    masked_loss,
    places_there,
    recorded,
    sample_hidden,
    sample_visible,
    shown_modalities,
    teacher_loss,
)
from sleepmami_jax.objectives.reduce import on_all
from sleepmami_jax.training.phases.held_out import StageProbe, staged_people
from sleepmami_jax.training.phases.phase import (
    Phase,
    blank_places,
    modules,
    router_loss,
    shapes_of,
    signals,
    teacher_of,
    with_objective,
)


class MicroObjective(nnx.Module):
    """What only the loss needs; nothing for a part of it that has no weight."""

    def __init__(self, model: ModelConfig, config: MicroPretraining, compute: ComputeConfig = PLAIN, *, rngs: Rngs):
        parts = {"spectral": config.spectral_weight > 0, "teacher": config.teacher_weight > 0}
        self.decoder = MaskedDecoder(model, config.decoder_dim, **parts, compute=compute, rngs=rngs)
        if config.contrast_weight:
            self.projection = ModalityProjection(model, rngs=rngs)


def micro_pretraining(experiment: Experiment, graph, params, rngs: Rngs) -> Phase:
    """The phase without its data; the model's structure and parameters, and what draws those of the loss."""
    config: MicroPretraining = experiment.objective
    objective = MicroObjective(experiment.model, config, experiment.compute, rngs=rngs)
    objective_graph, params = with_objective(params, objective)
    loss = micro_loss(experiment, graph, objective_graph)
    teacher = "micro/" if config.teacher_weight else ""
    return Phase(params, ("micro/", "objective/"), loss, config.batch, teacher=teacher)


def micro_batches(experiment: Experiment, params, workdir, progress, rows) -> Batches:
    """Arguments as in `phases.build`."""
    return signals(experiment, None, rows)


def micro_shapes(experiment: Experiment):
    """Shapes of a global batch."""
    slots = model_slots(experiment.model)
    epoch = with_present(blank_arrays(1, slots), slots)
    del epoch["epoch_mask"]
    return shapes_of(epoch | blank_places(), experiment.objective.batch)


def micro_loss(experiment: Experiment, graph: nnx.GraphDef, objective_graph: nnx.GraphDef) -> Callable:
    """`Phase.loss` over batches of `signal_batches`. A part of the loss without weight is not computed."""
    config: MicroPretraining = experiment.objective
    where = layout(experiment.model.modalities)
    questions = {"leave_one_out": leave_one_out, "pairwise": pairwise}[config.contrast]

    def loss(params, batch, keys, axes):
        model, objective = modules(graph, objective_graph, params)
        batch = augmented(batch, keys, config.augment)
        there = recorded(batch, where)
        visible = sample_visible(keys, there, where, config.mask)
        hidden = sample_hidden(keys, shown_modalities(there, visible, where), config.drop_modality)
        tokens = model.micro(batch, visible, hidden, exact=False, axes=axes)
        rebuilt = objective.decoder(tokens, visible, places_there(there, where))
        amplitude, spectral = masked_loss(rebuilt.patches, batch, visible, hidden, where, axes)
        balance, metrics = router_loss(tokens.router, config)
        total, metrics = amplitude + balance, {"amplitude": amplitude, **metrics}
        if config.spectral_weight:
            total, metrics["spectral"] = total + config.spectral_weight * spectral, spectral
        if config.teacher_weight:
            whole = teacher_of(graph, params).micro(batch, exact=False, axes=axes)
            metrics["teacher"] = teacher_loss(rebuilt.tokens, whole, visible, hidden, where, axes)
            total += config.teacher_weight * metrics["teacher"]
        if config.contrast_weight:
            z, present = objective.projection(tokens)
            scale = objective.projection.log_scale[...]
            loss, accuracy = info_nce(questions, z, present, batch["person"], scale, axes, config.contrast_keys)
            total += config.contrast_weight * loss
            metrics |= {"contrast": loss, "contrast_accuracy": accuracy}
        return total, metrics

    return loss


def micro_probe(experiment: Experiment, graph: nnx.GraphDef) -> StageProbe | None:
    """The epoch in summary, of all that was recorded: what the Macro-Encoder will read of it."""
    people = staged_people(experiment.data)

    def features(params, batch, keys, axes):
        model, _ = modules(graph, None, {n: v for n, v in params.items() if not n.startswith("objective/")})
        tokens = model.micro(batch, exact=False, axes=axes)
        summary, present = epoch_summary(tokens.x, tokens.ok, experiment.model)
        flat = (summary * present[..., None]).astype(jnp.float32).reshape(len(summary), -1)
        seen = {"features": flat, "stage": batch["stage"], "night": batch["night"]}
        return jnp.zeros(()), {name: on_all(value, axes) for name, value in seen.items()}

    return None if people is None else StageProbe(features, people)
