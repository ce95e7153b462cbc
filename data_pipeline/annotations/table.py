"""Scoring in a CSV or TSV file with a header row.

Columns (upper or lower case; blanks, units and underscores may differ):

- onset: `onset_s`, `onset`, `start`, `start_s`, `start_time`, in seconds from the first sample; required;
- duration: `duration_s`, `duration`, `length`, `dur`, or an end: `end_s`, `end`, `stop`; may be absent;
- what: `stage` for a hypnogram; `type`, `event`, `kind`, `description`, `annotation`, `text`, `name` or
  `trial_type` for events, in which stages may occur too. Without any of these columns the file's name must
  tell ("…_spindles_expert1.csv").

Numbers in a stage column follow EDF+, NSRR and Profusion: 0 W, 1–3 N1–N3, 4 N3 (R&K), 5 REM, others unscored; or Dreem
and YASA, with REM 4, where the order of stages says so (see `codes`). What may be two things is refused.
"""

import csv
import io
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from data_pipeline.annotations.codes import UnclearCodes, stage_names
from data_pipeline.annotations.terms import is_remark, kind_of, stage_of_column
from data_pipeline.annotations.text import read_text
from data_pipeline.night import RecordingError
from data_pipeline.readers.recording import Annotation

_ONSET = ("onset_s", "onset", "start_s", "start", "start_time", "recording_onset", "onset_sec", "start_sec")
_DURATION = ("duration_s", "duration", "length", "length_s", "dur", "duration_sec")
_END = ("end_s", "end", "stop_s", "stop", "end_time", "end_sec")
_STAGE = ("stage", "sleep_stage", "stages")
_FURTHEST_S = 1e9
_EVENT = ("type", "event", "kind", "description", "annotation", "text", "name", "event_type", "trial_type")
COLUMNS = frozenset((*_ONSET, *_DURATION, *_END, *_STAGE, *_EVENT))
"""Every column that is looked at, spelled as `column_name` does."""


def is_table(path: Path) -> bool:
    """Whether a text begins with a header row that names an onset column."""
    with path.open("rb") as file:
        first_line = file.readline(4096).decode("utf-8-sig", errors="replace")
    return any(column_name(cell) in _ONSET for cell in re.split(r"[\t;,]", first_line))


def read_table(path: Path, own: Collection[str] = ()) -> tuple[Annotation, ...]:
    """The rows as annotations, sorted by onset; stages are spelled "Sleep stage N2".

    Args:
      own: columns of somebody's own, as `column_name` spells them: a row with a number above 0 there is an annotation
        of the column's name.

    Raises:
      RecordingError: no header row, no onset column, nothing that says what a row is, a value that is not a
        number, or stage codes with two meanings.
    """
    header, rows = _cells(path)
    return rows_to_annotations(path, header, rows, own)


def columns_of(path: Path) -> frozenset[str]:
    """The columns of a table, as `column_name` spells them. Raises RecordingError as `read_table` does."""
    return frozenset(map(column_name, _cells(path)[0]))


def _cells(path: Path) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The header, and each row with where it stands."""
    text = read_text(path)
    first_line = text.partition("\n")[0]
    if not first_line.strip():
        raise RecordingError(path, "the file is empty, expected a header row such as onset_s,duration_s,type.")
    delimiter = max("\t;,", key=first_line.count)
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    except csv.Error as error:
        raise RecordingError(path, f"not a table ({error}). Save it as UTF-8 CSV.") from error
    return header, [(f"line {n}", row) for n, row in enumerate(rows, start=2)]


def column_name(text: str) -> str:
    """A column's heading as it is compared: lower case, anything but letters and digits as one underscore."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def rows_to_annotations(
    path: Path, header: Sequence[str], rows: Sequence[tuple[str, list[str]]], own: Collection[str] = ()
) -> tuple[Annotation, ...]:
    """As `read_table`, for a header and rows `(where, cells)` that were read already; `where` is for messages."""
    names = [column_name(name) for name in header]

    def column(candidates: tuple[str, ...]) -> int | None:
        return next((names.index(c) for c in candidates if c in names), None)

    onset, duration, end = column(_ONSET), column(_DURATION), column(_END)
    stage, event = column(_STAGE), column(_EVENT)
    if onset is None:
        # A file without a header begins with a scorer's words, which no message repeats.
        problem = f"none of the {len(header)} cells of the first row names an onset column"
        raise RecordingError(path, f"{problem}, expected a header row with one of {', '.join(_ONSET)}.")
    own_columns = {name: place for place, name in enumerate(names) if name in own}
    from_name = _kind_in_name(path) if stage is None and event is None and not own_columns else None
    if stage is None and event is None and from_name is None and not own_columns:
        problem = f"none of {len(header)} columns says what a row is, expected 'stage' or {', '.join(_EVENT)}."
        raise RecordingError(path, problem)
    names_of = {} if stage is None else _stage_names(path, [row[stage].strip() for _, row in rows if len(row) > stage])

    annotations = []
    for where, row in rows:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) < len(header):
            raise RecordingError(path, f"{where}: {len(row)} cells, expected {len(header)}.")
        onset_s = _seconds(path, where, header[onset], row[onset])
        length_s = None
        if duration is not None and row[duration].strip():
            length_s = _seconds(path, where, header[duration], row[duration])
        elif end is not None and row[end].strip():
            length_s = _seconds(path, where, header[end], row[end]) - onset_s
        if length_s is not None and length_s < 0:
            raise RecordingError(path, f"{where}: duration {length_s} s, expected 0 or more.")
        is_event = event is not None and bool(row[event].strip())
        if is_event:
            annotations.append(Annotation(onset_s, length_s, row[event].strip()))
        elif from_name is not None:
            annotations.append(Annotation(onset_s, length_s, from_name))
        if stage is not None and (row[stage].strip() or not is_event):  # an event's row need not name a stage
            annotations.append(Annotation(onset_s, length_s, names_of[row[stage].strip()]))
        for name, place in own_columns.items():
            if _is_marked(path, where, name, row[place].strip()):
                annotations.append(Annotation(onset_s, length_s, name))
    return tuple(sorted(annotations, key=lambda a: a.onset_s))


def _is_marked(path: Path, where: str, name: str, cell: str) -> bool:
    if cell and not _is_number(cell):
        raise RecordingError(path, f"{where}: column '{name}' holds words, expected 1 where it is so, 0 elsewhere.")
    return bool(cell) and float(cell) > 0


def _stage_names(path: Path, values: Sequence[str]) -> dict[str, str]:
    """Each value of the stage column -> its annotation, unless it is a usual mark: "Sleep stage N2"."""
    try:
        names = stage_names(values)
    except UnclearCodes as error:
        raise RecordingError(path, str(error)) from error
    marks = {v for v, name in names.items() if is_remark(name) and stage_of_column(name) is None}
    return {v: name if v in marks else f"Sleep stage {name or '?'}" for v, name in names.items()}


def _kind_in_name(path: Path) -> str | None:
    words = re.split(r"[^a-z]+", path.stem.lower().replace("k-complex", "kcomplex"))
    kinds = {kind_of(word): word for word in words if len(word) > 3 and kind_of(word)}
    return next(iter(kinds.values())) if len(kinds) == 1 else None


def _seconds(path: Path, where: str, name: str, cell: str) -> float:
    if not _is_number(cell) or not abs(float(cell)) <= _FURTHEST_S:
        shown = "words" if re.search(r"[^\W\d]{2}", cell) else repr(cell)  # a remark in the wrong column
        raise RecordingError(path, f"{where}: column '{name}' holds {shown}, expected seconds.")
    return float(cell)


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", cell, re.ASCII) is not None
