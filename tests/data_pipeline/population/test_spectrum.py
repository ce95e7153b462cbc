"""Band powers are those of good seconds."""

import numpy as np
import pytest

from data_pipeline.night import Channel, Quality
from data_pipeline.population.spectrum import band_powers
from tests.support.populations import nights_of, prepared, replaced


def test_spectra_are_of_good_seconds_and_of_the_right_band(tmp_path):
    def is_bad(seconds: np.ndarray) -> np.ndarray:
        return seconds % 30 < 20  # most of each epoch

    def sine(channel: Channel) -> np.ndarray:
        t = np.arange(channel.samples.size) / channel.rate_hz
        x = 30 * np.sin(2 * np.pi * 10 * t) + 500 * is_bad(t) * np.sin(2 * np.pi * 2 * t)
        return x.astype(np.float32)

    def flags(channel: Channel) -> np.ndarray:
        bad = is_bad(np.arange(channel.quality.size))
        return np.where(bad, Quality.CLIPPED, Quality.GOOD).astype(np.uint8)

    out = prepared(tmp_path, [3], change=replaced("C3", samples=sine, quality=flags))
    powers = band_powers(*nights_of(out)[0])
    assert powers["C3"] == pytest.approx([0, 0, 30**2 / 2, 0, 0], abs=2)
