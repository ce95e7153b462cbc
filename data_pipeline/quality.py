"""What is usable, second by second: `Quality` flags for one channel.

A flag says that a second cannot be trusted, not that it is interesting: movement artefacts stay.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from data_pipeline.night import RATE_HZ, Modality, Quality

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
    starts = _second_starts(len(x), rate_hz, n_seconds)
    flags = np.zeros(n_seconds, np.uint8)
    missing = np.isnan(x)
    if missing.any():
        flags[np.logical_or.reduceat(missing, starts)] |= np.uint8(Quality.GAP)
    if modality is not Modality.SPO2:  # 100 % is the end of its range, and a good value
        low, high = sorted(limits)
        margin = 1e-6 * (high - low)
        at_limit = (x <= low + margin) | (x >= high - margin)
        if at_limit.any():
            count = np.add.reduceat(at_limit.astype(np.int32), starts)
            flags[count >= max(3, 0.01 * float(rate_hz))] |= np.uint8(Quality.CLIPPED)
    return flags


def flat_flags(x: np.ndarray, rate_hz: Fraction, modality: Modality, n_seconds: int) -> np.ndarray:
    """(n_seconds,) uint8: FLAT where x (n,), as read, does not change for `FLAT_S` seconds."""
    flags = np.zeros(n_seconds, np.uint8)
    if modality is Modality.SPO2:
        return flags
    starts = _second_starts(len(x), rate_hz, n_seconds)
    still = np.fmax.reduceat(x, starts) == np.fmin.reduceat(x, starts)  # false where all is NaN
    edges = np.flatnonzero(np.diff(np.r_[False, still, False]))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
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


def _second_starts(n: int, rate_hz: Fraction, n_seconds: int) -> np.ndarray:
    """Index of the first sample of each second; below 1 Hz neighbouring seconds share one."""
    return np.minimum((np.arange(n_seconds) * float(rate_hz)).astype(np.int64), n - 1)
