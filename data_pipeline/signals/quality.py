"""What is usable, second by second: `Quality` flags for one channel.

A flag says that a second cannot be trusted, not that it is interesting: movement artefacts stay.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from data_pipeline.night import RATE_HZ, Modality, Quality
from data_pipeline.runs import runs

RANGE_UV = {Modality.EEG: 1000.0, Modality.EOG: 2000.0, Modality.EMG: 5000.0, Modality.ECG: 20000.0}
"""Largest |amplitude| that a body makes."""
RANGE_TYPICAL = 60.0
"""The same as a multiple of the channel's typical amplitude, for signals whose scale is unknown."""
SPO2_RANGE = (40.0, 100.5)
"""Oximeters do not measure below; a half per cent above 100 is rounding."""
FLAT_S = {Modality.EEG: 1, Modality.EOG: 1, Modality.EMG: 1, Modality.ECG: 2, Modality.RESP: 180}
"""Seconds without movement that make a signal flat. A belt may rest as long as an apnea lasts, SpO2 is often
constant for longer and is never called flat."""


def raw_flags(
    x: np.ndarray, rate_hz: Fraction, modality: Modality, limits: tuple[float, float], n_seconds: int
) -> np.ndarray:
    """Flags seen at the native rate: GAP and CLIPPED.

    Args:
      x: (n,) as read, NaN in gaps.
      limits: values of the file's smallest and largest digital value.
    Returns:
      (n_seconds,) uint8. Clipped is a second with at least 3 samples, and 1 % of them, at a limit.
    """
    flags = np.zeros(n_seconds, np.uint8)
    lowest, highest = (_in_seconds(ufunc, x, rate_hz, n_seconds) for ufunc in (np.minimum, np.maximum))
    missing = np.isnan(lowest)
    flags[missing] |= np.uint8(Quality.GAP)
    if modality is not Modality.SPO2:  # 100 % is the end of its range, and a good value
        low, high = sorted(limits)
        margin = 1e-6 * (high - low)
        if (
            missing | (lowest <= low + margin) | (highest >= high - margin)
        ).any():  # else there is none to count
            at_limit = (x <= low + margin) | (x >= high - margin)
            count = _in_seconds(np.add, at_limit.astype(np.int32), rate_hz, n_seconds)
            flags[count >= max(3, 0.01 * float(rate_hz))] |= np.uint8(Quality.CLIPPED)
    return flags


def flat_flags(x: np.ndarray, rate_hz: Fraction, modality: Modality, n_seconds: int) -> np.ndarray:
    """(n_seconds,) uint8: FLAT where x (n,), as read, does not change for `FLAT_S` seconds."""
    flags = np.zeros(n_seconds, np.uint8)
    if modality is Modality.SPO2:
        return flags
    lowest, highest = (_in_seconds(ufunc, x, rate_hz, n_seconds) for ufunc in (np.fmin, np.fmax))
    still = lowest == highest  # false where all is NaN
    for start, stop in runs(still):
        if stop - start >= FLAT_S[modality]:
            flags[start:stop] |= np.uint8(Quality.FLAT)
    return flags


def range_flags(samples: np.ndarray, modality: Modality, typical: float | None) -> np.ndarray:
    """(n_seconds,) uint8: OUT_OF_RANGE by the prepared samples (n_seconds * rate,).

    `typical` is the typical amplitude where the scale is unknown; None where samples are in canonical units.
    """
    seconds = samples.reshape(-1, RATE_HZ[modality])
    if modality is Modality.SPO2:
        bad = ((seconds < SPO2_RANGE[0]) | (seconds > SPO2_RANGE[1])).any(axis=1)
    else:
        limit = RANGE_UV[modality] if typical is None else RANGE_TYPICAL * typical
        bad = np.maximum(seconds.max(axis=1), -seconds.min(axis=1)) > (limit or np.inf)
    return bad.astype(np.uint8) * np.uint8(Quality.OUT_OF_RANGE)


def _in_seconds(ufunc: np.ufunc, x: np.ndarray, rate_hz: Fraction, n_seconds: int) -> np.ndarray:
    """(n_seconds,) each second of x (n,) reduced to one value; below 1 Hz neighbouring seconds share a sample."""
    rate = Fraction(rate_hz)
    if rate.denominator == 1 and len(x) >= n_seconds * rate:
        return ufunc.reduce(x[: n_seconds * int(rate)].reshape(n_seconds, -1), axis=1)
    starts = np.minimum((np.arange(n_seconds) * float(rate)).astype(np.int64), len(x) - 1)
    return ufunc.reduceat(x[: max(int(n_seconds * rate), starts[-1] + 1)], starts)
