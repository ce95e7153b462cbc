"""From a scoring file to a `Scoring`. One module per dialect; the words get their meaning in `terms`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from data_pipeline.annotations.edfplus import is_edf, read_edfplus
from data_pipeline.annotations.scoring import merge_scorings, named, scoring_from
from data_pipeline.annotations.table import read_table
from data_pipeline.night import RecordingError, Scoring
from data_pipeline.readers.recording import Annotation

__all__ = ["merge_scorings", "read_scoring", "scoring_from"]

_TABLES = (".csv", ".tsv", ".txt")
_DIALECTS: dict[str, Callable[[Path], tuple[Annotation, ...]]] = {
    "edfplus": read_edfplus,
    "table": read_table,
}
"""Dialect -> its reader. Its name is its module's."""


def read_scoring(
    path: Path, duration_s: float, scored: Iterable[str] | None = None, *, dialect: str | None = None
) -> tuple[Scoring, tuple[str, ...]]:
    """Reads what a scorer wrote about a recording of `duration_s` seconds.

    Args:
      path: a file of one of the dialects, which are this package's modules.
      duration_s: length of the recording in seconds.
      scored: what the scorer looked for, if that is known better than the file shows (see `scoring_from`).
      dialect: how to read it where the file itself cannot say, as a cohort knows; None looks at the file.
    Returns:
      The scoring, and one note for each thing that was dropped, shortened or not understood.
    Raises:
      RecordingError: the file is missing, damaged, of an unknown dialect, or has no stage or event in it.
    """
    path = Path(path)
    if not path.is_file():
        raise RecordingError(f"{path}: no such scoring file.")
    annotations = _DIALECTS[dialect or _dialect_of(path)](path)
    scoring, notes = scoring_from(annotations, duration_s, scored)
    # An empty table is an answer ("nothing found") only if the caller says what was looked for.
    if not scoring.scored:
        raise RecordingError(
            f"{path}: no stage and no event within the recording among {len(annotations)} annotation(s)"
            f"{named(Counter(a.text for a in annotations))}. Is it the scoring of this recording?"
        )
    return scoring, tuple(f"{path.name}: {note}" for note in notes)


def _dialect_of(path: Path) -> str:
    if path.suffix.lower() in _TABLES:
        return "table"
    if is_edf(path):
        return "edfplus"
    raise RecordingError(
        f"{path}: unknown scoring format, expected EDF+ annotations or a table ({', '.join(_TABLES)})."
    )
