"""What the oximeter says, against small nights worked out by hand."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.modalities import Modality
from data_pipeline.night import Channel, Quality
from sleepmami_jax.tasks.oximetry import (
    BURDEN_FALLBACK_RULE,
    BURDEN_RULE,
    as_measured,
    counted_desaturations,
    desaturations,
    hypoxic_burden,
    oximetry_statistics,
    turning_points,
    valid_spo2,
)
from tests.support.events import N2, W, hypnogram, hypopnea


def test_valid_spo2_masks_quality_and_range():
    samples = np.float32([97, 0, 39.9, 40, 100.002, 101, 96])  # a header of 0..200 % decodes 100 as 100.002
    quality = np.uint8([0, 0, 0, 0, 0, 0, Quality.FLAT])
    spo2 = valid_spo2(Channel("SPO2", Modality.SPO2, samples, quality, "SaO2", "alias", 1.0))
    np.testing.assert_array_equal(np.isfinite(spo2), [1, 0, 0, 1, 1, 0, 0])
    assert np.nanmax(spo2) == 100


STORED = {
    "0-100 in 16 bits": (0, 100, 65535),
    "0-100 in 12 bits": (0, 100, 4095),
    "0-100 in 8 bits": (0, 100, 255),
    "-100-100 in 16 bits": (-100, 100, 65535),
    "0-102.3 in 10 bits": (0, 102.3, 1023),
    "0-200 in 8 bits": (0, 200, 255),
    "its own range in 16 bits": (83, 98, 65535),
}


@pytest.mark.parametrize("of_a_per_cent", [1, 0.5])
@pytest.mark.parametrize(("low", "high", "steps"), STORED.values(), ids=STORED)
def test_how_a_file_stores_spo2_moves_no_threshold(low, high, steps, of_a_per_cent):
    if (high - low) / steps > of_a_per_cent:
        pytest.skip("the file cannot tell these values apart")
    rng = np.random.default_rng(0)
    measured = np.clip(96 - np.abs(np.cumsum(rng.choice([-1, 0, 0, 1], 4000))) % 13, low, high) * 1.0
    measured -= of_a_per_cent * rng.integers(0, 2, 4000)
    step = (high - low) / steps
    samples = (np.round((measured - low) / step) * step + low).astype(np.float32)
    channel = Channel("SPO2", Modality.SPO2, samples, np.zeros(4000, np.uint8), "SpO2", "alias", 1.0)
    np.testing.assert_array_equal(valid_spo2(channel), measured)


def test_values_of_no_step_stay_as_they_are():
    fine = 96 + np.random.default_rng(0).normal(0, 1, 500)
    np.testing.assert_array_equal(as_measured(fine), fine)
    assert np.isnan(as_measured(np.array([np.nan, 95.02]))).tolist() == [True, False]


def dip(depth, before=60, fall=20, hold=5, rise=15, after=60, level=96.0):
    down, up = np.linspace(0, depth, fall + 1)[1:], np.linspace(depth, 0, rise + 1)[1:]
    return level - np.concatenate([np.zeros(before), down, np.full(hold, depth), up, np.zeros(after)])


def test_one_desaturation_by_hand():
    (fall,) = desaturations(dip(4))
    assert (fall.onset_s, fall.nadir_s, fall.end_s) == (59, 79, 99)
    assert (fall.peak_percent, fall.nadir_percent) == (96, 92)
    assert len(desaturations(dip(3))) == 1 and not desaturations(dip(2.9))


def test_what_is_no_desaturation():
    assert not desaturations(np.linspace(98, 88, 3600))  # drift over an hour
    assert not desaturations(dip(20, fall=2, hold=1, rise=2))  # a slipped probe
    assert not desaturations(np.full(100, np.nan)) and not desaturations(np.full(100, 95.0))


def test_desaturation_survives_a_short_gap_but_not_a_long_one():
    spo2 = dip(6)
    short = spo2.copy()
    short[65:70] = np.nan
    assert len(desaturations(short)) == 1
    long = np.concatenate([np.full(60, 96.0), np.full(30, np.nan), np.full(60, 90.0)])
    assert not desaturations(long)


def test_recovery_by_less_than_one_and_a_half_points_is_the_same_fall():
    shallow = np.repeat([96, 94, 95, 92, 96], 20).astype(float)
    assert len(desaturations(shallow)) == 1 and desaturations(shallow)[0].peak_percent == 96
    deep = np.repeat([96, 92, 94, 91, 96], 20).astype(float)
    assert len(desaturations(deep)) == 2


@given(st.lists(st.integers(80, 100), min_size=1, max_size=200), st.sampled_from([0.5, 1.5, 3.0]))
def test_turning_points_alternate_and_differ_enough(values, delta):
    x = np.array(values, float)
    points = turning_points(x, delta)
    for (i, sign), (j, other) in pairwise(points):
        assert i < j and sign == -other and (x[i] - x[j]) * sign >= delta
    assert bool(points) == (
        np.ptp(x) >= delta and any(abs(x[i] - x[j]) >= delta for i in range(len(x)) for j in range(i))
    )


def test_oximetry_statistics_count_valid_sleep_only():
    stages = hypnogram((W, 2), (N2, 4), (W, 2))  # sleep from 60 to 180 s
    spo2 = np.full(240, 95.0)
    spo2[:60] = 70  # awake: counts nowhere
    spo2[100:112] = 85
    spo2[112] = 80  # one second is no minimum
    spo2[150:170] = np.nan
    statistics = oximetry_statistics(spo2, counted_desaturations(desaturations(spo2), stages), stages)
    assert statistics["spo2_valid_sleep_min"] == pytest.approx(100 / 60)
    assert statistics["t90_pct"] == pytest.approx(13)
    assert statistics["spo2_min_pct"] == 85 and statistics["spo2_median_pct"] == 95
    assert statistics["odi3_per_h"] == pytest.approx(1 / (100 / 3600))
    assert oximetry_statistics(spo2, (), hypnogram((W, 8)))["odi3_per_h"] is None


def test_hypoxic_burden_of_equal_triangles():
    """Each fall of 6 points over 20 s and back over 20 s has an area of 120 %·s."""
    spo2 = np.concatenate([dip(6, before=130, fall=20, hold=0, rise=20, after=130)] * 3)
    events = [hypopnea(300 * k + 120, 20) for k in range(3)]
    burden, rule = hypoxic_burden(spo2, events, monitored_min=60)
    assert burden == pytest.approx(3 * 120 / 60, rel=0.01) and rule == BURDEN_RULE
    flat, rule = hypoxic_burden(np.full(900, 96.0), events, monitored_min=60)
    assert flat == 0 and rule == BURDEN_FALLBACK_RULE
    assert hypoxic_burden(spo2, [], 60)[0] == 0 and hypoxic_burden(spo2, events, 0)[0] is None
