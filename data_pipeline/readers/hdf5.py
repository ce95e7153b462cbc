"""Recordings in HDF5 (`.h5`, `.hdf5`): Dreem Open Datasets, DCSM as U-Time writes it, BDSP's prepared nights.

There is no standard. What these have in common is read: a one-dimensional array a signal, in the group `signals` or
`channels` (any depth) or, without either, at the top; its rate in an attribute of the array or of a group above it
(`fs`, `sampling_rate`, `sample_rate` …), its unit likewise (`unit`, `units` …). Without a rate nothing is read.

Scorings in the same file: `hypnogram` at the top is Dreem's, a number for each 30 s; `annotations/stage`, `resp`,
`arousal` and `limb` are BDSP's, a number a sample. What the numbers mean: `coded`.

Links and arrays that lie in other files are refused: what a file says may not open others of this machine.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_pipeline.night import EPOCH_S, RecordingError
from data_pipeline.readers.coded import BDSP, DREEM, coded_marks
from data_pipeline.readers.mne_raw import reading
from data_pipeline.readers.recording import LONGEST_S, Annotation, Recording, Signal
from data_pipeline.readers.timeline import exact_rate

if TYPE_CHECKING:
    import h5py

MAGIC = b"\x89HDF\r\n\x1a\n"
SUFFIXES = (".h5", ".hdf5")
_FORM = "HDF5 file"
_GROUPS = ("signals", "channels")
_RATES = ("fs", "sampling_rate", "sample_rate", "sampling_frequency", "samplerate", "sfreq", "srate", "rate")
_UNITS = ("unit", "units", "unit_voltage", "physical_dimension", "dimension")
_SCORINGS = ("hypnogram", "annotations")
_MOST_SIGNALS, _DEEPEST = 1000, 8
_FASTEST_HZ = 50_000
_DEFLATE = 1100
"""No deflated byte holds more than about 1032; an array that claims more of the file was never written."""


def read_hdf5(path: Path) -> Recording:
    """Opens a recording; samples are read by window.

    Raises:
      RecordingError: h5py is not installed, damaged, no signal with a rate, longer than a week, arrays that are not in
        this file or were never filled, or a scoring with numbers that mean nothing.
    """
    try:
        import h5py
    except ImportError as error:
        raise RecordingError(path, "to read HDF5 files, pip install 'sleepmami[hdf5]'.") from error
    with reading(path, _FORM), h5py.File(path, "r") as file:
        top = next((file[name] for name in _GROUPS if isinstance(_own(path, file, name), h5py.Group)), file)
        arrays = [a for a in _arrays(path, top) if a.name.split("/")[1] not in _SCORINGS]
        if not arrays:
            raise RecordingError(path, "no one-dimensional array of numbers in it: it is no recording.")
        signals = tuple(_signal(path, index, array) for index, array in enumerate(arrays))
        names = [array.name for array in arrays]
        lengths = [array.size for array in arrays]
        durations = [n / float(s.rate_hz) for n, s in zip(lengths, signals, strict=True)]
        duration_s = max(durations)
        if not 0 < duration_s <= LONGEST_S:
            raise RecordingError(path, f"{duration_s:g} s long, expected at most {LONGEST_S} s.")
        annotations = _annotations(path, file)
    unscaled = [s.label for s in signals if not s.unit]
    notes = [f"No unit is known of: {', '.join(unscaled)}."] if unscaled else []
    if (short := sum(duration_s - d > 1 for d in durations)) > 0:
        notes.append(f"{short} signal(s) end before the others.")

    def read_span(index: int, start_s: float, stop_s: float) -> np.ndarray:
        rate = float(signals[index].rate_hz)
        start, stop = round(start_s * rate), round(stop_s * rate)
        samples = np.full(stop - start, np.nan, np.float32)
        last = min(stop, lengths[index])
        if last > start:
            with reading(path, _FORM), h5py.File(path, "r") as file:
                array = file[names[index]]
                window = array[start:last] if array.ndim == 1 else array[start:last, 0]
                samples[: last - start] = window
        return samples

    return Recording(path, duration_s, signals, annotations, (), None, tuple(notes), read_span)


def _own(path: Path, group: "h5py.Group", name: str) -> Any:
    """What a name of a group stands for, None where there is none. Raises where it leads to another file."""
    import h5py

    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
        raise RecordingError(path, "it links to other arrays or files, which are not followed. Write it out whole.")
    return group[name] if link is not None else None


def _arrays(path: Path, group: "h5py.Group", depth: int = 0) -> list["h5py.Dataset"]:
    """One-dimensional arrays of numbers below a group, in the order of their names."""
    import h5py

    found: list[h5py.Dataset] = []
    for name in group:
        item = _own(path, group, name)
        if isinstance(item, h5py.Group) and depth < _DEEPEST:
            found += _arrays(path, item, depth + 1)
        elif isinstance(item, h5py.Dataset) and _is_signal(item):
            _check(path, item)
            found.append(item)
        if len(found) > _MOST_SIGNALS:
            raise RecordingError(path, f"more than {_MOST_SIGNALS} arrays, expected the signals of one night.")
    return found


def _is_signal(array: "h5py.Dataset") -> bool:
    is_line = array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)
    return is_line and array.dtype.kind in "fiu" and array.size > 1


def _check(path: Path, array: "h5py.Dataset") -> None:
    if array.external or array.is_virtual:
        raise RecordingError(path, "an array lies in another file, which is not opened. Write it out whole.")
    if array.id.get_storage_size() * _DEFLATE < array.size * array.dtype.itemsize:
        raise RecordingError(path, f"an array of {array.size} numbers was never filled. The file is damaged.")


def _attributes(array: "h5py.Dataset", names: tuple[str, ...]) -> Iterator[Any]:
    """Values of an attribute, of the array first and then of the groups above it."""
    place = array
    while True:
        here = {key.lower(): key for key in place.attrs}
        yield from (place.attrs[here[name]] for name in names if name in here)
        if place.name == "/":
            return
        place = place.parent


def _rate_hz(path: Path, array: "h5py.Dataset") -> float:
    for value in _attributes(array, _RATES):
        number = np.asarray(value)
        if number.size == 1 and number.dtype.kind in "fiu" and 0 < float(number.ravel()[0]) <= _FASTEST_HZ:
            return float(number.ravel()[0])
    expected = "an attribute fs, sampling_rate or sample_rate of it, or of a group above it"
    raise RecordingError(path, f"no rate is known of a signal, expected {expected}.")


def _signal(path: Path, index: int, array: "h5py.Dataset") -> Signal:
    unit = next((_text(value) for value in _attributes(array, _UNITS)), "")
    label = array.name.rpartition("/")[2].strip()
    limits = (-math.inf, math.inf)
    return Signal(index, label, unit, exact_rate(_rate_hz(path, array)), limits, (0, 1))


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.strip() if isinstance(value, str) else ""


def _annotations(path: Path, file: "h5py.File") -> tuple[Annotation, ...]:
    import h5py

    found: list[Annotation] = []
    hypnogram = _own(path, file, "hypnogram")
    if isinstance(hypnogram, h5py.Dataset) and _is_signal(hypnogram):
        _check(path, hypnogram)
        found += coded_marks(path, _numbers(path, hypnogram), 1 / EPOCH_S, DREEM)
    annotations = _own(path, file, "annotations")
    if isinstance(annotations, h5py.Group):
        for family, meanings in BDSP.items():
            vector = _own(path, annotations, family)
            if isinstance(vector, h5py.Dataset) and _is_signal(vector):
                _check(path, vector)
                found += coded_marks(path, _numbers(path, vector), _rate_hz(path, vector), meanings)
    return tuple(sorted(found, key=lambda a: a.onset_s))


def _numbers(path: Path, array: "h5py.Dataset") -> np.ndarray:
    """(n,) float64 of a scoring."""
    if array.size > LONGEST_S * 512:
        raise RecordingError(path, f"a scoring of {array.size} numbers, expected one night.")
    return np.asarray(array[...], np.float64).ravel()
