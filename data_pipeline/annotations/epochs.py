"""From a list with one stage for each 30 s to annotations."""

from collections.abc import Sequence
from pathlib import Path

from data_pipeline.annotations.marks import Marks
from data_pipeline.night import EPOCH_S, RecordingError
from data_pipeline.readers.recording import Annotation

LONGEST_EPOCHS = 7 * 86400 // EPOCH_S
"""A week, as long as a recording may be."""


def epoch_marks(path: Path, names: Sequence[str]) -> Marks:
    """An annotation of 30 s for each stage name ("W" … "REM", "?"), the first at the first sample.

    Raises:
      RecordingError: more epochs than `LONGEST_EPOCHS`.
    """
    if len(names) > LONGEST_EPOCHS:
        raise RecordingError(path, f"{len(names)} epochs, expected at most {LONGEST_EPOCHS}, a week.")
    return Marks(
        tuple(
            Annotation(float(place * EPOCH_S), float(EPOCH_S), f"Sleep stage {name}")
            for place, name in enumerate(names)
        )
    )
