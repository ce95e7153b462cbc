"""From a channel's samples as recorded to canonical units, rate and band.

Order: unit -> fill gaps -> resample -> high-pass -> notch where mains hum is found -> amplitude check -> mask
gaps. All filters run forth and back: no phase shift, so an event stays where it is.

High-pass corners: EEG and EOG 0.3 Hz, EMG 10 Hz (AASM manual, recommended filter settings); ECG 0.5 Hz keeps
the QRS and drops drift; RESP 0.05 Hz keeps slow breathing. The upper corner is the canonical rate's.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from scipy import signal as sps

from data_pipeline.night import RATE_HZ, Modality

HIGH_PASS_HZ = {
    Modality.EEG: 0.3,
    Modality.EOG: 0.3,
    Modality.EMG: 10.0,
    Modality.ECG: 0.5,
    Modality.RESP: 0.05,
}
"""Second-order Butterworth, applied forth and back (-6 dB at the corner). SPO2 is a value: not filtered."""

MAINS_HZ = (50.0, 60.0)
_HUM_RATIO = 10.0  # power at the line over the median of its surroundings
_NOTCH_Q = 30.0

_MICROVOLTS = {
    "v": 1e6,
    "mv": 1e3,
    "uv": 1.0,
    "µv": 1.0,
    "μv": 1.0,
    "nv": 1e-3,
    "microv": 1.0,
    "microvolt": 1.0,
}
"""Lower-case unit -> microvolts. Headers write UV and MV: nobody records megavolts, so case says nothing."""

PLAUSIBLE_UV = {
    Modality.EEG: (0.02, 3000.0),
    Modality.EOG: (0.02, 3000.0),
    Modality.EMG: (0.005, 3000.0),
    Modality.ECG: (0.5, 3000.0),
}
"""Typical amplitude (1.4826 * median |x| after the high-pass) that a stated unit can be believed with."""
_TYPICAL_UV = {Modality.EEG: 15.0, Modality.EOG: 25.0, Modality.EMG: 5.0, Modality.ECG: 60.0}


def microvolts_per(unit: str) -> float | None:
    """Microvolts in one of the header's units; None when it is not a unit of voltage ("", "n/a", "-")."""
    return _MICROVOLTS.get(unit.strip().lower())


def typical_amplitude(x: np.ndarray) -> float:
    """Robust standard deviation of a zero-mean signal: 1.4826 * median |x|, over at most 200,000 samples."""
    sample = np.abs(x[:: max(1, len(x) // 200_000)])
    sample = sample[sample > 0]
    return 1.4826 * float(np.median(sample)) if sample.size else 0.0


def mend_scale(amplitude_uv: float, modality: Modality) -> float:
    """Power of 1000 that makes an impossible amplitude possible; 1.0 when it is possible as it is.

    A header may say V for values in microvolts ("an EEG of 184 V"), or the other way round.
    """
    low, high = PLAUSIBLE_UV.get(modality, (0.0, np.inf))
    if amplitude_uv == 0 or low <= amplitude_uv <= high:
        return 1.0
    power = round(np.log10(_TYPICAL_UV[modality] / amplitude_uv) / 3)
    return 1000.0**power


def fill_gaps(x: np.ndarray) -> np.ndarray:
    """Bridges NaN by straight lines, so that filters neither spread them nor ring at their edges."""
    missing = np.isnan(x)
    if not missing.any():
        return x
    if missing.all():
        return np.zeros_like(x)
    known = np.flatnonzero(~missing)
    filled = x.copy()
    filled[missing] = np.interp(np.flatnonzero(missing), known, x[known])
    return filled


def resample(x: np.ndarray, rate_hz: Fraction | float, target_hz: int) -> np.ndarray:
    """Anti-aliased polyphase resampling that holds phase.

    Args:
      x: (n,) without NaN.
      rate_hz: rate of x; a Fraction is taken exactly (499.5 Hz stays 499.5), a float to 1 part in 10^7.
      target_hz: whole samples a second.
    Returns:
      (ceil(n * target / rate),) float32.
    """
    ratio = Fraction(target_hz) / Fraction(rate_hz)
    if max(ratio.numerator, ratio.denominator) > 20_000:
        ratio = ratio.limit_denominator(4_000)  # 1 / 4000**2: below 2 ms in a night
    x = np.asarray(x, np.float32)
    if ratio == 1:
        return x
    return sps.resample_poly(x, ratio.numerator, ratio.denominator, padtype="line").astype(np.float32)


def hold(x: np.ndarray, rate_hz: Fraction | float, target_hz: int, n: int) -> np.ndarray:
    """(n,) float32: for each target sample the value that stood at its middle. Never rings: for SpO2."""
    at = ((np.arange(n) + 0.5) * float(Fraction(rate_hz) / target_hz)).astype(np.int64)
    return np.asarray(x, np.float32)[np.minimum(at, len(x) - 1)]


def find_mains(x: np.ndarray, rate_hz: int, band_hz: float) -> list[float]:
    """Mains frequencies (50, 60 Hz) below `band_hz` at which x has a line, from ten pieces of up to 20 s."""
    n = min(len(x), 20 * rate_hz)
    starts = np.linspace(0, len(x) - n, 10).astype(int)
    pieces = np.stack([x[s : s + n] for s in starts])
    freqs, power = sps.welch(pieces, rate_hz, nperseg=min(n, 4 * rate_hz))
    power = np.median(power, axis=0)  # a line that is there most of the night
    found = []
    for line in MAINS_HZ:
        near = np.abs(freqs - line)
        around = power[(near > 1.5) & (near < 6)]
        at = power[near <= 0.5]
        if at.size and around.size and line < 0.95 * band_hz and at.max() > _HUM_RATIO * np.median(around):
            found.append(line)
    return found


def condition(
    x: np.ndarray, rate_hz: Fraction | float, modality: Modality, n_seconds: int
) -> tuple[np.ndarray, list[float]]:
    """Brings one channel to the canonical rate and band.

    Args:
      x: (n,) float32 at `rate_hz`, NaN in gaps.
      rate_hz, modality: what x is.
      n_seconds: whole seconds wanted.
    Returns:
      (n_seconds * RATE_HZ[modality],) float32, gaps bridged and not yet masked; and the mains lines removed.
    """
    target_hz = RATE_HZ[modality]
    n = n_seconds * target_hz
    x = fill_gaps(x)
    if modality is Modality.SPO2:
        return hold(x, rate_hz, target_hz, n), []
    y = resample(x, rate_hz, target_hz)[:n]
    if len(y) < n:
        y = np.pad(y, (0, n - len(y)), mode="edge")
    corner_hz = HIGH_PASS_HZ[modality]
    sections = [sps.butter(2, corner_hz, "highpass", fs=target_hz, output="sos")]
    band_hz = (
        min(target_hz, float(rate_hz)) / 2
    )  # a slow recording has nothing above its own Nyquist frequency
    mains = find_mains(y, target_hz, band_hz)
    sections += [sps.tf2sos(*sps.iirnotch(line, _NOTCH_Q, fs=target_hz)) for line in mains]
    pad = min(len(y) - 1, int(3 * target_hz / corner_hz))
    return sps.sosfiltfilt(np.concatenate(sections), y, padlen=pad).astype(np.float32), mains
