"""Cycles and the order of stages."""

from itertools import pairwise

import numpy as np
import pytest

from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W, draw_hypnogram
from data_pipeline.simulate.person import draw_person


def test_cycles_and_stage_order(people):
    lengths, early, shares = [], [], []
    for _, stages, _ in people:
        rem = np.flatnonzero(stages == REM)
        ends = [a for a, b in pairwise(rem) if b - a > 30] + list(rem[-1:])
        lengths += list(np.diff(ends) / 2)
        n3, onset = np.flatnonzero(stages == N3), np.argmax(stages != W)
        if len(n3) > 10:
            early.append(np.mean(n3 < onset + (len(stages) - onset) / 3))
        shares.append([np.mean(stages[stages != W] == stage) for stage in (N1, N2, N3, REM)])
    assert np.median(lengths) == pytest.approx(96, abs=12)  # Cajochen 2024
    assert np.median(early) > 0.5
    assert np.allclose(np.mean(shares, axis=0), [0.11, 0.53, 0.16, 0.20], atol=0.05)


def varied(seed, n_epochs=900, variety=1.0):
    rng = np.random.default_rng([41, seed])
    person = draw_person(rng, "x", variety=variety)
    return draw_hypnogram(rng, person, n_epochs, variety=variety)


def test_varied_nights_are_of_every_kind():
    nights = [varied(seed) for seed in range(150)]
    assert all(len(stages) == 900 and stages[0] == W for stages in nights)
    latency = np.array([np.argmax(stages != W) for stages in nights])
    assert 0.25 < np.mean(latency > 60) < 0.6  # half an hour of wake and more
    asleep = [stages[stages != W] for stages in nights]
    n3 = np.array([np.mean(sleep == N3) for sleep in asleep])
    assert np.mean(n3 < 0.02) > 0.08 and np.mean(n3 > 0.28) > 0.05
    n1 = np.array([np.mean(sleep == N1) for sleep in asleep])
    assert np.percentile(n1, 90) > 0.2 and np.percentile(n1, 10) < 0.08
    no_rem = np.mean([not (sleep == REM).any() for sleep in asleep])
    assert 0.005 < no_rem < 0.12
    asleep_h = np.array([len(sleep) for sleep in asleep]) / 120
    assert np.percentile(asleep_h, 10) < 4.2 < 6.3 < np.percentile(asleep_h, 90)


def test_short_recordings_are_naps_or_the_beginnings_of_nights():
    nap = [not (varied(seed, 340) == REM).any() for seed in range(60)]
    assert 0.2 < np.mean(nap) < 0.6


@pytest.mark.parametrize("n_epochs", [60, 120, 2880])
def test_half_an_hour_to_a_whole_day(n_epochs):
    for seed in range(20):
        stages = varied(seed, n_epochs)
        assert len(stages) == n_epochs and stages.dtype == np.int8
        assert (stages != W).any()
        assert np.count_nonzero(stages != W) <= 11 * 120
