"""Noses, mouths and masks."""

from dataclasses import replace

import numpy as np

from data_pipeline.simulate.airflow import bouts, nose_share, put_under_pressure, snoring
from data_pipeline.simulate.constitution import PLAIN
from data_pipeline.simulate.hypnogram import N2, W

STAGES = np.repeat([W, N2], [60, 900]).astype(np.int8)


def test_bouts_fill_their_share_of_sleep():
    shares = [bouts(np.random.default_rng(seed), STAGES, 0.3, (300.0, 900.0))[1800:].mean() for seed in range(40)]
    assert 0.25 < np.mean(shares) < 0.35
    assert not bouts(np.random.default_rng(0), STAGES, 0.9, (300.0, 900.0))[:1800].any()


def test_an_open_mouth_takes_the_flow_from_the_nose():
    share = nose_share(np.random.default_rng(1), replace(PLAIN, mouth_share=0.5), STAGES)
    assert (share[:1800] == 1).all()
    assert 0.2 < (share < 0.3).mean() < 0.8
    assert (nose_share(np.random.default_rng(1), PLAIN, STAGES) == 1).all()


def test_snores_sit_on_inspirations():
    flow = np.sin(2 * np.pi * np.arange(960 * 30 * 16) / 64).astype(np.float32)
    snore = snoring(np.random.default_rng(2), replace(PLAIN, snore_share=0.6), STAGES, flow)
    assert snore.std() > 0
    assert not snore[flow < 0.5].any()


def test_a_mask_levels_the_flow_and_adds_its_leak():
    flow = np.tile(np.sin(2 * np.pi * np.arange(64) / 64), 2000).astype(np.float32)
    nasal, thermistor = flow.copy(), flow.copy()
    put_under_pressure(np.random.default_rng(3), flow, nasal, thermistor, 32_000, 16)
    assert np.array_equal(nasal[:32_000], flow[:32_000]) and np.array_equal(thermistor[:32_000], flow[:32_000])
    assert (nasal[32_000 : 32_000 + 120 * 16] == 0).all()
    under = nasal[-16_000:]
    assert under.mean() > 0.25 and 0.4 < np.ptp(under) < 1.9
    assert thermistor[32_000:].std() < 0.1 * flow.std()
