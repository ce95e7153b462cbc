"""From an `mne.io.Raw` to a `Recording`: what EEGLAB, FIF, GDF and Nihon Kohden have in common.

mne gives volts where it knows the unit, and marks where it joined pieces; here they are taken apart again.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_pipeline.night import RecordingError
from data_pipeline.readers.recording import LONGEST_S, Annotation, Recording, Signal
from data_pipeline.readers.timeline import Break, Timeline, exact_rate, joint

if TYPE_CHECKING:
    from mne.io import BaseRaw

NO_LIMIT = (-math.inf, math.inf)
BOUNDARIES = ("boundary", "-99")
"""EEGLAB's events where samples were cut out; their length is what was cut."""
_JOINTS = (*BOUNDARIES, "bad boundary", "edge boundary")
_NOT_RECORDED = "bad_acq_skip"


@contextmanager
def reading(path: Path, form: str) -> Iterator[None]:
    """mne checks little: a damaged file ends in any of these. Their texts may quote the file, and are not repeated."""
    try:
        yield
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        NotImplementedError,
        OSError,
        RuntimeError,
        struct.error,
        TypeError,
        ValueError,
        zlib.error,
    ) as error:
        raise RecordingError(
            f"{path}: damaged, or a kind of {form} that is not read ({type(error).__name__}). "
            "Copy or export it again, if need be as EDF+."
        ) from error


def recording_of(
    path: Path,
    raw: BaseRaw,
    form: str,
    *,
    units: Sequence[str] | None = None,
    limits: Sequence[tuple[float, float]] | None = None,
    stored_per_value: float = 1.0,
    joints: Sequence[str] = _JOINTS,
) -> Recording:
    """The recording in a file that mne has opened without loading it.

    Args:
      form: what the format is called.
      units: of the channels; None: V where mne says so, else none.
      limits: smallest and largest value that the file can hold, a channel; None where it stores floats.
      stored_per_value: factor on mne's values, for a format that has no unit of its own.
      joints: annotations that stand where pieces were joined, in lower case.
    Raises:
      RecordingError: no channel or sample, or longer than a week.
    """
    from mne.io.constants import FIFF

    rate_hz = exact_rate(raw.info["sfreq"])
    units = units or ["V" if c["unit"] == FIFF.FIFF_UNIT_V else "" for c in raw.info["chs"]]
    marks = [
        (a["onset"] - raw.first_samp / float(rate_hz), a["duration"], a["description"])
        for a in raw.annotations
    ]
    breaks = [
        _break(onset_s, length_s, text.lower(), float(rate_hz), joints) for onset_s, length_s, text in marks
    ]
    timeline = Timeline(raw.n_times, rate_hz, tuple(b for b in breaks if b is not None))
    if not raw.ch_names or not 0 < timeline.duration_s <= LONGEST_S:
        raise RecordingError(
            f"{path}: {len(raw.ch_names)} channels of {timeline.duration_s:g} s, expected at least one and at most "
            f"{LONGEST_S} s. The file is damaged, or must be split into nights."
        )
    signals = tuple(
        Signal(n, label, unit, rate_hz, limits[n] if limits else NO_LIMIT, (0, 1))
        for n, (label, unit) in enumerate(zip(raw.ch_names, units, strict=True))
    )
    annotations = [
        Annotation(timeline.true_s(onset_s), float(length_s) if length_s > 0 else None, text)
        for (onset_s, length_s, text), b in zip(marks, breaks, strict=True)
        if b is None and text
    ]

    def load(index: int, first: int, stop: int) -> np.ndarray:
        with reading(path, form):
            return raw[index, first:stop][0][0] * stored_per_value

    # Read once, so that a file that ends too early is refused now.
    load(0, raw.n_times - 1, raw.n_times)
    unscaled = [s.label for s in signals if not s.unit]
    notes = timeline.notes
    if unscaled:
        notes += (f"No unit is known of: {', '.join(unscaled)}.",)
    date = raw.info["meas_date"]
    return Recording(
        path,
        timeline.duration_s,
        signals,
        tuple(sorted(annotations, key=lambda a: a.onset_s)),
        timeline.gaps,
        f"{date:%H:%M:%S}" if date else None,
        notes,
        timeline.read_span(load),
    )


def _break(onset_s: float, length_s: float, text: str, rate_hz: float, joints: Sequence[str]) -> Break | None:
    if text.startswith(_NOT_RECORDED):
        first = round(onset_s * rate_hz)
        return Break(first, first + round(length_s * rate_hz))
    if text not in joints:
        return None
    # EEGLAB writes a boundary half a sample before the piece that follows, with the length of what was cut out.
    at = math.ceil(onset_s * rate_hz - 1e-3)
    is_stated = text in BOUNDARIES and length_s > 0
    return joint(at, round(length_s * rate_hz) if is_stated else None)
