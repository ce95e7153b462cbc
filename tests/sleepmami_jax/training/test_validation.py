"""What a run reaches on held-out batches, when that ends it, and which weights it keeps."""

from __future__ import annotations

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp
from safetensors.numpy import load_file

from data_pipeline.prepare.run import PrepareConfig, prepare
from sleepmami_jax.config import (
    Augmentation,
    ConfigError,
    DataConfig,
    DataSource,
    Experiment,
    Finetuning,
    MicroPretraining,
    Validation,
)
from sleepmami_jax.export.folder import load_model
from sleepmami_jax.objectives.reduce import global_mean
from sleepmami_jax.training import loop
from sleepmami_jax.training.phases.held_out import held_out
from tests.conftest import narrow_config
from tests.support.hosts import finish, start
from tests.support.nights import load_random_night, write_recordings
from tests.support.toy import kill, lines

PATIENCE = 2


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataConfig:
    """Three scored nights to train on, and three to be validated on."""
    folder = tmp_path_factory.mktemp("split")
    write_recordings(folder / "recordings", range(6))
    config = PrepareConfig(val_share=0.45, test_share=0.0)
    prepare([folder / "recordings"], folder / "shards", config=config, load=load_random_night)
    return DataConfig(shards=(DataSource(str(folder / "shards")),))


@pytest.fixture(scope="module")
def patient(toy_experiment, data) -> Experiment:
    """A toy that is validated after each step, and ends when it has not been better for two."""
    validation = Validation(every=1, batches=3, patience=PATIENCE)
    faster = replace(toy_experiment.optimizer, learning_rate=0.3)
    return replace(toy_experiment, data=data, optimizer=faster, validation=validation, save_every=2, tensorboard=False)


def overfits(params, batch, keys, axes):
    """Least when the kernel sums to 1; training takes it on to 3. `sum` is that sum, `drawn` what does not learn."""
    x = batch["EEG"]["signal"][:, 0]
    total = params["objective/toy/kernel"].sum()
    drawn = x + jax.vmap(lambda key: jax.random.normal(key, ()))(keys)
    seen = {"loss": jnp.full(len(x), jnp.abs(total - 1)), "sum": jnp.full(len(x), total), "drawn": drawn}
    means = {name: global_mean(value, jnp.ones(()), axes)[0] for name, value in seen.items()}
    return means.pop("loss"), means


def held_out_losses(workdir) -> list[float]:
    return [line["validation/loss"] for line in lines(workdir / "metrics.jsonl")]


def files_of(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("ema", [0.0, 0.8])
def test_a_run_ends_when_its_patience_does_and_keeps_the_best_weights(patient, train, tmp_path, ema):
    patient = replace(patient, optimizer=replace(patient.optimizer, ema=ema))
    folder = load_model(train(patient, tmp_path / "run", held_loss=overfits))
    losses = held_out_losses(tmp_path / "run")
    best = 1 + int(np.argmin(losses))
    assert best > 1 and len(losses) == best + PATIENCE < patient.steps
    trained = folder.card["training"][-1]
    assert trained["steps"] == best + PATIENCE
    assert trained["validation"] == {"metric": "loss", "value": losses[best - 1], "step": best, "kept_step": best}

    with pytest.raises(KeyboardInterrupt):
        train(replace(patient, save_every=1), tmp_path / "stopped", held_loss=overfits, at=best + 2, then=kill)
    weights = []
    for step in (best, best + 1):
        state = ocp.load(tmp_path / "stopped" / "checkpoints" / str(step))
        weights.append(np.asarray(state["ema" if ema else "params"]["macro/vector/bias"]))
    assert not np.array_equal(*weights)
    np.testing.assert_array_equal(folder.params["macro/vector/bias"], weights[0])
    last = replace(patient, validation=replace(patient.validation, keep_best=False))
    folder = load_model(train(last, tmp_path / "last", held_loss=overfits))
    assert not np.array_equal(folder.params["macro/vector/bias"], weights[0])
    assert folder.card["training"][-1]["validation"]["kept_step"] == best + PATIENCE
    assert held_out_losses(tmp_path / "last") == losses


def test_a_validated_run_that_is_interrupted_ends_as_an_unbroken_one(patient, train, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(patient, whole, held_loss=overfits)
    best = 1 + int(np.argmin(held_out_losses(whole)))
    for at in (best + 1, best + 2):  # what was best is not in a checkpoint yet; it is
        with pytest.raises(KeyboardInterrupt):
            train(patient, broken, held_loss=overfits, at=at, then=kill)
    train(patient, broken, held_loss=overfits)
    assert (broken / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert files_of(broken / "model") == files_of(whole / "model")
    train(patient, broken, held_loss=overfits)  # it is over, although steps are left
    assert (broken / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert files_of(broken / "model") == files_of(whole / "model")


def test_validation_measures_the_same_each_time_and_disturbs_nothing(patient, train, tmp_path):
    highest = Validation(every=4, batches=2, metric="sum", best="highest")
    folder = load_model(train(replace(patient, validation=highest), tmp_path / "run", held_loss=overfits))
    rows = lines(tmp_path / "run" / "metrics.jsonl")
    measured = {row["step"]: row for row in rows if "validation/loss" in row}
    assert list(measured) == [4, 8, patient.steps]
    assert len({row["validation/drawn"] for row in measured.values()}) == 1
    sums = [row["validation/sum"] for row in measured.values()]
    assert folder.card["training"][-1]["validation"]["value"] == max(sums) != min(sums)
    train(replace(patient, validation=None), tmp_path / "without")
    stripped = [{name: v for name, v in row.items() if not name.startswith("validation/")} for row in rows]
    assert stripped == lines(tmp_path / "without" / "metrics.jsonl")
    events = lines(tmp_path / "run" / "clock.jsonl")
    assert [event["step"] for event in events if event["event"] == "validated"] == list(measured)


def test_numbers_that_do_not_exist_are_never_best(patient, train, tmp_path):
    def nothing(params, batch, keys, axes):
        loss, metrics = overfits(params, batch, keys, axes)
        return loss * jnp.nan, metrics

    folder = load_model(train(patient, tmp_path, held_loss=nothing))
    expected = {"metric": "loss", "value": None, "step": None, "kept_step": PATIENCE}
    assert folder.card["training"][-1]["validation"] == expected
    assert np.any(folder.params["macro/vector/bias"])


def test_what_cannot_be_validated_is_said_before_the_first_step(patient, toy_experiment, train, tmp_path):
    other = replace(patient, validation=Validation(metric="sun"))
    with pytest.raises(ConfigError, match=r"validation\.metric: no metric 'sun'; did you mean 'sum'"):
        train(other, tmp_path / "metric", held_loss=overfits)
    with pytest.raises(ConfigError, match=r"validation: no night of split 'val'"):
        train(replace(toy_experiment, validation=Validation()), tmp_path / "nights")
    assert not (tmp_path / "nights").exists()


def test_held_out_examples_are_left_as_they_are(data):
    tuned = Finetuning(
        freeze_micro=False, augment=Augmentation(flip=0.5), drop_modality=0.5, event_windows=0.5, focal=2.0
    )
    experiment = Experiment("plain", tuned, data=replace(data, scored=True, nights=1, skip=1), seed=3)
    seen = held_out(experiment)
    assert seen.objective == Finetuning(freeze_micro=False, focal=2.0)
    assert seen.data == replace(data, scored=True, split="val")
    assert seen.seed == held_out(replace(experiment, seed=4)).seed
    micro = held_out(replace(experiment, objective=MicroPretraining(augment=Augmentation(flip=0.5))))
    assert micro.objective == MicroPretraining()


def test_micro_pretraining_is_probed_for_stages(data, tmp_path):
    experiment = Experiment(
        "probed",
        MicroPretraining(batch=8, decoder_dim=16),
        data=data,
        model=narrow_config(),
        validation=Validation(every=1, batches=2, metric="probe_accuracy", best="highest"),
        steps=1,
    )
    folder = load_model(loop.train(experiment, tmp_path, quiet=True))
    (row,) = lines(tmp_path / "metrics.jsonl")
    assert {"validation/amplitude", "validation/contrast", "validation/loss"} < row.keys()
    assert 0 < row["validation/probe_guess"] < 1
    assert 0 <= row["validation/probe_accuracy"] <= 1
    assert folder.card["training"][-1]["validation"]["value"] == row["validation/probe_accuracy"]


def test_fine_tuning_is_validated_by_stages_and_each_task(data, tmp_path):
    experiment = Experiment(
        "tuned",
        Finetuning(batch=4, epochs=4),
        data=replace(data, scored=True),
        model=narrow_config(),
        validation=Validation(every=1, batches=2, metric="stages_accuracy", best="highest"),
        steps=1,
    )
    loop.train(experiment, tmp_path, quiet=True)
    (row,) = lines(tmp_path / "metrics.jsonl")
    named = {f"validation/{name}" for name in ("loss", "stages", "stages_accuracy", "breathing", "arousal")}
    assert named <= row.keys()


def test_processes_validate_as_one_and_end_together(data, tmp_path):
    validation = {"every": 2, "batches": 2, "patience": 1, "best": "highest"}  # it is never better than at first
    for name, processes in (("alone", 1), ("two", 2)):
        finish(start(data.shards[0].folder, tmp_path / name, processes, validation=validation), timeout=600)
    alone, two = (lines(tmp_path / name / "metrics.jsonl") for name in ("alone", "two"))
    assert [row["step"] for row in two] == [1, 2, 3, 4] == [row["step"] for row in alone]
    for one, other in zip(alone, two, strict=True):
        assert other == pytest.approx(one, rel=1e-5)
    assert (tmp_path / "two" / "metrics.jsonl").read_bytes() == (
        tmp_path / "two" / "process-1" / "metrics.jsonl"
    ).read_bytes()
    models = [tmp_path / name / "model" for name in ("alone", "two")]
    cards = [json.loads((folder / "config.json").read_text())["card"] for folder in models]
    assert [card["training"][-1]["validation"]["kept_step"] for card in cards] == [2, 2]
    # A toy has not all the parameters that a model folder is asked for when it is loaded.
    bias, other = (load_file(folder / "model.safetensors")["macro/vector/bias"] for folder in models)
    np.testing.assert_allclose(bias, other, rtol=1e-5)
