"""From a scoring file to a `Scoring`. One module per dialect; the words get their meaning in `terms`."""

import datetime
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from data_pipeline.annotations import alice_rml, embla_xml, nsrr_xml, profusion_xml, wonambi_xml, xlsx
from data_pipeline.annotations.bdsp import is_bdsp_edf, read_bdsp_edf
from data_pipeline.annotations.cells import header_line, read_cells
from data_pipeline.annotations.domino import is_domino, read_domino
from data_pipeline.annotations.dreem import read_dreem
from data_pipeline.annotations.isruc import read_isruc
from data_pipeline.annotations.json_table import read_json_table
from data_pipeline.annotations.luna import is_luna, read_luna
from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.phrases import in_words
from data_pipeline.annotations.placing import Misplaced, place
from data_pipeline.annotations.remlogic import is_remlogic, read_remlogic
from data_pipeline.annotations.safe_xml import is_xml, local_name, read_xml
from data_pipeline.annotations.scoring import merge_scorings, named, scoring_from, without
from data_pipeline.annotations.stage_list import is_stage_list, read_stage_list
from data_pipeline.annotations.table import columns_of, read_table, scored_by_model
from data_pipeline.annotations.tal import read_tal
from data_pipeline.annotations.terms import Meaning, own_terms
from data_pipeline.annotations.text import LARGEST_BYTES, decoded
from data_pipeline.annotations.ucddb import read_ucddb_events, read_ucddb_stages
from data_pipeline.annotations.wfdb import SUFFIXES as WFDB_SUFFIXES
from data_pipeline.annotations.wfdb import read_wfdb
from data_pipeline.annotations.wsc import is_allscore, read_allscore, read_gamma_stages
from data_pipeline.night import RecordingError, Scoring
from data_pipeline.readers.edf import read_edf
from data_pipeline.readers.edf_header import is_edf

__all__ = ["merge_scorings", "read_scoring", "recognised", "scoring_from", "without"]


def _read_edfplus(path: Path) -> Marks:
    recording = read_edf(path)
    clock = datetime.time.fromisoformat(recording.start_clock) if recording.start_clock else None
    return Marks(recording.annotations, clock, recording.start_day)


DIALECTS: dict[str, Callable[[Path], Marks]] = {
    "alice_rml": alice_rml.read_alice_rml,
    "allscore": read_allscore,
    "bdsp_edf": read_bdsp_edf,
    "domino": read_domino,
    "dreem": read_dreem,
    "edfplus": _read_edfplus,
    "embla_xml": embla_xml.read_embla_xml,
    "isruc": read_isruc,
    "json_table": read_json_table,
    "luna": read_luna,
    "nsrr_xml": nsrr_xml.read_nsrr_xml,
    "profusion_xml": profusion_xml.read_profusion_xml,
    "remlogic": read_remlogic,
    "stage_list": read_stage_list,
    "table": read_table,
    "tal": read_tal,
    "ucddb_events": read_ucddb_events,
    "ucddb_stages": read_ucddb_stages,
    "wfdb": read_wfdb,
    "wsc_stages": read_gamma_stages,
    "wonambi_xml": wonambi_xml.read_wonambi_xml,
    "xlsx": xlsx.read_xlsx,
}
"""Dialect -> its reader. "isruc" only where a cohort says so: other codes look the same."""
_ROOTS = {
    alice_rml.ROOT: "alice_rml",
    embla_xml.ROOT: "embla_xml",
    nsrr_xml.ROOT: "nsrr_xml",
    profusion_xml.ROOT: "profusion_xml",
    wonambi_xml.ROOT: "wonambi_xml",
}
"""Root element -> dialect."""
_NAMES = (
    (re.compile(r"ucddb\d{3}_stage\.txt", re.IGNORECASE), "ucddb_stages"),
    (re.compile(r"ucddb\d{3}_respevt\.txt", re.IGNORECASE), "ucddb_events"),
    (re.compile(r".*\.stg\.txt", re.IGNORECASE), "wsc_stages"),
)
"""Published files that look as others do and have codes of their own: nothing but their names says so."""
_TABLES = (".csv", ".tsv", ".txt")
_OF_COLUMNS = ("table", "xlsx")
"""Dialects in which columns may be kinds of event of somebody's own."""
_TEXTS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("domino", is_domino),
    ("remlogic", is_remlogic),
    ("luna", is_luna),
    ("allscore", is_allscore),
    ("table", lambda text: header_line(text) is not None),
    ("stage_list", is_stage_list),
)
"""Dialects of text, the most particular first, and how each is known."""


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
    read = DIALECTS[dialect]
    marks = read(path, kinds) if dialect in _OF_COLUMNS else read(path)
    marks = replace(marks, annotations=tuple(map(in_words, marks.annotations)))
    try:
        annotations, lights_s, placed = place(marks, start_clock, start_day, duration_s)
    except Misplaced as error:
        raise RecordingError(path, str(error)) from error
    words = own_terms(kinds) | dict(terms or {})
    scoring, notes = scoring_from(annotations, duration_s, scored, words, lights_s)
    if kinds and dialect in _OF_COLUMNS:
        header, _ = read_cells(path) if dialect == "table" else xlsx.read_sheet(path, kinds)
        scoring = replace(scoring, scored=scoring.scored | (columns_of(header) & set(kinds)))
    # An empty table is an answer ("nothing found") only if the caller says what was looked for.
    if not (scoring.scored or scoring.events):
        if scoring.unclear:
            raise NothingScored(path, " ".join(("nothing in it counts as scored.", *notes)), scoring)
        texts = named(Counter(a.text for a in annotations))
        problem = f"no stage and no event within the recording among {len(annotations)} annotation(s){texts}"
        raise NothingScored(path, f"{problem}. Is it the scoring of this recording?", scoring)
    silver = scored_by_model(path) if dialect == "table" else ()
    return scoring, tuple(f"{path.name}: {note}" for note in (*silver, *placed, *notes))


def recognised(path: Path) -> bool:
    """Whether a file is a scoring by what stands in it; a technician's notes and pictures are none.

    Raises:
      OSError: it cannot be read.
    """
    try:
        dialect = _dialect_of(path)
    except RecordingError:
        return False
    return dialect != "table" or _dialect_of_text(path) == "table"


def _dialect_of(path: Path) -> str:
    if (by_name := next((d for pattern, d in _NAMES if pattern.fullmatch(path.name)), None)) is not None:
        return by_name
    if is_xml(path):
        root = local_name(read_xml(path))
        if root not in _ROOTS:
            raise RecordingError(path, f"XML with another root element than {', '.join(sorted(_ROOTS))}.")
        return _ROOTS[root]
    if path.stat().st_size and is_edf(path):
        return "bdsp_edf" if is_bdsp_edf(path) else "edfplus"
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        start = file.read(len(xlsx.MAGIC))
    if start == xlsx.MAGIC:
        return "xlsx"
    if suffix == ".tal":
        return "tal"
    if suffix == ".json":
        return "dreem" if _lists_numbers(path) else "json_table"
    if suffix in WFDB_SUFFIXES:
        return "wfdb"
    if suffix == ".annot":
        return "luna"
    if (dialect := _dialect_of_text(path)) is not None:
        return dialect
    if suffix in _TABLES:
        return "table"
    known = "EDF+ annotations, XML or text of a scoring program, a table (.csv, .tsv, .txt, .xlsx), a list of stages"
    raise RecordingError(path, f"unknown scoring format, expected {known} or JSON (.json).")


def _dialect_of_text(path: Path) -> str | None:
    """The dialect of a text by its own form, None where it has none that is known."""
    with path.open("rb") as file:
        text = decoded(file.read(LARGEST_BYTES))
    if text is None:
        return None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return next((dialect for dialect, is_so in _TEXTS if is_so(text)), None)


def _lists_numbers(path: Path) -> bool:
    """Whether a JSON file begins as a list of numbers: the only published form of it is Dreem's."""
    with path.open("rb") as file:
        return re.match(rb"\s*\[\s*[-0-9]", file.read(4096).removeprefix(b"\xef\xbb\xbf")) is not None
