"""Breaths and heart beats a minute through the night, for the time axis of the report. Signal processing, no model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

STEP_S = 10
"""Seconds between two values of a rate."""

BREATH_RATE_HZ = 4
"""What `breaths_per_min` looks at: a breath has nothing above 2 Hz that tells its rate."""
BREATH_WINDOW_S = 60
BREATH_BAND_HZ = (0.1, 0.7)
"""6 to 42 breaths a minute (our choice): below lie sighs and drift, above it hearts."""
BREATH_WIDTH_HZ, BREATH_SHARE = 0.05, 0.4
"""A rate is given where so much of the power from 0.05 to 1 Hz lies so near its peak (our choice); not in an apnea."""

BEAT_S = (0.3, 2.0)
"""Between two beats at 200 and at 30 a minute."""
BEAT_WIDTH_S = 0.1
"""As long as a QRS complex."""
BEAT_SHARE = 0.3
"""Of the usual beat's steepness that a beat has at least, as in Pan & Tompkins, IEEE Trans Biomed Eng 1985."""
BEAT_HEIGHT = 5.0
"""A beat is so many times as steep as what lies between beats; noise is not (our choice)."""
BEAT_SPREAD = 0.4
"""Where the middle half of the intervals is wider than this share of their median, it is noise (our choice)."""


def breaths_per_min(breaths: Sequence[np.ndarray]) -> np.ndarray:
    """The rate of breathing, (T / 10 s,) float64 a minute, NaN where no sensor shows one.

    In each minute the sensor with the clearest rhythm has the word.

    Args:
      breaths: (T,) signals at 4 Hz, NaN where they are not usable.
    """
    n_window, n_step = BREATH_WINDOW_S * BREATH_RATE_HZ, STEP_S * BREATH_RATE_HZ
    steps = len(breaths[0]) // n_step if breaths else 0
    best, rates = np.full(steps, BREATH_SHARE), np.full(steps, np.nan)
    hz = np.fft.rfftfreq(4 * n_window, 1 / BREATH_RATE_HZ)
    inside, wide = (hz >= BREATH_BAND_HZ[0]) & (hz <= BREATH_BAND_HZ[1]), (hz >= 0.05) & (hz <= 1.0)
    for signal in breaths:
        padded = np.pad(signal[: steps * n_step], (n_window // 2, n_window), constant_values=np.nan)
        windows = np.lib.stride_tricks.sliding_window_view(padded, n_window)[n_step // 2 :: n_step][:steps]
        known = np.isfinite(windows).mean(axis=1) > 0.9
        centred = np.nan_to_num(windows[known] - np.nanmean(windows[known], axis=1, keepdims=True))
        power = np.abs(np.fft.rfft(centred * np.hanning(n_window), 4 * n_window)) ** 2
        peak = hz[inside][power[:, inside].argmax(axis=1)]
        near = (np.abs(hz - peak[:, None]) <= BREATH_WIDTH_HZ) & wide
        share = (power * near).sum(axis=1) / np.maximum(power[:, wide].sum(axis=1), 1e-12)
        clearer = share > best[known]
        where = np.flatnonzero(known)[clearer]
        best[where], rates[where] = share[clearer], 60 * peak[clearer]
    return rates


def beats_per_min(heart: np.ndarray, rate_hz: int, usable: np.ndarray) -> np.ndarray:
    """The heart rate, (S / 10,) float64 a minute, NaN where there is no regular beat.

    Beats are peaks of the signal's squared slope; a value is 60 over the median of the intervals in 10 s.

    Args:
      heart: (S * rate_hz,) an ECG, or the wave of an oximeter.
      usable: (S,) bool.
    """
    steps = len(usable) // STEP_S
    rates = np.full(steps, np.nan)
    slope = np.gradient(heart) if len(heart) > 1 else np.zeros(len(heart))
    steep = uniform_filter1d(slope**2, max(round(BEAT_WIDTH_S * rate_hz), 1))
    steep[~np.repeat(usable, rate_hz)] = 0
    whole = steep[: steps * STEP_S * rate_hz].reshape(steps, STEP_S // 2, 2 * rate_hz)
    usual = np.median(whole.max(axis=2), axis=1)  # two seconds hold a beat, and few of them an artefact
    between = np.median(whole, axis=(1, 2))
    least = np.repeat(np.where(usual > BEAT_HEIGHT * between, BEAT_SHARE * usual, np.inf), STEP_S * rate_hz)
    beats, _ = find_peaks(steep[: len(least)], height=least + 1e-12, distance=round(BEAT_S[0] * rate_hz))
    intervals, ends = np.diff(beats) / rate_hz, beats[1:] // (STEP_S * rate_hz)
    borders = np.searchsorted(ends, np.arange(steps + 1))
    for step, (first, stop) in enumerate(pairwise(borders)):
        of_step = intervals[first:stop]
        of_step = np.sort(of_step[(of_step >= BEAT_S[0]) & (of_step <= BEAT_S[1])])
        if len(of_step) >= 3:
            low, middle, high = of_step[[len(of_step) // 4, len(of_step) // 2, 3 * len(of_step) // 4]]
            if high - low < BEAT_SPREAD * middle:
                rates[step] = 60 / middle
    return rates
