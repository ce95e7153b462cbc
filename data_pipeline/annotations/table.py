"""Scoring in a table with a header row: CSV, TSV, text, a sheet of a workbook.

Columns (upper or lower case; blanks, accents, units and underscores may differ; all names: `columns`):

- onset: `onset_s`, `start`, `start_time`, `time` … in seconds from the first sample, as a clock time, or as a date
  with a clock time; a unit in the heading counts ("Start (ms)"). Or `epoch`, counted from 0 or 1, of 30 s each; a
  table with `stage` and nothing of these has a row for each 30 s;
- duration: `duration_s`, `duration`, `length`, `dur`, or an end: `end_s`, `end`, `stop`; may be absent or empty;
- what: `stage` for a hypnogram; `type`, `event`, `description` … for events, in which stages may occur too. Without
  any of these columns the file's name must tell ("…_spindles_expert1.csv").

Numbers may have a decimal comma; "n/a", "NaN" and the like are empty cells. Numbers in a stage column follow EDF+,
NSRR and Profusion: 0 W, 1–3 N1–N3, 4 N3 (R&K), 5 REM, others unscored; or Dreem and YASA, with REM 4, where the order
of stages says so (see `codes`). What may be two things is refused.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from data_pipeline.annotations.cells import Rows, read_cells
from data_pipeline.annotations.codes import UnclearCodes, stage_names
from data_pipeline.annotations.columns import CODES, Columns, column_name, columns_in
from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.terms import is_remark, kind_of, stage_of_column
from data_pipeline.annotations.times import (
    DAY_S,
    Moment,
    axis_of,
    elapsed_in,
    is_empty,
    length_s,
    moment_in,
    number_in,
)
from data_pipeline.night import EPOCH_S, RecordingError
from data_pipeline.readers.recording import Annotation, in_order

MODEL = "sleepmami_model"
"""The column of our own scores that names the model: whoever learns from them is told that no person scored."""
SILVER = "silver labels by"
_FURTHEST_S = 1e9
_SHORTEST_S = 0.5
"""No scoring has only events that are shorter."""
_WORD_STARTS = re.compile(r"(?<=[a-z]{2})(?=[A-Z][a-z])")
_NO_STAGE = frozenset({"l", "x", "-"})
"""Luna and BDSP write "L" where lights are on, "X" where nobody scored."""
_EXPECTED = "onset, onset_s, start, start_time, time or epoch"


def read_table(path: Path, own: Collection[str] = ()) -> Marks:
    """The rows as annotations, sorted by onset; stages are spelled "Sleep stage N2".

    Args:
      own: columns of somebody's own, as `column_name` spells them: a row with a number above 0 there is an annotation
        of the column's name.

    Raises:
      RecordingError: no header row, no onset column, nothing that says what a row is, a value that is not a
        number or a time, times that cannot be put in order, or stage codes with two meanings.
    """
    header, rows = read_cells(path)
    if MODEL in header and "kind" in header:  # of our events, which say again in what stage they begin
        header = ["" if name == "stage" else name for name in header]
    return rows_to_marks(path, header, rows, own)


def scored_by_model(path: Path) -> tuple[str, ...]:
    """A note where the table is a model's score and no person's, that says which model's."""
    header, rows = read_cells(path)
    if MODEL not in header:
        return ()
    place = header.index(MODEL)
    models = {row[place].strip() for _, row in rows if len(row) > place}
    named = sorted(model for model in models if re.fullmatch(r"[\w.@+-]{1,80}", model, re.ASCII)) or ["unknown"]
    return tuple(f"{SILVER} {model}, not by a person." for model in named)


def columns_of(header: Sequence[str]) -> frozenset[str]:
    """The columns of a table, as `column_name` spells them."""
    return frozenset(map(column_name, header))


def rows_to_marks(path: Path, header: Sequence[str], rows: Rows, own: Collection[str] = ()) -> Marks:
    """As `read_table`, for a header and rows `(where, cells)` that were read already; `where` is for messages."""
    rows = [(where, row) for where, row in rows if any(cell.strip() for cell in row)]
    columns = columns_in(header, [row for _, row in rows], own)
    from_name = _what_it_holds(path, header, columns)
    for where, row in rows:
        if len(row) < len(header):
            raise RecordingError(path, f"{where}: {len(row)} cells, expected {len(header)}.")
    starts, spans, clock, day = _when(path, header, rows, columns)
    stages = [] if columns.stage is None else [_stage_cell(row[columns.stage]) for _, row in rows]
    names = {} if columns.stage is None else _stage_names(path, stages, column_name(header[columns.stage]))
    annotations = []
    for (where, row), onset_s, length in zip(rows, starts, spans, strict=True):
        texts = _texts(path, where, row, columns, from_name, names)
        annotations += [Annotation(onset_s, length, text) for text in texts]
    return Marks(in_order(annotations), clock, day, _lights(list(zip(starts, stages, strict=False))))


def _lights(stages: Sequence[tuple[float, str]]) -> tuple[float | None, float | None]:
    """Lights off and on where epochs before and after are called "L", lights on."""
    stages = sorted(stages, key=lambda s: s[0])
    dark = [place for place, (_, stage) in enumerate(stages) if stage.upper() != "L"]
    if not dark or len(dark) == len(stages):
        return None, None
    off_s = stages[dark[0]][0] if dark[0] > 0 else None
    return off_s, stages[dark[-1] + 1][0] if dark[-1] + 1 < len(stages) else None


def _what_it_holds(path: Path, header: Sequence[str], columns: Columns) -> str | None:
    """The kind that the file's name says, where no column does. Raises where nothing does, or there is no onset."""
    if not columns.is_timed and (columns.stage is None or columns.event is not None or columns.duration):
        # A file without a header begins with a scorer's words, which no message repeats.
        problem = f"none of the {len(header)} cells of the first row names an onset column"
        raise RecordingError(path, f"{problem}, expected a header row with one of {_EXPECTED}.")
    if columns.is_told:
        return None
    if (kind := _kind_in_name(path)) is None:
        expected = "'stage', or type, event, kind, description, annotation, text, name or trial_type"
        raise RecordingError(path, f"none of {len(header)} columns says what a row is, expected {expected}.")
    return kind


def _texts(
    path: Path, where: str, row: Sequence[str], columns: Columns, from_name: str | None, stages: Mapping[str, str]
) -> list[str]:
    """What a row says; `stages` is what the values of the stage column are called."""
    texts = []
    event = "" if columns.event is None or is_empty(row[columns.event]) else row[columns.event].strip()
    if event:
        texts.append(_spelled(event))
    elif from_name is not None:
        texts.append(from_name)
    if columns.stage is not None:  # an event's row need not name a stage
        stage = _stage_cell(row[columns.stage])
        texts += [stages[stage]] if stage or not event else []
    return texts + [name for name, place in columns.own.items() if _is_marked(path, where, name, row[place].strip())]


def _when(path: Path, header: Sequence[str], rows: Rows, columns: Columns) -> tuple:
    """(starts, lengths or None, clock, day) of the rows."""
    if columns.onset is None:
        starts = _epochs(path, header, rows, columns.epoch)
        lengths = [_duration(path, where, header, row, columns) for where, row in rows]
        return starts, [float(EPOCH_S) if s is None else s for s in lengths], None, None
    place, unit = columns.onset
    unit_s = _known(path, header, columns, place, unit)
    cells = _without_thousands([row[place].strip() for _, row in rows])
    numbers = [number_in(cell) for cell in cells]
    if rows and all(n is None for n in numbers) and moment_in(cells[0]) is not None:
        return _by_clock(path, header, rows, columns)
    starts = [_seconds(path, where, header[place], cell) * unit_s for (where, _), cell in zip(rows, cells, strict=True)]
    lengths = []
    for (where, row), start_s in zip(rows, starts, strict=True):
        length = _duration(path, where, header, row, columns)
        if length is None and columns.end is not None and not is_empty(row[columns.end[0]]):
            unit_s = _known(path, header, columns, *columns.end)
            length = _seconds(path, where, header[columns.end[0]], row[columns.end[0]]) * unit_s - start_s
        lengths.append(_not_negative(path, where, length))
    return starts, lengths, None, None


def _without_thousands(cells: list[str]) -> list[str]:
    """Numbers without the commas of "1,020", where only so they are in the order of time; in "30,000" it is decimal."""
    plain = [cell.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+", cell) else cell for cell in cells]
    as_decimal, as_thousands = ([number_in(cell) for cell in texts] for texts in (cells, plain))
    if plain == cells or None in as_decimal or as_decimal == sorted(as_decimal):
        return cells
    return plain if None not in as_thousands and as_thousands == sorted(as_thousands) else cells


def _by_clock(path: Path, header: Sequence[str], rows: Rows, columns: Columns) -> tuple:
    """As `_when`, of rows with clock times. Times from 0:00:00 on, or past 24 hours, count from the first sample."""
    place, _ = columns.onset
    moments = [_time(path, where, header[place], _with_date(row, place, columns.date)) for where, row in rows]
    undated = not any(m.days for m in moments)
    lengths = []
    for (where, row), start in zip(rows, moments, strict=True):
        length = _duration(path, where, header, row, columns)
        if length is None and columns.end is not None and not is_empty(row[columns.end[0]]):
            if (number := number_in(row[columns.end[0]])) is not None:
                raise RecordingError(path, f"{where}: it begins at a clock time and ends at {number:g}.")
            length = length_s(start, _time(path, where, header[columns.end[0]], row[columns.end[0]]))
        lengths.append(_not_negative(path, where, length))
    if any(lengths) and max(filter(None, lengths)) < _SHORTEST_S:
        lengths = [None if s is None else s * DAY_S for s in lengths]  # Excel keeps them as parts of a day
    is_elapsed = re.search("elapsed|from_start|relative", column_name(header[place])) is not None
    if undated and (is_elapsed or moments[0].second == 0 or any(m.second >= DAY_S for m in moments)):
        return [m.second for m in moments], lengths, None, None
    axis = axis_of(moments)
    if axis is None:
        problem = f"the times in column '{column_name(header[place])}' are in no order, or more than a week apart"
        raise RecordingError(path, f"{problem}: nobody can say where the night begins. Write seconds, or dates too.")
    return axis.seconds, lengths, axis.clock, axis.day


def _with_date(row: Sequence[str], place: int, date: int | None) -> str:
    cell = row[place].strip()
    dated = f"{row[date].strip()} {cell}" if date is not None and date != place else cell
    return dated if moment_in(dated) is not None else cell


def _time(path: Path, where: str, name: str, cell: str) -> Moment:
    moment = moment_in(cell)
    if moment is None:
        expected = "a clock time (22:30:00) as in the first row"
        raise RecordingError(path, f"{where}: column '{column_name(name)}' holds no time, expected {expected}.")
    return moment


def _epochs(path: Path, header: Sequence[str], rows: Rows, place: int | None) -> list[float]:
    """Where rows begin that are counted; without a column for it, one after the other."""
    if place is None:
        return [float(EPOCH_S * k) for k in range(len(rows))]
    numbers = [_seconds(path, where, header[place], row[place]) for where, row in rows]
    if rows and (min(numbers) not in (0, 1) or any(not n.is_integer() for n in numbers)):
        raise RecordingError(path, f"epochs from {min(numbers):g} on, expected whole numbers from 0 or 1 on.")
    first = min(numbers, default=0)
    return [(n - first) * EPOCH_S for n in numbers]


def _duration(path: Path, where: str, header: Sequence[str], row: Sequence[str], columns: Columns) -> float | None:
    if columns.duration is None or is_empty(row[columns.duration[0]]):
        return None
    place, unit = columns.duration
    cell = row[place].strip()
    if ":" in cell and (seconds := elapsed_in(cell)) is not None:
        return seconds
    seconds = _seconds(path, where, header[place], cell) * _known(path, header, columns, place, unit)
    return _not_negative(path, where, seconds)


def _not_negative(path: Path, where: str, length_s: float | None) -> float | None:
    if length_s is not None and length_s < 0:
        raise RecordingError(path, f"{where}: duration {length_s} s, expected 0 or more.")
    return length_s


def _known(path: Path, header: Sequence[str], columns: Columns, place: int, unit: float | None) -> float:
    """A column's unit in seconds. Samples beside stages stay what they are: these show how many fill the night."""
    if unit is None and columns.stage is None:
        problem = f"column '{column_name(header[place])}' counts samples, and the file does not say how many a second"
        raise RecordingError(path, f"{problem}. Write seconds.")
    return unit or 1.0


def _is_marked(path: Path, where: str, name: str, cell: str) -> bool:
    if is_empty(cell):
        return False
    if (number := number_in(cell)) is None:
        raise RecordingError(path, f"{where}: column '{name}' holds words, expected 1 where it is so, 0 elsewhere.")
    return number > 0


def _spelled(event: str) -> str:
    """An event's word with blanks: "RespEvent - ObstructiveApnea" and "Stage2" as BDSP and STAGES write them."""
    words = _WORD_STARTS.sub(" ", event)
    return "Sleep stage ?" if words.lower() == "unknown stage" else re.sub(r"^[Ss]tage(?=\d$)", "Stage ", words)


def _stage_cell(cell: str) -> str:
    return "" if is_empty(cell) else cell.strip()


def _stage_names(path: Path, values: Sequence[str], column: str) -> dict[str, str]:
    """Each value of the stage column -> its annotation, unless it is a usual mark: "Sleep stage N2"."""
    known = CODES.get(column, {})
    try:
        names = stage_names([known.get(value.removesuffix(".0"), value) for value in values])
    except UnclearCodes as error:
        raise RecordingError(path, str(error)) from error
    names |= {value: "?" for value in names if value.lower() in _NO_STAGE}
    names |= {value: known[code] for value in values if (code := value.removesuffix(".0")) in known}
    marks = {v for v, name in names.items() if is_remark(name) and stage_of_column(name) is None}
    return {v: name if v in marks else f"Sleep stage {name or '?'}" for v, name in names.items()}


def _kind_in_name(path: Path) -> str | None:
    words = re.split(r"[^a-z]+", path.stem.lower().replace("k-complex", "kcomplex"))
    kinds = {kind_of(word): word for word in words if len(word) > 3 and kind_of(word)}
    return next(iter(kinds.values())) if len(kinds) == 1 else None


def _seconds(path: Path, where: str, name: str, cell: str) -> float:
    number = number_in(cell)
    if number is None or not abs(number) <= _FURTHEST_S:
        shown = "words" if re.search(r"[^\W\d]{2}", cell) else "no number"  # a remark in the wrong column
        raise RecordingError(path, f"{where}: column '{column_name(name)}' holds {shown}, expected seconds.")
    return number
