"""A channel is the same in whatever stretches it is read."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter

from data_pipeline.load import open_channels
from data_pipeline.modalities import Modality
from data_pipeline.montage.mapping import map_channels
from data_pipeline.night import Quality
from data_pipeline.readers import Recording, Signal
from data_pipeline.signals.channel import whole
from data_pipeline.signals.filters import condition, fill_gaps


def broken_recording(n_seconds: int, gap: tuple[float, float], rate_hz: Fraction) -> Recording:
    """C3 and M2 in memory, noise upon an offset, with a gap."""
    n = round(n_seconds * rate_hz)
    # Falling with frequency as a brain does: white noise would be an open lead.
    x = 200 + lfilter([1], [1, -0.9], np.random.default_rng(0).normal(0, 9, (2, n))).astype(np.float32)
    x[:, round(gap[0] * rate_hz) : round(gap[1] * rate_hz)] = np.nan
    x[1, round(100 * rate_hz) : round(103 * rate_hz)] = 1000

    def read_span(index, start_s, stop_s):
        return x[index, round(start_s * float(rate_hz)) : round(stop_s * float(rate_hz))].copy()

    signals = tuple(Signal(i, s, "uV", rate_hz, (-1000, 1000), (-100, 100)) for i, s in enumerate(("C3", "M2")))
    return Recording(Path("n.edf"), n_seconds, signals, (), (gap,), None, (), read_span)


@pytest.mark.parametrize("rate_hz", [Fraction(100), Fraction(999, 10)])
def test_stretches_of_a_night_are_the_night_whatever_lies_between_them(rate_hz):
    recording = broken_recording(700, (300.25, 391.5), rate_hz)
    (channel,), _ = open_channels(recording, map_channels(recording.signals))
    (everything,) = whole([channel])
    cuts = [0, 1, 101, 290, 310, 311, 380, 480, 667, 700]  # inside the gap, and where its neighbours are far
    pieces = [channel.read(*span) for span in pairwise(cuts)]
    np.testing.assert_allclose(np.concatenate([p.samples for p in pieces]), everything.samples, atol=3e-4)
    np.testing.assert_array_equal(np.concatenate([p.quality for p in pieces]), everything.quality)
    assert np.flatnonzero(everything.quality & Quality.GAP).tolist() == list(range(300, 392))
    assert np.flatnonzero(everything.quality & Quality.CLIPPED).tolist() == [100, 101, 102]
    # And the gap is bridged from its true neighbours, as if all had been in memory.
    mixed = fill_gaps(recording.read(0) - recording.read(1))
    expected = condition(mixed, rate_hz, Modality.EEG, 700).reshape(700, -1)
    np.testing.assert_allclose(everything.samples.reshape(700, -1)[392:], expected[392:], atol=3e-4)
    np.testing.assert_allclose(everything.samples.reshape(700, -1)[:300], expected[:300], atol=3e-4)


@pytest.mark.parametrize("rate_hz", [Fraction(1, 7), Fraction(1, 10), Fraction(1, 30), Fraction(3)])
def test_a_slow_oximeter_is_the_same_in_any_stretch(rate_hz):
    n_seconds = 3607
    x = 90 + np.arange(int(n_seconds * rate_hz) + 1, dtype=np.float32) % 10
    signal = Signal(0, "SpO2", "%", rate_hz, (0, 100), (0, 100))

    def read_span(index, start_s, stop_s):
        return x[round(start_s * float(rate_hz)) : round(stop_s * float(rate_hz))].copy()

    recording = Recording(Path("n.edf"), n_seconds, (signal,), (), (), None, (), read_span)
    (channel,), _ = open_channels(recording, map_channels(recording.signals))
    at_once = channel.read(0, n_seconds).samples
    pieces = [channel.read(*span).samples for span in pairwise([0, 1, 600, 601, 1234, n_seconds])]
    np.testing.assert_array_equal(np.concatenate(pieces), at_once)


def test_a_belt_that_rests_across_stretches_is_judged_by_all_of_its_rest():
    rate_hz = Fraction(25)
    x = np.sin(2 * np.pi * 0.25 * np.arange(900 * 25) / 25).astype(np.float32)
    x[25 * 200 : 25 * 370], x[25 * 500 : 25 * 690] = 0, 0  # as long as an apnea may last, and longer
    signal = Signal(0, "Thorax", "", rate_hz, (-9, 9), (-100, 100))
    recording = Recording(
        Path("n.edf"),
        900,
        (signal,),
        (),
        (),
        None,
        (),
        lambda _, a, b: x[round(a * 25) : round(b * 25)].copy(),
    )
    (channel,), _ = open_channels(recording, map_channels(recording.signals))
    (everything,) = whole([channel])
    pieces = [channel.read(*span) for span in pairwise([0, 250, 251, 510, 600, 680, 689, 900])]
    quality = np.concatenate([p.quality for p in pieces])
    assert np.flatnonzero(quality).tolist() == list(range(500, 690)) and (quality == everything.quality).all()
    np.testing.assert_allclose(np.concatenate([p.samples for p in pieces]), everything.samples, atol=1e-5)
