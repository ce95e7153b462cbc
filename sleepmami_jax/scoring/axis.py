"""All that the report draws on the axis of time, as plain values for the page's own script (`page/`)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipeline.modalities import Modality
from data_pipeline.night import EPOCH_S, STAGES, Event, Night, Quality
from data_pipeline.runs import runs, runs_of_values
from data_pipeline.tasks import STAGES as STAGING
from data_pipeline.tasks import Task, kind_title
from sleepmami_jax.scoring.differences import Difference
from sleepmami_jax.scoring.objects import DISPLAY_ORDER
from sleepmami_jax.scoring.prediction import Scores
from sleepmami_jax.scoring.rates import STEP_S
from sleepmami_jax.scoring.signals import Signals
from sleepmami_jax.tasks import oximetry, rooms_of
from sleepmami_jax.tasks.oximetry import valid_spo2

NO_VALUE = 0xFFFF
UNKNOWN_CLOCK = "00:00:00"
"""What a header says whose times were taken away; a recording that does begin then is shown by its seconds."""
SHOWN_WITH = {"breathing": ("SPO2",), "oximetry": ("NASAL_PRESSURE", "THERMISTOR", "THORAX", "ABDOMEN")}
"""Channels that are looked at beside those that a task is told from."""
STAGED_BY = ("F3", "F4", "C3", "C4", "O1", "O2", "E1", "E2", "CHIN")
"""What stages are scored from (AASM II)."""


def axis_data(scores: Scores, night: Night, signals: Signals, found: Sequence[Difference]) -> dict[str, Any]:
    """What `page/1_data.js` reads: times in seconds, arrays in base64, words as they are: nothing in it is escaped."""
    lanes = _lanes(scores, night)
    lane_of = {kind: n for n, (_, kinds) in enumerate(_classes(scores.tasks)) for kind in kinds}
    given = night.scoring.events if night.scoring is not None else ()
    looked_for = night.scoring.scored if night.scoring is not None else frozenset()
    staged = "stages" in looked_for
    risk = None if scores.reliability is None else scores.reliability.epoch_risk
    rows = [*(row for room in rooms_of(scores.tasks) for row in room.rows), *oximetry.ROWS]
    words_of = {key.removesuffix("_per_h").removesuffix("_per_min"): words for key, words, _ in rows}
    return {
        "duration": len(scores.stages) * EPOCH_S,
        "start": start_s(night),
        "lights": list(night.lights_s),
        "stageNames": list(STAGES),
        "stageOrder": [STAGES.index(name) for name in DISPLAY_ORDER],
        "stages": _text(scores.stages.astype(np.int8)),
        "given": _text(night.scoring.stages.astype(np.int8)) if staged else None,
        "probs": _text(np.rint(255 * np.clip(scores.stage_probs, 0, 1)).astype(np.uint8)),
        "risk": None if risk is None else _text(np.rint(200 * risk).astype(np.uint8)),
        "lanes": lanes,
        "events": _events(scores.events, lane_of)
        | {
            "probability": [None if p is None else round(p, 2) for p in scores.confidences],
            "links": [list(links) for links in scores.links],
            "countsAs": [", ".join(words_of.get(name, name) for name in names) for names in scores.counts_as],
            "whyNot": list(scores.why_not),
        },
        "rejected": [
            [round(event.onset_s, 2), round(event.duration_s, 2), kind_title(event.kind), why]
            for event, why in scores.rejected
        ],
        "givenEvents": _events([e for e in given if e.kind in looked_for], lane_of),
        "differences": [
            [round(d.onset_s, 2), round(d.duration_s, 2), d.words, d.task, _slots(d.task, scores.tasks)] for d in found
        ],
        "stagedBy": list(STAGED_BY),
        "tracks": _tracks(scores, night, signals),
        "quality": [
            {"slot": c.slot, "runs": _faults(c.quality[: len(scores.stages) * EPOCH_S])} for c in night.channels
        ],
        "faults": [flag.name.lower().replace("_", " ") for flag in Quality],
        "missing": list(scores.missing),
    }


def start_s(night: Night) -> int | None:
    """Time of day of the first sample in seconds; None where it is not known."""
    if night.start_clock in (None, UNKNOWN_CLOCK):
        return None
    hours, minutes, seconds = map(int, night.start_clock.split(":"))
    return 3600 * hours + 60 * minutes + seconds


def clock(second: float, start: int | None) -> str:
    """A time of the night: that of the clock, or since the start of the recording where its clock is not known.

    >>> clock(3600, start=82_800), clock(3600, start=None)
    ('00:00:00', '1:00:00')
    """
    whole = int(second) + (start or 0)
    hours = f"{whole // 3600 % 24:02d}" if start is not None else str(whole // 3600)
    return f"{hours}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def deciding(scores: Scores, found: Sequence[Difference]) -> dict[str, list[tuple[float, float]]]:
    """Slot -> (onset_s, end_s) of the events of both sides, and of the differences, that are told from it."""
    near: dict[str, list[tuple[float, float]]] = {}
    told = [(e.onset_s, e.end_s, task) for task in scores.tasks for e in scores.events if e.kind in task.kinds]
    for onset_s, end_s, task in told:
        for slot in (*task.slots, *SHOWN_WITH.get(task.name, ())):
            near.setdefault(slot, []).append((onset_s, end_s))
    for d in found:
        for slot in _slots(d.task, scores.tasks):
            near.setdefault(slot, []).append((d.onset_s, d.onset_s + d.duration_s))
    return near


def _slots(name: str, tasks: Sequence[Task]) -> list[str]:
    if name == STAGING.name:
        return list(STAGED_BY)
    task = next(task for task in tasks if task.name == name)
    return [*task.slots, *(slot for slot in SHOWN_WITH.get(name, ()) if slot not in task.slots)]


def _classes(tasks: Sequence[Task]) -> list[tuple[Task, tuple[str, ...]]]:
    """A lane for each class of event, a task after the other, its last class first."""
    return [(task, kinds) for task in tasks for kinds in reversed(task.events)]


def _lanes(scores: Scores, night: Night) -> list[dict[str, Any]]:
    there = {c.slot for c in night.channels}
    lanes = []
    for task, kinds in _classes(scores.tasks):
        unheard = runs(~scores.monitored[task.name]) if task.name in scores.monitored else ()
        lanes.append(
            {
                "kind": kinds[0],
                "title": kind_title(kinds[0]),
                "slots": [slot for slot in _slots(task.name, scores.tasks) if slot in there],
                "absent": scores.unavailable.get(task.name),
                "unmonitored": [[int(start) * EPOCH_S, int(stop) * EPOCH_S] for start, stop in unheard],
            }
        )
    return lanes


def _events(events: Sequence[Event], lane_of: dict[str, int]) -> dict[str, list]:
    told = [event for event in events if event.kind in lane_of]
    return {
        "lane": [lane_of[event.kind] for event in told],
        "title": [kind_title(event.kind) for event in told],
        "onset": [round(event.onset_s, 2) for event in told],
        "duration": [round(event.duration_s, 2) for event in told],
    }


def _tracks(scores: Scores, night: Night, signals: Signals) -> list[dict[str, Any]]:
    tracks = []
    end_s = len(scores.stages) * EPOCH_S
    oximeter = next((c for c in night.channels if c.modality == Modality.SPO2), None)
    if oximeter is not None:
        tracks.append(_track("SpO2", "%", 1, valid_spo2(oximeter)[:end_s], 0.1))
    tracks.append(_track("Breaths", "/min", STEP_S, signals.breaths_per_min[: end_s // STEP_S], 0.1))
    tracks.append(_track("Heart rate", "/min", STEP_S, signals.beats_per_min[: end_s // STEP_S], 0.1))
    for position in (c for c in night.channels if c.modality == Modality.POSITION):
        codes = np.where(position.quality == Quality.GOOD, position.samples, np.nan)[:end_s]
        tracks.append(_track("Position (code)", "", 1, codes, 1.0))
    return [track for track in tracks if track is not None]


def _track(title: str, unit: str, every_s: int, values: np.ndarray, step: float) -> dict[str, Any] | None:
    """A track of values in steps above its lowest; None of one without a value."""
    if not np.isfinite(values).any():
        return None
    lowest = float(np.floor(np.nanmin(values)))
    steps = np.clip((values - lowest) / step, 0, NO_VALUE - 1)
    packed = np.where(np.isfinite(values), np.rint(np.nan_to_num(steps)), NO_VALUE).astype("<u2")
    return {"title": title, "unit": unit, "every": every_s, "lowest": lowest, "step": step, "values": _text(packed)}


def _faults(quality: np.ndarray) -> list[list[int]]:
    """[start, stop, flags] of the runs of seconds with the same faults."""
    return [[start, stop, int(quality[start])] for start, stop in runs_of_values(quality) if quality[start]]


def _text(array: np.ndarray) -> str:
    return b64encode(array.tobytes()).decode("ascii")
