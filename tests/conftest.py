"""What the tests share. JAX runs on the CPU with four devices, set before anything can import it."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
_DEVICES = "--xla_force_host_platform_device_count=4"
if _DEVICES not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_DEVICES}".strip()

import numpy as np
import pytest
from absl import flags

from data_pipeline.night import EPOCH_S, RATE_HZ, Modality
from sleepmami_jax.config import MacroConfig, MicroConfig, ModalitiesConfig, ModalityConfig, ModelConfig

flags.FLAGS.mark_as_parsed()  # grain reads absl flags, which pytest does not parse


@pytest.fixture(scope="session")
def tiny() -> ModelConfig:
    """A model that compiles in seconds; no two neighbours agree in how many slots or seconds a token has."""
    return ModelConfig(
        modalities=ModalitiesConfig(
            EEG=ModalityConfig(("C3", "C4"), token_s=3),
            EOG=ModalityConfig(("E1",), token_s=5),
            EMG=ModalityConfig(("CHIN", "LEG_L"), token_s=6),
            ECG=ModalityConfig(("ECG",), token_s=10),
            RESP=ModalityConfig(("THORAX", "ABDOMEN"), token_s=5),
            SPO2=ModalityConfig(("SPO2",), token_s=10),
        ),
        micro=MicroConfig(dim=16, heads=2, private_depth=1, shared_depth=1, experts=3, top_k=2),
        macro=MacroConfig(dim=16, levels=3, state=4, head_dim=8, chunk=8, seconds_dim=16, seconds_depth=1),
        projection_dim=8,
    )


@pytest.fixture(scope="session")
def epochs_of():
    """`epochs_of(config, n, seed)`: n random epochs as the encoder takes them, every channel there and usable."""

    def make(config: ModelConfig, n: int, seed: int = 0) -> dict:
        rng = np.random.default_rng(seed)
        batch = {}
        for m in Modality:
            channels = len(config.modalities[m].slots)
            signal = rng.standard_normal((n, channels, EPOCH_S * RATE_HZ[m])).astype(np.float32)
            batch[m.value] = {
                "signal": signal,
                "usable": np.ones((n, channels, EPOCH_S), bool),
                "present": np.ones((n, channels), bool),
            }
        return batch

    return make
