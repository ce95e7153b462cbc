"""Several files of one night as one recording: each at its time of day, with gaps where no file was open."""

import datetime
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_pipeline.night import RecordingError
from data_pipeline.readers.edf_header import read_header
from data_pipeline.readers.recording import LONGEST_S, Annotation, Recording, Signal, gaps_note, in_order

_DAY_S = 86400
_ROUNDING_S = 2.0
"""Headers tell the second at which a file begins: what overlaps less follows at once."""


def start_and_length(path: Path) -> tuple[datetime.datetime, float, frozenset[str]] | None:
    """When an EDF begins, its seconds, and the labels of its signals; None where the header does not say when.

    Raises:
      RecordingError: the header is damaged.
    """
    layout, signals = read_header(path)
    with path.open("rb") as file:
        date = re.fullmatch(rb"(\d\d).(\d\d).(\d\d)", file.read(176)[168:])
    if date is None or layout.start_clock is None:
        return None
    day, month, year = (int(part) for part in date.groups())
    try:  # the year 85 is 1985, 84 is 2084 (EDF, item 2)
        began = datetime.date(year + (1900 if year >= 85 else 2000), month, day)
    except ValueError:
        return None
    n_records = (path.stat().st_size - layout.header_bytes) // layout.record_bytes
    clock = datetime.time.fromisoformat(layout.start_clock)
    length_s = float(n_records * layout.record_s)
    return datetime.datetime.combine(began, clock), length_s, frozenset(s.label for s in signals)


def joined(parts: Sequence[Recording]) -> Recording:
    """One recording of parts in the order of time, within a day of the first.

    Signals are the same where label, unit and rate are; where a part lacks one, nothing was recorded.

    Raises:
      RecordingError: a part does not say when it began, or two have the same signal at one time.
    """
    first = parts[0]
    names = [[_name(part.signals, s) for s in part.signals] for part in parts]
    starts_s = _starts(parts, names)
    duration_s = max(start_s + part.duration_s for start_s, part in zip(starts_s, parts, strict=True))
    if duration_s > LONGEST_S:
        raise RecordingError(first.path, "its parts together are longer than a week. Split it into nights.")
    signals: dict[tuple, Signal] = {}
    places: dict[tuple, list[tuple[int, int]]] = {}  # of each signal: which parts have it, and under which index
    for k, part in enumerate(parts):
        for name, s in zip(names[k], part.signals, strict=True):
            known = signals.setdefault(name, replace(s, index=len(signals)))
            signals[name] = replace(known, physical_range=_wider(known.physical_range, s.physical_range))
            places.setdefault(name, []).append((k, s.index))
    its_parts = list(places.values())

    def read_span(index: int, start_s: float, stop_s: float) -> np.ndarray:
        rate_hz = float(tuple(signals.values())[index].rate_hz)
        first, last = round(start_s * rate_hz), round(stop_s * rate_hz)
        samples = np.full(last - first, np.nan, np.float32)
        for k, its_index in its_parts[index]:
            part, at = parts[k], round(starts_s[k] * rate_hz)
            lo, hi = max(first, at), min(last, at + round(part.duration_s * rate_hz))
            if lo < hi:
                stop = min((hi - at) / rate_hz, part.duration_s)
                piece = part.read(its_index, (lo - at) / rate_hz, stop)
                samples[lo - first : lo - first + len(piece)] = piece[: hi - lo]
        return samples

    gaps = _gaps(parts, starts_s, duration_s)
    annotations = [
        Annotation(round(a.onset_s + start_s, 9), a.duration_s, a.text)
        for start_s, part in zip(starts_s, parts, strict=True)
        for a in part.annotations
    ]
    note = f"Joined from {len(parts)} files; {gaps_note(gaps)}"
    return replace(
        first,
        duration_s=duration_s,
        signals=tuple(signals.values()),
        annotations=in_order(annotations),
        gaps=gaps,
        notes=(note, *(said for part in parts for said in part.notes)),
        read_span=read_span,
    )


def _name(signals: Sequence[Signal], s: Signal) -> tuple:
    """What makes a signal the same in another part; the second of one label is the second there."""
    nth = sum(other.label == s.label for other in signals[: s.index])
    return s.label, nth, s.unit, s.rate_hz, s.is_calibrated


def _wider(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    """The range that holds both, turned over as the first is."""
    lowest, highest = min(*a, *b), max(*a, *b)
    return (lowest, highest) if a[0] <= a[1] else (highest, lowest)


def _starts(parts: Sequence[Recording], names: Sequence[Sequence[tuple]]) -> list[float]:
    """Seconds from the first sample of the first part to that of each."""
    clocks_s = []
    for part in parts:
        if part.start_clock is None:
            raise RecordingError(part.path, "a part of a night that does not say when it began. Join the parts first.")
        hour, minute, second = map(int, part.start_clock.split(":"))
        clocks_s.append(3600 * hour + 60 * minute + second)
    starts_s: list[float] = []
    ends_s: dict[tuple, float] = {}
    for part, its_names, clock_s in zip(parts, names, clocks_s, strict=True):
        start_s = float((clock_s - clocks_s[0]) % _DAY_S)
        earliest_s = max((ends_s.get(name, 0.0) for name in its_names), default=0.0)
        if start_s < earliest_s - _ROUNDING_S:
            problem = "a part of a night that begins before the part before it ends"
            raise RecordingError(part.path, f"{problem}. Are they parts of one night?")
        start_s = max(start_s, earliest_s)
        starts_s.append(start_s)
        ends_s |= dict.fromkeys(its_names, start_s + part.duration_s)
    return starts_s


def _gaps(parts: Sequence[Recording], starts_s: Sequence[float], end_s: float) -> tuple[tuple[float, float], ...]:
    """Where no part has anything."""
    covered: list[tuple[float, float]] = []
    for part, start_s in zip(parts, starts_s, strict=True):
        edges = [0.0, *(edge for gap in part.gaps for edge in gap), part.duration_s]
        covered += [(start_s + a, start_s + b) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    gaps, reached_s = [], 0.0
    for a, b in sorted(covered):
        if a > reached_s:
            gaps.append((reached_s, a))
        reached_s = max(reached_s, b)
    return (*gaps, (reached_s, end_s)) if reached_s < end_s else tuple(gaps)
