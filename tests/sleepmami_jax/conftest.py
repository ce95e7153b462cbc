"""Runs of a phase that compiles at once."""

from dataclasses import replace

import pytest

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.prepare.run import PrepareConfig, prepare
from sleepmami_jax.config import DataConfig, DataSource, Experiment, MicroPretraining, ModelConfig, OptimizerConfig
from sleepmami_jax.training import loop
from sleepmami_jax.training.phases.held_out import HeldOut
from tests.conftest import random_model, shallow_config
from tests.support.nights import load_random_night, write_recordings
from tests.support.toy import BATCH, STEPS, ToyBatches, toy_loss, toy_phase


def toy_config() -> ModelConfig:
    """A model of few parameters: each is an array of its own in every checkpoint."""
    shallow = shallow_config()
    without = dict.fromkeys(set(SLOTS) - {Modality.EEG, Modality.SPO2})
    modalities, macro = replace(shallow.modalities, **without), replace(shallow.macro, levels=0)
    return replace(shallow, modalities=modalities, macro=macro)


@pytest.fixture(scope="session")
def toy_params():
    """Those of the model of `toy_experiment`."""
    return random_model(toy_config())[1]


@pytest.fixture(scope="session")
def toy_experiment(tmp_path_factory) -> Experiment:
    folder = tmp_path_factory.mktemp("prepared")
    write_recordings(folder / "recordings", range(2))
    whole = PrepareConfig(val_share=0.0, test_share=0.0)
    prepare([folder / "recordings"], folder / "shards", config=whole, load=load_random_night)
    return Experiment(
        name="toy",
        objective=MicroPretraining(batch=BATCH),
        data=DataConfig(shards=(DataSource(str(folder / "shards")),)),
        model=toy_config(),
        optimizer=OptimizerConfig(learning_rate=0.1, warmup_steps=1, ema=0.8),
        steps=STEPS,
        save_every=4,
        tensorboard=True,
    )


@pytest.fixture(scope="session")
def saving(toy_experiment) -> Experiment:
    """The same run, saved after every second step."""
    return replace(toy_experiment, save_every=2, tensorboard=False)


@pytest.fixture
def train(toy_params, monkeypatch):
    """`train(experiment, workdir, loss=..., at=..., then=...)`: a run; `then()` is called before step `at`.

    `held_loss` is what it is validated by, on examples of their own, where the experiment says so.
    """

    def run(experiment, workdir, loss=toy_loss, at=None, then=None, held_loss=toy_loss, **options):
        class Batches(ToyBatches):
            def __next__(self):
                if at is not None and self.get_state()["global_next_index"] == (at - 1) * BATCH:
                    then()
                return super().__next__()

        held_out = HeldOut(held_loss, ToyBatches(BATCH))
        phase = replace(toy_phase(toy_params, BATCH, loss), batches=Batches(BATCH), held_out=held_out)
        monkeypatch.setattr(loop, "build", lambda *_: phase)
        return loop.train(experiment, workdir, quiet=True, **options)

    return run
