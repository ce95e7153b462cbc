"""Cycles and the order of stages."""

from itertools import pairwise

import numpy as np
import pytest

from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W


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
