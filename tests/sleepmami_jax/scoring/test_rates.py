"""Breaths and beats a minute, of waves whose rate is known."""

import numpy as np
import pytest

from sleepmami_jax.scoring.rates import beats_per_min, breaths_per_min


@pytest.mark.parametrize("per_min", [8, 15, 30])
def test_the_rate_of_breathing_of_the_clearest_sensor(per_min):
    rng, t = np.random.default_rng(0), np.arange(4 * 600) / 4
    wave = np.sin(2 * np.pi * per_min / 60 * t) + 0.2 * rng.standard_normal(len(t))
    noise = rng.standard_normal(len(t))
    rates = breaths_per_min([noise, wave])
    assert rates.shape == (60,) and np.abs(rates[4:-4] - per_min).max() < 1
    wave[4 * 200 : 4 * 300] = np.nan
    rates = breaths_per_min([wave])
    assert np.isnan(rates[20:30]).all() and np.isfinite(rates[5:15]).all()
    assert np.isfinite(breaths_per_min([noise])).mean() < 0.1


def heart(per_min, seconds=120, hz=128, rng=None):
    """Beats of 80 ms at a rate, over a slow drift."""
    t = np.arange(seconds * hz) / hz
    beats = np.arange(0.5, seconds, 60 / per_min)
    if rng is not None:
        beats = beats + rng.normal(0, 0.02, len(beats))
    near = t[:, None] - beats[np.clip(np.searchsorted(beats, t), 1, len(beats) - 1)[:, None] - np.array([1, 0])]
    return 1000 * np.exp(-((near / 0.015) ** 2)).sum(axis=1) + 200 * np.sin(t)


@pytest.mark.parametrize("per_min", [40, 72, 140])
def test_the_heart_rate_whatever_its_sign(per_min):
    wave, usable = heart(per_min, rng=np.random.default_rng(1)), np.ones(120, bool)
    for signal in (wave, -wave):
        rates = beats_per_min(signal, 128, usable)
        assert rates.shape == (12,) and np.abs(rates[1:] - per_min).max() < 0.03 * per_min
    usable[40:60] = False
    assert np.isnan(beats_per_min(wave, 128, usable)[4:6]).all()


def test_noise_and_silence_have_no_heart_rate():
    assert np.isnan(beats_per_min(np.zeros(128 * 60), 128, np.ones(60, bool))).all()
    noise = np.random.default_rng(0).standard_normal(128 * 600)
    assert np.isfinite(beats_per_min(noise, 128, np.ones(600, bool))).mean() < 0.2
