"""From a file to a `Recording` at native rates. One module per format; the file's first bytes say which."""

import re
from collections.abc import Callable
from pathlib import Path

from data_pipeline.night import RecordingError
from data_pipeline.readers import brainvision, eeglab, fif, gdf, hdf5, nihon_kohden
from data_pipeline.readers.edf import read_edf
from data_pipeline.readers.edf_header import is_edf
from data_pipeline.readers.recording import Annotation, Recording, Signal
from data_pipeline.readers.wfdb import read_header, read_wfdb

__all__ = ["Annotation", "Recording", "Signal", "files_of", "is_recording", "open_recording"]

SUFFIXES = (".edf", ".bdf", ".rec", ".hea", ".vhdr", ".set", ".fif", ".gdf", ".eeg", *hdf5.SUFFIXES)
"""What recordings are called, in lower case; of a format with several files, the one to give."""


def open_recording(path: Path) -> Recording:
    """Opens a recording; samples are read later, a channel at a time.

    >>> recording = open_recording(Path("night.edf"))
    >>> recording.duration_s, recording.signals[0].label
    (1800.0, 'F3')

    Args:
      path: EDF, EDF+, BDF, BDF+, a WFDB or BrainVision header (.hea, .vhdr), EEGLAB (.set), FIF, GDF, Nihon
        Kohden (.eeg) or HDF5 (.h5). The content decides; only a WFDB header is also known by its suffix.
    Raises:
      RecordingError: the file is missing, empty, damaged, of another format, or holds no signal.
    """
    path = Path(path)
    if not path.is_file():
        is_folder = path.is_dir()
        problem = f"{'a folder, expected one of the recordings in it' if is_folder else 'no such file'}."
        raise RecordingError(path, problem)
    read = _reader_of(path)
    if read is None:
        problem = "not an EDF or BDF file (its first 8 bytes are neither '0' and blanks nor BIOSEMI)"
        raise RecordingError(path, f"{problem}, nor one of {', '.join(SUFFIXES[3:])}. {_advice(path)}")
    recording = read(path)
    if not recording.signals:
        raise RecordingError(path, "it holds annotations only, no signals. Give it as scoring, beside the recording.")
    return recording


def is_recording(path: Path) -> bool:
    """Whether a file called as recordings are is one: `.eeg` may also be the data file of a BrainVision header.

    >>> is_recording(Path("night.edf")), is_recording(Path("night.csv"))
    (True, False)
    """
    suffix = path.suffix.lower()
    return suffix in SUFFIXES and (suffix != ".eeg" or _reader_of(path) is nihon_kohden.read_nihon_kohden)


def files_of(path: Path) -> tuple[Path, ...]:
    """All files that a recording is made of, `path` first.

    Raises:
      RecordingError: a header is damaged, or names a file elsewhere.
    """
    read = _reader_of(path)
    if read is read_wfdb:
        others = read_header(path).files
    elif read is brainvision.read_brainvision:
        others = brainvision.companions(path)
    elif read is nihon_kohden.read_nihon_kohden:
        others = nihon_kohden.companions(path)
    else:
        others = (eeglab.companion(path),) if read is eeglab.read_eeglab else ()
    return (path, *(other for other in others if other.is_file()))


def _reader_of(path: Path) -> Callable[[Path], Recording] | None:
    with path.open("rb") as file:
        start = file.read(256)
    if is_edf(path):
        return read_edf
    if start.startswith(gdf.MAGIC):
        return gdf.read_gdf
    if start.startswith(fif.MAGIC):
        return fif.read_fif
    if start.startswith(nihon_kohden.MAGIC):
        return nihon_kohden.read_nihon_kohden
    if brainvision.MAGIC.match(start):
        return brainvision.read_brainvision
    if path.suffix.lower() == ".set" and re.match(rb"MATLAB|\x89HDF", start):
        return eeglab.read_eeglab
    if path.suffix.lower() in hdf5.SUFFIXES and start.startswith(hdf5.MAGIC):
        return hdf5.read_hdf5
    return read_wfdb if path.suffix.lower() == ".hea" else None


def _advice(path: Path) -> str:
    """What to give instead, when the header of this file is beside it."""
    for suffix in (".vhdr", ".set", ".hea"):
        header = path.with_suffix(suffix)
        if path.suffix.lower() != suffix and header.is_file():
            return f"Give its header, '{header.name}'."
    return "Export the recording as EDF or EDF+."
