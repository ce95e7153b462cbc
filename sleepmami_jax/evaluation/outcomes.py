"""A table of what became of people: risks, numbers, and yes or no, by the id of the person.

One row a person; a column `subject_id`, and any of

- `NAME_time` with `NAME_event`: how long until the event or until last seen, above 0, and 1 or 0, whether it came;
- a column of 1 and 0 alone: a yes or no;
- any other column of numbers.

An empty cell is unknown. Messages name lines and columns, never what stands there.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.annotations.text import decoded
from data_pipeline.cohorts import alike

SUBJECT = "subject_id"
TIME, EVENT = "_time", "_event"
OURS = ("age_years", "sex", "bmi")
"""What the prepared nights say themselves."""
_UNKNOWN = {"", "na", "n/a", "nan", "null", "none", "."}


@dataclass(frozen=True)
class Outcomes:
    """One table.

    Attributes:
      path: its file.
      lines: person, as `alike` spells them -> line of their row.
      risks: name -> person -> (time, event).
      numbers, yes_or_no: name -> person -> number; 1.0 is yes. Who is unknown is not there.
    """

    path: Path
    lines: Mapping[str, int]
    risks: Mapping[str, Mapping[str, tuple[float, bool]]]
    numbers: Mapping[str, Mapping[str, float]]
    yes_or_no: Mapping[str, Mapping[str, float]]

    def match(self, subjects: Iterable[str]) -> tuple[dict[str, str], list[str]]:
        """Subjects -> the person that they are in the table; and remarks, which name every row that is nobody's.

        Raises:
          ValueError: a row is two subjects'.
        """
        found, whose = {}, {}
        subjects = list(subjects)
        for subject in subjects:
            if (person := alike(subject)) in self.lines:
                found[subject] = person
                whose.setdefault(person, []).append(subject)
        if twice := [person for person, own in whose.items() if len(own) > 1]:
            raise ValueError(
                f"{self.path}, line {self.lines[twice[0]]}: two people of these nights have this {SUBJECT}"
            )
        remarks = []
        if left := [str(line) for person, line in self.lines.items() if person not in whose]:
            remarks.append(
                f"{self.path.name}: {len(left)} of {len(self.lines)} rows are nobody's: line {', '.join(left)}"
            )
        if n := len(subjects) - len(found):
            remarks.append(f"{self.path.name}: no row of {n} of {len(subjects)} people")
        return found, remarks


def read_outcomes(path: Path) -> Outcomes:
    """Reads a table with a header row, divided by commas, semicolons or tabs.

    Raises:
      ValueError: no table of this form; the line and the column are named, and what was expected there.
    """
    header, rows = _cells(path)
    place = header.index(SUBJECT)
    lines: dict[str, int] = {}
    for line, row in rows:
        if not (person := alike(row[place])):
            raise ValueError(f"{path}, line {line}, column {SUBJECT}: empty; expected whose row this is")
        if person in lines:
            raise ValueError(f"{path}, line {line}: a second row of the person of line {lines[person]}; keep one")
        lines[person] = line
    columns = {
        name: {p: _number(path, line, name, row[k]) for p, (line, row) in zip(lines, rows, strict=True)}
        for k, name in enumerate(header)
        if name != SUBJECT
    }
    risks = {}
    for name in [name.removesuffix(TIME) for name in header if name.endswith(TIME)]:
        if name + EVENT not in columns:
            raise ValueError(f"{path}: column {name + TIME} but no column {name + EVENT}; expected both, or neither")
        times, events = columns.pop(name + TIME), columns.pop(name + EVENT)
        risks[name] = _risk(path, name, lines, times, events)
    if alone := [name for name in columns if name.endswith(EVENT)]:
        raise ValueError(
            f"{path}: column {alone[0]} but no column {alone[0].removesuffix(EVENT) + TIME}; expected both"
        )
    known = {name: {p: v for p, v in column.items() if v is not None} for name, column in columns.items()}
    is_yes = {name for name, column in known.items() if set(column.values()) <= {0.0, 1.0}}
    return Outcomes(
        path,
        lines,
        risks,
        {name: column for name, column in known.items() if name not in is_yes},
        {name: column for name, column in known.items() if name in is_yes},
    )


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of the columns, and (line, cells) of each row."""
    if (text := decoded(Path(path).read_bytes())) is None:
        raise ValueError(f"{path}: no text; expected a table with a header row, saved as CSV in UTF-8")
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max("\t;,", key=first.count))
    try:
        header = [name.strip() for name in next(reader, [])]
        rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}; expected a CSV table") from error
    if SUBJECT not in header:
        raise ValueError(f"{path}: no column {SUBJECT} in its first line; expected one, and a column for each outcome")
    if twice := [name for k, name in enumerate(header) if not name or name in header[:k]]:
        raise ValueError(
            f"{path}: a column {twice[0]!r} that is there twice, or has no name; expected names of their own"
        )
    if ours := [name for name in header if name in OURS]:
        raise ValueError(f"{path}: column {ours[0]}: the prepared nights say it themselves; leave it out, or rename it")
    if wrong := [(line, len(row)) for line, row in rows if len(row) != len(header)]:
        raise ValueError(f"{path}, line {wrong[0][0]}: {wrong[0][1]} cells, expected {len(header)}")
    return header, rows


def _number(path: Path, line: int, column: str, cell: str) -> float | None:
    if cell.strip().casefold() in _UNKNOWN:
        return None
    try:
        number = float(cell.replace(",", "."))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(
            f"{path}, line {line}, column {column}: expected a number, or an empty cell where it is unknown"
        )
    return number


def _risk(
    path: Path,
    name: str,
    lines: Mapping[str, int],
    times: Mapping[str, float | None],
    events: Mapping[str, float | None],
) -> dict[str, tuple[float, bool]]:
    known = {}
    for person, line in lines.items():
        time, event = times[person], events[person]
        if time is None and event is None:
            continue
        if time is None or time <= 0:
            raise ValueError(f"{path}, line {line}, column {name + TIME}: expected a time above 0, or both cells empty")
        if event not in (0.0, 1.0):
            raise ValueError(f"{path}, line {line}, column {name + EVENT}: expected 1 or 0, or both cells empty")
        known[person] = (time, event == 1.0)
    return known
