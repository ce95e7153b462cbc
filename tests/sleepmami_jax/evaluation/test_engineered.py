"""The engineered bank, on signals whose numbers are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data_pipeline.modalities import Modality
from data_pipeline.night import EPOCH_S, Channel, Event, EventKind, Night, Scoring
from sleepmami_jax.evaluation.engineered import engineered

N = 40
STAGES = np.repeat(np.array([0, 2, 4], np.int8), [10, 20, 10])


def channel(slot, modality, wave):
    """`wave` of the seconds since the beginning."""
    rate = modality.facts.rate_hz
    samples = wave(np.arange(N * EPOCH_S * rate) / rate).astype(np.float32)
    return Channel(slot, modality, samples, np.zeros(N * EPOCH_S, np.uint8), slot, "made", float(rate))


def beats(t):
    """A heart that beats every second and every 0.9 s by turns: a mean of 0.95 s, 100 ms from each to the next."""
    return sum(np.exp(-0.5 * ((t % 1.9 - at) / 0.012) ** 2) for at in (0.4, 1.4)) * 1000


@pytest.fixture(scope="module")
def night():
    rng = np.random.default_rng(0)
    stage = np.repeat(STAGES, EPOCH_S * Modality.EEG.facts.rate_hz)
    eeg = lambda t: np.where(stage == 2, 20, 2) * np.sin(2 * np.pi * 13 * t) + rng.standard_normal(len(t))  # noqa: E731
    spo2 = lambda t: np.where((t > 400) & (t < 415), 90.0, 96.0)  # noqa: E731
    channels = (
        channel("C3", Modality.EEG, eeg),
        channel("ECG", Modality.ECG, beats),
        channel("SPO2", Modality.SPO2, spo2),
    )
    events = (Event(EventKind.HYPOPNEA, 380.0, 20.0), Event(EventKind.HYPOPNEA, 700.0, 20.0))
    scored = frozenset({"stages", "hypopnea", "apnea", "obstructive_apnea", "central_apnea", "mixed_apnea"})
    return Night("n", "n", "", N * EPOCH_S, channels, Scoring(STAGES, events, scored))


def test_the_numbers_of_a_known_night(night):
    found = engineered(night, None, {})
    assert found["tst_min"] == 15 and found["ahi_per_h"] == 8 and found["odi3_per_h"] == pytest.approx(4)
    assert found["stage_shifts_per_h"] == 4 and found["hypoxic_burden_pct_min_per_h"] > 0
    assert found["eeg_sigma_log_n2"] == pytest.approx(np.log10(20**2 / 2), abs=0.05)
    assert found["eeg_sigma_log_n2"] - found["eeg_sigma_log_rem"] == pytest.approx(2, abs=0.15)
    assert found["heart_per_min_nrem"] == pytest.approx(60 / 0.95, rel=0.01)
    assert 10 ** found["rmssd_log_nrem"] == pytest.approx(100, rel=0.1) and found["pnn50_nrem"] > 0.95
    assert (
        all(np.isfinite(list(found.values())))
        and "eeg_delta_log_n3" not in found
        and "arousal_index_per_h" not in found
    )


def test_what_nobody_can_tell_is_refused_or_left_out(night):
    with pytest.raises(ValueError, match="n: nobody scored its stages, and this model cannot"):
        engineered(replace(night, scoring=None), None, {})
    bare = engineered(replace(night, channels=()), None, {})
    assert (
        "odi3_per_h" not in bare
        and not any(name.startswith(("eeg", "heart")) for name in bare)
        and bare["tst_min"] == 15
    )
