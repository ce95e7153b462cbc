"""One real step of each kind of run in bfloat16, scanned and computed again, beside the plain one in float32."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.night import EPOCH_S
from sleepmami_jax.config import ComputeConfig, Experiment, Finetuning, MacroPretraining, MicroPretraining
from sleepmami_jax.models.initial import Linear, Rngs
from sleepmami_jax.models.macro import summary_width
from sleepmami_jax.models.micro import layout, token_width
from sleepmami_jax.models.sleepmami import create
from sleepmami_jax.training.phases import Phase
from sleepmami_jax.training.phases.finetune import finetune_loss
from sleepmami_jax.training.phases.macro import macro_loss
from sleepmami_jax.training.phases.micro import MicroObjective, micro_loss
from sleepmami_jax.training.phases.phase import with_objective
from sleepmami_jax.training.sharding import lay_out, to_devices
from sleepmami_jax.training.step import initial_state, make_step
from tests.sleepmami_jax.objectives.test_demographic import people_of
from tests.support.meshes import mesh_of

N, EPOCHS = 4, 4


@pytest.fixture(scope="module")
def deep(tiny):
    """A model with something to scan in every stack; its experts drop nothing, whoever a token goes to.

    Of three modalities: one of one channel, two of several.
    """
    modalities = replace(tiny.modalities, **dict.fromkeys(set(SLOTS) - {Modality.EEG, Modality.RESP, Modality.SPO2}))
    capacity = tiny.micro.experts / tiny.micro.top_k
    micro = replace(tiny.micro, private_depth=0, shared_depth=2, capacity=capacity)
    macro = replace(tiny.macro, levels=1, blocks_per_level=2, seconds_depth=0)
    return replace(tiny, modalities=modalities, micro=micro, macro=macro)


def phase_of(experiment: Experiment, epochs_of) -> tuple[Phase, dict]:
    """The phase, without its data, and a batch for it."""
    model, objective, rng = experiment.model, experiment.objective, np.random.default_rng(0)
    graph, params = create(model, 0, experiment.compute, experiment.tasks)
    match objective:
        case MicroPretraining():
            own, params = with_objective(params, MicroObjective(model, objective, experiment.compute, rngs=Rngs(1)))
            loss, trainable = micro_loss(experiment, graph, own), ("micro/", "objective/")
            batch = epochs_of(model, N) | {"person": np.arange(N, dtype=np.int32)}
        case MacroPretraining():
            looked_at = sum(map(bool, vars(model.modalities).values()))
            own, params = with_objective(params, Linear(model.macro.dim, model.projection_dim, rngs=Rngs(1)))
            loss, trainable = macro_loss(experiment, graph, own), ("macro/", "objective/")
            batch = {
                "summary": rng.standard_normal((N, EPOCHS, looked_at, summary_width(model))).astype(np.float32),
                "present": rng.random((N, EPOCHS, looked_at)) < 0.9,
                "demographics": people_of(N),
                "person": np.arange(N, dtype=np.int32),
            }
        case Finetuning():
            loss = finetune_loss(experiment, graph)
            trainable = ("macro/enter", "macro/levels", "macro/norm", "seconds/", "heads/")  # the vector learns nothing
            shape = (N, EPOCHS, layout(model.modalities).total)
            batch = {
                "tokens": rng.standard_normal((*shape, token_width(model))).astype(np.float16),
                "ok": rng.random(shape) < 0.9,
                "stage": rng.integers(-1, 5, (N, EPOCHS)).astype(np.int32),
                "seconds": {
                    "breathing": rng.integers(-1, 3, (N, EPOCHS, EPOCH_S)).astype(np.int8),
                    "arousal": rng.integers(-1, 2, (N, EPOCHS, EPOCH_S)).astype(np.int8),
                },
            }
    return Phase(params, trainable, loss, N), batch


@pytest.fixture(scope="module")
def first_step(deep, epochs_of):
    """`first_step(objective, compute)` -> the state after one step on two devices, and its metrics."""

    def run(objective, compute):
        experiment = Experiment("compute", objective, model=deep, compute=compute)
        phase, batch = phase_of(experiment, epochs_of)
        mesh = mesh_of(2)
        arguments = lay_out(initial_state(experiment, phase), mesh), to_devices(batch, mesh)
        step = make_step(experiment, phase, mesh).lower(*arguments).compile()
        return jax.device_get(step(*arguments))

    return run


@pytest.mark.parametrize(
    ("objective", "remat"),
    [
        (MicroPretraining(batch=N, decoder_dim=16, spectral_weight=0.0), "names"),
        (MacroPretraining(batch=N, night_epochs=EPOCHS), "full"),
        (Finetuning(batch=N, epochs=EPOCHS), "names"),
    ],
    ids=["micro", "macro", "finetune"],
)
def test_a_step_in_bfloat16_scanned_and_computed_again_is_near_the_plain_one(first_step, objective, remat):
    plain, expected = first_step(objective, ComputeConfig())
    state, metrics = first_step(objective, ComputeConfig(dtype="bfloat16", remat=remat, scan=True))
    assert metrics.keys() == expected.keys()
    assert metrics["loss"] == pytest.approx(expected["loss"], rel=0.02)
    assert metrics["loss"] != expected["loss"]
    assert {v.dtype for v in jax.tree.leaves(state)} == {np.dtype(np.float32), np.dtype(np.int32)}
    # After one step the first moments are the clipped gradient, a tenth of it.
    for name, gradient in plain["optimizer"][1].mu.items():
        error = np.linalg.norm(state["optimizer"][1].mu[name] - gradient)
        assert error < 0.15 * np.linalg.norm(gradient), name
        assert np.linalg.norm(gradient) > 1e-3, name
