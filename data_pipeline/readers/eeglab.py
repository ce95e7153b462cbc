"""EEGLAB `.set`, with its data inside or in a `.fdt` beside it.

A MAT file holds arrays, structures and texts; mne reads it with pymatreader (scipy, h5py), which runs nothing from it.
But a damaged one may end the process that reads it, so that is another one, which hands back numbers and texts.
EEGLAB states no units: its amplitudes are microvolts by convention, and other signals whatever they were.
"""

import json
from pathlib import Path

import numpy as np

from data_pipeline.night import RecordingError
from data_pipeline.readers.mne_raw import reading, recording_from
from data_pipeline.readers.other_process import said_of
from data_pipeline.readers.recording import Recording

_PROGRAM = Path(__file__).with_name("eeglab_process.py")
_LONGEST_PARSE_S = 600
_FORM = "EEGLAB file"


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
        raise RecordingError(path, "to read EEGLAB files, pip install 'sleepmami[formats]'.") from error
    refused = "damaged, or cut into epochs. Export it again, continuous, if need be as EDF+."
    header, _, inside = said_of(path, _PROGRAM, _LONGEST_PARSE_S, refused).partition(b"\n")
    with reading(path, _FORM):
        facts = json.loads(header)
        n, labels, file = facts["n"], facts["labels"], Path(facts["data"])
    if file == path.absolute():
        data = np.frombuffer(inside, "<f4").reshape(len(labels), n)
    else:
        data = _beside(path, file, n, len(labels)).T

    return recording_from(
        path,
        _FORM,
        rate_hz=facts["rate_hz"],
        n=n,
        labels=labels,
        units=["µV"] * len(labels),
        marks=[tuple(mark) for mark in facts["marks"]],
        load=lambda index, first, stop: data[index, first:stop],
    )


def _beside(path: Path, file: Path, n: int, n_channels: int) -> np.ndarray:
    """(n, n_channels) memory map of a `.fdt`."""
    # What the file names may lie anywhere, or be an old copy after a renaming.
    if file != companion(path).absolute():
        raise RecordingError(path, f"its data are not in '{companion(path).name}'. Name the two files alike.")
    size, expected = file.stat().st_size, 4 * n * n_channels
    if size != expected or not size:
        problem = f"data file '{file.name}' holds {size} bytes, expected {expected} for {n} samples of {n_channels}"
        raise RecordingError(path, f"{problem} channels. It is cut, or belongs to another file: copy both again.")
    return np.memmap(file, "<f4", "r", shape=(n, n_channels))
