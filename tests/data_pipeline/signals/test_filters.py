"""Resampling, filters and units: phase, drift, gaps and amplitude."""

from fractions import Fraction

import numpy as np
import pytest

from data_pipeline.modalities import Modality
from data_pipeline.readers.recording import microvolts_per
from data_pipeline.signals.filters import (
    condition,
    fill_gaps,
    find_mains,
    hold,
    mend_scale,
    typical_amplitude,
)


def sine(rate_hz: float, seconds: float, f_hz: float = 7.0, amplitude: float = 20.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * f_hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


@pytest.mark.parametrize(
    "rate_hz",
    [Fraction(999, 2), Fraction(975, 2), 200, 256, 100, Fraction(1000, 3), Fraction(2000041, 10000)],
)
def test_resampling_holds_phase_without_drift(rate_hz):
    seconds = 600
    y = condition(sine(float(rate_hz), seconds), rate_hz, Modality.EEG, seconds)
    expected = sine(128, seconds)
    assert y.dtype == np.float32 and len(y) == len(expected)
    # int(499.5) would be 7 Hz * 0.6 s off by now: the phase at the end tells.
    np.testing.assert_allclose(y[-2000:-200], expected[-2000:-200], atol=0.1)


def test_a_rate_that_no_block_fits_is_off_by_less_than_a_tenth_of_a_sample():
    rate_hz = Fraction(200003, 1000)
    y, expected = condition(sine(float(rate_hz), 3000), rate_hz, Modality.EEG, 3000), sine(128, 3000)
    np.testing.assert_allclose(y[1000:-1000], expected[1000:-1000], atol=20 * 2 * np.pi * 7 / 200 / 10)


def test_resampling_does_not_alias():
    y = condition(sine(500, 20, f_hz=100), 500, Modality.EEG, 20)
    assert np.abs(y[128:-128]).max() < 0.05


FILTERED = [m for m in Modality if not m.facts.is_value]


@pytest.mark.parametrize("modality", FILTERED)
def test_the_filter_does_what_its_description_says(modality):
    facts = modality.facts
    corner_hz, rate_hz, n_seconds = facts.high_pass_hz, facts.rate_hz, 4 * facts.margin_s
    impulse = np.zeros(n_seconds * 200, np.float32)
    impulse[len(impulse) // 2] = 1
    y = condition(impulse, 200, modality, n_seconds)
    middle = len(y) // 2
    np.testing.assert_allclose(y[1:middle], y[:middle:-1], atol=1e-6)  # zero phase: the same on both sides
    assert np.abs(y[: middle - facts.margin_s * rate_hz]).max() < 1e-7  # and finite
    times_s = np.arange(len(y)) / rate_hz

    def decibel(f_hz: float) -> float:
        return 20 * np.log10(abs(np.dot(y, np.exp(-2j * np.pi * f_hz * times_s))) * 200 / rate_hz)

    assert abs(y.sum()) < 1e-5
    assert decibel(corner_hz) == pytest.approx(-6.02, abs=0.02)
    assert decibel(corner_hz / 2) == pytest.approx(-24.6, abs=0.1)
    assert decibel(4 * corner_hz) == pytest.approx(-0.03, abs=0.1)
    assert decibel(0.46 * rate_hz) > -0.1 and decibel(0.475 * rate_hz) == pytest.approx(-6, abs=0.1)
    assert decibel(0.5 * rate_hz) < -75


@pytest.mark.parametrize("modality", FILTERED)
@pytest.mark.parametrize("rate_hz", [200, Fraction(999, 2), Fraction(1000041, 5000)])
def test_pieces_of_a_recording_are_filtered_as_the_whole(modality, rate_hz):
    n_seconds = 400
    x = 20 * np.random.default_rng(0).standard_normal(round(n_seconds * rate_hz)).astype(np.float32)
    whole = condition(x, rate_hz, modality, n_seconds, (50.0,))
    pieces = []
    for start_s, stop_s in ((0, 7), (7, 190), (190, 353), (353, 400)):
        margin_s = modality.facts.margin_s
        first_s, last_s = max(0, start_s - margin_s), min(n_seconds, stop_s + margin_s)
        stretch = x[round(first_s * rate_hz) : round(last_s * rate_hz)]
        place = {"start_s": start_s, "context_s": start_s - first_s}
        pieces.append(condition(stretch, rate_hz, modality, stop_s - start_s, (50.0,), **place))
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=2e-4)  # 1e-5 of the signal


def test_held_values_are_values_that_were_there():
    x = np.repeat(np.float32([96, 97, 88, 95]), 4)
    assert hold(x, 4, 1, 4).tolist() == [96, 97, 88, 95]
    assert hold(np.float32([96, 90]), Fraction(1, 2), 1, 4).tolist() == [96, 96, 90, 90]


@pytest.mark.parametrize("modality", FILTERED)
def test_conditioning_gives_whole_seconds_without_offset_or_shift(modality):
    f_hz = {Modality.EMG: 25.0, Modality.SNORE: 25.0, Modality.RESP: 0.3}.get(modality, 10.0)
    x = sine(100, 60.4, f_hz) + 500
    y = condition(x, 100, modality, 60)
    rate = modality.facts.rate_hz
    assert y.shape == (60 * rate,) and y.dtype == np.float32
    middle = slice(10 * rate, 50 * rate)
    np.testing.assert_allclose(y[middle], sine(rate, 60, f_hz)[middle], atol=1.2)


def test_a_gap_does_not_spread():
    x = sine(128, 60)
    broken = x + 300
    broken[20 * 128 : 30 * 128] = np.nan
    y = condition(fill_gaps(broken), 128, Modality.EEG, 60)
    assert np.isfinite(y).all()
    outside = np.r_[y[3 * 128 : 18 * 128], y[32 * 128 : 57 * 128]]
    np.testing.assert_allclose(outside, np.r_[x[3 * 128 : 18 * 128], x[32 * 128 : 57 * 128]], atol=1.5)


def test_gaps_are_bridged_by_lines():
    x = np.float32([np.nan, 1, np.nan, 3, np.nan])
    assert fill_gaps(x).tolist() == [1, 1, 2, 3, 3]
    assert fill_gaps(np.full(3, np.nan, np.float32)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("line_hz", [50.0, 60.0])
def test_mains_is_found_and_removed_only_where_it_is(line_hz):
    rng = np.random.default_rng(0)
    x = rng.normal(0, 10, 128 * 60).astype(np.float32)
    assert find_mains(x, 128, 64) == ()
    hum = x + sine(128, 60, line_hz, 10)
    found = find_mains(hum, 128, 64)
    assert found == (line_hz,)
    y = condition(hum, 128, Modality.EEG, 60, found)
    middle = y[1280:-1280]
    line = np.exp(2j * np.pi * line_hz * np.arange(len(middle)) / 128)
    assert 2 * abs(np.mean(middle * line)) < 0.1  # of 10 uV
    assert middle.std() > 9  # the rest stays


def test_mains_is_not_sought_above_the_recorded_band():
    x = np.random.default_rng(0).normal(0, 10, 50 * 600).cumsum().astype(np.float32)
    assert find_mains(x, 50, 25) == ()


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("uV", 1),
        ("UV", 1),
        ("µV", 1),
        ("MV", 1e3),
        ("mV", 1e3),
        ("V", 1e6),
        ("nV", 1e-3),
        ("", None),
        ("n/a", None),
    ],
)
def test_units_do_not_depend_on_case(unit, factor):
    assert microvolts_per(unit) == factor


def test_impossible_scales_are_mended_by_powers_of_1000():
    assert mend_scale(20.0, Modality.EEG) == 1
    assert mend_scale(20e6, Modality.EEG) == 1e-6  # uV values under a header that says V
    assert mend_scale(0.01, Modality.EEG) == 1e3
    assert mend_scale(5770.0, Modality.ECG) == 1e-3
    assert mend_scale(0.0, Modality.EEG) == 1
    assert typical_amplitude(np.random.default_rng(0).normal(0, 5, 50_000)) == pytest.approx(5, rel=0.03)
