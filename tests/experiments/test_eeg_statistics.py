"""Statistics against signals that were made to have them."""

from __future__ import annotations

import numpy as np
import pytest

from data_pipeline.night import EPOCH_S, Event, EventKind
from experiments.eeg_statistics import (
    BANDS,
    EEG_HZ,
    LEAST_EPOCHS,
    drift,
    eeg_statistics,
    epoch_band_db,
    second_densities,
    spindle_levels,
)

EPOCH = EPOCH_S * EEG_HZ
N2, N3 = 2, 3


def coloured(exponent: float, n_epochs: int, seed: int = 0) -> np.ndarray:
    """Noise whose density is 1 uV²/Hz at 10 Hz and falls as 1 / f^exponent."""
    n = n_epochs * EPOCH
    hz = np.fft.rfftfreq(n, 1 / EEG_HZ)
    amplitude = np.zeros_like(hz)
    amplitude[hz > 0.3] = (hz[hz > 0.3] / 10) ** (-exponent / 2)
    white = np.fft.rfft(np.random.default_rng(seed).standard_normal(n) * np.sqrt(EEG_HZ / 2))
    return np.fft.irfft(white * amplitude, n)


def test_density_is_power_per_hertz_of_the_second():
    eeg = coloured(0.0, 4)
    eeg[2 * EPOCH : 3 * EPOCH] *= 2
    density = second_densities(eeg)
    assert density.shape == (120, 129)
    for low, high in BANDS.values():
        assert epoch_band_db(density, (low, high)) == pytest.approx([0, 0, 6, 0], abs=1.0)


def test_statistics_know_slope_level_and_the_stage_they_are_of():
    deep = 4 * coloured(2.0, 20)
    light = coloured(1.0, 20, seed=1)
    stages = np.repeat(np.array([N3, N2], np.int8), 20)
    stages[-3:] = -1
    usable = np.ones(40, bool)
    usable[:5] = False
    eeg = np.concatenate([deep, light])
    eeg[: 5 * EPOCH] *= 1000  # what is not usable changes nothing
    eeg[-3 * EPOCH :] *= 1000
    found = eeg_statistics(eeg, stages, usable)
    assert found["exponent 2–20 Hz", "N3"] == pytest.approx(2.0, abs=0.1)
    assert found["exponent 2–20 Hz", "N2"] == pytest.approx(1.0, abs=0.1)
    assert found["exponent 16–30 Hz", "N2"] == pytest.approx(1.0, abs=0.2)
    assert found["alpha, dB", "N2"] == pytest.approx(10 * np.log10(10 / 9.5), abs=0.5)
    assert found["alpha, dB", "N3"] == pytest.approx(12 + 2 * 10 * np.log10(10 / 9.5), abs=0.5)
    assert found["kurtosis", "N2"] == pytest.approx(3.0, abs=0.3)
    assert {stage for _, stage in found} == {"N2", "N3"}
    few = eeg_statistics(eeg, np.where(np.cumsum(stages == N2) < LEAST_EPOCHS, stages, -1), usable)
    assert {stage for _, stage in few} == {"N3"}


def test_a_rhythm_is_a_peak_and_bursts_are_kurtosis():
    rng = np.random.default_rng(0)
    eeg, t = coloured(1.5, 10), np.arange(10 * EPOCH) / EEG_HZ
    stages, usable = np.zeros(10, np.int8), np.ones(10, bool)
    plain = eeg_statistics(eeg, stages, usable)
    rhythm = eeg_statistics(eeg + 5 * np.sin(2 * np.pi * 10 * t), stages, usable)
    assert rhythm["alpha peak over trend, dB", "W"] > plain["alpha peak over trend, dB", "W"] + 8
    assert rhythm["sigma peak over trend, 95th percentile, dB", "W"] < 3
    bursts = eeg.copy()
    for epoch in range(5):
        first = epoch * EPOCH + int(rng.integers(EPOCH - EEG_HZ))
        bursts[first : first + EEG_HZ // 2] += 200 * np.sin(2 * np.pi * 2 * t[: EEG_HZ // 2])
    found = eeg_statistics(bursts, stages, usable)
    assert (plain["epochs with kurtosis > 8, %", "W"], found["epochs with kurtosis > 8, %", "W"]) == (0, 50)
    assert plain["RMS, uV", "W"] == pytest.approx(np.sqrt((eeg**2).mean()), rel=0.1)


def test_neighbours_are_correlated_within_a_stage_alone():
    rng = np.random.default_rng(0)
    level = np.zeros(400)
    for i in range(1, 400):
        level[i] = 0.8 * level[i - 1] + 0.6 * rng.standard_normal()
    found = drift({"alpha": level}, np.arange(400))
    assert found["alpha, lag-1 correlation"] == pytest.approx(0.8, abs=0.08)
    assert found["alpha, SD over epochs, dB"] == pytest.approx(1.0, abs=0.2)
    apart = drift({"alpha": level}, np.arange(0, 400, 2))  # no two epochs of it are neighbours
    assert "alpha, lag-1 correlation" not in apart


@pytest.mark.parametrize("over_db", [6.0, 12.0])
def test_a_spindle_stands_so_far_over_the_sigma_around_it(over_db):
    eeg, t = coloured(0.0, 40), np.arange(EEG_HZ) / EEG_HZ
    sigma_power = BANDS["sigma"][1] - BANDS["sigma"][0]  # uV² of noise of 1 uV²/Hz
    amplitude = np.sqrt(2 * sigma_power * 10 ** (over_db / 10))
    marks = [Event(EventKind.SPINDLE, float(s), 1.0) for s in np.arange(20, 1180, 2.5)]
    for mark in marks:
        first = round(mark.onset_s * EEG_HZ)
        eeg[first : first + EEG_HZ] += amplitude * np.sin(2 * np.pi * 13 * t)
    levels = spindle_levels(eeg, marks)
    assert len(levels) == len(marks)
    # four seconds of ten are spindles; noise adds to them (1 dB at 6), and its median lies below its mean
    assert np.median(levels) == pytest.approx(over_db + 1.5, abs=1.5)
    assert len(spindle_levels(eeg, [])) == 0
