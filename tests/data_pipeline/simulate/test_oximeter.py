"""Oximeters average, are off, and round."""

import numpy as np
import pytest

from data_pipeline.simulate.oximeter import averaged, averaging_s, displayed


def test_an_average_widens_a_fall_and_keeps_its_depth():
    fall = np.zeros(80)
    fall[30:50] = 5 * np.hanning(20)
    wide = averaged(fall, 16)
    assert wide.max() == pytest.approx(fall.max())
    assert np.count_nonzero(wide > 2.5) > 1.2 * np.count_nonzero(fall > 2.5)
    assert np.argmax(wide) == pytest.approx(np.argmax(fall), abs=1)


def test_oximeters_differ():
    true = np.full(2000, 95.0)
    shown = [displayed(np.random.default_rng(seed), true, 1) for seed in range(60)]
    off = [np.mean(values) - 95 for values in shown]
    assert min(off) < -1.5 and max(off) > 1.5 and max(map(abs, off)) < 2.2
    steps = {round(float(np.diff(np.unique(values)).min()), 2) for values in shown if len(np.unique(values)) > 1}
    assert steps == {1.0, 0.5, 0.1}
    lengths = [averaging_s(np.random.default_rng(seed), 1) for seed in range(200)]
    assert min(lengths) == 2 and max(lengths) == 16


def test_without_variety_it_rounds_and_draws_nothing():
    rng = np.random.default_rng(0)
    assert list(displayed(rng, np.array([94.4, 95.6]), 0)) == [94, 96]
    assert rng.random() == np.random.default_rng(0).random()
