"""From a channel's samples as recorded to canonical units, rate and band.

Order: unit -> bridge gaps -> one filter that resamples, cuts drift and mains hum -> amplitude check -> mask gaps.

The filter is a product of three real, non-negative responses, so it has zero phase and an event stays where it is:

- high-pass `1 / (1 + (corner / f)**4)`: the magnitude of a second-order Butterworth run forth and back, -6 dB at
  the corner, 24 dB an octave below. EEG and EOG 0.3 Hz, EMG 10 Hz (AASM manual, recommended filter settings);
  ECG 0.5 Hz keeps the QRS and drops drift; RESP 0.05 Hz keeps slow breathing. 0 at 0 Hz, whatever the offset.
- low-pass `1 / (1 + exp((f - 0.475 B) / (0.00275 B)))`, B the lower of the two rates: flat within 0.1 dB to
  0.46 B (59 Hz of 128), -6 dB at 0.475 B, -79 dB at B / 2, where aliases would begin. The AASM's 35 Hz for EEG is
  a setting for display: spindles lie below, but muscle in the EEG tells of arousals, so the band stays whole.
  The EMG's 100 Hz does not fit into 128 Hz; what is kept, 10 to 60 Hz, holds the tone of the chin.
- notch, Q = 30, at 50 or 60 Hz where a line is found: 1.7 or 2 Hz wide at -3 dB, applied forth and back.

Their joint impulse response is cut at `margin_s` on both sides, where it has decayed below 1e-4 of its integral. So
it is finite: a piece of a night with that much context gives the samples that the whole night gives.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import scipy.fft

from data_pipeline.modalities import Modality

MAINS_HZ = (50.0, 60.0)
MAINS_RATIO = 10.0  # power at the line over the median of its surroundings
NOTCH_Q = 30.0


def typical_amplitude(x: np.ndarray) -> float:
    """Robust standard deviation of a zero-mean signal: 1.4826 * median |x|, over at most 200,000 samples."""
    sample = np.abs(x[:: max(1, len(x) // 200_000)])
    sample = sample[sample > 0]
    return 1.4826 * float(np.median(sample)) if sample.size else 0.0


def mend_scale(amplitude_uv: float, modality: Modality) -> float:
    """Power of 1000 that makes an impossible amplitude possible; 1.0 when it is possible as it is.

    A header may say V for values in microvolts ("an EEG of 184 V"), or the other way round.
    """
    voltage = modality.facts.voltage
    low, high = voltage.plausible_uv
    if amplitude_uv == 0 or low <= amplitude_uv <= high:
        return 1.0
    power = round(np.log10(voltage.typical_uv / amplitude_uv) / 3)
    return 1000.0**power


def fill_gaps(
    x: np.ndarray, before: tuple[int, float] | None = None, after: tuple[int, float] | None = None
) -> np.ndarray:
    """Bridges NaN by straight lines, so that filters neither spread them nor ring at their edges.

    Args:
      x: (n,), NaN where nothing was recorded.
      before, after: place (< 0, >= n) and value of the nearest sample outside, for a gap that x begins or ends in.
    """
    missing = np.isnan(x)
    if not missing.any():
        return x
    known = np.flatnonzero(~missing)
    values = x[known]
    if before is not None:
        known, values = np.r_[before[0], known], np.r_[before[1], values]
    if after is not None:
        known, values = np.r_[known, after[0]], np.r_[values, after[1]]
    if not known.size:
        return np.zeros_like(x)
    filled = x.copy()
    filled[missing] = np.interp(np.flatnonzero(missing), known, values)
    return filled


def hold(
    x: np.ndarray, rate_hz: Fraction | float, target_hz: int, n: int, start_s: int = 0, first: int = 0
) -> np.ndarray:
    """(n,) float32 from second `start_s` on: the value that stood at the middle of each target sample.

    x begins with sample `first` of the recording. Never rings: for values, such as SpO2.
    """
    at = np.floor((start_s + (np.arange(n) + 0.5) / target_hz) * float(rate_hz)).astype(np.int64) - first
    return np.asarray(x, np.float32)[np.clip(at, 0, len(x) - 1)]


def find_mains(x: np.ndarray, rate_hz: Fraction | float, band_hz: float) -> tuple[float, ...]:
    """Mains frequencies (50, 60 Hz) below `band_hz` at which x has a line most of the time.

    Args:
      x: (n,) or (pieces, n) samples without NaN.
      rate_hz: of x.
      band_hz: where the channel's band ends.
    """
    x = np.atleast_2d(x)
    n = min(x.shape[1], int(4 * rate_hz))
    frames = np.lib.stride_tricks.sliding_window_view(x, n, axis=1)[:, :: max(1, n // 2)]
    frames = (frames - frames.mean(axis=-1, keepdims=True)) * np.hanning(n + 1)[:n].astype(np.float32)
    power = np.median((np.abs(scipy.fft.rfft(frames, axis=-1)) ** 2).mean(axis=1), axis=0)
    freqs = np.arange(len(power)) * float(rate_hz) / n
    lines = []
    for line in MAINS_HZ:
        near = np.abs(freqs - line)
        around = power[(near > 1.5) & (near < 6)]
        at = power[near <= 0.5]
        if at.size and around.size and line < 0.95 * band_hz and at.max() > MAINS_RATIO * np.median(around):
            lines.append(line)
    return tuple(lines)


def condition(
    x: np.ndarray,
    rate_hz: Fraction | float,
    modality: Modality,
    n_seconds: int,
    mains: tuple[float, ...] = (),
    *,
    start_s: int = 0,
    context_s: int = 0,
) -> np.ndarray:
    """Brings one channel, or a stretch of it, to the canonical rate and band.

    Args:
      x: (n,) float32 without NaN. Sample k is sample `round((start_s - context_s) * rate_hz) + k` of the recording.
      rate_hz, modality: what x is. The rate is exact when it is a Fraction: 499.5 Hz never drifts.
      n_seconds: whole seconds wanted, the first is second `start_s` of the recording.
      mains: lines to remove.
      start_s, context_s: where the stretch begins, and how many seconds before it x has. Where x has less than
        `margin_s` before or after the stretch, the recording is taken to end, and is continued by its reflection.
    Returns:
      (n_seconds * target rate,) float32. Independent of how a recording is cut into stretches, to rounding.
    """
    rate = float(rate_hz)
    target_hz = modality.facts.rate_hz
    x = np.asarray(x, np.float32)
    first = round((start_s - context_s) * rate)
    if modality.facts.is_value:
        return hold(x, rate_hz, target_hz, n_seconds * target_hz, start_s, first)
    fir = _design(modality, Fraction(rate_hz), mains)
    stop_s = start_s + n_seconds
    wanted_from, wanted_to = (round(t * rate) for t in (start_s - fir.margin_s, stop_s + fir.margin_s))
    x = _stretch(x, wanted_from - first, wanted_to - first)
    # Blocks lie on one grid for the whole recording. What a block lacks reaches no sample that is kept.
    hops = range(start_s // fir.hop_s, -(-stop_s // fir.hop_s))
    blocks = np.zeros((len(hops), fir.n_in), np.float32)
    late_s = np.zeros(len(hops))
    for i, hop in enumerate(hops):
        exact = (hop * fir.hop_s - fir.margin_s) * rate + fir.slack / 2
        start = round(exact)
        late_s[i] = (start - exact) / rate
        lo, hi = max(start, wanted_from), min(start + fir.n_in, wanted_from + len(x))
        blocks[i, lo - start : hi - start] = x[lo - wanted_from : hi - wanted_from]
    spectrum = scipy.fft.rfft(blocks, axis=1)[:, : len(fir.response)] * fir.response
    if np.abs(late_s).max() * rate > 1e-6:  # blocks that begin between two samples
        freqs = np.arange(len(fir.response)) / fir.block_s
        spectrum *= np.exp(-2j * np.pi * np.outer(late_s, freqs)).astype(np.complex64)
    y = scipy.fft.irfft(spectrum, fir.block_s * target_hz, axis=1, overwrite_x=True)
    kept = y[:, fir.margin_s * target_hz :][:, : fir.hop_s * target_hz].reshape(-1)
    skip = (start_s - hops[0] * fir.hop_s) * target_hz
    return kept[skip : skip + n_seconds * target_hz]


@dataclass(frozen=True)
class _Filter:
    """A filter ready for overlap-save: blocks of `n_in` samples, `block_s` long, each `hop_s` after the last.

    `slack` is what a block has more than n_in samples, 0 but for odd rates; half of it goes to either end.
    `response` is (bins,) float32 from 0 Hz in steps of 1 / block_s, and carries the resampling's gain.
    """

    n_in: int
    slack: float
    block_s: int
    hop_s: int
    margin_s: int
    response: np.ndarray


@lru_cache(maxsize=64)
def _design(modality: Modality, rate: Fraction, mains: tuple[float, ...]) -> _Filter:
    margin_s, target_hz = modality.facts.margin_s, modality.facts.rate_hz
    # A block is a whole number of samples, or so near to one that no sample is off by a tenth of the interval.
    lengths = range(8 * margin_s, 32 * margin_s)
    block_s = min(lengths, key=lambda s: (abs(s * rate - round(s * rate)), s))
    n_in, n_out = round(block_s * rate), block_s * target_hz
    # Sampled twice as finely as needed, so that what wraps around lies outside the margin.
    taps = scipy.fft.irfft(_magnitude(np.arange(n_in + 1) / (2 * block_s), modality, rate, mains), 2 * n_in)
    time_s = np.minimum(np.arange(2 * n_in), 2 * n_in - np.arange(2 * n_in)) * block_s / n_in
    window = np.cos(np.pi / 2 * np.clip(4 * time_s / margin_s - 3, 0, 1)) ** 2  # fades in the last quarter
    taps *= window
    taps -= window * (taps.sum() / window.sum())  # what was cut off must not let an offset through
    circular = np.r_[taps[: n_in // 2], taps[n_in // 2 - n_in :]]
    response = scipy.fft.rfft(circular).real[: min(n_in, n_out) // 2] * (n_out / n_in)
    return _Filter(
        n_in, float(block_s * rate - n_in), block_s, block_s - 2 * margin_s, margin_s, response.astype(np.float32)
    )


def _magnitude(freqs: np.ndarray, modality: Modality, rate: Fraction, mains: tuple[float, ...]) -> np.ndarray:
    band = min(float(rate), modality.facts.rate_hz)  # a slow recording has nothing above its own Nyquist frequency
    squared = (freqs / modality.facts.high_pass_hz) ** 4
    low_pass = 1 / (1 + np.exp(np.minimum((freqs - 0.475 * band) / (0.00275 * band), 80)))
    response = squared / (1 + squared) * low_pass
    for line in mains:
        off = (freqs**2 - line**2) ** 2
        response *= off / (off + (freqs * line / NOTCH_Q) ** 2)
    return response


def _stretch(x: np.ndarray, first: int, last: int) -> np.ndarray:
    """x[first:last], continued where it is shorter by its mirror image, which has the same mean: no step to ring."""
    before, after = max(0, -first), max(0, last - len(x))
    x = x[max(0, first) : last]
    return np.pad(x, (before, after), mode="symmetric") if before or after else x
