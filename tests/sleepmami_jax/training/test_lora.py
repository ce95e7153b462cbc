"""Adapters: what trains, that the saved model is what was trained, and that a run goes on exactly."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from sleepmami_jax.config import ConfigError, Experiment, Finetuning
from sleepmami_jax.export.folder import load_model
from sleepmami_jax.models.initial import Rngs
from sleepmami_jax.models.sleepmami import create, merge
from sleepmami_jax.training import loop
from sleepmami_jax.training.lora import ADAPTED, LORA, SCALE, adapters, merged
from sleepmami_jax.training.phases.finetune import ENCODER, finetuning
from sleepmami_jax.training.step import trained_part
from tests.conftest import narrow_config, tiny_config
from tests.support.toy import BATCH, ToyBatches, kill, toy_loss, toy_phase

ADAPTER = Finetuning(lora_rank=2, freeze_micro=False)


def adapted(config, objective=ADAPTER, **options):
    experiment = Experiment("lora", objective, model=config, init="bundled")
    experiment = replace(experiment, data=replace(experiment.data, scored=True))
    graph, params = create(config, 0, tasks=objective.tasks)
    return graph, finetuning(experiment, graph, params, Rngs(1), **options)


def test_only_adapters_and_heads_train():
    _, phase = adapted(tiny_config())
    trained = trained_part(phase, phase.params)
    assert {name.partition("/")[0] for name in trained} == {"lora", "heads"}
    kernels = {n.removeprefix(LORA).rsplit("/", 2)[0] for n in trained if n.startswith(LORA)}
    assert kernels == {n for n in phase.params if ADAPTED.search(n) and not n.startswith(LORA)} and kernels
    assert any("attention/qkv" in n for n in kernels) and any("macro/levels" in n for n in kernels)
    assert not any("experts" in n for n in kernels)


def test_what_no_label_has_taught_yet_trains_itself():
    _, phase = adapted(tiny_config(), learnt=())
    trained = trained_part(phase, phase.params)
    assert all(n.removeprefix(LORA).startswith(ENCODER) for n in trained if n.startswith(LORA))
    whole = {name.partition("/")[0] for name in trained if not name.startswith(LORA)}
    assert whole == {"heads", "seconds", "macro"} and not any(n.startswith(ENCODER) for n in trained)


def test_frozen_tokens_have_no_adapters():
    _, phase = adapted(tiny_config(), replace(ADAPTER, freeze_micro=True))
    assert not any(name.startswith(f"{LORA}micro/") for name in phase.params)


def test_a_merged_matrix_does_what_it_and_its_adapter_do():
    graph, phase = adapted(narrow_config())
    rng = np.random.default_rng(0)
    params = {n: jnp.asarray(v) for n, v in phase.params.items()}
    assert all(np.array_equal(params[n], v) for n, v in merged(params).items())  # as it was, before a step
    params |= {
        n: jnp.asarray(rng.standard_normal(v.shape), jnp.float32) for n, v in params.items() if n.startswith(LORA)
    }
    whole = merged(params)
    assert not any(n.startswith(LORA) for n in whole) and merged(whole) == whole
    name = next(n for n in whole if ADAPTED.search(n))
    x = jnp.asarray(rng.standard_normal((3, whole[name].shape[0])), jnp.float32)
    beside = x @ params[name] + SCALE * (x @ params[f"{LORA}{name}/in/kernel"]) @ params[f"{LORA}{name}/out/kernel"]
    np.testing.assert_allclose(x @ whole[name], beside, rtol=1e-4, atol=1e-4)
    merge(graph, whole)  # the model has a place for all of it, and lacks nothing


def test_a_run_is_saved_merged_and_goes_on_exactly(saving, toy_params, tmp_path, monkeypatch):
    kernel = next(name for name in toy_params if ADAPTED.search(name))

    def loss(params, batch, keys, axes):
        moved = {**params, "macro/vector/bias": params["macro/vector/bias"] + merged(params)[kernel].sum() / 100}
        return toy_loss(moved, batch, keys, axes)

    def run(workdir, at=None):
        class Batches(ToyBatches):
            def __next__(self):
                if at is not None and self.get_state()["global_next_index"] == at * BATCH:
                    kill()
                return super().__next__()

        phase = toy_phase(toy_params, BATCH, loss)
        params = phase.params | adapters(phase.params, [kernel], 2, Rngs(0))
        phase = replace(
            phase, params=params, trainable=(LORA, "objective/toy/", "macro/vector/bias"), batches=Batches(BATCH)
        )
        monkeypatch.setattr(loop, "build", lambda *_: phase)
        return loop.train(saving, workdir, quiet=True)

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", at=5)
    parts = run(tmp_path / "parts")
    assert (whole / "model.safetensors").read_bytes() == (parts / "model.safetensors").read_bytes()
    params = load_model(whole).params
    changed = {n for n, v in params.items() if not np.array_equal(v, toy_params[n])}
    assert (
        changed == {kernel, "macro/vector/bias"}
        and np.linalg.matrix_rank(params[kernel] - toy_params[kernel], tol=1e-5) <= 2
    )


def test_adapters_to_nothing_are_refused():
    with pytest.raises(ConfigError, match="a model to adapt"):
        Experiment("lora", ADAPTER)
    with pytest.raises(ConfigError, match="a model to add heads to"):
        Experiment("new", Finetuning(only_new=True))
