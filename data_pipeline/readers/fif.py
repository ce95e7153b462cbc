"""FIF, mne's own format: tags one after the other, numbers and texts only. What mne marks BAD_ACQ_SKIP is a gap."""

import struct
from pathlib import Path

from data_pipeline.night import RecordingError
from data_pipeline.readers.mne_raw import reading, recording_of
from data_pipeline.readers.recording import Recording

MAGIC = struct.pack(">iii", 100, 31, 20)
"""The first tag: a file's identity, in a structure of 20 bytes."""
_TAG = struct.Struct(">iiii")  # kind, type, bytes of data, where the next one is


def read_fif(path: Path) -> Recording:
    """Opens a raw recording in one file; samples are read by window.

    Raises:
      RecordingError: cut, damaged, not raw data, or saved in parts.
    """
    import mne

    _check_tags(path)
    with reading(path, "FIF file"):
        raw = mne.io.read_raw_fif(path, preload=False, allow_maxshield=True, verbose="ERROR")
    return recording_of(path, raw, "FIF file")


def _check_tags(path: Path) -> None:
    """Walks over all tags: the last must be there, and none may lead to another file."""
    from mne.io.constants import FIFF

    size, place = path.stat().st_size, 0
    with path.open("rb") as file:
        while True:
            file.seek(place)
            head = file.read(_TAG.size)
            if len(head) < _TAG.size:
                problem = f"holds {size} bytes, expected at least {place + _TAG.size}. It is cut: copy it again."
                raise RecordingError(path, problem)
            kind, _, length, following = _TAG.unpack(head)
            if (end := place + _TAG.size + length) > size:  # mne makes room for what a tag says
                raise RecordingError(path, f"holds {size} bytes, expected at least {end}. It is cut: copy it again.")
            if kind == FIFF.FIFF_REF_ROLE:
                advice = "Save the recording as one file, with mne's split_size, or as EDF+."
                raise RecordingError(path, f"one part of several, which are not followed. {advice}")
            if following < 0:
                return
            # A tag may say where the next one is, but a walk that goes back would never end.
            after = following or place + _TAG.size + length
            if after <= place:
                raise RecordingError(path, f"its tag at {place} leads back to {after}. The file is damaged.")
            place = after
