"""Is the electrode on the skin? Hum, open leads and dropped samples, second by second.

An electrode that came off does not go still: it is an aerial. It picks up the mains, or makes noise without the
fall towards high frequencies that everything from a brain or an eye has. And a recorder that loses samples on
the way repeats the last one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import scipy.fft

from data_pipeline.modalities import Modality, Voltage
from data_pipeline.night import Quality
from data_pipeline.runs import runs
from data_pipeline.signals.filters import MAINS_HZ

HUM_RATIO = 10.0
"""Hum over everything else, RMS. A notch (Q 30, forth and back) leaves about 4 % of a hum whose strength wavers by 10 %
at 1 Hz: above this ratio what is left has near half the strength of the signal."""
HARMONICS = 5
_BLOCK_S = 120  # small blocks stay in the cache

WHITE_RATIO = (0.8, 1.25)
"""Power density at 2–5 Hz over that at 20–29 Hz. White noise has 1; EEG and EOG fall as 1/f or steeper, 7 or more;
tense muscles on top of them bring it near 1 or, as muscle power rises with frequency, below."""
WHITE_S = 300
"""Seconds of white noise that make an open lead: muscles do not stay that even for five minutes."""
_WHITE_STEP = 3  # every third second says enough
LOW, HIGH = slice(2, 6), slice(20, 30)  # Hz, and bins of a one-second spectrum

DROPPED_S = 0.15
"""Seconds without any change, in a signal that changes from sample to sample: no body holds a voltage so still."""
STILL_MAX_S = 5  # longer than half a breath: that is a flat line, not a cut crest or a lost packet
STILL_SHARE = 0.1
"""A coarse converter repeats values by itself: if more samples than this do, repetition says nothing."""


def hum_flags(
    x: np.ndarray, rate_hz: Fraction, modality: Modality, n_seconds: int, uv_per_unit: float | None
) -> np.ndarray:
    """Seconds that the mains swamp: MAINS, or DISCONNECTED where the hum is that of an open lead.

    Args:
      x: (n,) as recorded, before any filter, without NaN.
      uv_per_unit: microvolts in one unit of x; None if it is not known, then the ratio alone decides.
    Returns:
      (n_seconds,) uint8; nothing where the rate is too low to show 50 Hz.
    """
    flags, voltage = np.zeros(n_seconds, np.uint8), modality.facts.voltage
    if voltage is None:
        return flags
    width = int(rate_hz)  # samples of a second that are looked at
    starts = np.round(np.arange(n_seconds) * float(rate_hz)).astype(np.int64)
    starts = np.minimum(starts, max(0, len(x) - width))
    lines = [line for line in MAINS_HZ if 2.1 * line <= rate_hz and len(x) >= width]
    for first in range(0, n_seconds if lines else 0, _BLOCK_S):
        seconds = np.lib.stride_tricks.sliding_window_view(x, width)[starts[first : first + _BLOCK_S]]
        seconds -= seconds.mean(axis=1, keepdims=True)
        steps = seconds[:, 1:] - seconds[:, :-1]
        steepness = np.einsum("ij,ij->i", steps, steps) / np.maximum(np.einsum("ij,ij->i", seconds, seconds), 1e-30)
        for line in lines:
            # Little but hum is as steep as hum; most seconds are not, and cost no more than this.
            steep = np.flatnonzero(steepness > 0.5 * (2 - 2 * np.cos(2 * np.pi * line / float(rate_hz))))
            if steep.size:
                flags[first + steep] |= _swamped(seconds[steep], rate_hz, line, voltage, uv_per_unit)
    return flags


def _swamped(
    seconds: np.ndarray, rate_hz: Fraction, line: float, voltage: Voltage, uv_per_unit: float | None
) -> np.ndarray:
    """(n,) uint8 for n seconds (n, width) of mean 0: MAINS or DISCONNECTED where the line's hum swamps them."""
    window, basis = _line_basis(seconds.shape[1], float(rate_hz), line)
    seconds = seconds * window
    total = np.einsum("ij,ij->i", seconds, seconds)
    hum = np.square(seconds @ basis).sum(axis=1)
    rest = np.maximum(total - hum, 1e-9 * total)
    swamped = hum > HUM_RATIO**2 * rest
    mark = np.full(len(seconds), Quality.MAINS, np.uint8)
    if uv_per_unit is not None:
        peak_uv = uv_per_unit * np.sqrt(2 * hum / np.square(window).sum())
        swamped &= peak_uv > voltage.hum_uv
        mark[peak_uv > voltage.open_lead_uv] = Quality.DISCONNECTED
    return np.where(swamped, mark, 0).astype(np.uint8)


@lru_cache(maxsize=16)
def _line_basis(width: int, rate_hz: float, line_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """A Hann window (width,), and an orthonormal basis (width, 4 * harmonics) of the hum seen through it.

    A hum that grows or shrinks within the second, or is a tenth of a hertz off, is still hum: hence the products
    with time.
    """
    t = np.arange(width) / rate_hz
    window = np.hanning(width + 1)[:-1].astype(np.float32)
    lines = [k * line_hz for k in range(1, HARMONICS + 1) if 2.1 * k * line_hz <= rate_hz]
    drift = t - t.mean()
    waves = [
        wave(2 * np.pi * f * t) * window * change for f in lines for wave in (np.cos, np.sin) for change in (1, drift)
    ]
    basis, _ = np.linalg.qr(np.stack(waves, axis=1))
    return window, basis.astype(np.float32)


def open_lead_flags(samples: np.ndarray, modality: Modality, flags: np.ndarray) -> np.ndarray:
    """DISCONNECTED in stretches of `WHITE_S` in which an electrode of the head gives white noise.

    Args:
      samples: (n_seconds * rate,) as prepared.
      flags: (n_seconds,) what is known already; only seconds without a flag are looked at.
    Returns:
      (n_seconds,) uint8.
    """
    marks = np.zeros(len(flags), np.uint8)
    if not modality.facts.on_head:
        return marks
    seconds = samples.reshape(len(flags), modality.facts.rate_hz)
    window = np.hanning(modality.facts.rate_hz).astype(np.float32)
    last = len(flags) - WHITE_S
    for start in sorted({*range(0, last + 1, WHITE_S), *([last] if last >= 0 else [])}):
        stretch = slice(start, start + WHITE_S)
        good = seconds[stretch][flags[stretch] == Quality.GOOD]
        if len(good) < WHITE_S // 2:
            continue
        spectrum = scipy.fft.rfft(good[::_WHITE_STEP] * window, axis=1)
        low, high = (np.median(np.abs(spectrum[:, band])) ** 2 for band in (LOW, HIGH))
        if WHITE_RATIO[0] * high < low < WHITE_RATIO[1] * high:
            marks[stretch] = Quality.DISCONNECTED
    return marks


RAIL_SAMPLES = 4
"""Equal samples in a row as far out as anything in the survey, or farther: an amplifier cut there, whatever the file's
own range is. A wave's crest of the finest converter stays there for two or three."""


@dataclass(frozen=True)
class Habits:
    """How a signal behaves as recorded, by a survey of it.

    Attributes:
      lowest, highest: its extremes.
      repeats: whether it repeats values by itself, as a coarse converter does: then repetition says nothing.
    """

    lowest: float
    highest: float
    repeats: bool


def habits(pieces: Sequence[np.ndarray], rate_hz: Fraction) -> Habits:
    """The habits of a signal.

    Args:
      pieces: of its samples as recorded, (n,) each, NaN in gaps.
    """
    seen = [x for x in pieces if len(x) and not np.isnan(x).all()]
    if not seen:
        return Habits(np.nan, np.nan, repeats=True)
    lowest, highest = min(map(np.nanmin, seen)), max(map(np.nanmax, seen))
    still = 0
    for x in seen:
        starts, stops = runs(x[1:] == x[:-1]).T
        lengths = stops - starts
        by_itself = (lengths < _dropped_samples(rate_hz) - 1) & (x[starts] > lowest) & (x[starts] < highest)
        still += lengths[by_itself].sum()
    return Habits(lowest, highest, repeats=bool(still > STILL_SHARE * sum(map(len, seen))))


def rail_flags(x: np.ndarray, rate_hz: Fraction, modality: Modality, n_seconds: int, known: Habits) -> np.ndarray:
    """(n_seconds,) uint8: CLIPPED where x (n,), as recorded, keeps one extreme value for `RAIL_SAMPLES` and 20 ms.

    How much of a second counts is the modality's `cut_share`. Nothing is said of a signal that repeats values by
    itself, nor of a value: 100 % is a good SpO2.
    """
    marks = np.zeros(n_seconds, np.uint8)
    if modality.facts.is_value or known.repeats:
        return marks
    least = max(RAIL_SAMPLES, int(0.02 * float(rate_hz)))
    seconds = np.zeros(n_seconds + 1)  # samples at a rail in each; one more for a last part of a second
    for far in (x <= known.lowest, x >= known.highest):
        if not far.any():
            continue
        for start, last in runs(far[1:] & (x[1:] == x[:-1])):
            stop = last + 1
            if least <= stop - start <= STILL_MAX_S * rate_hz:
                at = (np.arange(start, stop) / float(rate_hz)).astype(np.int64)
                np.add.at(seconds, np.minimum(at, n_seconds), 1)
    enough = max(1.0, modality.facts.cut_share * float(rate_hz))
    marks[seconds[:n_seconds] >= enough] = Quality.CLIPPED
    return marks


def dropped_flags(x: np.ndarray, rate_hz: Fraction, modality: Modality, flags: np.ndarray, known: Habits) -> np.ndarray:
    """DROPPED in seconds in which x repeats one value for `DROPPED_S` and at least 10 samples.

    Args:
      x: (n,) as recorded.
      flags: (n_seconds,) what is known already; a second that is flat or clipped is not said to be dropped too.
    Returns:
      (n_seconds,) uint8; nothing for a signal that repeats values by itself.
    """
    marks = np.zeros(len(flags), np.uint8)
    if modality.facts.voltage is None or known.repeats:
        return marks
    # No long run is without three equal values so far apart, which are rare: most stretches cost no more than this.
    sparse = x[:: (_dropped_samples(rate_hz) - 1) // 3]
    if not ((sparse[2:] == sparse[1:-1]) & (sparse[1:-1] == sparse[:-2])).any():
        return marks
    starts, stops = runs(x[1:] == x[:-1]).T
    lengths = stops - starts
    long = (lengths >= _dropped_samples(rate_hz) - 1) & (lengths <= STILL_MAX_S * rate_hz)
    for start, stop in zip(starts[long], stops[long], strict=True):
        marks[int(start / float(rate_hz)) : int(stop / float(rate_hz)) + 1] = Quality.DROPPED
    return np.where(flags == Quality.GOOD, marks, np.uint8(0))


def _dropped_samples(rate_hz: Fraction) -> int:
    return max(10, int(DROPPED_S * float(rate_hz)))
