"""EEGLAB `.set`, with its data inside or in a `.fdt` beside it.

A MAT file holds arrays, structures and texts; mne reads it with pymatreader (scipy, h5py), which runs nothing from it.
EEGLAB states no units; its amplitudes are microvolts by convention, and other signals whatever they were.
"""

from __future__ import annotations

from pathlib import Path

from data_pipeline.night import RecordingError
from data_pipeline.readers.mne_raw import reading, recording_of
from data_pipeline.readers.recording import Recording

_STORED_PER_VOLT = 1e6


def companion(path: Path) -> Path:
    """Where the data of a `.set` lie if they are not in it."""
    return path.with_suffix(".fdt")


def read_eeglab(path: Path) -> Recording:
    """Opens a continuous recording. Data in a `.fdt` are read by window; data inside the `.set` are loaded whole.

    Raises:
      RecordingError: damaged, cut into epochs, a `.fdt` of another name or length, or pymatreader is not installed.
    """
    try:
        import pymatreader  # noqa: F401  (mne needs it)
    except ImportError as error:
        raise RecordingError(f"{path}: to read EEGLAB files, pip install 'sleepmami[formats]'.") from error
    import mne

    with reading(path, "EEGLAB file"):
        raw = mne.io.read_raw_eeglab(path, preload=False, montage_units="auto", verbose="ERROR")
    data = Path(raw.filenames[0])
    if data != path.absolute():
        # mne would open what the file names, wherever that is, and an old copy after a renaming.
        if data != companion(path).absolute():
            raise RecordingError(
                f"{path}: its data are not in '{companion(path).name}'. Name the two files alike."
            )
        size, expected = data.stat().st_size, 4 * raw.n_times * len(raw.ch_names)
        if size != expected:
            raise RecordingError(
                f"{path}: data file '{data.name}' holds {size} bytes, expected {expected} for {raw.n_times} samples of "
                f"{len(raw.ch_names)} channels. It is cut, or belongs to another file: copy both again."
            )
    units = ["µV"] * len(raw.ch_names)
    return recording_of(path, raw, "EEGLAB file", units=units, stored_per_value=_STORED_PER_VOLT)
