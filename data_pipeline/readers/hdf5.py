"""Recordings in HDF5 (`.h5`, `.hdf5`): Dreem Open Datasets, DCSM as U-Time writes it, BDSP's prepared nights.

There is no standard. What these have in common is read: a one-dimensional array a signal, in the group `signals` or
`channels` (any depth) or, without either, at the top; its rate in an attribute of the array or of a group above it
(`fs`, `sampling_rate`, `sample_rate` …), its unit likewise (`unit`, `units` …). Without a rate nothing is read.

Scorings in the same file: `hypnogram` at the top is Dreem's, a number for each 30 s; `annotations/stage`, `resp`,
`arousal` and `limb` are BDSP's, a number a sample. What the numbers mean: `coded`.

A damaged file may hold the library for ever or end the process, so that another one looks through it first.
"""

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.night import EPOCH_S, RecordingError
from data_pipeline.readers.coded import BDSP, DREEM, coded_marks
from data_pipeline.readers.mne_raw import NO_LIMIT, reading
from data_pipeline.readers.other_process import said_of
from data_pipeline.readers.recording import LONGEST_S, Annotation, Recording, Signal, in_order
from data_pipeline.readers.timeline import exact_rate

MAGIC = b"\x89HDF\r\n\x1a\n"
SUFFIXES = (".h5", ".hdf5")
_FORM = "HDF5 file"
_PROGRAM = Path(__file__).with_name("hdf5_process.py")
_START_S, _BYTES_A_SECOND = 30, 5e6
"""How long it may take to look through a file, assumed: a start, and a slow disk."""
_FASTEST_HZ = 50_000


def read_hdf5(path: Path) -> Recording:
    """Opens a recording; samples are read by window.

    Raises:
      RecordingError: h5py is not installed, damaged, no signal with a rate, longer than a week, arrays that are not in
        this file or were never filled, or a scoring with numbers that mean nothing.
    """
    if importlib.util.find_spec("h5py") is None:
        raise RecordingError(path, "to read HDF5 files, pip install 'sleepmami[hdf5]'.")
    facts = _looked_through(path)
    with reading(path, _FORM):
        arrays = facts["arrays"]
        if not arrays:
            raise RecordingError(path, "no one-dimensional array of numbers in it: it is no recording.")
        if not all(a["rate_hz"] and 0 < a["rate_hz"] <= _FASTEST_HZ for a in arrays):
            expected = "an attribute fs, sampling_rate or sample_rate of it, or of a group above it"
            raise RecordingError(path, f"no rate is known of a signal, expected {expected}.")
        durations = [a["n"] / a["rate_hz"] for a in arrays]
        if not max(durations) <= LONGEST_S:
            raise RecordingError(path, f"{max(durations):g} s long, expected at most {LONGEST_S} s.")
        signals = tuple(_signal(index, array) for index, array in enumerate(arrays))
        annotations = _annotations(path, facts["scorings"])
    unscaled = [str(s.index + 1) for s in signals if not s.unit]
    notes = [f"No unit is known of channels {', '.join(unscaled)}."] if unscaled else []
    if (short := sum(max(durations) - d > 1 for d in durations)) > 0:
        notes.append(f"{short} signal(s) end before the others.")

    def read_span(index: int, start_s: float, stop_s: float) -> np.ndarray:
        import h5py

        rate = float(signals[index].rate_hz)
        start, stop = round(start_s * rate), round(stop_s * rate)
        samples = np.full(stop - start, np.nan, np.float32)
        last = min(stop, arrays[index]["n"])
        if last > start:
            with reading(path, _FORM), h5py.File(path, "r") as file:
                array = file[arrays[index]["name"]]
                samples[: last - start] = array[start:last] if array.ndim == 1 else array[start:last, 0]
        return samples

    return Recording(path, max(durations), signals, annotations, (), None, tuple(notes), read_span)


def _looked_through(path: Path) -> dict[str, Any]:
    """What the other process says of the file."""
    longest_s = _START_S + path.stat().st_size / _BYTES_A_SECOND
    refused = f"damaged, or a kind of {_FORM} that is not read. Copy or export it again."
    said = said_of(path, _PROGRAM, longest_s, refused)
    with reading(path, _FORM):
        facts = json.loads(said)
    if "problem" in facts:
        raise RecordingError(path, facts["problem"])
    return facts


def _signal(index: int, array: dict[str, Any]) -> Signal:
    label = array["name"].rpartition("/")[2].strip()
    return Signal(index, label, array["unit"], exact_rate(array["rate_hz"]), NO_LIMIT, (0, 1))


def _annotations(path: Path, scorings: dict[str, Any]) -> tuple[Annotation, ...]:
    found: list[Annotation] = []
    for name, scoring in scorings.items():
        values = [math.nan if value is None else value for value, _ in scoring["runs"]]
        numbers = np.repeat(values, [n for _, n in scoring["runs"]])
        is_dreem = name == "hypnogram"
        rate_hz = 1 / EPOCH_S if is_dreem else scoring["rate_hz"]
        if not rate_hz or not 0 < rate_hz <= _FASTEST_HZ:
            raise RecordingError(path, "no rate is known of a scoring, expected an attribute sampling_rate.")
        found += coded_marks(path, numbers, rate_hz, DREEM if is_dreem else BDSP[name.rpartition("/")[2]])
    return in_order(found)
