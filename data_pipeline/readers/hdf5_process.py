"""Looks through one HDF5 file and writes what is in it to standard output; a program of its own, run by `hdf5`.

A damaged file may hold the library in a loop or end the process. So everything is read here once; what comes through
can be read again. One JSON object: `arrays`, each with name, size, rate_hz and unit; `scorings`, runs of numbers; or
`problem`, a sentence.
"""

import json
import sys

import h5py
import numpy as np

_MEMORY = 3 << 30
_GROUPS = ("signals", "channels")
_SCORINGS = ("hypnogram", "annotations/stage", "annotations/resp", "annotations/arousal", "annotations/limb")
_RATES = ("fs", "sampling_rate", "sample_rate", "sampling_frequency", "samplerate", "sfreq", "srate", "rate")
_UNITS = ("unit", "units", "unit_voltage", "physical_dimension", "dimension")
_MOST_SIGNALS, _DEEPEST, _AT_ONCE = 1000, 8, 1 << 20
_MOST_NUMBERS = 7 * 86400 * 512
"""A scoring of a week, a number for each sample at 512 Hz."""
_DEFLATE = 1100
"""No deflated byte holds more than about 1032; an array that claims more of the file was never written."""


class Refused(Exception):
    """What is not read; the sentence is for the person who asked."""


def own(group, name):
    """What a name of a group stands for, None where there is none; nothing that lies elsewhere."""
    for part in name.split("/"):
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
        if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
            raise Refused("it links to other arrays or files, which are not followed. Write it out whole.")
        group = group[part] if link is not None else None
    return group


def is_line(array) -> bool:
    """Whether something is a one-dimensional array of numbers that lies in this file and was filled."""
    if not isinstance(array, h5py.Dataset) or array.dtype.kind not in "fiu" or not array.shape:
        return False
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        return False
    if array.external or array.is_virtual:
        raise Refused("an array lies in another file, which is not opened. Write it out whole.")
    if array.id.get_storage_size() * _DEFLATE < array.size * array.dtype.itemsize:
        raise Refused(f"an array of {array.size} numbers was never filled. The file is damaged.")
    return array.size > 0


def arrays_below(group, depth=0):
    """The arrays below a group, in the order of their names."""
    found = []
    for name in group:
        item = own(group, name)
        if isinstance(item, h5py.Group) and depth < _DEEPEST:
            found += arrays_below(item, depth + 1)
        elif is_line(item):
            found.append(item)
        if len(found) > _MOST_SIGNALS:
            raise Refused(f"more than {_MOST_SIGNALS} arrays, expected the signals of one night.")
    return found


def attributes(array, names):
    """Values of an attribute, of the array first and then of the groups above it."""
    while True:
        here = {key.lower(): key for key in array.attrs}
        yield from (array.attrs[here[name]] for name in names if name in here)
        if array.name == "/":
            return
        array = array.parent


def rate_of(array):
    """Numbers a second, None where no attribute says so."""
    values = (np.asarray(value) for value in attributes(array, _RATES))
    return next((float(v.ravel()[0]) for v in values if v.size == 1 and v.dtype.kind in "fiu"), None)


def unit_of(array) -> str:
    """The unit, "" where no attribute says it."""
    for value in attributes(array, _UNITS):
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        if isinstance(text, str):
            return text.strip()
    return ""


def runs_of(array):
    """The numbers of a scoring as (number or None, how often)."""
    if array.size > _MOST_NUMBERS:
        raise Refused(f"a scoring of {array.size} numbers, expected one night.")
    values = np.asarray(array[...], np.float64).ravel()
    starts = np.flatnonzero(np.r_[True, (np.diff(values) != 0) & ~(np.isnan(values[1:]) & np.isnan(values[:-1]))])
    lengths = np.diff(np.r_[starts, len(values)])
    return [(None if np.isnan(v) else float(v), int(n)) for v, n in zip(values[starts], lengths, strict=True)]


def facts(file) -> dict:
    """What is in the file; every number of it is read."""
    top = next((group for name in _GROUPS if isinstance(group := own(file, name), h5py.Group)), file)
    arrays = [a for a in arrays_below(top) if a.name.split("/")[1] not in ("hypnogram", "annotations")]
    for array in arrays:
        for first in range(0, len(array), _AT_ONCE):
            array[first : first + _AT_ONCE]
    scorings = {name: item for name in _SCORINGS if is_line(item := own(file, name))}
    return {
        "arrays": [{"name": a.name, "n": a.size, "rate_hz": rate_of(a), "unit": unit_of(a)} for a in arrays],
        "scorings": {name: {"rate_hz": rate_of(a), "runs": runs_of(a)} for name, a in scorings.items()},
    }


if __name__ == "__main__":
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    except (ImportError, ValueError, OSError):
        pass  # not every system has limits
    try:
        with h5py.File(sys.argv[1], "r") as opened:
            said = facts(opened)
    except Refused as error:
        said = {"problem": str(error)}
    sys.stdout.write(json.dumps(said))
