"""From a scoring file to a `Scoring`. One module per dialect; the words get their meaning in `terms`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from data_pipeline.annotations.edfplus import is_edf, read_edfplus
from data_pipeline.annotations.scoring import merge_scorings, named, scoring_from
from data_pipeline.annotations.table import read_table
from data_pipeline.night import RecordingError, Scoring

__all__ = ["merge_scorings", "read_scoring", "scoring_from"]

_TABLES = (".csv", ".tsv", ".txt")


def read_scoring(
    path: Path, duration_s: float, scored: Iterable[str] | None = None
) -> tuple[Scoring, tuple[str, ...]]:
    """Reads what a scorer wrote about a recording of `duration_s` seconds.

    Args:
      path: an EDF+/BDF+ file with annotations, or a CSV/TSV table (see `table`).
      duration_s: length of the recording in seconds.
      scored: what the scorer looked for, if that is known better than the file shows (see `scoring_from`).
    Returns:
      The scoring, and one note for each thing that was dropped, shortened or not understood.
    Raises:
      RecordingError: the file is missing, damaged, of an unknown dialect, or has no stage or event in it.
    """
    path = Path(path)
    if not path.is_file():
        raise RecordingError(f"{path}: no such scoring file.")
    if path.suffix.lower() in _TABLES:
        annotations = read_table(path)
    elif is_edf(path):
        annotations = read_edfplus(path)
    else:
        raise RecordingError(
            f"{path}: unknown scoring format, expected EDF+ annotations or a table ({', '.join(_TABLES)})."
        )
    scoring, notes = scoring_from(annotations, duration_s, scored)
    # An empty table is an answer ("nothing found") only if the caller says what was looked for.
    if not scoring.scored:
        raise RecordingError(
            f"{path}: no stage and no event within the recording among {len(annotations)} annotation(s)"
            f"{named(Counter(a.text for a in annotations))}. Is it the scoring of this recording?"
        )
    return scoring, tuple(f"{path.name}: {note}" for note in notes)
