"""Whose a working folder is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from data_pipeline.lock import alone_in
from sleepmami_jax.config import ConfigError, MeshConfig
from sleepmami_jax.run.workdir import alone, claim
from tests.support.toy import STEPS, lines


def test_a_changed_run_goes_on_only_when_told(train, toy_experiment, tmp_path):
    train(replace(toy_experiment, steps=4), tmp_path)
    longer = replace(toy_experiment, steps=STEPS)
    with pytest.raises(ConfigError, match=r"steps was 4 and is now 10; .*--accept-changes"):
        train(longer, tmp_path)
    train(longer, tmp_path, accept_changes=True)
    changed = [entry for entry in lines(tmp_path / "clock.jsonl") if entry["event"] == "changed"]
    assert [entry["fields"] for entry in changed] == [["steps"]]
    assert [entry["step"] for entry in lines(tmp_path / "metrics.jsonl")] == list(range(1, STEPS + 1))
    train(longer, tmp_path)  # it is the run's own configuration now
    train(replace(longer, mesh=MeshConfig(data=4)), tmp_path)  # another mesh is no other run


def test_a_run_begun_before_there_was_a_field_had_its_default(train, toy_experiment, tmp_path):
    train(toy_experiment, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["accumulate"], config["objective"]["contrast_keys"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    train(toy_experiment, tmp_path)
    few = replace(toy_experiment, objective=replace(toy_experiment.objective, contrast_keys=4))
    with pytest.raises(ConfigError, match=r"objective\.contrast_keys was 0 and is now 4; "):
        train(few, tmp_path)


def test_a_run_that_was_saved_keeps_its_batch(toy_experiment, tmp_path):
    claim(tmp_path, toy_experiment, {}, accept=False)
    batch = toy_experiment.objective.batch
    other = replace(toy_experiment, objective=replace(toy_experiment.objective, batch=2 * batch))
    assert claim(tmp_path, other, {}, accept=True) == ["objective.batch"]  # nothing was saved
    (tmp_path / "checkpoints").mkdir()
    for accept in (False, True):
        with pytest.raises(ConfigError, match=rf"--set objective.batch={2 * batch}\), or another workdir$"):
            claim(tmp_path, toy_experiment, {}, accept)
    assert claim(tmp_path, other, {}, accept=False) == []


def test_two_runs_in_one_workdir_and_a_damaged_one_are_refused(toy_experiment, tmp_path):
    with alone_in(tmp_path), pytest.raises(ValueError, match="another run is working"), alone(tmp_path):
        raise AssertionError("both are in")
    (tmp_path / "config.json").write_text('{"na')
    with pytest.raises(ConfigError, match=r"config\.json: damaged"):
        claim(tmp_path, toy_experiment, {}, accept=False)
