"""What is usual among nights of noise, to hold others against."""

import numpy as np
import pytest

from data_pipeline.night import STAGES
from sleepmami_jax.trust.looks import look
from sleepmami_jax.trust.measures import OF_STAGES
from sleepmami_jax.trust.reference import LEAST_SD, Reference, Risk, usual
from tests.support.signals import night_of_noise

D = 6


def looks_of(night):
    return [seen for channel in night.channels if (seen := look(channel))]


def tokens_of(night, seed=0, offset=0.0):
    x = np.random.default_rng(seed).normal(offset, 1, (night.n_epochs, D))
    return {"EEG": (x, np.ones(night.n_epochs, bool))}


def sure_probs(stages, p=0.9):
    return np.where(np.eye(len(STAGES), dtype=bool)[stages], p, (1 - p) / 4).astype(np.float32)


@pytest.fixture(scope="session")
def reference():
    nights = [night_of_noise(seed=seed) for seed in range(6)]
    looks = [seen for night in nights for seen in looks_of(night)]
    kinds = dict.fromkeys(seen.modality for seen in looks)
    tokens = np.concatenate([tokens_of(night, seed)["EEG"][0] for seed, night in enumerate(nights)])
    weights = tuple(3.0 if name in ("EEG unlike", "unsure") else 1.0 for name in OF_STAGES)
    breathing = ("RESP unlike", "RESP tokens unlike", "SPO2 unlike", "SPO2 tokens unlike", "stages")
    return Reference(
        looks={str(k): usual(np.stack([s.shape for s in looks if s.modality is k]), LEAST_SD) for k in kinds},
        levels={str(k): usual(np.array([[s.level] for s in looks if s.modality is k]), LEAST_SD) for k in kinds},
        tokens={"EEG": usual(tokens, 1e-3)},
        temperature={"stages": 1.25},
        epoch=Risk(("doubt", "unlike", "alone"), (0.8, 1.0, 0.5), (9.0, 0.0, 1.0), -7.5, 100, 20),
        epoch_astray=Risk(("doubt", "unlike", "alone"), (0.1, 1.0, 0.1), (9.0, 0.0, 1.0), 0.5, 100, 70),
        night={
            "stages": Risk(OF_STAGES, weights, (0.2,) * len(weights), -2.0, 10, 2),
            "breathing": Risk(breathing, (3.0, 1.0, 3.0, 1.0, 0.1), (0.1,) * 5, -2.5, 10, 2),
        },
        never=(),
        nights=6,
        shifted=0,
    )
