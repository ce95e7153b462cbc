"""One run, from its configuration to a model folder; start it again and it goes on where it was."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from tqdm import tqdm

from sleepmami_jax.config import ConfigError, DataConfig, Experiment, to_dict
from sleepmami_jax.data.source import manifest_sha256
from sleepmami_jax.export.folder import ModelFolder, save_model
from sleepmami_jax.hub import open_model
from sleepmami_jax.run.checkpoint import CheckpointError, Checkpoints
from sleepmami_jax.run.journal import Journal
from sleepmami_jax.run.places import check_bucket, folder_at, in_bucket
from sleepmami_jax.run.processes import Preempted, Preemption, Watchdog, leaving
from sleepmami_jax.run.progress import bars
from sleepmami_jax.run.tensorboard import TensorBoard
from sleepmami_jax.run.trace import Trace
from sleepmami_jax.run.wandb import WeightsAndBiases
from sleepmami_jax.run.workdir import alone, claim
from sleepmami_jax.training.card import model_card
from sleepmami_jax.training.lora import merged
from sleepmami_jax.training.nonfinite import NonFiniteError, is_finite, stopped
from sleepmami_jax.training.phases import Phase, build
from sleepmami_jax.training.phases.held_out import held_out
from sleepmami_jax.training.sharding import check_batch, everywhere, lay_out, make_mesh, own_rows, to_devices
from sleepmami_jax.training.step import initial_state, make_step
from sleepmami_jax.training.throughput import Stopwatch, goodput, summary
from sleepmami_jax.training.validation import Validator, ended_early, kept

State = dict[str, Any]
"""What a checkpoint keeps, see `step.initial_state`."""


@leaving(NonFiniteError, Preempted)
def train(
    experiment: Experiment,
    workdir: str | PathLike[str],
    *,
    quiet: bool = False,
    accept_changes: bool = False,
    profile: int = 0,
) -> epath.Path:
    """Train, or go on training, and return the model folder `workdir/model`.

    Leaves in `workdir`: `config.json`, `checkpoints/`, `metrics.jsonl` (the same bytes however often the run was
    interrupted), `clock.jsonl` (see `training.throughput`), `model/`; `tensorboard/` if asked for, `nonfinite.json`
    if it failed so. With `optimizer.ema` the model is the running average; the metrics are of the weights themselves.
    With `validation` the line of a step that was validated has its metrics too, named "validation/…", the run may end
    early, and the model is the best one; its card says which.
    Of many processes, those but the first keep journals of their own in `process-1/` and so on.

    Args:
      workdir: a folder, or one in a bucket (`gs://…`).
      accept_changes: go on in a workdir of another configuration, or with other data; the journal says what changed.
      profile: so many steps, from the third of this start on, are traced to `workdir/profile`.

    Raises:
      ConfigError: the workdir belongs to a run of another configuration, or what that run began with has changed; or
        there is nothing to validate on.
      CheckpointError: its checkpoints cannot be used, or a new one cannot be saved.
      NonFiniteError: the loss or the update became infinite or NaN.
      Preempted: SIGTERM came; the state is saved.
      ValueError: another run is working in the workdir, or the batch does not divide over devices and parts.
    """
    workdir = folder_at(workdir)
    if profile and in_bucket(workdir):
        raise ConfigError(f"--profile: a trace is written to a disk, and {workdir} is in a bucket; profile another run")
    check_bucket(workdir)
    with alone(workdir):
        return _train(experiment, workdir, quiet, accept_changes, profile)


def _train(experiment: Experiment, workdir: epath.Path, quiet: bool, accept_changes: bool, profile: int) -> epath.Path:
    """`train`, in a workdir that is this run's alone."""
    start = _start_model(experiment)
    mesh = make_mesh(experiment.mesh)
    check_batch(experiment.objective.batch, mesh, experiment.accumulate)
    if experiment.validation:
        held_out(experiment)
    changed = claim(workdir, experiment, _inputs(experiment, start), accept_changes)
    journal = _begin_journal(workdir, experiment, changed)
    quiet = quiet or jax.process_index() > 0
    phase = build(experiment, start, workdir, bars(quiet=quiet), own_rows(mesh, experiment.objective.batch))
    checkpoints = Checkpoints(workdir / "checkpoints")
    first, state = _resume(checkpoints, lay_out(initial_state(experiment, phase), mesh), phase, journal)
    bar = tqdm(total=experiment.steps, initial=first, desc=experiment.name, unit="step", disable=quiet)
    trace = Trace(Path(workdir) / "profile", first + 3, profile)
    with closing(journal), closing(phase.batches), closing(checkpoints), closing(bar), closing(trace):
        run = _Run(experiment, phase, mesh, workdir, journal, checkpoints, bar, trace)
        state = run.steps(first, state)
    model = _export(experiment, start, state, mesh, workdir)
    journal.clock("done", steps=int(state["step"]))
    events = journal.clock_events()
    journal.clock("goodput", **goodput(events))
    journal.flush()
    if not quiet:
        print(summary(experiment.name, events))
    return model


def _start_model(experiment: Experiment) -> ModelFolder | None:
    """The model that the run begins with, None for random parameters."""
    start = open_model(experiment.init) if experiment.init else None
    if start is not None and start.config != experiment.model:
        raise ConfigError(
            f"model: {experiment.init} has another shape than this experiment; "
            "use the same `model` in both, or leave init out"
        )
    return start


def _inputs(experiment: Experiment, start: ModelFolder | None) -> dict[str, str]:
    """Digests of the manifests and of the model that the run begins with, by the names that the experiment uses."""
    inputs = {source.folder: manifest_sha256(source.folder) for source in experiment.data.shards}
    return inputs if start is None else inputs | {str(experiment.init): start.digest()}


def _begin_journal(workdir: epath.Path, experiment: Experiment, changed: list[str]) -> Journal:
    """The journal of this process, with its start written down, and what has changed since the last one."""
    own = workdir / f"process-{jax.process_index()}" if jax.process_index() else workdir
    boards = [TensorBoard] if experiment.tensorboard else []
    if experiment.wandb and jax.process_index() == 0:
        told = to_dict(replace(experiment, data=DataConfig(), init=None))  # no folder's name
        boards.append(partial(WeightsAndBiases, project=experiment.wandb, name=experiment.name, config=told))
    journal = Journal(own, *boards)
    journal.clock("start")
    if changed:
        journal.clock("changed", fields=changed)
    return journal


def _resume(checkpoints: Checkpoints, state: State, phase: Phase, journal: Journal) -> tuple[int, State]:
    """Steps already done and the state after them: `state` itself, or what the newest checkpoint holds."""
    restored = checkpoints.restore(state)
    first = 0
    if restored is not None:
        state, position = restored
        first = int(state["step"])
        at, expected = position["global_next_index"], first * phase.global_batch
        if at != expected:
            place = f"the checkpoint of step {first} stands at example {at} of the data"
            raise CheckpointError(f"{checkpoints.folder}: {place}, expected {expected}")
        phase.batches.set_state(position)
    lost, written = journal.rewind(first)
    if restored is not None or lost:
        journal.clock("resumed", step=first, lost_steps=lost, written=written)
        journal.clock("goodput", **goodput(journal.clock_events()))
    return first, state


class _Step(NamedTuple):
    """A step on its way: its metrics are fetched once the next one has been sent off."""

    number: int  # from 1
    batch: dict[str, Any]
    metrics: dict[str, jax.Array]
    validation: Mapping[str, float] = MappingProxyType({})  # on held-out batches, where it was validated


@dataclass(frozen=True, eq=False)
class _Run:
    """What the loop works with; all of it is open."""

    experiment: Experiment
    phase: Phase
    mesh: Mesh
    workdir: epath.Path
    journal: Journal
    checkpoints: Checkpoints
    bar: tqdm
    trace: Trace
    shown: dict[str, str] = field(default_factory=dict)  # beside the bar, of the last validation

    def steps(self, done: int, state: State) -> State:
        """All steps after the first `done`; returns the state after the last. Raises as `train` does."""
        if done == self.experiment.steps or ended_early(self.experiment, state):
            return state
        step_fn = make_step(self.experiment, self.phase, self.mesh)
        validator = Validator(self.experiment, self.phase, self.mesh, state) if self.experiment.validation else None
        watch = Stopwatch(self.journal, self.experiment, self.phase.global_batch, self.mesh.size)
        pending: _Step | None = None
        with closing(Watchdog()) as watchdog, closing(Preemption()) as preemption:
            for step in range(done + 1, self.experiment.steps + 1):
                self.trace.reach(step, pending and pending.metrics)
                batch = next(self.phase.batches)
                rows = to_devices(batch, self.mesh)
                watch.sent(batch)
                watch.lap("data" if pending is None or pending.metrics["loss"].is_ready() else "step")
                state, metrics = step_fn(state, rows)
                if step == done + 1:
                    jax.block_until_ready(metrics)
                    watch.compiled()
                if pending is not None:
                    self.record(state, pending)
                pending = _Step(step, batch, metrics)
                self.bar.update()
                validate = validator is not None and validator.due(step)
                if validate:
                    jax.block_until_ready(metrics)
                    watch.lap("step")
                    state, measured = validator.measure(state)
                    watch.validated(step)
                    pending = pending._replace(validation=measured)
                last = step == self.experiment.steps or (validate and ended_early(self.experiment, state))
                stop = preemption.reached(step) and not last
                save = last or stop or step % self.experiment.save_every == 0
                if save or validate:  # never a state whose metrics have not been seen
                    self.record(state, pending)
                    pending = None
                if step > done + 1:
                    watch.stepped(step)
                if save:
                    self.save(step, state, watch, wait=last or stop)
                watchdog.stepped()
                if last:
                    break
                if stop:
                    self.journal.clock("preempted", step=step)
                    raise Preempted(f"asked to stop; saved at step {step}, the same command goes on from there")
        return state

    def record(self, state: State, done: _Step) -> None:
        """Fetch and write a step's metrics. Raises NonFiniteError, which says why; `state` is what came after it."""
        values = {name: float(value) for name, value in jax.device_get(done.metrics).items()}
        if not is_finite(values) and values.get("skipped", math.inf) > self.experiment.optimizer.skip_nonfinite:
            self.journal.clock("stopped", step=done.number)
            raise stopped(
                self.experiment, self.phase, self.mesh, state["params"], done.number, done.batch, values, self.workdir
            )
        if not is_finite(values):
            self.journal.clock("skipped", step=done.number)
        values |= {f"validation/{name}": value for name, value in done.validation.items()}
        self.journal.metrics(done.number, values)
        if done.validation:
            decides = f"validation/{self.experiment.validation.metric}"
            self.shown[decides] = f"{values.get(decides, math.nan):.3f}"
        self.bar.set_postfix({"loss": f"{values['loss']:.3f}", **self.shown}, refresh=False)

    def save(self, step: int, state: State, watch: Stopwatch, *, wait: bool) -> None:
        """Begin to save, and unless there is more to do meanwhile, `wait` until it is on disk."""
        watch.flush(step)
        self.journal.flush()  # before the checkpoint, which goes on where it ends
        self.checkpoints.save(step, state, self.phase.batches.get_state())
        if wait:
            self.checkpoints.wait()
        watch.saved(step)


def _export(
    experiment: Experiment, start: ModelFolder | None, state: State, mesh: Mesh, workdir: epath.Path
) -> epath.Path:
    """The model without what only the loss needs, as a folder in `workdir`."""
    weights = everywhere(kept(experiment, state), mesh)
    params = {n: np.asarray(v) for n, v in merged(weights).items() if not n.startswith("objective/")}
    folder = ModelFolder(experiment.model, params, experiment.tasks, card=model_card(experiment, start, state))
    if jax.process_index() == 0:
        save_model(folder, workdir / "model")
    multihost_utils.sync_global_devices("model")
    return workdir / "model"
