"""From a file to a `Recording` at native rates. One module per format; the file's first bytes say which."""

from __future__ import annotations

from pathlib import Path

from data_pipeline.night import RecordingError
from data_pipeline.readers.edf import is_edf, read_edf
from data_pipeline.readers.recording import Annotation, Recording, Signal

__all__ = ["Annotation", "Recording", "Signal", "open_recording"]


def open_recording(path: Path) -> Recording:
    """Opens a recording; samples are read later, a channel at a time.

    Args:
      path: an EDF, EDF+C, EDF+D, BDF or BDF+ file. The suffix does not matter, the content does.
    Raises:
      RecordingError: the file is missing, empty, damaged, of another format, or holds no signal.
    """
    path = Path(path)
    if not path.is_file():
        raise RecordingError(f"{path}: no such file.")
    if not is_edf(path):
        raise RecordingError(
            f"{path}: not an EDF or BDF file (its first 8 bytes are neither '0' and blanks nor BIOSEMI). "
            "Export the recording as EDF or EDF+."
        )
    recording = read_edf(path)
    if not recording.signals:
        raise RecordingError(
            f"{path}: it holds annotations only, no signals. Give it as scoring, beside the recording."
        )
    return recording
