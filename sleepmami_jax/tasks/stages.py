"""Stages: what the hypnogram says of the night, by the AASM manual (chapter II) where it has it.

Every function takes a hypnogram, (E,) codes of `STAGES` with -1 for unknown, and gives None where a quantity
does not exist (REM latency without REM, an index without sleep): never NaN, never zero in its place.
"""

from __future__ import annotations

import numpy as np

from data_pipeline.night import EPOCH_S, STAGES, Event, Lights
from data_pipeline.runs import runs
from sleepmami_jax.tasks.rules import share, sleep_minutes

EPOCH_MIN = EPOCH_S / 60
REM = STAGES.index("REM")

PERSISTENT_SLEEP_MIN = 10.0
"""Latency to persistent sleep: the first 10 min of unbroken sleep (Luna, `HYPNO`)."""
INDEX_SLEEP_MIN = 120.0
"""An index from less than 2 h of sleep comes with a warning (our choice)."""
NREM_PERIOD_MIN = 15.0
REM_PERIOD_MIN = 5.0
"""Shortest NREM period, and shortest REM period after the first one (Feinberg & Floyd, Psychophysiology 1979)."""

DEFINITIONS = {
    "trt_min": "recording time (TRT): the whole recording in 30-s epochs, for want of lights-off and lights-on marks",
    "sol_min": "sleep onset latency: epochs of W before the first epoch of any sleep stage; what could not be scored "
    "before it is no latency",
    "waso_aasm_min": "WASO (AASM): time from the first epoch of sleep to the end of the recording minus sleep time, "
    "so waking after the last sleep counts, and so do epochs there that could not be scored",
    "waso_spt_min": "WASO (within sleep period): epochs of W between the first and the last epoch of sleep",
    "rem_latency_min": "REM latency: sleep onset to the first epoch of REM",
    "unsure_min": "unsure of the stage: epochs whose stage is more likely wrong than right; they have their stage, and "
    "their events are listed, but both are left out of the statistics of events",
    "awakenings": "awakenings: runs of at least one epoch of W between the first and the last epoch of sleep",
    "cycles": "cycles after Feinberg & Floyd 1979: at least 15 min from the first NREM epoch to a REM "
    "period, which lasts at least 5 min except the first; REM closer than 15 min is one period; long NREM is "
    "not split",
    "third1_tst_min": "thirds: of the time in bed; sleep, N3 and REM in each, and in each cycle",
}
"""Definitions, by the first statistic that each is about."""
LIGHTS = {
    "trt_min": "recording time (TRT): from lights off to lights on, as marked (where one is not, to that end of the "
    "recording), in 30-s epochs; times and shares of sleep are of these",
    "sol_min": "sleep onset latency: lights off to the first epoch of any sleep stage",
}
"""Definitions that differ where lights off or on are known."""


ROWS = (
    ("trt_min", "Recording time", "min"),
    ("tst_min", "Sleep time (TST)", "min"),
    ("spt_min", "Sleep period (SPT)", "min"),
    ("se_pct", "Sleep efficiency", "%"),
    ("sme_pct", "Sleep maintenance", "%"),
    ("sol_min", "Sleep onset latency", "min"),
    ("lps_min", "Latency to persistent sleep", "min"),
    ("rem_latency_min", "REM latency", "min"),
    ("waso_aasm_min", "WASO (AASM)", "min"),
    ("waso_spt_min", "WASO (within sleep period)", "min"),
    ("awakenings", "Awakenings", ""),
    ("cycles", "Sleep cycles", ""),
    ("unscored_min", "Not scored", "min"),
    ("unsure_min", "Unsure of the stage", "min"),
)
"""Rows of the report: (statistic, words, unit)."""
MOST_CYCLES = 9
"""Cycles that a page has rows for (our choice: a night of 10 h has seven)."""


def bed_epochs(stages: np.ndarray, lights_s: Lights) -> tuple[int, int]:
    """Of stages (E,) the half-open range of epochs from lights off to lights on; all where that is none."""
    off_s, on_s = lights_s
    first = 0 if off_s is None else round(off_s / EPOCH_S)
    end = len(stages) if on_s is None else min(round(on_s / EPOCH_S), len(stages))
    return (first, end) if first < end else (0, len(stages))


def in_bed(stages: np.ndarray, lights_s: Lights) -> np.ndarray:
    """Of stages (E,) the epochs of `bed_epochs`."""
    first, end = bed_epochs(stages, lights_s)
    return stages[first:end]


def sleep_statistics(stages: np.ndarray) -> dict[str, float | int | None]:
    """Times, shares and latencies of one night, in minutes and percent; definitions in `DEFINITIONS`.

    Recording time is all E epochs. TST is all epochs of N1, N2, N3 and REM; SPT runs from the first to the
    last of them; SE is TST / TRT and SME is TST / SPT; stage shares are of TST.

    >>> sleep_statistics(np.array([0, 0, 1, 2, 2, 3, 0, 4]))["tst_min"]
    2.5

    Raises:
      ValueError: stages is empty or holds codes outside -1..4.
    """
    stages = np.asarray(stages)
    if stages.ndim != 1 or not len(stages) or stages.min() < -1 or stages.max() >= len(STAGES):
        raise ValueError(f"stages of shape {stages.shape}: expected (E,) codes from -1 to {len(STAGES) - 1}, E > 0")
    asleep = stages > 0
    trt_min = len(stages) * EPOCH_MIN
    tst_min = sleep_minutes(stages)
    minutes = {name: int((stages == code).sum()) * EPOCH_MIN for code, name in enumerate(STAGES)}
    statistics: dict[str, float | int | None] = {
        "trt_min": trt_min,
        "tst_min": tst_min,
        "se_pct": 100 * tst_min / trt_min,
        "unscored_min": int((stages < 0).sum()) * EPOCH_MIN,
    }
    statistics |= {f"{name.lower()}_min": minutes[name] for name in STAGES}
    statistics |= {f"{name.lower()}_pct_tst": share(minutes[name], tst_min) for name in STAGES[1:]}
    names = ("sol_min", "lps_min", "spt_min", "sme_pct", "waso_aasm_min", "waso_spt_min", "rem_latency_min")
    if not asleep.any():
        return statistics | {name: None for name in names} | {"awakenings": 0, "cycles": 0}
    first, last = np.flatnonzero(asleep)[[0, -1]]
    period = stages[first : last + 1]
    persistent = [start for start, stop in runs(asleep).tolist() if (stop - start) * EPOCH_MIN >= PERSISTENT_SLEEP_MIN]
    rem = np.flatnonzero(stages == REM)
    awake_min = np.cumsum(stages == 0) * EPOCH_MIN  # up to and with each epoch
    return statistics | {
        "sol_min": float(awake_min[first]),
        "lps_min": float(awake_min[persistent[0]] + EPOCH_MIN * asleep[: persistent[0]].sum()) if persistent else None,
        "spt_min": len(period) * EPOCH_MIN,
        "sme_pct": 100 * tst_min / (len(period) * EPOCH_MIN),
        "waso_aasm_min": trt_min - first * EPOCH_MIN - tst_min,
        "waso_spt_min": int((period == 0).sum()) * EPOCH_MIN,
        "rem_latency_min": float((rem[0] - first) * EPOCH_MIN) if len(rem) else None,
        "awakenings": len(runs(period == 0)),
        "cycles": len(sleep_cycles(stages)),
    }


def sleep_cycles(stages: np.ndarray) -> list[tuple[int, int]]:
    """Half-open epoch ranges [first NREM epoch, end of REM period) of complete sleep cycles, by
    `DEFINITIONS["cycles"]`.

    >>> sleep_cycles(np.array([2] * 40 + [4] * 12 + [2] * 40 + [4] * 12))
    [(0, 52), (52, 104)]
    """
    stages = np.asarray(stages)
    periods: list[list[int]] = []
    for start, stop in runs(stages == REM).tolist():
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


def architecture(stages: np.ndarray) -> dict[str, float]:
    """Minutes of sleep, of N3 and of REM in each third of the night (E,) and in each sleep cycle.

    A third is of the time in bed; an epoch belongs to the third in which it begins. What of a cycle is awake is in its
    length, not in its sleep.

    >>> architecture(np.array([3] * 40 + [4] * 20 + [2] * 30))["third2_rem_min"]
    10.0
    """
    edges = [-(-len(stages) * k // 3) for k in range(4)]
    spans = {f"third{k}": (edges[k - 1], edges[k]) for k in (1, 2, 3)}
    cycles = {f"cycle{n}": cycle for n, cycle in enumerate(sleep_cycles(stages), start=1)}
    found: dict[str, float] = {}
    for name, (first, end) in (spans | cycles).items():
        part = stages[first:end]
        found |= {f"{name}_min": len(part) * EPOCH_MIN} if name in cycles else {}
        found[f"{name}_tst_min"] = sleep_minutes(part)
        found |= {f"{name}_{STAGES[code].lower()}_min": float((part == code).sum() * EPOCH_MIN) for code in (3, REM)}
    return found


def stage_of(event: Event, stages: np.ndarray) -> str:
    """Name of the stage in which an event begins; "unknown" for an unscored epoch or one after the last."""
    epoch = int(event.onset_s // EPOCH_S)
    code = int(stages[epoch]) if epoch < len(stages) else -1
    return STAGES[code] if code >= 0 else "unknown"
