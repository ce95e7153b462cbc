"""The three kinds of run: what each trains, on what data, by what loss; one file each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import jax.numpy as jnp

from sleepmami_jax.config import Experiment, Finetuning, MacroPretraining, MicroPretraining
from sleepmami_jax.export.folder import ModelFolder
from sleepmami_jax.models.sleepmami import create, structure
from sleepmami_jax.training.phases.finetune import finetuning
from sleepmami_jax.training.phases.macro import macro_pretraining
from sleepmami_jax.training.phases.micro import micro_pretraining
from sleepmami_jax.training.phases.phase import Phase

__all__ = ["Phase", "build"]


def build(
    experiment: Experiment, start: ModelFolder | None, workdir: Path, progress: Callable, rows: Sequence[int]
) -> Phase:
    """The phase of an experiment.

    Args:
      start: the model to begin with; None begins with random parameters.
      workdir: where embeddings of a frozen Micro-Encoder are kept.
      progress: `(description, total) -> tick`, shows long preparations.
      rows: those of each batch that this process reads.
    """
    if start is None:
        graph, params = create(experiment.model, experiment.seed, experiment.compute)
    else:
        graph, _ = structure(experiment.model, experiment.compute)
        params = {name: jnp.asarray(value) for name, value in start.params.items()}
    make = {
        MicroPretraining: micro_pretraining,
        MacroPretraining: macro_pretraining,
        Finetuning: finetuning,
    }[type(experiment.objective)]
    return make(experiment, graph, params, workdir, progress, rows)
