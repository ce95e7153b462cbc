"""Nihon Kohden `.EEG`, with `.21E` (labels), `.PNT` (start) and `.LOG` (events) beside it by name.

mne reads the layout that these recorders write. It joins the data blocks of one file without saying how long the
recorder stood still between them.
"""

import struct
from pathlib import Path

from data_pipeline.night import RecordingError
from data_pipeline.readers.mne_raw import reading, recording_of
from data_pipeline.readers.recording import Recording

MAGIC = (b"EEG-1100", b"EEG-1200", b"EEG-2100", b"DAE-2100", b"QI-403A ")
_BESIDE = (".21E", ".PNT", ".pnt", ".LOG")


def companions(path: Path) -> tuple[Path, ...]:
    """The files beside a recording that belong to it."""
    return tuple(file for suffix in _BESIDE if (file := path.with_suffix(suffix)).is_file())


def read_nihon_kohden(path: Path) -> Recording:
    """Opens a recording; samples are read by window.

    Raises:
      RecordingError: cut, damaged, or of a recorder that mne does not know.
    """
    import mne

    with reading(path, "Nihon Kohden file"):
        _check_size(path)
        raw = mne.io.read_raw_nihon(path, preload=False, encoding="latin-1", verbose="ERROR")
    return recording_of(path, raw, "Nihon Kohden file")


def _check_size(path: Path) -> None:
    """Every data block must lie within the file: a header says where it begins, how long and how wide it is."""
    size = path.stat().st_size
    with path.open("rb") as file:

        def number(at: int, form: str) -> int:
            file.seek(at)
            return struct.unpack(form, file.read(struct.calcsize(form)))[0]

        control = number(0x92, "<I")
        for block in range(number(control + 17, "<B")):
            at = number(control + 18 + 20 * block, "<I")
            n_channels, tenths = number(at + 0x26, "<B"), number(at + 0x1C, "<I")
            n = tenths * (number(at + 0x1A, "<H") & 0x3FFF) // 10
            expected = at + 0x27 + 10 * n_channels + 2 * n * (n_channels + 1)  # 16 bits, and a marker channel
            if not n or size < expected:
                problem = f"holds {size} bytes, expected at least {expected} for {n} samples of {n_channels} channels"
                raise RecordingError(path, f"{problem} in data block {block + 1}. It is cut: copy it again.")
