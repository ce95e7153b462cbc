"""Parameters, optimiser state and batches on a mesh of four devices: the same run, whatever the mesh."""

from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from data_pipeline.modalities import Modality
from sleepmami_jax.config import Experiment, MeshConfig, MicroPretraining, OptimizerConfig
from sleepmami_jax.costs.collectives import collectives
from sleepmami_jax.costs.sizes import DEPTH, size
from sleepmami_jax.data.batches import signal_batches
from sleepmami_jax.models.initial import Rngs
from sleepmami_jax.models.sleepmami import create, split, structure
from sleepmami_jax.training import optimizer, sharding
from sleepmami_jax.training.phases.micro import MicroObjective, micro_loss
from sleepmami_jax.training.phases.phase import Phase, with_objective
from sleepmami_jax.training.sharding import lay_out, make_mesh, own_rows, spec_of, to_devices
from sleepmami_jax.training.step import initial_state, make_step
from tests.conftest import narrow_config
from tests.support.batches import received

BATCH = 8


@contextmanager
def splitting_small():
    """Parameters of tiny models are split as if they were large."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for module in (optimizer, sharding):
            monkeypatch.setattr(module, "SMALL", 256)
        yield


@pytest.fixture
def split_small():
    with splitting_small():
        yield


def mesh_of(**axes):
    config = MeshConfig(**axes)
    return make_mesh(config, jax.devices()[: max(config.data, 1) * config.fsdp * config.expert])


@pytest.fixture(scope="module")
def micro_phase():
    """Micro pretraining of a narrow model with four experts that drop nothing."""
    narrow = narrow_config()
    model = replace(narrow, micro=replace(narrow.micro, experts=4, top_k=2, capacity=2.0))
    objective = MicroPretraining(batch=BATCH, decoder_dim=16)
    experiment = Experiment(
        "micro", objective, model=model, optimizer=OptimizerConfig(warmup_steps=1, ema=0.9), steps=10
    )
    graph, params = create(model, 0)
    objective_graph, params = with_objective(params, MicroObjective(model, objective, rngs=Rngs(1)))
    loss = micro_loss(experiment, graph, objective_graph)
    return experiment, Phase(params, ("micro/", "objective/"), loss, BATCH)


def steps_on(mesh, experiment, phase, batches):
    """State and metrics after a step for each batch."""
    state = lay_out(initial_state(experiment, phase), mesh)
    rows = [to_devices(batch, mesh) for batch in batches]
    step = make_step(experiment, phase, mesh).lower(state, rows[0]).compile()
    metrics = []
    for batch in rows:
        state, seen = step(state, batch)
        metrics.append(jax.device_get(seen))
    return step, state, metrics


def two_batches(experiment, epochs_of):
    """Two people have more than one epoch, on other devices too."""
    person = np.arange(BATCH, dtype=np.int32) % (BATCH - 2)
    return [epochs_of(experiment.model, BATCH, seed) | {"person": person} for seed in range(2)]


@pytest.fixture(scope="module")
def one_device(micro_phase, epochs_of):
    experiment, phase = micro_phase
    batches = two_batches(experiment, epochs_of)
    with splitting_small():
        _, state, metrics = steps_on(mesh_of(), experiment, phase, batches)
    return jax.device_get(state), metrics


@pytest.mark.parametrize("axes", [{"fsdp": 4}, {"fsdp": 2, "expert": 2}])
def test_a_run_is_the_same_on_every_mesh(split_small, micro_phase, epochs_of, one_device, axes):
    experiment, phase = micro_phase
    batches = two_batches(experiment, epochs_of)
    expected, expected_metrics = one_device
    step, state, metrics = steps_on(mesh_of(**axes), experiment, phase, batches)
    for found, wanted in zip(metrics, expected_metrics, strict=True):
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    # Moments, not parameters: Adam makes full steps of gradients that are rounding errors.
    for name, moment in expected["optimizer"][1].mu.items():
        found = jax.device_get(state["optimizer"][1].mu[name])
        np.testing.assert_allclose(found, moment, rtol=1e-3, atol=1e-5 * np.abs(moment).max() + 1e-7, err_msg=name)

    whole = sum(v.nbytes for v in jax.tree.leaves(state))
    here = sum(v.addressable_shards[0].data.nbytes for v in jax.tree.leaves(state))
    assert here < 0.5 * whole if axes.get("fsdp") == 4 else here <= whole
    program = step.as_text()
    assert ("all-to-all" in program) == ("expert" in axes)
    assert ("reduce-scatter" in program) == ("fsdp" in axes)
    # Weights are gathered, and contrastive embeddings; signals and activations stay where they are.
    weights = {v.nbytes // part for v in state["params"].values() for part in (1, axes.get("expert", 1))}
    looked_at = sum(map(bool, vars(experiment.model.modalities).values()))
    embeddings = {BATCH * n for n in (looked_at * experiment.model.projection_dim * 4, looked_at, 4)}
    gathered = {c.largest for c in collectives(program, 4) if c.kind == "all-gather"}
    assert gathered and gathered <= weights | embeddings


def test_every_parameter_of_every_size_has_a_rule_and_divides():
    mesh = mesh_of(fsdp=2, expert=2)
    for name in DEPTH:
        model = size(name)
        objective = MicroObjective(model, MicroPretraining(), rngs=Rngs(None))
        _, params = structure(model)
        names = params | {f"objective/{n}": v for n, v in split(objective)[1].items()}
        lies = {n: spec_of(n, v.shape, mesh) for n, v in names.items()}
        assert lies["micro/shared/0/feedforward/up"] == (P("expert", "fsdp") if name != "tiny" else P())
        assert lies["micro/norm/scale"] == P()
    selective = structure(replace(size("base"), macro=replace(size("base").macro, mixer="selective")))[1]
    assert all(isinstance(spec_of(n, v.shape, mesh), P) for n, v in selective.items())


def test_what_has_no_rule_or_does_not_divide_is_refused():
    mesh = mesh_of(fsdp=4)
    with pytest.raises(ValueError, match="micro/new: no sharding rule matches this parameter"):
        spec_of("micro/new", (1000, 1000), mesh)
    with pytest.raises(ValueError, match=r"macro/enter/kernel \(100, 1001\) does not divide over mesh.fsdp=4 .* 1001"):
        spec_of("macro/enter/kernel", (100, 1001), mesh)
    with pytest.raises(ValueError, match="mesh of data=the rest, fsdp=3, expert=1: there are 4 devices"):
        make_mesh(MeshConfig(fsdp=3), jax.devices()[:4])


def test_rows_of_a_batch_go_where_the_mesh_wants_them():
    mesh, x = mesh_of(data=2, fsdp=2), np.arange(8)[:, None] * np.ones(3)
    np.testing.assert_array_equal(own_rows(mesh, 8), np.arange(8))
    np.testing.assert_array_equal(to_devices({"x": x}, mesh)["x"], x)


def test_signals_travel_as_they_are_stored_and_absent_channels_not_at_all(prepared, monkeypatch):
    slots = {Modality.EEG: ("C3", "O2"), Modality.SPO2: ("SPO2",)}
    with closing(signal_batches(prepared, slots, global_batch=8, seed=0)) as batches:
        batch = next(batches)
    present = [len(x) > 0 for x in batch["EEG"]["stored"]]
    batch["EEG"]["stored"] = tuple(
        np.zeros((0, 3840), np.int16) if i else x for i, x in enumerate(batch["EEG"]["stored"])
    )
    batch["EEG"]["usable"][:, 1], sent = False, []
    real = jax.make_array_from_callback
    monkeypatch.setattr(jax, "make_array_from_callback", lambda shape, *a: sent.append(shape) or real(shape, *a))
    for _ in range(2):
        sent.clear()
        there = to_devices(batch, mesh_of(data=2))
    assert sent.count((8, 3840)) == present[0] and sent.count((8, 30)) == 1
    for name, expected in received(batch).items():
        if name in ("EEG", "SPO2"):
            jax.tree.map(partial(np.testing.assert_allclose, atol=2e-6), there[name], expected)
