"""An encoder keeps what it sees: a linear probe of its tokens reads spindles at least as well as one of its input."""

import os
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from data_pipeline.load import load_night
from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.night import EventKind
from data_pipeline.simulate import simulate_cohort
from experiments.real_nights import EegNight, read_dreams
from experiments.real_probes import probe, standardised, token_seconds
from experiments.spindles import spindle_seconds
from sleepmami_jax.config import Experiment, MicroPretraining, ModalityConfig, OptimizerConfig
from sleepmami_jax.data.arrays import night_signals
from sleepmami_jax.data.embeddings import BLOCK_EPOCHS
from sleepmami_jax.export.folder import ModelFolder
from sleepmami_jax.models.initial import Rngs
from sleepmami_jax.models.sleepmami import create
from sleepmami_jax.models.stem import features
from sleepmami_jax.pretrained import Pretrained
from sleepmami_jax.training.phases import Phase
from sleepmami_jax.training.phases.micro import MicroObjective, micro_loss
from sleepmami_jax.training.phases.phase import with_objective
from sleepmami_jax.training.sharding import lay_out, to_devices
from sleepmami_jax.training.step import initial_state, make_step
from tests.support.meshes import mesh_of

REAL = os.environ.get("SLEEPMAMI_REAL_DATA")
STEPS, BATCH = 16, 8
LEAST = -0.01
"""What the probe of the tokens may lose in average precision: it has more weights to fit than that of the input."""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> list[EegNight]:
    """Three nights of an hour, C3 alone, and their true spindles."""
    nights = []
    for path in simulate_cohort(tmp_path_factory.mktemp("gate"), 3, site="a", seed=5, hours=(1.0, 1.0)):
        night = load_night(path)
        spindles = [e for e in night.scoring.events if e.kind == EventKind.SPINDLE]
        only = replace(night, channels=tuple(c for c in night.channels if c.slot == "C3"))
        nights.append(EegNight(night.night_id, only, night.scoring.stages, {"truth": spindles}))
    return nights


@pytest.fixture(scope="module")
def config(tiny):
    """The tiny model of an EEG alone, which compiles fast."""
    others = dict.fromkeys(set(SLOTS) - {Modality.EEG})
    return replace(tiny, modalities=replace(tiny.modalities, EEG=ModalityConfig(("C3", "C4"), token_s=1), **others))


@pytest.fixture(scope="module")
def untrained(config) -> Pretrained:
    return Pretrained(ModelFolder(config, create(config, 0)[1]))


@pytest.fixture(scope="module")
def pretrained(config, untrained, simulated) -> Pretrained:
    """After a few steps of masked autoencoding on the nights themselves."""
    graph, params = create(config, 0)
    objective = MicroPretraining(batch=BATCH, decoder_dim=16, contrast_weight=0.0)
    optimizer = OptimizerConfig(learning_rate=3e-3, warmup_steps=1)
    experiment = Experiment("gate", objective, model=config, optimizer=optimizer, steps=STEPS)
    own, params = with_objective(params, MicroObjective(config, objective, experiment.compute, rngs=Rngs(1)))
    phase = Phase(params, ("micro/", "objective/"), micro_loss(experiment, graph, own), BATCH)
    blocks = [next(night_signals(n.night, untrained.slots, BLOCK_EPOCHS)) for n in simulated]
    signals = {"EEG": jax.tree.map(lambda *v: np.concatenate(v), *(block["EEG"] for block in blocks))}
    there = signals["EEG"]["usable"].any((1, 2)).nonzero()[0]
    mesh, rng = mesh_of(1), np.random.default_rng(0)
    draws = [rng.choice(there, BATCH, replace=False) for _ in range(STEPS - 5)]
    draws += draws[:5]
    batches = [to_devices(jax.tree.map(lambda v, rows=rows: v[rows], signals), mesh) for rows in draws]
    state, losses = lay_out(initial_state(experiment, phase), mesh), []
    step = make_step(experiment, phase, mesh).lower(state, batches[0]).compile()
    before = [float(step(lay_out(initial_state(experiment, phase), mesh), b)[1]["loss"]) for b in batches[:5]]
    for batch in batches:
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert np.mean(losses[-5:]) < 0.9 * np.mean(before)  # of the same epochs, which differ in how hard they are
    return Pretrained(ModelFolder(config, {n: np.asarray(state["params"][n]) for n in create(config, 0)[1]}))


def input_seconds(reader: Pretrained, recording: EegNight) -> np.ndarray:
    """(S, F) what was measured of the only channel, standardised as tokens are."""
    place = reader.slots[Modality.EEG].index(recording.night.channels[0].slot)
    parts = []
    for block in night_signals(recording.night, reader.slots, BLOCK_EPOCHS):
        signal, usable = (block["EEG"][k][:, place : place + 1] for k in ("signal", "usable"))
        parts.append((np.asarray(features(signal, usable, Modality.EEG, 1))[:, 0], usable[:, 0]))
    x, usable = (np.concatenate(v)[: recording.night.n_epochs] for v in zip(*parts, strict=True))
    return standardised(x.reshape(-1, x.shape[-1]), usable.ravel())


def precision(rows: list[np.ndarray], expert: str, nights: list[EegNight]) -> float:
    """Mean average precision of spindle seconds of each recording, by a probe fitted on the others."""
    labels = [spindle_seconds(n.spindles[expert], len(x)) for n, x in zip(nights, rows, strict=True)]
    found = []
    for held_out, (x, y) in enumerate(zip(rows, labels, strict=True)):
        others = [i for i in range(len(rows)) if i != held_out]
        fitted = probe(np.concatenate([rows[i] for i in others]), np.concatenate([labels[i] for i in others]))
        found.append(average_precision_score(y, fitted.decision_function(x)))
    return float(np.mean(found))


@pytest.fixture(scope="module")
def gain(untrained):
    """`gain(reader, nights, expert)`: how much better the tokens are read than the input, and the input's precision."""

    def measure(reader, nights, expert):
        own = precision([input_seconds(reader, n) for n in nights], expert, nights)
        return precision([token_seconds(reader, n) for n in nights], expert, nights) - own, own

    return measure


@pytest.mark.parametrize("which", ["untrained", "pretrained"])
def test_spindles_of_simulated_nights_are_read_from_tokens_as_from_the_input(which, gain, simulated, request):
    better, own = gain(request.getfixturevalue(which), simulated, "truth")
    print(f"simulated, {which}: input {own:.3f}, tokens {better:+.3f}")
    assert better > LEAST and own > 0.3


@pytest.mark.skipif(not REAL, reason="SLEEPMAMI_REAL_DATA names no folder of real recordings")
@pytest.mark.parametrize("which", ["untrained", "pretrained"])
def test_spindles_of_people_are_read_from_tokens_as_from_the_input(which, gain, request):
    better, own = gain(request.getfixturevalue(which), read_dreams(Path(REAL)), "expert 2")
    print(f"DREAMS, {which}: input {own:.3f}, tokens {better:+.3f}")
    assert better > LEAST and own > 0.2
