"""Sleep statistics and indices, by the AASM manual (chapters II, V, VIII) where it has them.

Every function takes a hypnogram, (E,) codes of `STAGES` with -1 for unknown, and gives None where a quantity
does not exist (REM latency without REM, an index without sleep): never NaN, never zero in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipeline.night import APNEAS, EPOCH_S, STAGES, Event
from data_pipeline.runs import runs
from sleepmami_jax.scoring.rules import link_arousals

EPOCH_MIN = EPOCH_S / 60
REM = STAGES.index("REM")

PERSISTENT_SLEEP_MIN = 10.0
"""Latency to persistent sleep: the first 10 min of unbroken sleep (Luna, `HYPNO`)."""
STAGE_AHI_MIN = 15.0
"""An AHI in REM or NREM from less than 15 min of it is not given (our choice; practice is 10 to 15 min)."""
INDEX_SLEEP_MIN = 120.0
"""An index from less than 2 h of sleep comes with a warning (our choice)."""
NREM_PERIOD_MIN = 15.0
REM_PERIOD_MIN = 5.0
"""Shortest NREM period, and shortest REM period after the first one (Feinberg & Floyd, Psychophysiology
1979)."""

SEVERITY_CUTS = (5.0, 15.0, 30.0)
SEVERITIES = ("none", "mild", "moderate", "severe")

RULES = {
    "trt_min": "recording time (TRT): the whole recording in 30-s epochs, for want of lights-off and "
    "lights-on marks",
    "sol_min": "sleep onset latency: start of the recording to the first epoch of any sleep stage",
    "waso_aasm_min": "WASO (AASM): recording time minus sleep latency minus sleep time, so waking after the "
    "last sleep counts, and so do epochs that could not be scored",
    "waso_spt_min": "WASO (within sleep period): epochs of W between the first and the last epoch of sleep",
    "rem_latency_min": "REM latency: sleep onset to the first epoch of REM",
    "awakenings": "awakenings: runs of at least one epoch of W between the first and the last epoch of sleep",
    "cycles": "cycles after Feinberg & Floyd 1979: at least 15 min from the first NREM epoch to a REM "
    "period, which lasts at least 5 min except the first; REM closer than 15 min is one period; long NREM is "
    "not split",
    "ahi_per_h": "AHI: the apneas and hypopneas listed, per hour of sleep; an event lasts 10 to 180 s, marks "
    "up to 3 s apart are one, and some part of it lies in sleep; the desaturation rule for hypopneas is the "
    "one of the training labels",
    "ahi_rem_per_h": "AHI in REM and NREM: events that begin in that stage, per hour of it; at least 15 min "
    "of it",
    "arousal_index_per_h": "arousal index: the arousals listed, per hour of sleep; an arousal lasts at least "
    "3 s, begins at least 10 s after the last one's end, and it or the 10 s before it touch sleep",
    "breathing_with_arousal_pct": "an arousal goes with a breathing event when it begins from 6 s before to "
    "14 s after the event's end",
}
"""Definitions, by the first statistic that each is about."""


def _share(part: float, whole: float) -> float | None:
    return 100 * part / whole if whole else None


def _per_hour(count: float, minutes: float) -> float | None:
    return count / (minutes / 60) if minutes else None


def sleep_statistics(stages: np.ndarray) -> dict[str, float | int | None]:
    """Times, shares and latencies of one night, in minutes and percent; definitions in `RULES`.

    Recording time is all E epochs. TST is all epochs of N1, N2, N3 and REM; SPT runs from the first to the
    last of them; SE is TST / TRT and SME is TST / SPT; stage shares are of TST.

    Raises:
      ValueError: stages is empty or holds codes outside -1..4.
    """
    stages = np.asarray(stages)
    if stages.ndim != 1 or not len(stages) or stages.min() < -1 or stages.max() >= len(STAGES):
        raise ValueError(
            f"stages of shape {stages.shape}: expected (E,) codes from -1 to {len(STAGES) - 1}, E > 0"
        )
    asleep = stages > 0
    trt_min = len(stages) * EPOCH_MIN
    tst_min = int(asleep.sum()) * EPOCH_MIN
    minutes = {name: int((stages == code).sum()) * EPOCH_MIN for code, name in enumerate(STAGES)}
    statistics: dict[str, float | int | None] = {
        "trt_min": trt_min,
        "tst_min": tst_min,
        "se_pct": 100 * tst_min / trt_min,
        "unscored_min": int((stages < 0).sum()) * EPOCH_MIN,
    }
    statistics |= {f"{name.lower()}_min": minutes[name] for name in STAGES}
    statistics |= {f"{name.lower()}_pct_tst": _share(minutes[name], tst_min) for name in STAGES[1:]}
    names = ("sol_min", "lps_min", "spt_min", "sme_pct", "waso_aasm_min", "waso_spt_min", "rem_latency_min")
    if not asleep.any():
        return statistics | {name: None for name in names} | {"awakenings": 0, "cycles": 0}
    first, last = np.flatnonzero(asleep)[[0, -1]]
    period = stages[first : last + 1]
    persistent = [start for start, stop in runs(asleep) if (stop - start) * EPOCH_MIN >= PERSISTENT_SLEEP_MIN]
    rem = np.flatnonzero(stages == REM)
    sol_min = float(first * EPOCH_MIN)
    return statistics | {
        "sol_min": sol_min,
        "lps_min": persistent[0] * EPOCH_MIN if persistent else None,
        "spt_min": len(period) * EPOCH_MIN,
        "sme_pct": 100 * tst_min / (len(period) * EPOCH_MIN),
        "waso_aasm_min": trt_min - sol_min - tst_min,
        "waso_spt_min": int((period == 0).sum()) * EPOCH_MIN,
        "rem_latency_min": float((rem[0] - first) * EPOCH_MIN) if len(rem) else None,
        "awakenings": len(runs(period == 0)),
        "cycles": len(sleep_cycles(stages)),
    }


def sleep_cycles(stages: np.ndarray) -> list[tuple[int, int]]:
    """Half-open epoch ranges [first NREM epoch, end of REM period) of complete sleep cycles, by
    `RULES["cycles"]`."""
    stages = np.asarray(stages)
    periods: list[list[int]] = []
    for start, stop in runs(stages == REM):
        if periods and (start - periods[-1][1]) * EPOCH_MIN < NREM_PERIOD_MIN:
            periods[-1][1] = stop
        else:
            periods.append([start, stop])
    cycles = []
    begin = 0
    for start, stop in periods:
        rem_min = int((stages[start:stop] == REM).sum()) * EPOCH_MIN
        if begin and rem_min < REM_PERIOD_MIN:
            continue  # a short REM period after the first one belongs to the NREM around it
        nrem = np.flatnonzero((stages[begin:start] > 0) & (stages[begin:start] < REM))
        if len(nrem) and (start - begin - nrem[0]) * EPOCH_MIN >= NREM_PERIOD_MIN:
            cycles.append((begin + int(nrem[0]), stop))
        begin = stop
    return cycles


def severity(ahi_per_h: float) -> str:
    """Severity class of an AHI: none < 5 <= mild < 15 <= moderate < 30 <= severe."""
    return SEVERITIES[int(np.searchsorted(SEVERITY_CUTS, ahi_per_h, side="right"))]


def breathing_statistics(breathing: Sequence[Event], stages: np.ndarray) -> dict[str, Any]:
    """Counts and indices of counted breathing events (`rules.counted_breathing`) over a hypnogram.

    An event in REM or NREM is one whose onset is there; one that begins in an epoch of W or an unscored one
    is in the AHI and in neither of the two.
    """
    tst_min = float((stages > 0).sum() * EPOCH_MIN)
    ahi = _per_hour(len(breathing), tst_min)
    n_apneas = sum(e.kind in APNEAS for e in breathing)
    onset_epochs = [min(int(e.onset_s // EPOCH_S), len(stages) - 1) for e in breathing]
    onset_stages = np.asarray(stages)[onset_epochs] if onset_epochs else np.zeros(0, int)

    def stage_ahi(in_stage, events_in_stage) -> float | None:
        stage_min = float(in_stage.sum() * EPOCH_MIN)
        return _per_hour(int(events_in_stage.sum()), stage_min) if stage_min >= STAGE_AHI_MIN else None

    return {
        "apneas": n_apneas,
        "hypopneas": len(breathing) - n_apneas,
        "ahi_per_h": ahi,
        "apnea_index_per_h": _per_hour(n_apneas, tst_min),
        "hypopnea_index_per_h": _per_hour(len(breathing) - n_apneas, tst_min),
        "ahi_severity": None if ahi is None else severity(ahi),
        "ahi_rem_per_h": stage_ahi(stages == REM, onset_stages == REM),
        "ahi_nrem_per_h": stage_ahi((stages > 0) & (stages < REM), (onset_stages > 0) & (onset_stages < REM)),
        "breathing_event_mean_s": float(np.mean([e.duration_s for e in breathing])) if breathing else None,
        "breathing_event_longest_s": max((e.duration_s for e in breathing), default=None),
    }


def arousal_statistics(
    arousals: Sequence[Event], breathing: Sequence[Event] | None, stages: np.ndarray
) -> dict[str, Any]:
    """Count and index of counted arousals, and how many go with breathing events (None when breathing is
    unknown)."""
    tst_min = float((stages > 0).sum() * EPOCH_MIN)
    statistics: dict[str, Any] = {
        "arousals": len(arousals),
        "arousal_index_per_h": _per_hour(len(arousals), tst_min),
        "respiratory_arousal_index_per_h": None,
        "breathing_with_arousal_pct": None,
    }
    if breathing is not None:
        linked = len(link_arousals(breathing, arousals))
        statistics["respiratory_arousal_index_per_h"] = _per_hour(linked, tst_min)
        statistics["breathing_with_arousal_pct"] = _share(linked, len(breathing))
    return statistics


def stage_of(event: Event, stages: np.ndarray) -> str:
    """Name of the stage in which an event begins; "unknown" for an unscored epoch or one after the last."""
    epoch = int(event.onset_s // EPOCH_S)
    code = int(stages[epoch]) if epoch < len(stages) else -1
    return STAGES[code] if code >= 0 else "unknown"
