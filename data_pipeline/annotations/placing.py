"""Where the marks of a scoring file lie in the recording: by clock, by unit, by length; or that they are not of it.

A scoring that starts at lights off, read as if it started with the recording, moves every label (kappa 0.96 became
0.09), and one in milliseconds makes a night of wake; nothing later can notice. So: a file that says its clock is
placed by it. One that does not is taken to count seconds from the first sample, unless its stages fill the night in
another unit exactly. What fits neither is refused.
"""

import datetime
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median

from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.stage_words import stage_word
from data_pipeline.annotations.terms import stage_of
from data_pipeline.annotations.times import DAY_S
from data_pipeline.night import EPOCH_S, UNKNOWN_STAGE, Lights
from data_pipeline.readers.edf_header import told_day
from data_pipeline.readers.recording import Annotation, in_order

MOST_PAST_S, MOST_PAST_SHARE = 300.0, 0.1
"""What may lie past the end: scorings of published nights are up to 30 epochs longer than the recordings (ISRUC)."""
FILLS = (0.9, 1.02)
"""Share of the recording that stages cover which were made of it from end to end."""
FEWEST_MARKS = 10
"""Fewer stage marks tell nothing of their unit."""
FINEST_S = 4.0
"""Stages are not scored in shorter steps."""
LEAST_OVERLAP = 0.5
"""Of a scoring that is placed by time of day alone, what must lie within the recording, or of the recording in it."""
_RATES_HZ = (50, 64, 100, 125, 128, 200, 250, 256, 400, 500, 512, 1024, 2000, 2048)


class Misplaced(ValueError):
    """A scoring that cannot be of this recording; the message says why, without the file's name."""


def place(
    marks: Marks, recording_clock: str | None, recording_day: datetime.date | None, duration_s: float
) -> tuple[tuple[Annotation, ...], Lights, tuple[str, ...]]:
    """Puts marks on the recording's time axis.

    Args:
      marks: of one file.
      recording_clock: time of day of the recording's first sample, "22:31:05"; None when unknown.
      recording_day: its calendar day, None when unknown.
      duration_s: length of the recording, seconds.
    Returns:
      annotations in seconds from the first sample; lights off and on in the same; a sentence for each thing done.
    Raises:
      Misplaced: another day, another time of day, another length, or a unit of time that is not clear.
    """
    notes: list[str] = []
    marks, recording_day = replace(marks, day=told_day(marks.day)), told_day(recording_day)
    annotations, lights_s = marks.annotations, marks.lights_s
    if marks.clock is None or _is_unset(marks.clock, marks.day):
        annotations, factor, first = _in_seconds(annotations, duration_s, notes)
        lights_s = tuple(None if s is None else (s - first) * factor for s in lights_s)
    else:
        shift_s = _shift_s(marks, recording_clock, recording_day, duration_s, notes)
        annotations = tuple(replace(a, onset_s=a.onset_s + shift_s) for a in annotations)
        lights_s = tuple(None if s is None else s + shift_s for s in lights_s)
    if marks.clock is None or marks.day is None or marks.day != recording_day:
        # With one day and clock it is of this night, of which a part was recorded, or copied.
        _refuse_another_length(annotations, duration_s)
    return annotations, lights_s, tuple(notes)


def _shift_s(marks: Marks, clock: str | None, day: datetime.date | None, duration_s: float, notes: list[str]) -> float:
    """Seconds from the recording's first sample to the zero of the marks."""
    starts = None if clock is None else datetime.time.fromisoformat(clock)
    if starts is None or _is_unset(starts, day):
        notes.append("It has a clock and the recording has none: its first time was taken for the recording's start.")
        return 0.0
    late_s = _of_day_s(marks.clock) - _of_day_s(starts)
    days = (marks.day - day).days if marks.day and day else None
    if days is not None and abs(days * DAY_S + late_s) < DAY_S / 2 + duration_s:
        late_s += days * DAY_S  # both say their day, and mean the same night
    elif days is not None and abs(days) > 1:
        problem = f"it begins {abs(days)} days {'after' if days > 0 else 'before'} the recording, by the clocks of both"
        raise Misplaced(f"{problem}. Is it the scoring of this recording?")
    shift_s = max(
        (late_s + k * DAY_S for k in (0, 1, -1, 2, -2)), key=lambda s: _overlap_s(marks.annotations, s, duration_s)
    )
    overlap_s = _overlap_s(marks.annotations, shift_s, duration_s)
    span_s = _overlap_s(marks.annotations, 0.0, math.inf)
    if overlap_s <= 0 or (days is None and overlap_s < LEAST_OVERLAP * min(span_s, duration_s)):
        ends = starts_at(_of_day_s(starts) + duration_s)
        extent = "less than half" if overlap_s > 0 else "nothing"
        problem = f"by its clock, which starts at {marks.clock:%H:%M:%S}, {extent} of it lies within the recording"
        raise Misplaced(f"{problem}, {clock} to {ends}. Is it the scoring of this recording?")
    if abs(shift_s) >= 1:
        side = "after" if shift_s > 0 else "before"
        notes.append(f"It begins {abs(shift_s):g} s {side} the recording, by the clocks of both: placed there.")
    return shift_s


def _is_unset(clock: datetime.time, day: datetime.date | None) -> bool:
    """Whether a clock is what a program writes that knows neither time nor day."""
    return day is None and clock == datetime.time(0)


def starts_at(seconds: float) -> str:
    """A time of day in seconds, as a clock shows it."""
    return str(datetime.timedelta(seconds=int(seconds) % DAY_S)).rjust(8, "0")


def _of_day_s(clock: datetime.time) -> float:
    return clock.hour * 3600 + clock.minute * 60 + clock.second + clock.microsecond / 1e6


def _overlap_s(annotations: Sequence[Annotation], shift_s: float, duration_s: float) -> float:
    """How much of the recording lies between the first mark and the end of the last, in seconds (at least 1 if any)."""
    if not annotations:
        return 1.0
    first_s = min(a.onset_s for a in annotations) + shift_s
    last_s = max(a.onset_s + max(a.duration_s or 0.0, 1.0) for a in annotations) + shift_s
    return min(last_s, duration_s) - max(first_s, 0.0)


def _stage_marks(annotations: Sequence[Annotation]) -> tuple[Annotation, ...]:
    """Marks that say a stage, also one that nobody understands; in order."""
    stages = [a for a in annotations if stage_of(a.text) is not None or stage_word(a.text) is not None]
    return in_order(stages)


def _in_seconds(
    annotations: tuple[Annotation, ...], duration_s: float, notes: list[str]
) -> tuple[tuple[Annotation, ...], float, float]:
    """The marks in seconds; the factor that made them so, and what was subtracted before."""
    stages = _stage_marks(annotations)
    steps = [b.onset_s - a.onset_s for a, b in pairwise(stages) if b.onset_s > a.onset_s]
    if len(stages) < FEWEST_MARKS or not steps:
        return annotations, 1.0, 0.0
    step = median(steps)
    lengths = [a.duration_s for a in stages if a.duration_s]
    # Onsets that count epochs may stand beside lengths in seconds: then only the onsets tell the unit.
    is_one_unit = bool(lengths) and median(lengths) <= 2 * step
    last = stages[-1].onset_s + (lengths[-1] if is_one_unit else step)
    if FILLS[0] * duration_s <= last <= FILLS[1] * duration_s + MOST_PAST_S:
        return annotations, 1.0, 0.0
    for unit, factor in _units(steps, step):
        is_counted = unit == "epochs" and stages[0].onset_s == 1  # from 1
        whole_s = (last - is_counted) * factor
        if FILLS[0] * duration_s - EPOCH_S <= whole_s <= FILLS[1] * duration_s + EPOCH_S:
            notes.append(
                f"Its times are in {unit}: only so do its stages fill the recording. They were put into seconds."
            )
            first, scale = float(is_counted), factor if is_one_unit else 1.0
            return tuple(_rescaled(a, first, factor, scale) for a in annotations), factor, first
    if step < FINEST_S:
        problem = f"its stage marks lie {step:g} apart and reach to {last:g}, the recording is {duration_s:g} s long"
        raise Misplaced(f"{problem}: in what unit are its times? Write seconds from the first sample.")
    if duration_s - last > MOST_PAST_S + MOST_PAST_SHARE * duration_s:
        rest = f"Its stages end {duration_s - last:g} s before the recording does"
        notes.append(f"{rest}, and nothing says when they begin: they were taken to begin with it.")
    return annotations, 1.0, 0.0


def _rescaled(a: Annotation, first: float, factor: float, scale: float) -> Annotation:
    return Annotation((a.onset_s - first) * factor, None if a.duration_s is None else a.duration_s * scale, a.text)


def _units(steps: Sequence[float], step: float) -> list[tuple[str, float]]:
    """Units that the steps between stage marks may be in, and seconds in each."""
    grid = math.gcd(*(round(s * 1e4) for s in steps)) / 1e4
    units = []
    if grid >= 1 and all(s == int(s) for s in steps) and grid < FINEST_S:
        units.append(("epochs", float(EPOCH_S)))
    if grid < FINEST_S and 10 <= grid * 60 <= 60:
        units.append(("minutes", 60.0))
    if grid < FINEST_S and 10 <= round(grid * 3600) <= 60:
        units.append(("hours", 3600.0))
    if grid >= 1000 * FINEST_S:
        units.append(("milliseconds", 1e-3))
    units += [(f"samples at {rate} Hz", 1 / rate) for rate in _RATES_HZ if grid in (20 * rate, 30 * rate)]
    return units


def _refuse_another_length(annotations: Sequence[Annotation], duration_s: float) -> None:
    known = [a for a in _stage_marks(annotations) if stage_of(a.text) != UNKNOWN_STAGE]
    if known:
        first_s, end_s = known[0].onset_s, max(a.onset_s + (a.duration_s or 0.0) for a in known)
        past_s = end_s - max(duration_s, first_s)
        if past_s > max(MOST_PAST_S, MOST_PAST_SHARE * (end_s - first_s)):
            problem = f"its stages end {past_s:g} s after the recording, which is {duration_s:g} s long"
            raise Misplaced(f"{problem}. Is it the scoring of this recording, and are its times in seconds?")
    events = [a for a in annotations if stage_of(a.text) is None]
    outside = sum(a.onset_s >= duration_s + MOST_PAST_S or a.onset_s + (a.duration_s or 0.0) < 0 for a in events)
    if outside >= 3 and outside > MOST_PAST_SHARE * len(events):
        problem = f"{outside} of its {len(events)} events lie outside the recording, which is {duration_s:g} s long"
        raise Misplaced(f"{problem}. Is it the scoring of this recording, and are its times in seconds?")
