"""EDF+ and BDF+ annotations: inside a recording, or in a file of their own (Sleep-EDF, HMC)."""

from pathlib import Path

from data_pipeline.readers.edf import read_edf
from data_pipeline.readers.edf_header import is_edf
from data_pipeline.readers.recording import Annotation

__all__ = ["is_edf", "read_edfplus"]


def read_edfplus(path: Path) -> tuple[Annotation, ...]:
    """All annotations of the file, sorted by onset.

    Raises:
      RecordingError: the file is empty or damaged.
    """
    return read_edf(path).annotations
