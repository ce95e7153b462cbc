"""A recording as arrays that somebody holds: {label: (samples, rate in Hz)}."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_pipeline.night import RecordingError
from data_pipeline.readers.recording import LONGEST_S, Recording, Signal
from data_pipeline.readers.timeline import exact_rate

Arrays = Mapping[str, tuple[np.ndarray, float]]
_HERE = Path("arrays")
_NO_LIMIT = (-np.inf, np.inf)


def recording_of_arrays(arrays: Arrays) -> Recording:
    """A recording in memory; the arrays are not copied, and must not change while it is read.

    >>> recording_of_arrays({"C4-M1": (np.zeros(6000), 200.0)}).duration_s
    30.0

    Args:
      arrays: by the label that a file would have, the samples (n,), in uV where electrodes give them, NaN where nothing
        was recorded, and their rate in Hz. All begin together; what is longer than the shortest is left out.

    Raises:
      RecordingError: none, no numbers in one dimension, or a rate that is none; the label is named.
    """
    signals, values = [], []
    for index, (label, given) in enumerate(arrays.items()):
        try:
            x, rate_hz = given
            samples, right = np.asarray(x), 0 < float(rate_hz) < np.inf
            right = right and samples.ndim == 1 and samples.size and samples.dtype.kind in "fiu"
        except (TypeError, ValueError):
            right = False
        if not right:
            problem = f"channel '{label}': expected (samples in one dimension, rate in Hz above 0)"
            raise RecordingError(_HERE, problem)
        signals.append(Signal(index, str(label), "uV", exact_rate(float(rate_hz)), _NO_LIMIT, (0, 1)))
        values.append(samples)
    lengths_s = [float(len(x) / signal.rate_hz) for x, signal in zip(values, signals, strict=True)]
    if not lengths_s or max(lengths_s) > LONGEST_S:
        raise RecordingError(_HERE, f"expected channels of at most {LONGEST_S} s, found {len(lengths_s)} channels")

    def read_span(index: int, start_s: float, stop_s: float) -> np.ndarray:
        rate_hz = float(signals[index].rate_hz)
        return values[index][round(start_s * rate_hz) : round(stop_s * rate_hz)].astype(np.float32)

    longest, shortest = max(lengths_s), min(lengths_s)
    cut = f"Channels of {shortest:g} to {longest:g} s: read to the end of the shortest."
    notes = (cut,) if longest - shortest >= 1 else ()
    return Recording(_HERE, shortest, tuple(signals), (), (), None, notes, read_span)
