"""What a run says of a step that is no number, and what it keeps."""

from __future__ import annotations

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepmami_jax.data.order import open_nights
from sleepmami_jax.training.nonfinite import NonFiniteError
from sleepmami_jax.training.step import example_keys
from tests.support.toy import (
    BATCH,
    STEPS,
    ToyBatches,
    lines,
    toy_loss,
    toy_phase,
)


def spoilt(night: int, epoch: int):
    """A loss that one epoch of one night makes NaN."""

    def loss(params, batch, keys, axes):
        there = (batch["night"] == night) & (batch["epoch"] == epoch)
        x = jnp.where(there[:, None], jnp.nan, batch["EEG"]["signal"])
        return toy_loss(params, batch | {"EEG": {"signal": x}}, keys, axes)

    return loss


def test_a_night_that_makes_the_loss_no_number_is_named(toy_experiment, train, tmp_path):
    night, step = 1, 6
    epoch = step * BATCH // 2 - 1  # the last row of that step's batch
    with pytest.raises(NonFiniteError) as raised:
        train(toy_experiment, tmp_path, loss=spoilt(night, epoch))
    report = json.loads((tmp_path / "nonfinite.json").read_text())
    night_id = open_nights(toy_experiment.data)[night].night_id
    assert report == {
        "step": step,
        "metrics": ["gradient_norm", "loss", "parameter_norm", "size", "update_norm"],
        "gradients": ["macro/vector", "objective/toy"],
        "examples": [
            {
                "example": step * BATCH - 1,
                "night": night_id,
                "epoch": epoch,
                "inputs": [],
                "alone": "not finite",
            }
        ],
        "more_examples": False,
    }
    for part in (
        f"step {step}: gradient_norm, loss, parameter_norm",
        "nonfinite.json",
        f"look at the data of night {night_id}",
    ):
        assert part in str(raised.value)
    # what was kept is from before, and the run goes on from there once the data are mended
    assert [entry["step"] for entry in lines(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["4"]
    train(toy_experiment, tmp_path)
    assert len(lines(tmp_path / "metrics.jsonl")) == STEPS


def test_what_chance_made_no_number_is_found_too(toy_experiment, train, tmp_path, toy_params):
    step, row = 3, 5
    unlucky = example_keys(toy_experiment, toy_phase(toy_params, BATCH), step - 1)[row]

    def loss(params, batch, keys, axes):
        drawn = jax.vmap(jax.random.bits)(keys) == jax.random.bits(unlucky)
        x = jnp.where(drawn[:, None], jnp.nan, batch["EEG"]["signal"])
        return toy_loss(params, batch | {"EEG": {"signal": x}}, keys, axes)

    with pytest.raises(NonFiniteError, match="step 3"):
        train(toy_experiment, tmp_path, loss=loss)
    (example,) = json.loads((tmp_path / "nonfinite.json").read_text())["examples"]
    assert example["example"] == (step - 1) * BATCH + row


def test_a_step_that_is_no_number_is_not_saved(toy_experiment, train, tmp_path):
    epoch = 4 * BATCH // 2 - 1  # of the fourth batch, after which a checkpoint is due
    with pytest.raises(NonFiniteError, match="step 4"):
        train(replace(toy_experiment, save_every=2), tmp_path, loss=spoilt(0, epoch))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["2"]


def test_inputs_that_are_no_numbers_are_named(toy_experiment, train, tmp_path, monkeypatch):

    fetch = ToyBatches.__next__

    def broken(self):
        batch = fetch(self)
        if self.get_state()["global_next_index"] == 2 * BATCH:
            batch["EEG"]["signal"][[2, 5], 1] = np.inf
        return batch

    monkeypatch.setattr(ToyBatches, "__next__", broken)
    with pytest.raises(NonFiniteError, match="step 2"):
        train(toy_experiment, tmp_path)
    report = json.loads((tmp_path / "nonfinite.json").read_text())
    found = [(e["example"], e["inputs"], e["alone"]) for e in report["examples"]]
    assert found == [(BATCH + row, ["EEG/signal"], "not finite") for row in (2, 5)]


def test_weights_that_are_too_large_are_nobodys_fault(toy_experiment, train, tmp_path):
    wild = replace(toy_experiment, optimizer=replace(toy_experiment.optimizer, learning_rate=1e30))
    with pytest.raises(NonFiniteError, match=r"no example stands out: lower optimizer\.learning_rate"):
        train(wild, tmp_path)
    assert not (tmp_path / "model").exists()
    report = json.loads((tmp_path / "nonfinite.json").read_text())
    assert (report["gradients"], report["examples"]) == ([], [])
    assert "parameter_norm" in report["metrics"]


def test_so_many_steps_may_be_skipped_and_change_nothing(toy_experiment, train, tmp_path):
    # The last examples of steps 3 and 6 cannot be computed.
    bad = [step * BATCH // 2 - 1 for step in (3, 6)]

    def loss(params, batch, keys, axes):
        x = batch["EEG"]["signal"]
        for epoch in bad:
            x = jnp.where(((batch["night"] == 1) & (batch["epoch"] == epoch))[:, None], jnp.nan, x)
        return toy_loss(params, batch | {"EEG": {"signal": x}}, keys, axes)

    def lenient(skip):
        return replace(toy_experiment, optimizer=replace(toy_experiment.optimizer, skip_nonfinite=skip))

    train(lenient(2), tmp_path / "two", loss=loss)
    metrics = lines(tmp_path / "two" / "metrics.jsonl")
    assert [entry["skipped"] for entry in metrics] == [0, 0, 1, 1, 1, 2, 2, 2, 2, 2]
    assert [entry["loss"] is None for entry in metrics] == [step in (3, 6) for step in range(1, STEPS + 1)]
    skipped = [e["step"] for e in lines(tmp_path / "two" / "clock.jsonl") if e["event"] == "skipped"]
    assert skipped == [3, 6] and metrics[-1]["loss"] < metrics[0]["loss"]
    with pytest.raises(NonFiniteError, match="step 6"):
        train(lenient(1), tmp_path / "one", loss=loss)
    assert lines(tmp_path / "one" / "metrics.jsonl") == metrics[:5]
