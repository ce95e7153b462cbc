"""Stages without a header: what YASA, Visbrain, Luna (`.eannot`), SpiSOP, DCSM (`.ids`) and others write.

- one stage a line, a word or a code, for each 30 s from the first sample (`.txt`, `.csv`, `.eannot`, `.sta`);
- beside it a second column of 0 and 1 that says whether the epoch is an artifact (SpiSOP): not used;
- the epoch's number (from 0 or 1), or its time in seconds or by the clock, before or after the stage;
- onset, duration and stage (DCSM);
- more columns, of which one holds words for stages and one says when;
- U-Sleep: a first line "EPOCH=30.0S";
- Visbrain: lines that begin with "*", then a stage and where it ends.

A line that is none of these refuses the file: a technician's notes are no scoring.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from data_pipeline.annotations.cells import Rows
from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.table import rows_to_marks
from data_pipeline.annotations.terms import stage_of_column
from data_pipeline.annotations.text import read_text
from data_pipeline.annotations.times import moment_in, number_in
from data_pipeline.night import EPOCH_S, RecordingError

_LONGEST_LINE, _MOST_COLUMNS = 80, 5
_SEPARATOR = re.compile(r"\s*[;,|]\s*|\s*\t\s*| {1,}")
_FINEST_S = 10
"""Stages are not scored in shorter steps; numbers that lie closer are something else."""
_STAGE = re.compile(r"[^\d\s]{0,16}(\s[^\d\s]{1,16}){0,2}\s?\d?(\s[^\d\s]{1,16})?|-?\d{1,2}(\.0*)?")
"""What a stage may look like: up to three words, perhaps a number after them ("Stage 2 sleep"), or a code."""
_STAGE_SHARE = 0.5
"""Assumed: of the words in a column of stages at least this part is known; the rest is for the scoring to judge."""


def read_stage_list(path: Path) -> Marks:
    """Stage annotations, of 30 s where nothing else is written.

    Raises:
      RecordingError: none of the forms above, or what `rows_to_marks` refuses.
    """
    found = _rows(read_text(path))
    if found is None:
        problem = "no header row and no list of stages, expected one stage a line (W, N1, N2, N3, REM), or a table"
        raise RecordingError(path, f"{problem} with a header such as onset_s,duration_s,stage.")
    header, rows = found
    return rows_to_marks(path, header, rows)


def is_stage_list(text: str) -> bool:
    """Whether a text has one of the forms above."""
    return _rows(text) is not None


def _rows(text: str) -> tuple[list[str], Rows] | None:
    """The header that the lines should have had, and the rows."""
    lines = [(f"line {n}", line.strip()) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
    comments = [line for _, line in lines if line.startswith(("*", "#"))]
    lines = [(where, line) for where, line in lines if not line.startswith(("*", "#"))]
    if lines and (length := re.fullmatch(r"epoch *= *(\d+)(?:\.0*)? *s?", lines[0][1], re.IGNORECASE)):
        if int(length[1]) != EPOCH_S:
            return None
        lines = lines[1:]
    if not lines or any(len(line) > _LONGEST_LINE for _, line in lines):
        return None
    if _are_stages([line for _, line in lines]):  # words may hold blanks: "Sleep stage W"
        return ["stage"], [(where, [line]) for where, line in lines]
    ends = any(line.lower().startswith("*duration") for line in comments)
    return rows_of_list([(where, _cells(line)) for where, line in lines], ends)


def rows_of_list(rows: Rows, ends: bool = False) -> tuple[list[str], Rows] | None:
    """Header and rows for cells without a header, None where they are no list of stages.

    Args:
      ends: the numbers beside the stages say where these end.
    """
    width = len(rows[0][1]) if rows else 0
    if not 1 <= width <= _MOST_COLUMNS or any(len(cells) != width for _, cells in rows):
        return None
    columns = list(zip(*(cells for _, cells in rows), strict=True))
    if width == 1:
        return (["stage"], rows) if _are_stages(columns[0]) else None
    if width == 3 and _are_stages(columns[2]) and _are_runs(columns[0], columns[1]):
        return ["onset", "duration", "stage"], rows
    if width > 2:
        return _words_and_times(rows, columns)
    if ends:
        return _ends(rows) if _are_stages(columns[0]) and _are_numbers(columns[1]) else None
    if set(columns[1]) <= {"0", "1"} and _are_stages(columns[0]) and not _timed_by(columns[0]):
        return ["stage"], [(where, cells[:1]) for where, cells in rows]
    for when, what in ((0, 1), (1, 0)):
        if (name := _timed_by(columns[when])) and _are_stages(columns[what]):
            return [name, "stage"], [(where, [cells[when], cells[what]]) for where, cells in rows]
    return None


def _words_and_times(rows: Rows, columns: Sequence[Sequence[str]]) -> tuple[list[str], Rows] | None:
    """Of several columns the one with words for stages, and one that says when: the clock before seconds and epochs."""
    stages = [k for k, c in enumerate(columns) if _are_stages(c) and not _are_numbers(c)]
    times = {name: k for k, c in reversed(list(enumerate(columns))) if (name := _timed_by(c))}
    if len(stages) != 1 or not times:
        return None
    name = "onset" if "onset" in times else "epoch"
    return [name, "stage"], [(where, [cells[times[name]], cells[stages[0]]]) for where, cells in rows]


def _ends(rows: Rows) -> tuple[list[str], Rows]:
    """Rows that say where a stage ends, as onset, end and stage."""
    starts = ["0", *(cells[1] for _, cells in rows)]
    return ["onset", "end", "stage"], [(w, [s, c[1], c[0]]) for (w, c), s in zip(rows, starts, strict=False)]


def _cells(line: str) -> list[str]:
    # A comma followed by a blank or between words parts cells; in "0,5" alone it is a decimal sign.
    if re.search(r"[;\t|]", line):
        return [cell.strip() for cell in re.split(r"[;\t|]", line)]
    return [cell for cell in _SEPARATOR.split(line) if cell]


def _are_stages(cells: Sequence[str]) -> bool:
    known = sum(stage_of_column(cell) is not None for cell in cells)
    return known >= _STAGE_SHARE * len(cells) and all(map(_STAGE.fullmatch, cells))


def _are_runs(starts: Sequence[str], lengths: Sequence[str]) -> bool:
    """Whether two columns say where stretches begin and how long they are, one after the other."""
    if not _are_numbers(starts) or not _are_numbers(lengths) or min(map(number_in, lengths)) < 1:
        return False
    ends = [number_in(a) + number_in(b) for a, b in zip(starts, lengths, strict=True)]
    return all(number_in(start) >= end - 0.01 for start, end in zip(starts[1:], ends, strict=False))


def _are_numbers(cells: Sequence[str]) -> bool:
    return all(number_in(cell) is not None for cell in cells)


def _timed_by(cells: Sequence[str]) -> str | None:
    """What a column that says when would be called: numbers that count 0, 1, 2 … or rise, or clock times."""
    if all(moment_in(cell) for cell in cells):
        return "onset"
    if not _are_numbers(cells):
        return None
    numbers = [number_in(cell) for cell in cells]
    steps = {round(b - a, 6) for a, b in pairwise(numbers)}
    if steps == {1.0} and numbers[0] in (0, 1):
        return "epoch"
    return "onset" if steps and min(steps) >= _FINEST_S else None
