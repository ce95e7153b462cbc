"""Sensors shift when the sleeper turns, and slip."""

import numpy as np

from data_pipeline.simulate.breathing_sensors import sensor_noise, shift_and_drift, turns

RATE_HZ = 16


def shifted(seed, variety):
    samples = np.tile([1.0, -1.0], 4 * 3600 * RATE_HZ // 2).astype(np.float32)
    rng = np.random.default_rng(seed)
    shift_and_drift(rng, samples, turns(rng, 4 * 3600), RATE_HZ, variety)
    return samples


def test_a_sensor_changes_its_gain_and_base_line_over_the_night():
    ranges, wander, slipped = [], [], 0
    for seed in range(40):
        samples = shifted(seed, 1)
        gain = np.ptp(samples.reshape(-1, RATE_HZ), axis=1) / 2
        ranges.append(gain.max() / gain.min())
        wander.append(samples.reshape(-1, RATE_HZ).mean(1).std())
        slipped += gain.min() < 0.35 * np.median(gain)
    assert np.median(ranges) > 1.7
    assert min(wander) < 0.05 and max(wander) > 0.2
    assert 1 <= slipped < 15


def test_less_variety_shifts_less():
    far, near = (np.std([shifted(seed, variety).std() for seed in range(20)]) for variety in (1, 0.1))
    assert near < 0.5 * far
    assert shifted(0, 0.0).std() == 1


def test_noise_differs_from_sensor_to_sensor():
    factors = [sensor_noise(np.random.default_rng(seed), 1) for seed in range(100)]
    assert min(factors) < 0.5 and max(factors) > 2
