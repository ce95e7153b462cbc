"""The losses of the three kinds of run: in parts, from signals, with sensors hidden, and without useless parts."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from data_pipeline.modalities import SLOTS
from data_pipeline.night import EPOCH_S
from data_pipeline.tasks import AROUSAL, SPINDLE, STAGES
from sleepmami_jax.config import (
    Augmentation,
    DataConfig,
    Experiment,
    Finetuning,
    MacroPretraining,
    MicroPretraining,
    OptimizerConfig,
)
from sleepmami_jax.data.scored import class_counts
from sleepmami_jax.export.folder import ModelFolder
from sleepmami_jax.models.initial import Linear, Rngs
from sleepmami_jax.models.macro import epoch_summary, summary_width
from sleepmami_jax.models.micro import layout, token_width
from sleepmami_jax.models.sleepmami import create, merge, structure
from sleepmami_jax.objectives.masked import sample_hidden
from sleepmami_jax.tasks.losses import class_weights, task_losses
from sleepmami_jax.training import phases
from sleepmami_jax.training.phases import build, finetune, macro
from sleepmami_jax.training.phases.finetune import finetune_loss, finetuning
from sleepmami_jax.training.phases.macro import macro_loss
from sleepmami_jax.training.phases.micro import MicroObjective, micro_loss
from sleepmami_jax.training.phases.phase import with_objective
from sleepmami_jax.training.sharding import AXES, shard_gradient
from tests.conftest import narrow_config, random_model, shallow_config
from tests.sleepmami_jax.objectives.test_demographic import people_of
from tests.support.batches import received
from tests.support.meshes import M, keys_of, mesh_of


def sharded(loss):
    """A loss on one device, as training runs it, without gradients."""
    gradient = shard_gradient(loss, mesh_of(1), ())
    return lambda *arguments: gradient(*arguments)[0]


@pytest.fixture(scope="module")
def shallow():
    """A model of few blocks whose experts drop nothing."""
    config = shallow_config()
    return replace(config, micro=replace(config.micro, capacity=config.micro.experts / config.micro.top_k))


@pytest.fixture(scope="module")
def weights(shallow):
    """Its structure, that of the projection of nights, and the parameters of both."""
    graph, params = create(shallow, 0)
    projection = Linear(shallow.macro.dim, shallow.projection_dim, rngs=Rngs(1))
    return graph, *with_objective(params, projection)


# The night batch in parts

NIGHTS, EPOCHS = 16, 32


@pytest.fixture(scope="module")
def in_parts(shallow, weights):
    """`in_parts(accumulate, devices)` -> the compiled loss with its gradients, and their values."""
    graph, project_graph, params = weights
    rng = np.random.default_rng(0)
    batch = {
        "summary": rng.standard_normal((NIGHTS, EPOCHS, M, summary_width(shallow))).astype(np.float32),
        "present": rng.random((NIGHTS, EPOCHS, M)) < 0.8,
        "demographics": people_of(NIGHTS),
        "person": np.arange(NIGHTS, dtype=np.int32) // 2,
    }

    def run(accumulate, devices):
        objective = MacroPretraining(batch=NIGHTS, night_epochs=EPOCHS)
        experiment = Experiment("parts", objective, model=shallow, accumulate=accumulate)
        loss = macro_loss(experiment, graph, project_graph)
        gradient = shard_gradient(loss, mesh_of(devices), ("macro/", "objective/"))
        lay = partial(jax.device_put, device=NamedSharding(mesh_of(devices), P(AXES)))
        arguments = params, lay(batch), lay(keys_of(NIGHTS))
        compiled = jax.jit(gradient).lower(*arguments).compile()
        return compiled, jax.device_get(compiled(*arguments))

    return run


@pytest.fixture(scope="module")
def whole(in_parts):
    return in_parts(1, 1)


@pytest.mark.parametrize("devices", [1, 4])
def test_a_night_batch_in_parts_is_the_whole_batch_in_less_memory(in_parts, whole, devices):
    (program, expected), (parts, found) = whole, in_parts(4, devices)
    ((loss, metrics), gradients), ((other, others), others_gradients) = expected, found
    assert other == pytest.approx(loss, rel=1e-6)
    for name in metrics:
        assert others[name] == pytest.approx(metrics[name], rel=1e-6), name
    assert metrics["view_accuracy"] > 0
    for name, gradient in gradients.items():
        np.testing.assert_allclose(others_gradients[name], gradient, atol=1e-5, err_msg=name)
    assert np.abs(gradients["macro/enter/maps/EEG/kernel"]).max() > 1e-2
    if devices == 1:
        temporary = [p.memory_analysis().temp_size_in_bytes for p in (parts, program)]
        assert temporary[0] < 0.5 * temporary[1]
    else:  # gradients are summed over the devices once, not once a part
        assert "while" in parts.as_text()
        loops = [line for line in parts.as_text().splitlines() if "all-reduce(" in line and "/while/" in line]
        assert not loops


# Both encoders from signals


def test_both_encoders_train_from_signals(shallow, weights, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(macro, "BLOCK_EPOCHS", 3)  # a night of 8 padded epochs is three blocks, and one more epoch
    objective = MacroPretraining(batch=4, night_epochs=8, freeze_micro=False, balance_weight=0.5)
    experiment = Experiment("signals", objective, prepared, shallow)
    phase = build(experiment, None, tmp_path, lambda *_: lambda: None, range(experiment.objective.batch))
    assert phase.accumulates
    batch = received(next(phase.batches))
    phase.batches.close()
    assert batch["epoch_mask"].sum(1).min() < 8  # nights are padded
    assert not list(tmp_path.iterdir())  # nothing is embedded beforehand
    batch = {name: v for name, v in batch.items() if name not in ("stage", "seconds", "night", "epoch")}
    for m in SLOTS:  # what stands in a padding epoch does not matter
        batch[m]["signal"][~batch["epoch_mask"]] = 1e3

    def contrast(*arguments):  # alone: the router's losses reach the Micro-Encoder too
        value, metrics = phase.loss(*arguments)
        return metrics["contrast"], (value, metrics)

    gradient = jax.jit(shard_gradient(contrast, mesh_of(1), phase.trainable))
    (_, (value, metrics)), gradients = jax.device_get(gradient(phase.params, batch, keys_of(4)))
    assert np.isfinite(value)
    for name in ("micro/private/EEG/tokenizer/amplitude/kernel", "macro/vector/kernel", "objective/kernel"):
        assert np.abs(gradients[name]).max() > 1e-6, name
    assert all(np.isfinite(g).all() for g in gradients.values())

    # The same nights over the frozen Micro-Encoder.
    frozen = replace(experiment, objective=replace(objective, freeze_micro=True))
    frozen_loss = sharded(macro_loss(frozen, *weights[:2]))

    @jax.jit
    def over_frozen(params):
        signals = {m.value: jax.tree.map(lambda v: v.reshape(-1, *v.shape[2:]), batch[m]) for m in SLOTS}
        own = {n: v for n, v in params.items() if not n.startswith("objective/")}
        tokens = merge(weights[0], own).micro(signals, exact=True)
        summary, present = epoch_summary(tokens.x, tokens.ok, shallow)
        night = {"summary": summary.reshape(4, 8, M, -1), "present": present.reshape(4, 8, M)}
        return frozen_loss(params, night | {n: batch[n] for n in ("demographics", "person")}, keys_of(4))

    expected, others = jax.device_get(over_frozen(phase.params))
    assert metrics["contrast"] == pytest.approx(expected, abs=1e-5)
    assert metrics["view_accuracy"] == others["view_accuracy"]
    router = 0.5 * metrics["moe_balance"] + objective.router_z_weight * metrics["moe_z"]
    assert value == pytest.approx(metrics["contrast"] + router, rel=1e-6)
    assert metrics["moe_dropped"] == pytest.approx(0, abs=1e-6)


# Fine-tuning without some sensors


@pytest.mark.parametrize("freeze_micro", [True, False])
def test_a_hidden_modality_is_as_one_that_was_not_recorded(shallow, epochs_of, freeze_micro):
    n, e, where, rng = 4, 2, layout(shallow.modalities), np.random.default_rng(0)
    labels = {
        "stage": rng.integers(-1, 5, (n, e)).astype(np.int32),
        "seconds": {
            "breathing": rng.integers(-1, 3, (n, e, EPOCH_S)).astype(np.int8),
            "arousal": rng.integers(-1, 2, (n, e, EPOCH_S)).astype(np.int8),
        },
    }
    present = rng.random((n, M)) < 0.7
    present[:, 0] = True
    hidden = np.asarray(sample_hidden(keys_of(n), present, 0.5))
    assert (hidden & present).any()
    assert (present & ~hidden).any(1).all()

    def only(shown):  # (n, M) -> the batch with these modalities
        if freeze_micro:
            tokens = np.random.default_rng(1).standard_normal((n, e, where.total, token_width(shallow)))
            ok = np.broadcast_to(shown[:, None, where.modality_of_token()], (n, e, where.total))
            return {"tokens": tokens.astype(np.float16), "ok": ok, **labels}
        batch = jax.tree.map(lambda v: v.reshape(n, e, *v.shape[1:]), epochs_of(shallow, n * e))
        for i, m in enumerate(SLOTS):
            batch[m]["usable"] &= shown[:, i, None, None, None]
        return batch | labels

    objective = Finetuning(batch=n, epochs=e, freeze_micro=freeze_micro, drop_modality=0.5)
    experiment = Experiment("hidden", objective, model=shallow)
    graph, params = create(shallow, 0, tasks=objective.tasks)
    loss = jax.jit(sharded(finetune_loss(experiment, graph)))
    (recorded, metrics), (missing, others) = (
        jax.device_get(loss(params, only(there), keys_of(n))) for there in (present, present & ~hidden)
    )
    assert recorded == pytest.approx(missing, rel=1e-5)
    for name in metrics:
        assert metrics[name] == pytest.approx(others[name], rel=1e-5), name
    shown = present & ~hidden
    assert shown.any(0).sum() > 3
    for m in np.flatnonzero(shown.any(0)):  # and what is not hidden counts
        fewer = present & ~(shown & (np.arange(M) == m))
        assert abs(loss(params, only(fewer), keys_of(n))[0] - missing) > 1e-4, m
    assert ("moe_balance" in metrics) == (not freeze_micro)


# Signals that are augmented


def test_augmented_windows_train_as_recorded_ones_do_and_padding_does_not_matter(shallow, epochs_of):
    n, e = 4, 2
    mask = np.arange(e) < np.array([2, 1, 1, 2])[:, None]
    rng = np.random.default_rng(0)
    batch = jax.tree.map(lambda v: v.reshape(n, e, *v.shape[1:]), epochs_of(shallow, n * e))
    for m in SLOTS:
        batch[m]["usable"] &= mask[..., None, None]
        batch[m]["signal"][~mask] = 0
    batch |= {
        "stage": np.where(mask, rng.integers(0, 5, (n, e)), -1).astype(np.int32),
        "seconds": {"arousal": np.where(mask[..., None], rng.integers(0, 2, (n, e, EPOCH_S)), -1).astype(np.int8)},
        "epoch_mask": mask,
    }
    graph, params = create(shallow, 0, tasks=(STAGES, AROUSAL))

    objective = Finetuning(
        batch=n,
        epochs=e,
        freeze_micro=False,
        tasks=(STAGES, AROUSAL),
        augment=Augmentation(
            equaliser_db=3, gain_db=2, noise=0.3, flip=0.5, drop_channel=0.3, only_eeg=0.2, shortest_crop=0.5
        ),
    )
    loss = finetune_loss(Experiment("augmented", objective, model=shallow), graph)
    gradient = {
        devices: jax.jit(shard_gradient(loss, mesh_of(devices), ("micro/", "macro/", "heads/"))) for devices in (1, 4)
    }

    def run(batch, devices=1, seed=0):
        lay = partial(jax.device_put, device=NamedSharding(mesh_of(devices), P(AXES)))
        (value, _), gradients = jax.device_get(gradient[devices](params, lay(batch), lay(keys_of(n, seed))))
        return value, gradients

    value, gradients = run(batch)
    assert np.isfinite(value) and np.abs(gradients["micro/private/EEG/tokenizer/amplitude/kernel"]).max() > 1e-6
    assert abs(run(batch, seed=1)[0] - value) > 1e-3  # nothing else is random
    on_four = run(batch, devices=4)
    for m in SLOTS:
        batch[m]["signal"][~mask] = 1e3
    for other, others in (on_four, run(batch)):
        assert other == pytest.approx(value, rel=1e-5)
        for name in gradients:
            np.testing.assert_allclose(others[name], gradients[name], atol=1e-5, err_msg=name)


def test_augmented_epochs_are_what_is_rebuilt(epochs_of):
    narrow = narrow_config()
    graph, params = random_model(narrow)
    config = MicroPretraining(batch=4, decoder_dim=16, contrast_weight=0.0, drop_modality=0.0)
    objective, params = with_objective(params, MicroObjective(narrow, config, rngs=Rngs(0)))
    batch = epochs_of(narrow, 4) | {"stage": np.zeros(4, np.int32), "seconds": {}}

    def amplitude(augment):
        experiment = Experiment("augmented", replace(config, augment=augment), model=narrow)
        return jax.jit(sharded(micro_loss(experiment, graph, objective)))(params, batch, keys_of(4))[1]["amplitude"]

    assert amplitude(Augmentation(noise=1.0)) > 1.02 * amplitude(Augmentation())  # there is more to rebuild


# What rare classes weigh


def test_a_run_tells_its_loss_what_its_labels_are(shallow, prepared, tmp_path, monkeypatch):
    told = {}

    def losses(heads, labels, tasks, axes, **how):
        told.update(how)
        return task_losses(heads, labels, tasks, axes, **how)

    monkeypatch.setattr(finetune, "task_losses", losses)
    objective = Finetuning(batch=4, epochs=2, freeze_micro=False, focal=1.5, event_windows=1.0)
    data = replace(prepared, scored=True)
    for exponent in (0.0, 0.5):
        objective = replace(objective, class_weight=exponent)
        experiment = Experiment("rare", objective, data, shallow)
        phase = build(experiment, None, tmp_path, lambda *_: lambda: None, range(4))
        batch = received(next(phase.batches))
        phase.batches.close()
        assert ((batch["seconds"]["breathing"] > 0) | (batch["seconds"]["arousal"] > 0)).any((1, 2)).all()
        jax.eval_shape(sharded(phase.loss), phase.params, batch, keys_of(4))
        assert told["focal"] == 1.5
        expected = class_weights(class_counts(data, objective.tasks), exponent) if exponent else None
        assert (told["weights"] is None) == (expected is None)
        for name in expected or ():
            np.testing.assert_array_equal(told["weights"][name], expected[name])
            assert told["weights"][name].std() > 0


# Tasks that pretraining did not know


def test_a_pretrained_model_gets_what_waves_are_told_from(shallow, weights, tmp_path, monkeypatch):
    objective = Finetuning(tasks=(STAGES, SPINDLE), freeze_micro=True)
    monkeypatch.setitem(phases._KINDS, Finetuning, (finetuning, lambda *_: None, None))
    known = {n: np.asarray(v) + 1 for n, v in weights[2].items() if not n.startswith("objective/")}
    assert not any(name.startswith("fast/") for name in known)
    experiment = Experiment("waves", objective, DataConfig(scored=True), shallow)
    phase = build(experiment, ModelFolder(shallow, known), tmp_path, lambda *_: lambda: None, range(1))
    fresh = create(shallow, experiment.seed, tasks=objective.tasks)[1]
    assert phase.params.keys() == fresh.keys()
    new = {name for name in fresh if name not in known}
    assert {name.split("/")[0] for name in new} == {"fast", "heads"}
    for name, value in phase.params.items():
        np.testing.assert_array_equal(value, fresh[name] if name in new else known[name], err_msg=name)
    assert all(name.startswith(phase.trainable) for name in new)


# Parts of a loss without weight


def test_parts_of_the_micro_loss_without_weight_do_not_exist(shallow, epochs_of):
    graph, shapes = structure(shallow)

    def parts(**weights):
        config = MicroPretraining(batch=4, decoder_dim=16, **weights)
        objective, params = with_objective(shapes, MicroObjective(shallow, config, rngs=Rngs(0)))
        experiment = Experiment("parts", config, model=shallow, optimizer=OptimizerConfig(ema=0.9))
        loss = micro_loss(experiment, graph, objective)
        batch = epochs_of(shallow, 4) | {"person": np.arange(4, dtype=np.int32)}
        value, metrics = jax.eval_shape(sharded(loss), params, batch, keys_of(4))
        assert value.shape == () and value.dtype == np.float32
        return set(metrics), {n.split("/")[1] for n in params if n.startswith("objective/")} | {
            n.split("/")[2] for n in params if n.startswith("objective/decoder")
        }

    metrics, modules = parts()
    router = {f"moe_{name}" for name in ("balance", "z", "dropped", "busiest", "idlest")}
    assert metrics == {"amplitude", "spectral", "contrast", "contrast_accuracy", *router}
    assert {"projection", "bands"} < modules
    assert parts(contrast="pairwise")[0] == metrics
    assert "teacher" not in modules
    taught, modules = parts(teacher_weight=1.0)
    assert taught == metrics | {"teacher"} and "teacher" in modules
    metrics, modules = parts(contrast_weight=0.0, spectral_weight=0.0)
    assert metrics == {"amplitude", *router}
    assert not {"projection", "bands"} & modules
