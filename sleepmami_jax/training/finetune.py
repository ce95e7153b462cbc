"""Fine-tuning: train on scored nights, then fit the thresholds of events on the validation nights."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike

import jax
from etils import epath

from sleepmami_jax.config import Experiment
from sleepmami_jax.data.frozen import embeddings_folder
from sleepmami_jax.evaluation.evaluate import calibrate
from sleepmami_jax.evaluation.reference import fit_reference
from sleepmami_jax.export.folder import load_model, save_model
from sleepmami_jax.hub import open_model
from sleepmami_jax.pretrained import Pretrained
from sleepmami_jax.run.places import folder_at
from sleepmami_jax.run.processes import Preempted, leaving
from sleepmami_jax.run.progress import bars
from sleepmami_jax.training.loop import train
from sleepmami_jax.training.nonfinite import NonFiniteError


@leaving(NonFiniteError, Preempted)
def finetune(
    experiment: Experiment,
    workdir: str | PathLike[str],
    *,
    quiet: bool = False,
    accept_changes: bool = False,
    profile: int = 0,
) -> epath.Path:
    """Train, calibrate, learn when the model is wrong, and return the model folder `workdir/model`, which can score.

    The model's card says how each threshold came about; one without events to fit it on is 0.5, with a warning.
    """
    embeddings = embeddings_folder(experiment, folder_at(workdir))
    path = train(experiment, workdir, quiet=quiet, accept_changes=accept_changes, profile=profile)
    folder = load_model(path)
    thresholds, how = calibrate(folder, experiment.data, embeddings, bars(quiet=quiet))
    start = open_model(experiment.init) if experiment.init and experiment.objective.only_new else None
    if start is not None:  # what is said of the other tasks stays as it is
        thresholds, how = thresholds | start.thresholds, how | start.card.get("thresholds", {})
    folder = replace(folder, thresholds=thresholds, card={**folder.card, "thresholds": how})
    if jax.process_index() == 0:  # of many processes all have fitted the same
        judged, seed = experiment.objective.judged, experiment.seed
        known = fit_reference(Pretrained(folder), experiment.data, cases=judged, seed=seed, progress=bars(quiet=quiet))
        if start is not None and start.reference is not None:
            known = start.reference if known is None else start.reference.joined_by(known)
        save_model(replace(folder, reference=known), path)
    return path
