"""Metrics to Weights & Biases, of which a stand-in takes the place."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from sleepmami_jax.config import ConfigError
from tests.support.toy import STEPS, kill, lines


def test_wandb_that_is_not_installed_is_named(toy_experiment, train, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"wandb='nights': .* `pip install 'sleepmami\[wandb\]'`"):
        train(replace(toy_experiment, wandb="nights"), tmp_path)


def test_a_run_and_its_restart_are_one_run_there_and_no_folder_is_told(toy_experiment, train, tmp_path, monkeypatch):
    begun, told = [], []
    run = SimpleNamespace(define_metric=lambda *_, **__: None, log=told.append, finish=lambda: told.append("end"))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **how: begun.append(how) or run))
    experiment = replace(toy_experiment, wandb="nights", tensorboard=False)
    with pytest.raises(KeyboardInterrupt):
        train(experiment, tmp_path, at=7, then=kill)
    train(experiment, tmp_path)
    first, second = begun
    assert first == second and first["project"] == "nights" and first["resume"] == "allow"
    assert toy_experiment.data.shards[0].folder not in json.dumps(first["config"])
    assert [entry for entry in told if entry != "end" and "loss" in entry][-6:] == lines(tmp_path / "metrics.jsonl")[4:]
    assert told.count("end") == 2 and told[-1] == "end" and len(lines(tmp_path / "metrics.jsonl")) == STEPS
