"""What one EEG is like, stage by stage: level, spectrum, rhythms, bursts, and how it drifts from epoch to epoch.

Every statistic is one number a recording and stage, so that recordings can be laid beside one another, made or
measured. A *second* here is a Hann window of 2 s around it. Levels are medians over epochs: an artefact moves none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.signal import butter, sosfiltfilt

from data_pipeline.modalities import RATE_HZ, Modality
from data_pipeline.night import EPOCH_S, STAGES, Event

EEG_HZ = RATE_HZ[Modality.EEG]
BAND_HZ = (0.3, 35.0)  # the AASM's setting for display of EEG
BANDS = {"delta": (0.5, 4), "theta": (4, 8), "alpha": (8, 11), "sigma": (11, 16), "beta": (16, 25), "fast": (25, 32)}
"""Hz, from the lower up to but not including the upper one. Alpha and sigma meet at 11 Hz, where scorers put them."""
LEAST_EPOCHS = 6
"""Of a stage; fewer say little of it, and a recording with fewer has no statistics of it."""
LEAST_PAIRS = 12
"""Of neighbouring epochs in one stage, to correlate: assumed. A correlation of so many has a standard error of 0.3."""
BURSTY = 8.0  # kurtosis that a movement, a blink or a large K-complex gives an epoch; Gaussian noise has 3; assumed
AROUND_S = 15.0  # to either side of a spindle, what its level is compared with; assumed
BOX_S = 0.5  # about the middle of a spindle, where it is strongest: the shortest one lasts as long (AASM)

Statistics = dict[tuple[str, str], float]
"""By name and stage; the name ends in its unit, where it has one."""


def eeg_statistics(eeg: np.ndarray, stages: np.ndarray, usable: np.ndarray, marks: Sequence[Event] = ()) -> Statistics:
    """All statistics of one EEG.

    Args:
      eeg: (128 * 30 * E + rest,) uV.
      stages: (E,) codes of `STAGES`, or -1.
      usable: (E,) bool; the other epochs count nowhere.
      marks: spindles; the stage of their statistic is "any".

    Returns:
      Those of the stages that have `LEAST_EPOCHS` usable epochs. NaN never: what cannot be computed is left out.
    """
    eeg = np.asarray(eeg, np.float64)[: len(stages) * EPOCH_S * EEG_HZ]
    density = second_densities(eeg)  # before the filter, whose skirt would be a slope
    eeg = sosfiltfilt(butter(3, BAND_HZ, "bandpass", fs=EEG_HZ, output="sos"), eeg)
    slow = sosfiltfilt(butter(2, BANDS["delta"], "bandpass", fs=EEG_HZ, output="sos"), eeg)
    powers = {name: epoch_band_db(density, hz) for name, hz in BANDS.items()}
    found: Statistics = {}
    for code, stage in enumerate(STAGES):
        places = np.flatnonzero((stages == code) & usable)
        if len(places) < LEAST_EPOCHS:
            continue
        values = _waveform(_epochs(eeg)[places], _epochs(slow)[places])
        values |= _spectrum(density.reshape(-1, EPOCH_S, density.shape[1])[places])
        values |= drift(powers, places)
        found |= {(name, stage): value for name, value in values.items()}
    levels = spindle_levels(eeg, marks)
    if len(levels):
        found["spindle over local sigma, dB", "any"] = float(np.median(levels))
    return found


def _epochs(eeg: np.ndarray) -> np.ndarray:
    return eeg.reshape(-1, EPOCH_S * EEG_HZ)


def second_densities(eeg: np.ndarray) -> np.ndarray:
    """(S, 129) power density of each second, uV²/Hz at 0, 0.5, … 64 Hz; `eeg` is (S * 128,) uV."""
    n = len(eeg) // EEG_HZ
    window = np.hanning(2 * EEG_HZ + 1)[:-1].astype(np.float32)
    padded = np.pad(np.asarray(eeg, np.float32), (EEG_HZ // 2, EEG_HZ // 2), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * EEG_HZ)[::EEG_HZ][:n]
    spectrum = np.fft.rfft((frames - frames.mean(1, keepdims=True)) * window, axis=1)
    return (2 * np.abs(spectrum) ** 2 / (EEG_HZ * (window**2).sum())).astype(np.float32)


def epoch_band_db(density: np.ndarray, band_hz: tuple[float, float]) -> np.ndarray:
    """(E,) mean density of each epoch in a band, dB over 1 uV²/Hz; `density` as `second_densities` gives it."""
    inside = _between(density, *band_hz)
    return _db(density[:, inside].mean(1).reshape(-1, EPOCH_S).mean(1))


def _hz(density: np.ndarray) -> np.ndarray:
    return np.arange(density.shape[-1]) / 2


def _between(density: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    return (_hz(density) >= low_hz) & (_hz(density) < high_hz)


def _db(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(power + 1e-9)  # far below any amplifier's noise; a flat second is not minus infinity


def _waveform(epochs: np.ndarray, slow: np.ndarray) -> dict[str, float]:
    """Of the samples (n, 3840) in uV, and of the same ones between 0.5 and 4 Hz."""
    centred = epochs - epochs.mean(1, keepdims=True)
    kurtosis = (centred**4).mean(1) / (centred**2).mean(1) ** 2
    waves = np.ptp(slow.reshape(-1, EEG_HZ), axis=1)
    return {
        "RMS, uV": float(np.median(np.sqrt((epochs**2).mean(1)))),
        "kurtosis": float(np.median(kurtosis)),
        f"epochs with kurtosis > {BURSTY:.0f}, %": 100 * float((kurtosis > BURSTY).mean()),
        "slow waves p-p in 1 s, uV": float(np.median(waves)),
        "slow waves p-p, 95th percentile / median": float(np.percentile(waves, 95) / np.median(waves)),
    }


def _spectrum(density: np.ndarray) -> dict[str, float]:
    """Of the seconds' densities (n, 30, 129): slope, levels, peaks."""
    db = np.median(_db(density).reshape(-1, density.shape[-1]), axis=0)
    high = np.percentile(_db(density).reshape(-1, density.shape[-1]), 95, axis=0)
    background = _between(density, 2, 20.5) & ~_between(density, 8, 15.5)  # without alpha and spindles
    values = {
        "exponent 2–20 Hz": _exponent(db, background),
        "exponent 16–30 Hz": _exponent(db, _between(density, 16, 30.5)),
    }
    epochs = density.mean(1)
    for name, band in BANDS.items():
        values[f"{name}, dB"] = float(np.median(_db(epochs[:, _between(density, *band)].mean(1))))
    values["alpha peak over trend, dB"] = _peak(db, (8, 12.5), (6, 15))
    values["sigma peak over trend, 95th percentile, dB"] = _peak(high, (11, 16), (9.5, 17.5))
    return values


def _exponent(db: np.ndarray, where: np.ndarray) -> float:
    """k where the density falls as 1 / f^k."""
    return -float(np.polyfit(10 * np.log10(_hz(db)[where]), db[where], 1)[0])


def _peak(db: np.ndarray, inside_hz: tuple[float, float], beside_hz: tuple[float, float]) -> float:
    """dB of the highest bin over the line between the bins at either side."""
    hz, inside = _hz(db), _between(db, *inside_hz)
    trend = np.interp(hz[inside], beside_hz, np.interp(beside_hz, hz, db))
    return float((db[inside] - trend).max())


def drift(powers: Mapping[str, np.ndarray], places: np.ndarray) -> dict[str, float]:
    """How epochs of one stage differ, and how alike neighbours are.

    Args:
      powers: (E,) dB by band.
      places: the stage's epochs, increasing.
    """
    pairs = places[:-1][np.diff(places) == 1]
    values = {f"{name}, SD over epochs, dB": float(np.std(power[places])) for name, power in powers.items()}
    if len(pairs) >= LEAST_PAIRS:
        for name, power in powers.items():
            values[f"{name}, lag-1 correlation"] = float(np.corrcoef(power[pairs], power[pairs + 1])[0, 1])
    return values


def spindle_levels(eeg: np.ndarray, marks: Sequence[Event]) -> np.ndarray:
    """(n,) dB: sigma power in the middle of each spindle over the median around it, where no spindle is.

    Marks at the very ends of the recording, or with nothing but spindles around, are left out.
    """
    sigma = sosfiltfilt(butter(4, BANDS["sigma"], "bandpass", fs=EEG_HZ, output="sos"), eeg)
    box, near = round(BOX_S * EEG_HZ), round(AROUND_S / BOX_S)
    power = (sigma[: len(sigma) // box * box].reshape(-1, box) ** 2).mean(1)
    free = np.ones(len(power), bool)
    for mark in marks:
        free[int(mark.onset_s / BOX_S) : int(np.ceil(mark.end_s / BOX_S))] = False
    levels = []
    for mark in marks:
        middle = mark.onset_s + mark.duration_s / 2
        first, place = round(middle * EEG_HZ) - box // 2, int(middle / BOX_S)
        around = slice(max(0, place - near), place + near + 1)
        if first >= 0 and first + box <= len(sigma) and free[around].any():
            here = (sigma[first : first + box] ** 2).mean()
            levels.append(_db(here) - _db(np.median(power[around][free[around]])))
    return np.array(levels)
