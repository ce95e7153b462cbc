"""Runs from beginning to end on tiny models, and on a phase that compiles at once: resume, determinism, refusal."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest

from data_pipeline.population.file import read_population
from data_pipeline.prepare.run import PrepareConfig, prepare
from data_pipeline.shards.manifest import MANIFEST, read_manifest, write_manifest
from sleepmami_jax.config import (
    ConfigError,
    DataConfig,
    DataSource,
    Experiment,
    Finetuning,
    MacroPretraining,
    MicroPretraining,
)
from sleepmami_jax.export.folder import ModelFolder, load_model, save_model
from sleepmami_jax.run.places import folder_at
from sleepmami_jax.training.loop import train
from sleepmami_jax.training.throughput import PARTS
from tests.conftest import narrow_config, tiny_config
from tests.support.nights import load_random_night, write_recordings
from tests.support.toy import STEPS, kill, lines


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """A prepared folder of a few short nights of noise, all scored."""
    folder = tmp_path_factory.mktemp("prepared")
    write_recordings(folder / "recordings", range(6))
    prepare(
        [folder / "recordings"],
        folder / "shards",
        config=PrepareConfig(val_share=0.0, test_share=0.0),
        load=load_random_night,
    )
    return folder / "shards"


def make_experiment(shards: str) -> Experiment:
    """The run of these tests; another process makes it again from here."""
    return Experiment(
        name="trial",
        objective=MicroPretraining(batch=8, decoder_dim=16),
        data=DataConfig(shards=(DataSource(shards),)),
        model=tiny_config(),
        steps=12,
        save_every=4,
    )


@pytest.fixture(scope="module")
def experiment(shards) -> Experiment:
    return make_experiment(str(shards))


@pytest.fixture(scope="module")
def unbroken(experiment, tmp_path_factory) -> Path:
    """The workdir of a run that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("unbroken")
    train(experiment, workdir, quiet=True)
    return workdir


def _script(experiment: Experiment, workdir: Path) -> str:
    return f"""
from pathlib import Path
from tests.sleepmami_jax.training.test_loop import make_experiment
from sleepmami_jax.training.loop import train
train(make_experiment({experiment.data.shards[0].folder!r}), Path({str(workdir)!r}), quiet=True)
"""


def _same_run(one: Path, other: Path) -> None:
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    weights, others = (load_model(w / "model").params for w in (one, other))
    for name in weights:
        np.testing.assert_array_equal(weights[name], others[name], err_msg=name)


GOLDEN = {
    "micro": {
        "step": 2,
        "amplitude": 0.9267,
        "contrast": 2.5614,
        "contrast_accuracy": 0.14583,
        "gradient_norm": 4.2248,
        "learning_rate": 0.0005,
        "loss": 2.7006,
        "moe_balance": 1.058,
        "moe_busiest": 1.1336,
        "moe_dropped": 0.27863,
        "moe_idlest": 0.92748,
        "moe_z": 2.0458,
        "parameter_norm": 72.152,
        "spectral": 1.5052,
        "update_norm": 0.14342,
    },
    "macro": {
        "step": 2,
        "contrast": 6.3258,
        "gradient_norm": 164.23,
        "learning_rate": 0.00085355,
        "loss": 6.3258,
        "parameter_norm": 37.028,
        "update_norm": 0.19536,
        "view_accuracy": 0.0,
    },
}


"""What the second step of a run measured; other versions of JAX agree to three digits."""


def assert_golden(name: str, workdir: Path) -> None:
    measured = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[1])
    assert measured == pytest.approx(GOLDEN[name], rel=2e-3), (
        f"{name} pretraining measures something else than it did. If nothing was meant to change in the data, the "
        "model, the loss or the optimiser, this is a bug. If it was, say so in the commit and put into GOLDEN\n"
        f'"{name}": {json.dumps({key: float(f"{value:.5g}") for key, value in measured.items()})}'
    )


def test_golden_metrics_of_micro_pretraining(unbroken):
    assert_golden("micro", unbroken)


def test_metrics_have_every_step_once(unbroken):
    steps = [json.loads(line)["step"] for line in (unbroken / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 13))


def test_a_killed_run_ends_as_an_unbroken_one(experiment, unbroken, tmp_path):
    command = [sys.executable, "-c", _script(experiment, tmp_path)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.getcwd()})
    metrics = tmp_path / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while not (metrics.exists() and len(metrics.read_text().splitlines()) >= 6):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "the run never came to its sixth step"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "model").exists()
    train(experiment, tmp_path, quiet=True)
    _same_run(unbroken, tmp_path)


def test_a_run_that_reads_a_pack_is_the_same_run(experiment, unbroken, tmp_path):
    data = replace(experiment.data, pack=str(tmp_path / "packs"))
    train(replace(experiment, data=data), tmp_path / "run", quiet=True)
    _same_run(unbroken, tmp_path / "run")


def test_a_finished_run_is_left_as_it_is(experiment, unbroken):
    before = (unbroken / "metrics.jsonl").read_bytes()
    train(experiment, unbroken, quiet=True)
    assert (unbroken / "metrics.jsonl").read_bytes() == before


def test_macro_and_heads_train_on_frozen_micro(experiment, unbroken, tmp_path, model):
    start = {name: value for name, value in model[1].items() if not name.startswith("heads/")}
    save_model(replace(load_model(unbroken / "model"), params=start), tmp_path / "start")
    macro = replace(
        experiment,
        objective=MacroPretraining(batch=4, night_epochs=32),
        init=str(tmp_path / "start"),
        data=replace(experiment.data, embeddings=str(tmp_path / "embeddings"), scored=True),
        steps=4,
    )
    after_macro = load_model(train(macro, tmp_path / "macro", quiet=True)).params
    assert_golden("macro", tmp_path / "macro")
    heads = replace(macro, objective=Finetuning(batch=4, epochs=8), init=str(tmp_path / "macro" / "model"))
    folder = load_model(train(heads, tmp_path / "heads", quiet=True))
    for name, value in folder.params.items():
        pretrained_only = name.startswith(("micro/", "macro/pool", "macro/vector"))
        assert np.array_equal(value, after_macro.get(name)) == pretrained_only, name
    assert all(np.array_equal(after_macro[n], start[n]) for n in start if n.startswith("micro/"))
    for name in ("macro/pool/kernel", "macro/vector/kernel"):
        assert not np.array_equal(after_macro[name], start[name])
    assert [phase["objective"] for phase in folder.card["training"]] == [
        "MicroPretraining",
        "MacroPretraining",
        "Finetuning",
    ]
    assert read_population(tmp_path / "heads" / "model") == read_population(heads.data.shards[0].folder)


def test_fine_tuning_can_train_everything(experiment, tmp_path):
    whole = replace(experiment, objective=Finetuning(batch=4, epochs=4, freeze_micro=False), steps=2)
    with pytest.raises(ConfigError, match=r"set data\.scored=true"):
        train(whole, tmp_path / "unscored", quiet=True)
    whole = replace(whole, data=replace(whole.data, scored=True), model=narrow_config())
    train(whole, tmp_path, quiet=True)
    losses = [json.loads(line)["stages"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 2 and np.isfinite(losses).all()


def events_of(folder):
    """(step, tag, value) that TensorBoard would show: what comes after a restart replaces what it says it redoes."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    shown = []
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):  # TFRecord: length, its checksum, the record, its checksum
            (size,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + size])
            at += 12 + size + 4
            if event.session_log.status == SessionLog.START:
                shown = [seen for seen in shown if seen[0] < event.step]
            shown += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
    return shown


def test_an_interrupted_run_ends_as_an_unbroken_one(toy_experiment, train, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(toy_experiment, whole)
    for stop_at in (3, 7):  # before the first checkpoint, and between two
        with pytest.raises(KeyboardInterrupt):
            train(toy_experiment, broken, at=stop_at, then=kill)
    train(toy_experiment, broken)
    assert (whole / "metrics.jsonl").read_bytes() == (broken / "metrics.jsonl").read_bytes()
    weights, others = (load_model(w / "model").params for w in (whole, broken))
    for name in weights:
        np.testing.assert_array_equal(weights[name], others[name], err_msg=name)

    # TensorBoard shows every step once
    metrics = lines(whole / "metrics.jsonl")
    assert [entry.pop("step") for entry in metrics] == list(range(1, STEPS + 1))
    expected = [(i + 1, tag, np.float32(v)) for i, entry in enumerate(metrics) for tag, v in entry.items()]
    for run in (whole, broken):
        shown = [event for event in events_of(run / "tensorboard") if not event[1].startswith("throughput/")]
        assert shown == expected
    steps = {step for step, tag, _ in events_of(broken / "tensorboard") if tag == "throughput/examples_per_s"}
    assert steps == {4, 8, 10}

    # the clock knows of every start, and what was done twice
    events = lines(broken / "clock.jsonl")
    assert [e["lost_steps"] for e in events if e["event"] == "resumed"] == [
        1,
        1,
    ]  # the last one was not fetched
    assert [e["event"] for e in events].count("start") == 3
    (last,) = (e for e in events[-1:] if e["event"] == "goodput")
    assert 0 < last["goodput"] < 1
    assert sum(last[f"{part}_s"] for part in PARTS) == pytest.approx(last["wall_s"], abs=0.05)


def test_a_run_in_a_bucket_that_is_killed_ends_as_one_on_a_disk(toy_experiment, train, tmp_path, bucket, toy_params):
    run = folder_at(f"gs://{bucket.name}/runs/broken")
    committed = "runs/broken/checkpoints/8/commit_success.txt"
    experiment = replace(toy_experiment, init=f"gs://{bucket.name}/models/start")
    save_model(ModelFolder(experiment.model, toy_params, Finetuning().tasks), experiment.init)
    left = {}

    def kill_half_written():  # of what the bucket holds then, all but the last word on step 8: it is half-written
        while committed not in bucket.objects:
            time.sleep(0.01)
        left.update(bucket.objects)
        del left[committed]
        kill()

    with pytest.raises(KeyboardInterrupt):
        train(experiment, run, at=10, then=kill_half_written)
    bucket.objects = left
    fsspec.filesystem("gcs", finalize_on_close=True).invalidate_cache()  # as in another process
    assert [entry["step"] for entry in lines(run / "metrics.jsonl")] == list(range(1, 9))
    assert train(experiment, run) == run / "model"
    events = lines(run / "clock.jsonl")
    (resumed,) = (e for e in events if e["event"] == "resumed")
    assert (resumed["step"], resumed["lost_steps"]) == (4, 4)
    assert [e["event"] for e in events].count("start") == 2 and events[-1]["event"] == "goodput"
    assert {name.split("/")[3] for name in bucket.objects if "/checkpoints/" in name} == {"8", "10"}

    weights = load_model(run / "model").params
    for name, value in load_model(train(experiment, tmp_path)).params.items():
        np.testing.assert_array_equal(weights[name], value, err_msg=name)
    assert (run / "metrics.jsonl").read_bytes() == (tmp_path / "metrics.jsonl").read_bytes()
    shown = [
        [event for event in events_of(w / "tensorboard") if not event[1].startswith("throughput/")]
        for w in (run, tmp_path)
    ]
    assert shown[0] == shown[1]


def test_the_average_is_what_is_exported_and_off_is_off(toy_experiment, train, tmp_path):
    averaged = load_model(train(toy_experiment, tmp_path / "average")).params
    plain = replace(toy_experiment, optimizer=replace(toy_experiment.optimizer, ema=0.0), tensorboard=False)
    last = load_model(train(plain, tmp_path / "plain")).params
    different = {name for name in last if not np.array_equal(last[name], averaged[name])}
    assert different == {"macro/vector/bias"}
    assert not (tmp_path / "plain" / "tensorboard").exists()
    assert (tmp_path / "plain" / "metrics.jsonl").read_bytes() == (tmp_path / "average" / "metrics.jsonl").read_bytes()


def test_a_run_that_cannot_begin_leaves_its_folder_free(train, toy_experiment, toy_params, tmp_path):
    with pytest.raises(ValueError, match=r"expected a divisor of objective\.batch=8, found 3"):
        train(replace(toy_experiment, accumulate=3), tmp_path / "run")
    save_model(ModelFolder(toy_experiment.model, toy_params, Finetuning().tasks), tmp_path / "start")
    other = replace(toy_experiment.model, projection_dim=2 * toy_experiment.model.projection_dim)
    with pytest.raises(ConfigError, match="another shape"):
        train(replace(toy_experiment, model=other, init=str(tmp_path / "start")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_nights_or_weights_under_the_same_names_are_refused(experiment, unbroken, shards, tmp_path):
    copied = tmp_path / "shards"
    shutil.copytree(shards, copied)
    shutil.copytree(unbroken / "model", tmp_path / "model")
    again = replace(
        experiment,
        objective=MacroPretraining(batch=4, night_epochs=32),
        data=DataConfig(shards=(DataSource(str(copied)),)),
        init=str(tmp_path / "model"),
        steps=1,
    )
    train(again, tmp_path / "run", quiet=True)
    start = load_model(tmp_path / "model")
    other = {name: value + 1 for name, value in start.params.items()}
    save_model(replace(start, params=other), tmp_path / "model")
    with pytest.raises(ConfigError, match=r"inputs_sha256\..*model was"):
        train(again, tmp_path / "run", quiet=True)
    save_model(start, tmp_path / "model")
    manifest = read_manifest(copied)
    write_manifest(copied / MANIFEST, replace(manifest, nights=manifest.nights[:-1]))
    with pytest.raises(ConfigError, match=r"inputs_sha256\..*shards was"):
        train(again, tmp_path / "run", quiet=True)


def test_another_configuration_is_refused(experiment, unbroken):
    changed = replace(experiment, optimizer=replace(experiment.optimizer, learning_rate=0.5))
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate was 0\.001 and is now 0\.5"):
        train(changed, unbroken, quiet=True)
