"""Annotations of Luna (`.annot`), as NSRR harmonises scorings. https://zzz.bwh.harvard.edu/luna/ref/annotations/

Lines that begin with "#" describe classes; an optional line names the columns; then a line an annotation, tabs (or
blanks) between: class, instance, channel, start, stop, meta; or class, instance, start, stop; or class, start, stop.
"." is an empty cell. A time is in seconds from the first sample, `hh:mm:ss` (also `hh.mm.ss`) by the clock, perhaps
after a date, `0+hh:mm:ss` from the first sample, or an epoch, `e:2` of 30 s, `e:2:20` of 20 s, `e:2:30:15` of 30 s
every 15 s. A stop may be `+5`, a length, or `...`: until the next line's start.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.text import read_text
from data_pipeline.annotations.times import Moment, axis_of, elapsed_in, length_s, moment_in, number_in
from data_pipeline.night import EPOCH_S, RecordingError
from data_pipeline.readers.recording import Annotation, in_order

_PLACES = {6: (0, 3, 4), 4: (0, 2, 3), 3: (0, 1, 2)}
"""Number of columns -> where class, start and stop are."""
_HEADS = (
    ["class", "instance", "channel", "start", "stop", "meta"],
    ["class", "instance", "start", "stop"],
    ["class", "start", "stop"],
)
_EPOCH = re.compile(r"e:(\d{1,6})(?::(\d{1,4}(?:\.\d+)?))?(?::(\d{1,4}(?:\.\d+)?))?")


@dataclass(frozen=True)
class _Line:
    number: int
    text: str
    start: float | Moment
    stop: float | Moment | str | None


def is_luna(text: str) -> bool:
    """Whether a text names Luna's columns, whatever the file is called."""
    first = next((line for line in text.split("\n") if line.strip() and not line.startswith("#")), "")
    return first.lower().split() in _HEADS


def read_luna(path: Path) -> Marks:
    """All annotations, sorted by onset.

    Raises:
      RecordingError: a line of another form, times in no order, or clock times beside seconds.
    """
    lines = _lines(path)
    clocked = [line for line in lines if isinstance(line.start, Moment)]
    if clocked and len(clocked) < len(lines):
        raise RecordingError(path, "some lines have clock times and some seconds. Write all of them alike.")
    axis = axis_of([line.start for line in lines]) if clocked else None
    if clocked and axis is None:
        raise RecordingError(path, "its times are in no order: nobody can say where the night begins. Write seconds.")
    onsets = list(axis.seconds) if axis else [line.start for line in lines]
    found = []
    for place, (line, onset_s) in enumerate(zip(lines, onsets, strict=True)):
        length = _length(path, line, onset_s, onsets[place + 1] if place + 1 < len(lines) else None)
        if length is not None and length < 0:
            raise RecordingError(path, f"line {line.number}: it stops before it starts.")
        found.append(Annotation(onset_s, length, line.text))
    return Marks(in_order(found), axis.clock, axis.day) if axis else Marks(in_order(found))


def _lines(path: Path) -> list[_Line]:
    lines: list[_Line] = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        # Instances and notes may hold blanks, so that only tabs part such lines for sure.
        cells = [cell.strip() for cell in line.split("\t")] if "\t" in line.strip() else line.split()
        if not line.strip() or line.startswith("#") or [cell.lower() for cell in cells] in _HEADS:
            continue
        if len(cells) not in _PLACES:
            raise RecordingError(path, f"line {number}: {len(cells)} columns, expected 6, 4 or 3 (class, start, stop).")
        text, start, stop = (cells[place] for place in _PLACES[len(cells)])
        first, end = _start(path, number, start), None
        if (epoch := _EPOCH.fullmatch(start)) is not None:
            first, end = _epoch(epoch)
            if (until := _EPOCH.fullmatch(stop)) is not None:
                end = _epoch(until)[1]
        last = end if end is not None else _stop(path, number, stop)
        lines.append(_Line(number, text.replace("_", " "), first, last))
    return lines


def _epoch(match: re.Match[str]) -> tuple[float, float]:
    length = float(match[2] or EPOCH_S)
    start_s = (int(match[1]) - 1) * float(match[3] or length)
    return start_s, start_s + length


def _start(path: Path, number: int, cell: str) -> float | Moment:
    if cell.startswith("0+") and (seconds := elapsed_in(cell[2:])) is not None:
        return seconds
    if (seconds := number_in(cell)) is not None:
        return seconds
    if (moment := moment_in(cell)) is not None:
        return moment
    if _EPOCH.fullmatch(cell):
        return 0.0
    raise RecordingError(path, f"line {number}: no start in seconds, clock time or epoch (e:1).")


def _stop(path: Path, number: int, cell: str) -> float | Moment | str | None:
    if cell == ".":
        return None
    if cell == "..." or (cell.startswith("+") and number_in(cell[1:]) is not None):
        return cell
    return _start(path, number, cell)


def _length(path: Path, line: _Line, onset_s: float, next_s: float | None) -> float | None:
    if line.stop == "...":
        return None if next_s is None else next_s - onset_s
    if isinstance(line.stop, str):
        return number_in(line.stop[1:])
    if isinstance(line.stop, Moment) and isinstance(line.start, Moment):
        return length_s(line.start, line.stop)
    if line.stop is None:
        return None
    if isinstance(line.stop, Moment) or isinstance(line.start, Moment):
        raise RecordingError(path, f"line {line.number}: one of start and stop is a clock time, the other is not.")
    return line.stop - onset_s
