"""The three kinds of run: what each trains, on what data, by what loss; one file each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp

from sleepmami_jax.config import Experiment, Finetuning, MacroPretraining, MicroPretraining
from sleepmami_jax.data.scored import class_counts
from sleepmami_jax.export.folder import ModelFolder
from sleepmami_jax.models.initial import Rngs
from sleepmami_jax.models.sleepmami import create, structure
from sleepmami_jax.run.progress import Progress
from sleepmami_jax.training.phases.finetune import finetuning, finetuning_batches, finetuning_shapes
from sleepmami_jax.training.phases.held_out import HeldOut, held_out
from sleepmami_jax.training.phases.macro import macro_batches, macro_pretraining, macro_shapes
from sleepmami_jax.training.phases.micro import micro_batches, micro_pretraining, micro_probe, micro_shapes
from sleepmami_jax.training.phases.phase import Phase

__all__ = ["Phase", "build", "plan"]

_KINDS = {
    MicroPretraining: (micro_pretraining, micro_batches, micro_shapes),
    MacroPretraining: (macro_pretraining, macro_batches, macro_shapes),
    Finetuning: (finetuning, finetuning_batches, finetuning_shapes),
}


def build(
    experiment: Experiment, start: ModelFolder | None, workdir: Path, progress: Progress, rows: Sequence[int]
) -> Phase:
    """The phase of an experiment, with its data.

    Args:
      start: the model to begin with; None begins with random parameters.
      workdir: where embeddings of a frozen Micro-Encoder are kept.
      progress: shows long preparations.
      rows: those of each batch that this process reads.
    """
    shape = (experiment.compute, experiment.tasks)
    if start is None:
        graph, params = create(experiment.model, experiment.seed, *shape)
    else:
        graph, shapes = structure(experiment.model, *shape)
        params = {name: jnp.asarray(start.params[name]) for name in shapes if name in start.params}
        if params.keys() != shapes.keys():  # heads that `start` has not learnt
            params = create(experiment.model, experiment.seed, *shape)[1] | params
    make, batches, _ = _KINDS[type(experiment.objective)]
    weighed = isinstance(experiment.objective, Finetuning) and experiment.objective.class_weight > 0
    counts = {"counts": class_counts(experiment.data, experiment.tasks)} if weighed else {}
    if isinstance(experiment.objective, Finetuning):
        counts["learnt"] = [task.name for task in start.tasks] if start else []
    phase = make(experiment, graph, params, Rngs(experiment.seed + 1), **counts)
    if experiment.validation:
        clean = held_out(experiment)
        loss = make(clean, graph, params, Rngs(None), **counts).loss
        probe = micro_probe(clean, graph) if isinstance(clean.objective, MicroPretraining) else None
        phase = replace(phase, held_out=HeldOut(loss, batches(clean, params, workdir, progress, rows), probe))
    return replace(phase, batches=batches(experiment, params, workdir, progress, rows))


def plan(experiment: Experiment):
    """The phase without data or numbers, its parameters as shapes, and the shapes of a global batch."""
    graph, params = structure(experiment.model, experiment.compute, experiment.tasks)
    make, _, shapes = _KINDS[type(experiment.objective)]
    phase = make(experiment, graph, params, Rngs(None))
    params = {name: jax.ShapeDtypeStruct(v.shape, v.dtype) for name, v in phase.params.items()}
    return replace(phase, params=params), shapes(experiment)
