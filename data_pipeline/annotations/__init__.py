"""From a scoring file to a `Scoring`. One module per dialect; the words get their meaning in `terms`."""

import datetime
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from data_pipeline.annotations import nsrr_xml, profusion_xml
from data_pipeline.annotations.dreem import read_dreem
from data_pipeline.annotations.isruc import read_isruc
from data_pipeline.annotations.json_table import read_json_table
from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.placing import Misplaced, place
from data_pipeline.annotations.safe_xml import is_xml, read_xml
from data_pipeline.annotations.scoring import merge_scorings, named, scoring_from, without
from data_pipeline.annotations.table import columns_of, read_table
from data_pipeline.annotations.tal import read_tal
from data_pipeline.annotations.terms import Meaning, own_terms
from data_pipeline.annotations.wfdb import SUFFIXES as WFDB_SUFFIXES
from data_pipeline.annotations.wfdb import read_wfdb
from data_pipeline.night import RecordingError, Scoring
from data_pipeline.readers.edf import read_edf
from data_pipeline.readers.edf_header import is_edf
from data_pipeline.readers.recording import Annotation

__all__ = ["merge_scorings", "read_scoring", "scoring_from", "without"]

_TABLES = (".csv", ".tsv", ".txt")
DIALECTS: dict[str, Callable[[Path], tuple[Annotation, ...]]] = {
    "dreem": read_dreem,
    "edfplus": lambda path: read_edf(path).annotations,
    "isruc": read_isruc,
    "json_table": read_json_table,
    "nsrr_xml": nsrr_xml.read_nsrr_xml,
    "profusion_xml": profusion_xml.read_profusion_xml,
    "table": read_table,
    "tal": read_tal,
    "wfdb": read_wfdb,
}
"""Dialect -> its reader, in the module of that name; annotations of EDF+ are read as those of a recording are."""
_ROOTS = {nsrr_xml.ROOT: "nsrr_xml", profusion_xml.ROOT: "profusion_xml"}
"""Root element -> dialect."""


class NothingScored(RecordingError):
    """A scoring file without a stage or an event: of another recording, or of a night in which nothing was found.

    Attributes:
      scoring: what it says beside that: when the lights went off, what is unclear.
    """

    def __init__(self, path: Path, problem: str, scoring: Scoring):
        super().__init__(path, problem)
        self.scoring = scoring


def read_scoring(
    path: Path,
    duration_s: float,
    scored: Iterable[str] | None = None,
    *,
    dialect: str | None = None,
    terms: Mapping[str, Meaning] | None = None,
    kinds: Collection[str] = (),
    start_clock: str | None = None,
    start_day: datetime.date | None = None,
) -> tuple[Scoring, tuple[str, ...]]:
    """Reads what a scorer wrote about a recording of `duration_s` seconds.

    >>> scoring, notes = read_scoring(Path("night.csv"), duration_s=1800)
    >>> len(scoring.stages), str(scoring.events[0].kind)
    (60, 'arousal')

    Args:
      path: a file of one of the `DIALECTS`.
      duration_s: length of the recording in seconds.
      scored: what the scorer looked for, if that is known better than the file shows (see `scoring_from`).
      dialect: how to read it where the file itself cannot say, as a cohort knows; None looks at the file.
      terms: words to which a cohort gives a meaning of its own (see `scoring_from`).
      kinds: kinds of event of somebody's own: words of the scoring, or columns of a table that are 1 in the rows where
        it is so; a table with such a column was scored for it, whatever it says.
      start_clock, start_day: when the recording's first sample was taken, as far as it is known; places a scoring
        that counts by the clock.
    Returns:
      The scoring, and one note for each thing that was moved, dropped, shortened or not understood.
    Raises:
      NothingScored: there is no stage and no event in it.
      RecordingError: the file is missing, damaged, of an unknown dialect, or not of this recording (see `placing`).
    """
    path = Path(path)
    if not path.is_file():
        raise RecordingError(path, "no such scoring file.")
    dialect = dialect or _dialect_of(path)
    marks = _marks(path, dialect, kinds)
    try:
        annotations, lights_s, placed = place(marks, start_clock, start_day, duration_s)
    except Misplaced as error:
        raise RecordingError(path, str(error)) from error
    words = own_terms(kinds) | dict(terms or {})
    scoring, notes = scoring_from(annotations, duration_s, scored, words, lights_s)
    if kinds and dialect == "table":
        scoring = replace(scoring, scored=scoring.scored | (columns_of(path) & set(kinds)))
    # An empty table is an answer ("nothing found") only if the caller says what was looked for.
    if not (scoring.scored or scoring.events):
        texts = named(Counter(a.text for a in annotations))
        problem = f"no stage and no event within the recording among {len(annotations)} annotation(s){texts}"
        said = " ".join(("Is it the scoring of this recording?", *(notes if scoring.unclear else ())))
        raise NothingScored(path, f"{problem}. {said}", scoring)
    return scoring, tuple(f"{path.name}: {note}" for note in (*placed, *notes))


def _marks(path: Path, dialect: str, kinds: Collection[str]) -> Marks:
    if dialect == "edfplus":
        recording = read_edf(path)
        clock = datetime.time.fromisoformat(recording.start_clock) if recording.start_clock else None
        return Marks(recording.annotations, clock, recording.start_day)
    return Marks(read_table(path, kinds) if dialect == "table" else DIALECTS[dialect](path))


def _dialect_of(path: Path) -> str:
    if is_xml(path):
        root = read_xml(path).tag
        if root not in _ROOTS:
            raise RecordingError(path, f"XML with root element <{root[:40]}>, expected one of {', '.join(_ROOTS)}.")
        return _ROOTS[root]
    suffix = path.suffix.lower()
    if suffix in _TABLES:
        return "table"
    if suffix == ".tal":
        return "tal"
    if suffix == ".json":
        return "dreem" if _lists_numbers(path) else "json_table"
    if suffix in WFDB_SUFFIXES:
        return "wfdb"
    if is_edf(path):
        return "edfplus"
    known = f"EDF+ annotations (also as .tal), NSRR or Profusion XML, a table ({', '.join(_TABLES)}) or JSON (.json)"
    raise RecordingError(path, f"unknown scoring format, expected {known}.")


def _lists_numbers(path: Path) -> bool:
    """Whether a JSON file begins as a list of numbers: the only published form of it is Dreem's."""
    with path.open("rb") as file:
        return re.match(rb"\s*\[\s*[-0-9]", file.read(4096).removeprefix(b"\xef\xbb\xbf")) is not None
