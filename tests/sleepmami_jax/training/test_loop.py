"""Runs from beginning to end on tiny models: resume, determinism, refusal."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.population.file import read_population
from data_pipeline.prepare.run import PrepareConfig, prepare
from sleepmami_jax.config import (
    ConfigError,
    DataConfig,
    DataSource,
    Experiment,
    Finetuning,
    MacroPretraining,
    MicroPretraining,
)
from sleepmami_jax.export.folder import load_model, save_model
from sleepmami_jax.training.loop import train
from tests.conftest import tiny_config
from tests.support.nights import load_random_night, write_recordings


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
        "amplitude": 0.5275,
        "contrast": 2.7002,
        "contrast_accuracy": 0.14894,
        "gradient_norm": 4.634,
        "learning_rate": 0.0005,
        "loss": 4.1912,
        "moe_balance": 1.1288,
        "moe_busiest": 1.2256,
        "moe_dropped": 0.41463,
        "moe_idlest": 0.75,
        "moe_z": 0.90143,
        "parameter_norm": 70.266,
        "spectral": 3.3815,
        "update_norm": 0.13512,
    },
    "macro": {
        "step": 2,
        "contrast": 5.4718,
        "gradient_norm": 82.94,
        "learning_rate": 0.00085355,
        "loss": 5.4718,
        "parameter_norm": 36.341,
        "update_norm": 0.069367,
        "view_accuracy": 0.25,
    },
}
"""What the second step of a run measured; other versions of JAX agree to three digits."""


def assert_golden(name: str, workdir: Path) -> None:
    found = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[1])
    assert found == pytest.approx(GOLDEN[name], rel=2e-3), (
        f"{name} pretraining measures something else than it did. If nothing was meant to change in the data, the "
        "model, the loss or the optimiser, this is a bug. If it was, say so in the commit and put into GOLDEN\n"
        f'"{name}": {json.dumps({key: float(f"{value:.5g}") for key, value in found.items()})}'
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


def test_a_finished_run_is_left_as_it_is(experiment, unbroken):
    before = (unbroken / "metrics.jsonl").read_bytes()
    train(experiment, unbroken, quiet=True)
    assert (unbroken / "metrics.jsonl").read_bytes() == before


def test_another_configuration_is_refused(experiment, unbroken):
    changed = replace(experiment, optimizer=replace(experiment.optimizer, learning_rate=0.5))
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate was 0\.001 and is now 0\.5"):
        train(changed, unbroken, quiet=True)


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
    manifest = copied / "manifest.jsonl"
    manifest.write_text("\n".join(manifest.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(ConfigError, match=r"inputs_sha256\..*shards was"):
        train(again, tmp_path / "run", quiet=True)


def test_macro_and_heads_train_on_frozen_micro(experiment, unbroken, tmp_path, model):
    start = model[1]
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
        assert np.array_equal(value, after_macro[name]) == pretrained_only, name
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
    whole = replace(whole, data=replace(whole.data, scored=True))
    train(whole, tmp_path, quiet=True)
    losses = [json.loads(line)["stage"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 2 and np.isfinite(losses).all()
