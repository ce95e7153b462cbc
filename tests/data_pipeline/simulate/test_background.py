"""The background of varied nights: people's levels, people's differences, and no seam between blocks."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import signal

from data_pipeline.simulate import background
from data_pipeline.simulate.background import FLOOR_UV_PER_ROOT_HZ, HOP_S, STAGE_DB, STAGE_HZ, make_background
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W
from data_pipeline.simulate.person import draw_person

RATE_HZ = 100
C4, F4, O2 = 3, 1, 5


def someone(seed, variety=1.0):
    return draw_person(np.random.default_rng([21, seed]), "x", variety=variety)


def make(seed, stages, variety=1.0, person=None, closed=True):
    stages = np.array(stages, np.int8)
    shut = np.full(len(stages) * 30, closed)
    rng = np.random.default_rng([22, seed])
    return make_background(rng, person or someone(seed), stages, shut, RATE_HZ, variety=variety)


def density_db(samples):
    frequencies, power = signal.welch(samples, RATE_HZ, nperseg=4 * RATE_HZ, average="median")
    return frequencies, 10 * np.log10(power)


def test_without_spread_every_stage_has_its_density():
    for stage in (N2, REM):
        person = someone(1, 1e-6)
        person = replace(person, head=replace(person.head, slow_wave_db=0.0))
        frequencies, power = density_db(make(1, [stage] * 120, 1e-6, person, closed=False)[C4])
        expected = np.interp(np.log(np.maximum(frequencies, 0.4)), np.log(STAGE_HZ), STAGE_DB[stage])
        expected = 10 * np.log10(10 ** (expected / 10) + np.mean(FLOOR_UV_PER_ROOT_HZ) ** 2)
        outside = (frequencies > 1) & (frequencies < 40) & ((frequencies < 3) | (frequencies > 16))
        assert np.abs(power - expected)[outside].max() < 2.0  # theta, alpha and sigma peaks lie between


def test_chunks_leave_no_trace(monkeypatch):
    stages = [W] * 3 + [N2] * 4
    whole = make(3, stages)
    monkeypatch.setattr(background, "CHUNK", 7)
    for channel, other in zip(whole, make(3, stages), strict=True):
        np.testing.assert_allclose(channel, other, rtol=0, atol=1e-3)
    assert np.all([len(channel) == len(stages) * 30 * RATE_HZ for channel in whole])


def test_blocks_join_without_seams():
    eeg = make(4, [N2] * 400, 1e-6)[C4]
    power = np.median(eeg.reshape(-1, HOP_S * RATE_HZ) ** 2, axis=0)  # a movement weighs little in a median
    assert power.min() > 0.8 * power.mean() and power.max() < 1.2 * power.mean()


def test_people_differ_and_a_person_is_like_itself():
    """N2 at 15–30 Hz, here against 4–8 Hz: loudness apart, the shape of the spectrum is a person's own."""

    def beta(night, person):
        frequencies, power = density_db(make(night, [N2] * 20, person=someone(person))[C4])
        theta = power[(frequencies >= 4) & (frequencies < 8)].mean()
        return power[(frequencies >= 15) & (frequencies < 30)].mean() - theta

    levels = np.array([[beta(2 * person + night, person) for night in (0, 1)] for person in range(40)])
    assert 3.5 < np.subtract(*np.percentile(levels[:, 0], [90, 10])) < 14
    assert np.corrcoef(levels.T)[0, 1] > 0.6


def test_n3_is_deeper_than_n2_in_everybody():
    frequencies = np.arange(200) / 4
    low = 1 / (1 + (frequencies / 4) ** 4)
    for seed in range(200):
        shapes = background._shapes(someone(seed), frequencies)
        assert ((shapes[N3] - shapes[N2]) * low).sum() / low.sum() > 2.99


def test_neighbouring_epochs_are_alike():
    """Lag 1 of the epochs' alpha: 0.25 to 0.5 in people, 0.05 in plain nights."""
    frequencies = np.fft.rfftfreq(30 * RATE_HZ, 1 / RATE_HZ)
    band = (frequencies >= 8) & (frequencies < 11)
    lags = []
    for seed in range(12):
        power = np.abs(np.fft.rfft(make(seed, [N2] * 150)[C4].reshape(150, -1), axis=1)) ** 2
        alpha = np.log(power[:, band].mean(1))
        lags.append(np.corrcoef(alpha[:-1], alpha[1:])[0, 1])
    assert 0.25 < np.median(lags) < 0.6


def test_borders_of_stages_are_soft():
    soft = background._soft_stages(np.random.default_rng(5), np.repeat([W, N2], 20).astype(np.int8), 1.0)
    assert np.allclose(soft.sum(1), 1, atol=1e-3)
    between = (soft[:, N2] > 0.1) & (soft[:, N2] < 0.9)
    assert 4 <= between.sum() * HOP_S <= 60
    assert abs(np.argmax(soft[:, N2] > 0.5) * HOP_S - 600) <= background.BORDER_S + HOP_S


def test_closed_eyes_make_alpha_at_the_back_and_slow_waves_are_in_front():
    person = someone(6)
    person = replace(person, alpha_hz=10.0, head=replace(person.head, alpha_db=10.0))

    def level(stage, channel, band, **kwargs):
        frequencies, power = density_db(make(7, [stage] * 30, person=person, **kwargs)[channel])
        return power[(frequencies >= band[0]) & (frequencies < band[1])].mean()

    assert level(W, C4, (9, 11)) > 4 + level(W, C4, (9, 11), closed=False)
    assert level(W, O2, (9, 11)) - level(W, O2, (5, 7)) > 1 + level(W, F4, (9, 11)) - level(W, F4, (5, 7))
    assert level(N3, F4, (0.5, 3)) > 1 + level(N3, C4, (0.5, 3)) > 2 + level(N3, O2, (0.5, 3))


@pytest.mark.parametrize("rate_hz", [100, 128, 200, 250, 256, 500, 512])
def test_every_rate_of_a_recorder(rate_hz):
    rng, stages = np.random.default_rng(9), np.array([W, N1, N2, N3, REM], np.int8)
    eeg = make_background(rng, someone(9), stages, np.ones(150, bool), rate_hz, variety=1.0)
    assert all(samples.shape == (150 * rate_hz,) and samples.dtype == np.float32 for samples in eeg)
    assert all(np.isfinite(samples).all() for samples in eeg)
