"""Channels that look like what they are called: coloured noise, beats and breaths, of a night with stages."""

import numpy as np

from data_pipeline.modalities import MODALITY_OF, Modality
from data_pipeline.night import EPOCH_S, Channel, Night, Scoring


def coloured(rng, n: int, rate_hz: int, exponent: float) -> np.ndarray:
    spectrum = np.fft.rfft(rng.standard_normal(n))
    spectrum *= np.maximum(np.fft.rfftfreq(n, 1 / rate_hz), 0.3) ** (-exponent / 2)
    x = np.fft.irfft(spectrum, n)
    return (x / x.std()).astype(np.float32)


def samples_of(slot: str, n_epochs: int, rng, stages: np.ndarray) -> np.ndarray:
    facts, t = MODALITY_OF[slot].facts, None
    n = n_epochs * EPOCH_S * facts.rate_hz
    t = np.arange(n) / facts.rate_hz
    match MODALITY_OF[slot]:
        case Modality.EEG | Modality.EOG:
            slow = np.repeat(np.array([0.3, 0.6, 1.0, 3.0, 0.5])[stages], EPOCH_S * facts.rate_hz)
            return (15 * coloured(rng, n, facts.rate_hz, 1.2) + 10 * slow * np.sin(2 * np.pi * 1.5 * t)).astype(
                np.float32
            )
        case Modality.EMG:
            return 5 * np.diff(coloured(rng, n + 1, facts.rate_hz, 0))
        case Modality.ECG:
            return (5 * coloured(rng, n, facts.rate_hz, 1) + 400 * (np.cos(2 * np.pi * t) > 0.998)).astype(np.float32)
        case Modality.RESP:
            return (np.sin(2 * np.pi * 0.25 * t) + 0.05 * coloured(rng, n, facts.rate_hz, 1)).astype(np.float32)
        case _:
            return np.round(96 + np.sin(t / 300) + 0.3 * rng.standard_normal(n)).astype(np.float32)


def night_of_noise(n_epochs=60, seed=0, slots=("C3", "C4", "CHIN", "ECG", "THORAX", "SPO2")) -> Night:
    """A scored night; its EEG has more slow waves the deeper the sleep."""
    rng = np.random.default_rng(seed)
    stages = np.repeat(rng.permutation(np.arange(n_epochs // 6 + 1) % 5), 6)[:n_epochs].astype(np.int8)
    seconds = n_epochs * EPOCH_S
    channels = tuple(
        Channel(
            slot,
            MODALITY_OF[slot],
            samples_of(slot, n_epochs, rng, stages),
            np.zeros(seconds, np.uint8),
            slot,
            "made",
            float(MODALITY_OF[slot].facts.rate_hz),
        )
        for slot in slots
    )
    return Night(f"night-{seed}", f"person-{seed}", "", seconds, channels, Scoring(stages, (), frozenset({"stages"})))
