"""One run, from its configuration to a model folder; start it again and it goes on where it was."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils
from tqdm import tqdm

from data_pipeline.flatten import flatten
from data_pipeline.population.card import population_of
from data_pipeline.shards.manifest import NightEntry
from data_pipeline.whole_files import write_whole
from sleepmami_jax.config import ConfigError, Experiment, to_dict
from sleepmami_jax.data.source import PreparedFolder, chosen_nights, manifest_sha256
from sleepmami_jax.export.folder import ModelFolder, load_model, save_model
from sleepmami_jax.run.checkpoint import CheckpointError, Checkpoints
from sleepmami_jax.run.journal import Journal
from sleepmami_jax.run.places import check_bucket, folder_at, in_bucket
from sleepmami_jax.run.processes import Preempted, Preemption, Watchdog, leaving
from sleepmami_jax.run.progress import bars
from sleepmami_jax.training.nonfinite import NonFiniteError, is_finite, stopped
from sleepmami_jax.training.phases import Phase, build
from sleepmami_jax.training.sharding import check_batch, everywhere, lay_out, make_mesh, own_rows, to_devices
from sleepmami_jax.training.step import initial_state, make_step
from sleepmami_jax.training.throughput import Stopwatch, goodput, summary

__all__ = ["NonFiniteError", "make_step", "train", "training_card", "training_nights"]


class _Step(NamedTuple):
    """A step on its way: its metrics are fetched once the next one has been sent off."""

    number: int
    batch: dict[str, Any]
    metrics: dict[str, jax.Array]


@leaving(NonFiniteError, Preempted)
def train(
    experiment: Experiment,
    workdir: str | PathLike[str],
    *,
    quiet: bool = False,
    accept_changes: bool = False,
) -> epath.Path:
    """Train, or go on training, and return the model folder `workdir/model`.

    Leaves in `workdir`: `config.json`, `checkpoints/`, `metrics.jsonl` (the same bytes however often the run was
    interrupted), `clock.jsonl` (see `training.throughput`), `model/`; `tensorboard/` if asked for, `nonfinite.json`
    if it failed so. With `optimizer.ema` the model is the running average; the metrics are of the weights themselves.
    Of many processes, those but the first keep journals of their own in `process-1/` and so on.

    Args:
      workdir: a folder, or one in a bucket (`gs://…`).
      accept_changes: go on in a workdir of another configuration, or with other data; the journal says what changed.

    Raises:
      ConfigError: the workdir belongs to a run of another configuration, or what that run began with has changed.
      CheckpointError: its checkpoints cannot be used, or a new one cannot be saved.
      NonFiniteError: the loss or the update became infinite or NaN.
      Preempted: SIGTERM came; the state is saved.
      ValueError: the batch does not divide over devices and parts.
    """
    workdir = folder_at(workdir)
    check_bucket(workdir)
    start = load_model(experiment.init) if experiment.init else None
    if start is not None and start.config != experiment.model:
        raise ConfigError(
            f"model: {experiment.init} has another shape than this experiment; "
            "use the same `model` in both, or leave init out"
        )
    mesh = make_mesh(experiment.mesh)
    check_batch(experiment.objective.batch, mesh, experiment.accumulate)
    changed = _claim(workdir, experiment, start, accept_changes)
    process = jax.process_index()
    journal = Journal(
        workdir / f"process-{process}" if process else workdir, tensorboard=experiment.tensorboard
    )
    journal.clock("start")
    if changed:
        journal.clock("changed", fields=changed)
    quiet = quiet or process > 0
    phase = build(experiment, start, workdir, bars(quiet=quiet), own_rows(mesh, experiment.objective.batch))
    checkpoints = Checkpoints(workdir / "checkpoints")
    first, state = _resume(checkpoints, lay_out(initial_state(experiment, phase), mesh), phase, journal)

    step_fn = make_step(experiment, phase, mesh)
    bar = tqdm(total=experiment.steps, initial=first, desc=experiment.name, unit="step", disable=quiet)
    record = partial(_record, experiment, phase, mesh, workdir, journal, bar)
    watch = Stopwatch(journal, experiment, phase.global_batch, mesh.size)
    pending: _Step | None = None
    preemption, watchdog = Preemption(), Watchdog()
    with ExitStack() as at_the_end:
        for opened in (
            journal,
            phase.batches,
            checkpoints,
            bar,
            watchdog,
            preemption,
        ):  # the last closes first
            at_the_end.callback(opened.close)
        for step in range(first, experiment.steps):
            batch = next(phase.batches)
            rows = to_devices(batch, mesh)
            watch.lap("data" if pending is None or pending.metrics["loss"].is_ready() else "step")
            state, metrics = step_fn(state, rows)
            if step == first:
                jax.block_until_ready(metrics)
                watch.compiled()
            if pending is not None:
                record(state, pending)
            pending = _Step(step + 1, batch, metrics)
            bar.update()
            last = step + 1 == experiment.steps
            stop = preemption.reached(step + 1) and not last
            save = last or stop or (step + 1) % experiment.save_every == 0
            if save:  # never a state whose metrics have not been seen
                record(state, pending)
                pending = None
            if step > first:
                watch.stepped(step + 1)
            if save:
                watch.flush(step + 1)
                journal.flush()  # before the checkpoint, which goes on where it ends
                checkpoints.save(step + 1, state, phase.batches.get_state())
                if last or stop:
                    checkpoints.wait()
                watch.saved(step + 1)
            watchdog.stepped()
            if stop:
                journal.clock("preempted", step=step + 1)
                raise Preempted(
                    f"asked to stop; saved at step {step + 1}, the same command goes on from there"
                )
    model = _export(experiment, start, state, mesh, workdir)
    journal.clock("done", steps=experiment.steps)
    events = journal.clock_events()
    journal.clock("goodput", **goodput(events))
    journal.flush()
    if not quiet:
        print(summary(experiment.name, events))
    return model


def _resume(checkpoints: Checkpoints, state, phase: Phase, journal: Journal) -> tuple[int, dict[str, Any]]:
    """The step to begin with and the state there: `state` itself, or what the newest checkpoint holds."""
    restored = checkpoints.restore(state)
    first = 0
    if restored is not None:
        state, position = restored
        first = int(state["step"])
        if position["global_next_index"] != first * phase.global_batch:
            raise CheckpointError(
                f"{checkpoints.folder}: the checkpoint of step {first} stands at example "
                f"{position['global_next_index']} of the data, expected {first * phase.global_batch}"
            )
        phase.batches.set_state(position)
    lost, written = journal.rewind(first)
    if restored is not None or lost:
        journal.clock("resumed", step=first, lost_steps=lost, written=written)
        journal.clock("goodput", **goodput(journal.clock_events()))
    return first, state


def _claim(workdir: epath.Path, experiment: Experiment, start: ModelFolder | None, accept: bool) -> list[str]:
    """Make `workdir` this experiment's, or raise ConfigError if it is another's and that is not accepted.

    Returns:
      the fields that have changed.

    Digests of the manifests and of the model it starts from count as part of the configuration: a run that went on
    with other nights or other weights under the same names would be neither the old run nor a new one. A field that
    there was not when the run began had its default.
    """
    path = workdir / "config.json"
    inputs = {source.folder: manifest_sha256(source.folder) for source in experiment.data.shards}
    if start is not None:
        inputs[str(experiment.init)] = start.digest()
    text = json.dumps(to_dict(experiment) | {"inputs_sha256": inputs}, indent=1) + "\n"
    workdir.mkdir(parents=True, exist_ok=True)
    first = jax.process_index() == 0
    if first and not path.exists():
        _write_whole(path, text)
    multihost_utils.sync_global_devices("configuration")
    blank = Experiment(experiment.name, type(experiment.objective)())
    defaults = flatten(json.loads(json.dumps(to_dict(blank))))
    ours, theirs = flatten(json.loads(text)), defaults | flatten(json.loads(path.read_text()))
    changed = sorted(
        k
        for k in ours.keys() | theirs.keys()
        if ours.get(k) != theirs.get(k) and not k.startswith("mesh.")  # a run may go on on other devices
    )
    multihost_utils.sync_global_devices("compared")
    if changed and accept and first:
        _write_whole(path, text)
    if changed and not accept:
        k = changed[0]
        raise ConfigError(
            f"{workdir} holds a run with another configuration: {k} was {theirs.get(k)!r} and is now {ours.get(k)!r}"
            + (f" (and {len(changed) - 1} more)" if len(changed) > 1 else "")
            + "; use its own configuration to go on, or another workdir, or --accept-changes"
        )
    return changed


def _write_whole(path: epath.Path, text: str) -> None:
    if in_bucket(path):  # where nothing is seen before it is whole
        path.write_text(text)
        return
    write_whole(Path(path), text)


def _record(experiment, phase, mesh, workdir, journal: Journal, bar, state, done: _Step) -> None:
    """Fetch and write a step's metrics. Raises NonFiniteError, having found out why."""
    values = {name: float(value) for name, value in jax.device_get(done.metrics).items()}
    if not is_finite(values):
        journal.clock("stopped", step=done.number)
        raise stopped(experiment, phase, mesh, state["params"], done.number, done.batch, values, workdir)
    journal.metrics(done.number, values)
    bar.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)


def _export(
    experiment: Experiment, start: ModelFolder | None, state, mesh, workdir: epath.Path
) -> epath.Path:
    weights = everywhere({**state["params"], **state.get("ema", {})}, mesh)
    params = {n: np.asarray(v) for n, v in weights.items() if not n.startswith("objective/")}
    card = {
        "training": [*(start.card["training"] if start else []), training_card(experiment)],
        "population": asdict(population_of(training_nights(experiment))),
    }
    folder = ModelFolder(experiment.model, params, experiment.tasks, card=card)
    if jax.process_index() == 0:
        save_model(folder, workdir / "model")
    multihost_utils.sync_global_devices("model")
    return workdir / "model"


def training_nights(experiment: Experiment) -> list[tuple[Path, NightEntry]]:
    """The nights of a run, each with the folder of its shard."""
    nights = []
    for source in experiment.data.shards:
        manifest = PreparedFolder.open(source.folder).manifest
        nights += [
            (Path(source.folder), manifest.nights[n]) for n in chosen_nights(manifest, experiment.data)
        ]
    return nights


def training_card(experiment: Experiment) -> dict:
    """What a reader of a model folder should know of one run: how, how long, and on whose nights."""
    nights = [night for _, night in training_nights(experiment)]
    return {
        "name": experiment.name,
        "objective": type(experiment.objective).__name__,
        "steps": experiment.steps,
        "seed": experiment.seed,
        "config_sha256": hashlib.sha256(json.dumps(to_dict(experiment)).encode()).hexdigest(),
        "nights": len(nights),
        "subjects": len({n.subject_id for n in nights}),
        "hours": round(sum(n.duration_s for n in nights) / 3600, 1),
        "cohorts": sorted({n.cohort for n in nights}),
        "sites": sorted({n.site for n in nights if n.site}),
    }
