"""What the oximeter says: desaturations, ODI, time below 90 %, hypoxic burden. Signal processing, no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_pipeline.modalities import Modality
from data_pipeline.night import EPOCH_S, Channel, Event, EventKind
from data_pipeline.runs import runs
from sleepmami_jax.tasks.rules import count_in_sleep

DROP_PERCENT = 3.0
"""A desaturation falls by at least 3 percentage points (AASM VIII, with hypopnea rule 1A)."""
RECOVERY_PERCENT = 1.5
"""A rise this large ends a fall; a smaller one is part of it (as in the CalcODI peak-to-nadir method)."""
FALL_MAX_S = 120
"""The peak lies at most this long before the nadir; a slower fall is drift, not an event."""
MIN_S = 10
"""Peak to recovery lasts at least this long; a shorter dip is a slipped probe."""
GAP_MAX_S = 10
"""Longer stretches without a valid value cut the signal in two."""
OXIMETER_STEPS = (1, 2, 10)
"""Parts of a per cent in which oximeters give values (assumed): most whole ones, some halves or tenths."""
ODI_RULE = "falls of at least 3 points from a peak within 120 s to a nadir, of which any part lies in sleep"
BURDEN_RULE = (
    "hypoxic burden after Azarbarzin et al. 2019: area under the event's own baseline, in a window found on "
    "the mean curve around event ends"
)
BURDEN_FALLBACK_RULE = (
    "hypoxic burden after Azarbarzin et al. 2019, in a fixed window from 5 s before to 45 s after event "
    "ends, because the mean curve has no clear dip"
)


@dataclass(frozen=True)
class Desaturation:
    """A fall of the oxygen saturation.

    Attributes:
      onset_s: last second at the peak, from the start of the recording.
      nadir_s: first second at the lowest value.
      end_s: first second back at the peak's level, or at the next peak where that is lower.
      peak_percent: SpO2 at the onset.
      nadir_percent: SpO2 at the nadir.
    """

    onset_s: float
    nadir_s: float
    end_s: float
    peak_percent: float
    nadir_percent: float

    @property
    def event(self) -> Event:
        return Event(EventKind.DESATURATION, self.onset_s, self.end_s - self.onset_s)


def valid_spo2(channel: Channel) -> np.ndarray:
    """(duration_s,) float64 SpO2 in %, NaN where the quality mask or the range says that it is no value.

    The values are those that the oximeter gave: how a file stores them moves no threshold (see `as_measured`).
    """
    low, high = Modality.SPO2.facts.limits
    spo2 = as_measured(np.where(channel.quality == 0, channel.samples.astype(np.float64), np.nan))
    return np.where((spo2 >= low) & (spo2 <= high), np.minimum(spo2, 100.0), np.nan)


def as_measured(spo2: np.ndarray) -> np.ndarray:
    """SpO2 in %, with NaN, as the oximeter gave it: in whole, half or tenth per cents, or as it is.

    A file stores a value in steps of its own, 93 as 92.94 or 93.02. Where each stored value stands for another whole
    (half, tenth) one, it is that one, at most half a step of the file away.

    >>> as_measured(np.array([92.94, 93.73, 94.9]))
    array([93., 94., 95.])
    """
    stored = np.unique(spo2[np.isfinite(spo2)])
    for parts in OXIMETER_STEPS:
        if len(np.unique(np.round(stored * parts))) == len(stored):
            return np.round(spo2 * parts) / parts
    return spo2


def turning_points(x: np.ndarray, delta: float) -> list[tuple[int, int]]:
    """Alternating extrema of a (n,) array such that neighbours differ by at least `delta`.

    Returns:
      (index, sign) pairs in order, sign +1 for a maximum and -1 for a minimum. A maximum's index is the last
      sample at it before the fall, a minimum's the first sample at it.
    """
    points: list[tuple[int, int]] = []
    low = high = 0
    seeking = 0  # +1: rising, looks for a maximum; -1: falling; 0: has not moved yet
    for i, value in enumerate(x):
        if value >= x[high]:
            high = i
        if value < x[low]:
            low = i
        if seeking >= 0 and x[high] - value >= delta:
            points.append((high, 1))
            seeking, low = -1, i
        elif seeking <= 0 and value - x[low] >= delta:
            points.append((low, -1))
            seeking, high = 1, i
    if seeking:
        points.append((low, -1) if seeking < 0 else (high, 1))
    return points


def desaturations(spo2: np.ndarray) -> tuple[Desaturation, ...]:
    """Falls of at least 3 points from peak to nadir in (duration_s,) SpO2 at 1 Hz with NaN for no value.

    Values are compared as the oximeter gave them, without interpolation. The fall is the one between two
    turning points at least 1.5 points apart; its peak is the highest value in the 120 s before the nadir.

    >>> spo2 = np.array([96.0] * 60 + [95, 94, 93, 92, 91, 91, 92, 93, 94, 95] + [96] * 60)
    >>> [(d.onset_s, d.nadir_percent) for d in desaturations(spo2)]
    [(59.0, 91.0)]
    """
    found = []
    times = np.flatnonzero(np.isfinite(spo2))
    cuts = np.flatnonzero(np.diff(times) > GAP_MAX_S + 1) + 1
    for part in np.split(times, cuts):
        if not len(part):
            continue
        x = spo2[part]
        points = turning_points(x, RECOVERY_PERCENT - 1e-6)
        for k in range(1, len(points)):
            (before, _), (nadir, sign) = points[k - 1], points[k]
            if sign > 0:
                continue
            first = max(before, int(np.searchsorted(part, part[nadir] - FALL_MAX_S)))
            peak = nadir - int(np.argmax(x[first : nadir + 1][::-1]))  # the last second at the peak
            after = x[nadir : points[k + 1][0] + 1] if k + 1 < len(points) else x[nadir:]
            recovery = nadir + int(np.argmax(after >= min(x[peak], after.max())))
            long_enough = part[recovery] - part[peak] >= MIN_S
            if x[peak] - x[nadir] >= DROP_PERCENT - 1e-6 and long_enough:
                found.append(
                    Desaturation(
                        onset_s=float(part[peak]),
                        nadir_s=float(part[nadir]),
                        end_s=float(part[recovery]),
                        peak_percent=float(x[peak]),
                        nadir_percent=float(x[nadir]),
                    )
                )
    return tuple(found)


def counted_desaturations(found: Sequence[Desaturation], stages: np.ndarray) -> tuple[Desaturation, ...]:
    """The desaturations of which any part lies in an epoch of sleep: those that the ODI counts."""
    return tuple(d for d in found if count_in_sleep([d.event], stages))


def oximetry_statistics(
    spo2: np.ndarray, counted: Sequence[Desaturation], stages: np.ndarray
) -> dict[str, float | None]:
    """ODI, T90, mean, median and minimum SpO2 over the seconds of sleep with a valid value; None without any.

    Args:
      spo2: (duration_s,) as from `valid_spo2`.
      counted: as from `counted_desaturations`.
      stages: (E,) codes.
    """
    asleep = np.repeat(stages > 0, EPOCH_S)
    slept = spo2[: len(asleep)][asleep[: len(spo2)]]
    values = slept[np.isfinite(slept)]
    if not len(values):
        names = ("odi3_per_h", "t90_pct", "t88_pct", "spo2_mean_pct", "spo2_median_pct", "spo2_min_pct")
        return {name: None for name in names} | {"spo2_valid_sleep_min": 0.0}
    return {
        "odi3_per_h": len(counted) / (len(values) / 3600),
        "t90_pct": 100 * float((values < 90).mean()),
        "t88_pct": 100 * float((values < 88).mean()),
        "spo2_mean_pct": float(values.mean()),
        "spo2_median_pct": float(np.median(values)),
        "spo2_min_pct": _held_minimum(np.where(asleep[: len(spo2)], spo2[: len(asleep)], np.nan)),
        "spo2_valid_sleep_min": len(values) / 60,
    }


def _held_minimum(spo2: np.ndarray, held_s: int = 3) -> float | None:
    """The lowest level at or under which SpO2 stays for 3 s; None when there are no 3 valid seconds on end."""
    lows = [
        np.lib.stride_tricks.sliding_window_view(spo2[start:stop], held_s).max(axis=1).min()
        for start, stop in runs(np.isfinite(spo2))
        if stop - start >= held_s
    ]
    return float(min(lows)) if lows else None


def hypoxic_burden(spo2: np.ndarray, breathing: Sequence[Event], monitored_min: float) -> tuple[float | None, str]:
    """Hypoxic burden in %·min per hour of sleep, and the rule it was made by (Azarbarzin et al., Eur Heart J 2019).

    SpO2 is cut from 100 s before to 100 s after every breathing event's end; the deepest point of the mean
    curve in [-10, +80] s and the peaks on both sides of it give one window for all; each event's area is
    summed under its own highest value in the window.

    Args:
      spo2: (duration_s,) as from `valid_spo2`.
      breathing: counted breathing events.
      monitored_min: sleep in which breathing events could be found.

    Returns:
      (None, rule) when nobody slept so or no event has SpO2 around it; 0 when there are no events.
    """
    if monitored_min <= 0 or not np.isfinite(spo2).any():
        return None, BURDEN_RULE
    if not breathing:
        return 0.0, BURDEN_RULE
    reach = 100
    padded = np.pad(spo2, reach + 1, constant_values=np.nan)
    curves = np.stack([padded[(at := round(e.end_s) + 1) : at + 2 * reach + 1] for e in breathing])  # (n, 201)
    valid = np.isfinite(curves)
    n_valid = valid.sum(axis=0)
    if not n_valid.any():
        return None, BURDEN_RULE
    start, stop, rule = reach - 5, reach + 45, BURDEN_FALLBACK_RULE
    if n_valid.all():
        mean = np.where(valid, curves, 0).sum(axis=0) / n_valid
        nadir = reach - 10 + int(np.argmin(mean[reach - 10 : reach + 81]))
        before = [i for i, sign in turning_points(mean, 0.1) if sign > 0 and i < nadir]
        after = [i for i, sign in turning_points(mean, 0.1) if sign > 0 and i > nadir]
        if before and after:
            start, stop, rule = before[-1], after[0], BURDEN_RULE
    window = curves[:, start : stop + 1]
    window = window[np.isfinite(window).any(axis=1)]
    area = np.nansum(np.nanmax(window, axis=1, keepdims=True) - window) if len(window) else 0.0
    return float(area / monitored_min), rule


ROWS = (
    ("odi3_per_h", "ODI3", "/h"),
    ("odi4_per_h", "ODI4", "/h"),
    ("odi3_rem_per_h", "ODI3 in REM", "/h"),
    ("odi3_nrem_per_h", "ODI3 in NREM", "/h"),
    ("desaturations", "Desaturations", ""),
    ("spo2_mean_pct", "Mean SpO2", "%"),
    ("spo2_min_pct", "Lowest SpO2 (3 s)", "%"),
    ("t90_pct", "Sleep below 90 % (T90)", "%"),
    ("hypoxic_burden_pct_min_per_h", "Hypoxic burden", "%·min/h"),
)
"""Rows of the report, as in `Room.rows`."""
