"""What a channel looks like: its bands, its beats, whatever its gain and sign."""

from dataclasses import replace

import numpy as np
import pytest

from data_pipeline.night import EPOCH_S, Quality
from sleepmami_jax.trust.looks import MOST_EPOCHS, look, names
from tests.support.signals import night_of_noise


@pytest.fixture(scope="module")
def channels():
    return {channel.slot: channel for channel in night_of_noise().channels}


def shape(channel, name: str) -> float:
    return look(channel).shape[names(channel.modality).index(name)]


def test_gain_and_sign_do_not_change_the_shape_and_gain_moves_the_level(channels):
    plain, louder = look(channels["C3"]), look(replace(channels["C3"], samples=-100 * channels["C3"].samples))
    np.testing.assert_allclose(louder.shape, plain.shape, atol=1e-3)
    assert louder.level == pytest.approx(plain.level + 2, abs=1e-3)


def test_a_tone_is_in_its_band_alone(channels):
    c = channels["C3"]
    tone = np.sin(2 * np.pi * 10 * np.arange(len(c.samples)) / c.rate_hz).astype(np.float32)
    shares = look(replace(c, samples=tone)).shape
    bands = names(c.modality)
    assert 10 ** shares[bands.index("8-12 Hz")] > 0.99
    assert all(10 ** shares[bands.index(band)] < 0.01 for band in bands[:8] if band != "8-12 Hz")


def test_a_heart_beats_and_an_eeg_does_not(channels):
    assert shape(channels["ECG"], "pulse") > 0.6 > 0.3 > shape(channels["C3"], "pulse")


def test_bands_beyond_the_file_are_not_known(channels):
    slow = look(replace(channels["C3"], source_rate_hz=64.0))
    known = dict(zip(names(slow.modality), np.isfinite(slow.shape), strict=True))
    assert known["16-30 Hz"] and not known["30-45 Hz"] and not known["45-64 Hz"] and known["pulse"]


def test_only_usable_epochs_are_looked_at(channels):
    c = channels["C3"]
    spoilt, quality = c.samples.copy(), c.quality.copy()
    spoilt[: 20 * EPOCH_S * c.rate_hz] = 1e4 * np.random.default_rng(0).standard_normal(20 * EPOCH_S * c.rate_hz)
    quality[: 20 * EPOCH_S] = Quality.OUT_OF_RANGE
    clean, masked = look(c), look(replace(c, samples=spoilt, quality=quality))
    assert np.isnan(masked.powers[:20]).all() and np.isfinite(masked.powers[20:]).all()
    assert abs(masked.level - clean.level) < 0.3
    assert look(replace(c, quality=np.full_like(quality, Quality.FLAT))) is None


def test_of_a_long_night_so_many_epochs_are_looked_at():
    night = night_of_noise(MOST_EPOCHS + 60, slots=("SPO2", "THORAX"))
    belt = next(look(c) for c in night.channels if c.slot == "THORAX")
    assert np.isfinite(belt.powers).all(axis=1).sum() == MOST_EPOCHS and len(belt.powers) == night.n_epochs


def test_a_value_is_told_by_its_level_and_how_it_moves(channels):
    oximeter = channels["SPO2"]
    assert shape(oximeter, "median") == pytest.approx(96, abs=1)
    stuck = replace(oximeter, samples=np.full_like(oximeter.samples, 97))
    assert shape(stuck, "share of the commonest value") == 1 > shape(oximeter, "share of the commonest value")
    assert shape(stuck, "steps a minute") == 0 < shape(oximeter, "steps a minute")
