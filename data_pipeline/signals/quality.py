"""What is usable, second by second: `Quality` flags for one channel.

A flag says that a second cannot be trusted, not that it is interesting: movement artefacts stay.
"""

from fractions import Fraction

import numpy as np

from data_pipeline.modalities import Modality
from data_pipeline.night import Quality
from data_pipeline.runs import runs


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
    if not modality.facts.is_value:  # 100 % is the end of SpO2's range, and a good value
        low, high = sorted(limits)
        margin = 1e-6 * (high - low)
        if (missing | (lowest <= low + margin) | (highest >= high - margin)).any():  # else there is none to count
            at_limit = (x <= low + margin) | (x >= high - margin)
            count = _in_seconds(np.add, at_limit.astype(np.int32), rate_hz, n_seconds)
            flags[count >= max(3, 0.01 * float(rate_hz))] |= np.uint8(Quality.CLIPPED)
    return flags


def flat_flags(x: np.ndarray, rate_hz: Fraction, modality: Modality, n_seconds: int) -> np.ndarray:
    """(n_seconds,) uint8: FLAT where x (n,), as read, does not change for the modality's `flat_s` seconds."""
    flags = np.zeros(n_seconds, np.uint8)
    if modality.facts.flat_s is None:
        return flags
    lowest, highest = (_in_seconds(ufunc, x, rate_hz, n_seconds) for ufunc in (np.fmin, np.fmax))
    still = lowest == highest  # false where all is NaN
    for start, stop in runs(still):
        if stop - start >= modality.facts.flat_s:
            flags[start:stop] |= np.uint8(Quality.FLAT)
    return flags


def range_flags(samples: np.ndarray, modality: Modality, typical: float | None) -> np.ndarray:
    """(n_seconds,) uint8: OUT_OF_RANGE by the prepared samples (n_seconds * rate,).

    `typical` is the typical amplitude where the scale is unknown; None where samples are in canonical units.
    """
    facts, seconds = modality.facts, samples.reshape(-1, modality.facts.rate_hz)
    if facts.is_value:
        low, high = facts.limits or (-np.inf, np.inf)
        bad = ((seconds < low) | (seconds > high)).any(axis=1)
    else:
        largest = facts.voltage.largest_uv if typical is None else typical * (facts.largest_typical or 0)
        bad = np.maximum(seconds.max(axis=1), -seconds.min(axis=1)) > (largest or np.inf)
    return bad.astype(np.uint8) * np.uint8(Quality.OUT_OF_RANGE)


def _in_seconds(ufunc: np.ufunc, x: np.ndarray, rate_hz: Fraction, n_seconds: int) -> np.ndarray:
    """(n_seconds,) each second of x (n,) reduced to one value; below 1 Hz neighbouring seconds share a sample."""
    rate = Fraction(rate_hz)
    if rate.denominator == 1 and len(x) >= n_seconds * rate:
        return ufunc.reduce(x[: n_seconds * int(rate)].reshape(n_seconds, -1), axis=1)
    starts = np.minimum((np.arange(n_seconds) * float(rate)).astype(np.int64), len(x) - 1)
    return ufunc.reduceat(x[: max(int(n_seconds * rate), starts[-1] + 1)], starts)
