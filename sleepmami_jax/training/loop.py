"""One run, from its configuration to a model folder; start it again and it goes on where it was."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from tqdm import tqdm

from data_pipeline.manifest import NightEntry
from data_pipeline.population import population_of
from sleepmami_jax.config import ConfigError, Experiment, to_dict
from sleepmami_jax.data.source import PreparedFolder, chosen_nights, manifest_sha256
from sleepmami_jax.export.folder import ModelFolder, load_model, save_model
from sleepmami_jax.progress import bars
from sleepmami_jax.training.checkpoint import CheckpointError, Checkpoints
from sleepmami_jax.training.metrics import Journal
from sleepmami_jax.training.optimizer import global_norm, make_optimizer, schedule
from sleepmami_jax.training.phases import Phase, build
from sleepmami_jax.training.sharding import check_batch, make_mesh, replicate, shard_loss, to_devices


class NonFiniteError(RuntimeError):
    """The loss is no longer a number; names the step."""


def train(experiment: Experiment, workdir: Path, *, quiet: bool = False) -> Path:
    """Train, or go on training, and return the model folder `workdir/model`.

    Leaves in `workdir`: `config.json`, `checkpoints/`, `metrics.jsonl` (the same bytes however often the run was
    interrupted), `clock.jsonl`, `model/`.

    Raises:
      ConfigError: the workdir belongs to a run of another configuration, or what that run began with has changed.
      CheckpointError: its checkpoints cannot be used.
      NonFiniteError: the loss became infinite or NaN.
    """
    workdir = Path(workdir)
    start = load_model(experiment.init) if experiment.init else None
    _claim(workdir, experiment, start)
    journal = Journal(workdir)
    journal.clock("start")
    if start is not None and start.config != experiment.model:
        raise ConfigError(
            f"model: {experiment.init} has another shape than this experiment; "
            "use the same `model` in both, or leave init out"
        )
    mesh = make_mesh()
    phase = build(experiment, start, workdir, bars(quiet=quiet))
    check_batch(phase.global_batch, mesh)
    optimizer = make_optimizer(experiment.optimizer, experiment.steps)
    state = replicate(
        {
            "step": jnp.zeros((), jnp.int32),
            "params": phase.params,
            "optimizer": optimizer.init(_trained(phase, phase.params)),
        },
        mesh,
    )

    checkpoints = Checkpoints((workdir / "checkpoints").absolute())
    restored = checkpoints.restore(state)
    first = 0
    if restored is not None:
        state, position = restored
        first = int(state["step"])
        if position["global_next_index"] != first * phase.global_batch:
            raise CheckpointError(
                f"{workdir}: the checkpoint of step {first} stands at example {position['global_next_index']} of the "
                f"data, expected {first * phase.global_batch}"
            )
        phase.batches.set_state(position)
    journal.rewind(first)

    step_fn = make_step(experiment, phase, mesh)
    bar = tqdm(total=experiment.steps, initial=first, desc=experiment.name, unit="step", disable=quiet)
    pending = None  # metrics of the step before, fetched once the next one is on its way
    try:
        for step in range(first, experiment.steps):
            batch = to_devices(next(phase.batches), mesh)
            begun = time.perf_counter()
            state, metrics = step_fn(state, batch)
            if step == first:
                jax.block_until_ready(metrics)
                journal.clock("compiled", seconds=round(time.perf_counter() - begun, 2))
            if pending is not None:
                _record(journal, experiment, bar, *pending)
            pending = (step + 1, metrics)
            bar.update()
            if (step + 1) % experiment.save_every == 0 and step + 1 < experiment.steps:
                _record(journal, experiment, bar, *pending)
                pending = None
                checkpoints.save(step + 1, state, phase.batches.get_state())
        if pending is not None:
            _record(journal, experiment, bar, *pending)
        if first < experiment.steps:
            checkpoints.save(experiment.steps, state, phase.batches.get_state())
        checkpoints.wait()
    finally:
        bar.close()
        checkpoints.close()
        phase.batches.close()
    journal.clock("done", steps=experiment.steps)
    return _export(experiment, start, state, workdir)


def make_step(experiment: Experiment, phase: Phase, mesh) -> Callable:
    """The compiled step `(state, batch) -> (state, metrics)`; the state is donated."""
    optimizer = make_optimizer(experiment.optimizer, experiment.steps)
    rate = schedule(experiment.optimizer, experiment.steps)
    loss = shard_loss(phase.loss, mesh)

    def step(state, batch):
        # Randomness depends on the seed, the step and the place in the global batch: not on devices or restarts.
        key = jax.random.fold_in(jax.random.key(experiment.seed), state["step"])
        keys = jax.random.split(key, phase.global_batch)

        def of(trained):
            return loss({**state["params"], **trained}, batch, keys)

        trained = _trained(phase, state["params"])
        (value, metrics), gradients = jax.value_and_grad(of, has_aux=True)(trained)
        updates, moments = optimizer.update(gradients, state["optimizer"], trained)
        trained = {name: value + updates[name] for name, value in trained.items()}
        metrics = {
            "loss": value,
            **metrics,
            "gradient_norm": global_norm(gradients),
            "learning_rate": rate(state["step"]),
        }
        state = {
            "step": state["step"] + 1,
            "params": {**state["params"], **trained},
            "optimizer": moments,
        }
        return state, metrics

    replicated = NamedSharding(mesh, P())
    return jax.jit(step, donate_argnums=0, out_shardings=replicated)


def _trained(phase: Phase, params):
    return {name: value for name, value in params.items() if name.startswith(phase.trainable)}


def _claim(workdir: Path, experiment: Experiment, start: ModelFolder | None) -> None:
    """Make `workdir` this experiment's, or raise ConfigError if it is another's.

    Digests of the manifests and of the model it starts from count as part of the configuration: a run that went on
    with other nights or other weights under the same names would be neither the old run nor a new one.
    """
    path = workdir / "config.json"
    inputs = {source.folder: manifest_sha256(source.folder) for source in experiment.data.shards}
    if start is not None:
        inputs[str(experiment.init)] = start.digest()
    text = json.dumps(to_dict(experiment) | {"inputs_sha256": inputs}, indent=1) + "\n"
    workdir.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        temporary = path.with_suffix(".tmp")
        temporary.write_text(text)
        temporary.replace(path)
        return
    ours, theirs = _flat(json.loads(text)), _flat(json.loads(path.read_text()))
    changed = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
    if changed:
        k = changed[0]
        raise ConfigError(
            f"{workdir} holds a run with another configuration: {k} was {theirs.get(k)!r} and is now {ours.get(k)!r}"
            + (f" (and {len(changed) - 1} more)" if len(changed) > 1 else "")
            + "; use its own configuration to go on, or another workdir"
        )


def _flat(tree, path="") -> dict:
    if isinstance(tree, dict):
        return {
            k: v
            for name, child in tree.items()
            for k, v in _flat(child, f"{path}.{name}".lstrip(".")).items()
        }
    return {path: tree}


def _record(journal: Journal, experiment: Experiment, bar, step: int, metrics) -> None:
    values = {name: float(value) for name, value in jax.device_get(metrics).items()}
    if not np.isfinite(values["loss"]) or not np.isfinite(values["gradient_norm"]):
        raise NonFiniteError(
            f"step {step}: loss {values['loss']}, gradient norm {values['gradient_norm']}; the run stops here. "
            "Its last checkpoint is sound: lower optimizer.learning_rate, or look at the data of this step."
        )
    journal.metrics(step, values)
    bar.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)


def _export(experiment: Experiment, start: ModelFolder | None, state, workdir: Path) -> Path:
    params = {
        n: np.asarray(v) for n, v in jax.device_get(state["params"]).items() if not n.startswith("objective/")
    }
    card = {
        "training": [*(start.card["training"] if start else []), training_card(experiment)],
        "population": asdict(population_of(training_nights(experiment))),
    }
    folder = ModelFolder(experiment.model, params, dict(start.thresholds) if start else {}, card)
    save_model(folder, workdir / "model")
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
