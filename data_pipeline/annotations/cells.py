"""From the text of a table to its cells: which sign stands between them, and in which line the header is."""

import csv
import io
from pathlib import Path

from data_pipeline.annotations.columns import column_name, columns_in, is_looked_at
from data_pipeline.annotations.text import read_text
from data_pipeline.night import RecordingError

Rows = list[tuple[str, list[str]]]
"""Each row with where it stands, for messages."""
_DELIMITERS = "\t;,|"
_LONGEST_PREAMBLE = 60
"""Lines in which the header must be found; above it exporters write whose night it is."""


def header_line(text: str) -> int | None:
    """The place of the first line that names when and what, else of one that names a stage; None without any."""
    lines = text.split("\n", _LONGEST_PREAMBLE)[:_LONGEST_PREAMBLE]
    columns = [columns_in(split_line(line)) for line in lines]
    timed = (k for k, c in enumerate(columns) if c.is_timed and (c.is_told or c.duration or c.end))
    return next(timed, next((k for k, c in enumerate(columns) if c.stage is not None), None))


def split_line(line: str) -> list[str]:
    """The cells of one line without quoted line breaks."""
    rows = list(csv.reader([line[:4096]], delimiter=delimiter_of(line), skipinitialspace=True)) if line.strip() else []
    return [cell.strip() for cell in rows[0]] if rows else []


def delimiter_of(line: str) -> str:
    """The sign between the cells of a line: the commonest of tab, semicolon, comma and bar; or blanks.

    Blanks part only words that are all names of columns: other words may hold blanks.
    """
    sign = max(_DELIMITERS, key=line.count)
    words = line.split()
    return " " if sign not in line and len(words) > 1 and all(is_looked_at(column_name(w)) for w in words) else sign


def read_cells(path: Path) -> tuple[list[str], Rows]:
    """The header of a text table, and its rows.

    Lines above the header (whose night it is, when it was exported) are passed over.

    Raises:
      RecordingError: empty, or not a table.
    """
    text = read_text(path)
    if not text.strip():
        raise RecordingError(path, "the file is empty, expected a header row such as onset_s,duration_s,type.")
    first = header_line(text) or 0
    lines = text.split("\n")
    body = "\n".join(lines[first:])
    sign = delimiter_of(lines[first])
    if sign == " ":
        width = len(lines[first].split())
        header, *rows = [line.split(maxsplit=width - 1) for line in lines[first:]]  # the last cell may hold blanks
        return header, [(f"line {n}", row) for n, row in enumerate(rows, start=first + 2)]
    try:
        header, *rows = csv.reader(io.StringIO(body, newline=""), delimiter=sign, skipinitialspace=True)
    except csv.Error as error:
        raise RecordingError(path, f"not a table ({error}). Save it as UTF-8 CSV.") from error
    while header and not header[-1].strip():  # a sign at the end of each line
        header.pop()
    return header, [(f"line {n}", row) for n, row in enumerate(rows, start=first + 2)]
