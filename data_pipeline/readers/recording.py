"""A recording as the file has it: labels, units and rates untouched, time true."""

import datetime
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from data_pipeline.night import RecordingError

LONGEST_S = 7 * 86400
"""A recording that claims to be longer is damaged, or must be split into nights."""
MOST_ANNOTATIONS = 100_000
"""Assumed: a day of heartbeats, or a week of stages and two events a minute besides."""
_LONGEST_NAME = 255
"""Bytes of a file's name on the usual file systems."""
_MICROVOLTS = {"v": 1e6, "mv": 1e3, "uv": 1.0, "µv": 1.0, "μv": 1.0, "nv": 1e-3, "microv": 1.0, "microvolt": 1.0}
"""Lower-case unit -> microvolts. Headers write UV and MV: nobody records megavolts, so case says nothing."""


@dataclass(frozen=True)
class Signal:
    """One channel's header.

    Attributes:
      index: place among the recording's ordinary signals; what `Recording.read` takes.
      label: as written, outer blanks removed. Labels need not be unique.
      unit: physical dimension as written ("uV", "MV", "").
      rate_hz: samples a second, exact (499.5 Hz is 999/2).
      physical_range: values of the smallest and largest digital value; inverted when polarity is, infinite where
        the file stores floats.
      digital_range: smallest and largest digital value.
      transducer: sensor as written ("" when not stated).
    """

    index: int
    label: str
    unit: str
    rate_hz: Fraction
    physical_range: tuple[float, float]
    digital_range: tuple[int, int]
    transducer: str = ""

    @property
    def is_calibrated(self) -> bool:
        """Whether digital values have a physical meaning: both ranges have a width."""
        return self.digital_range[0] != self.digital_range[1] and self.physical_range[0] != self.physical_range[1]


def microvolts_per(unit: str) -> float | None:
    """Microvolts in one of the header's units; None when it is not a unit of voltage ("", "n/a", "-").

    >>> microvolts_per("mV"), microvolts_per("%")
    (1000.0, None)
    """
    return _MICROVOLTS.get(unit.strip().lower())


@dataclass(frozen=True)
class Annotation:
    """A mark in time. `duration_s` is None where none is written; seconds count from the first sample."""

    onset_s: float
    duration_s: float | None
    text: str


def in_order(annotations: Iterable[Annotation]) -> tuple[Annotation, ...]:
    """Annotations sorted by onset; those of one onset stay as they were."""
    return tuple(sorted(annotations, key=lambda a: a.onset_s))


@dataclass(frozen=True)
class Recording:
    """An open recording. It keeps no name and no birth date.

    Attributes:
      path: the file.
      duration_s: from the first sample to the end of the last, gaps included.
      signals: ordinary signals; annotation channels are not among them.
      annotations: sorted by onset, also those past the end.
      gaps: (start_s, stop_s) of stretches in which nothing was recorded, in order.
      start_clock: time of day of the first sample, "22:31:05", or None.
      notes: a sentence each for what a reader should know of the file.
      start_day: calendar day of the first sample where the file says it. It places scorings that have one too, and the
        annotations that are laid over the recording; it is neither shown nor kept in what is made of many nights.
      read_span: `(index, start_s, stop_s) -> samples`, given by the format's reader.
    """

    path: Path
    duration_s: float
    signals: tuple[Signal, ...]
    annotations: tuple[Annotation, ...]
    gaps: tuple[tuple[float, float], ...]
    start_clock: str | None
    notes: tuple[str, ...]
    read_span: Callable[[int, float, float], np.ndarray] = field(repr=False)
    start_day: datetime.date | None = field(default=None, repr=False)

    def read(self, index: int, start_s: float = 0.0, stop_s: float | None = None) -> np.ndarray:
        """Samples of one signal on the true time axis.

        Args:
          index: `Signal.index`.
          start_s, stop_s: span in seconds; None is the end. Sample k lies at k / rate_hz.
        Returns:
          (round(stop_s * rate) - round(start_s * rate),) float32 in the unit of the header, NaN where
          nothing was recorded.
        Raises:
          ValueError: no such index, or a span outside the recording.
        """
        stop_s = self.duration_s if stop_s is None else stop_s
        if not 0 <= index < len(self.signals):
            raise ValueError(f"{self.path}: no signal {index}; there are {len(self.signals)}, from 0.")
        if not 0 <= start_s <= stop_s <= self.duration_s:
            problem = f"{self.path}: span {start_s}-{stop_s} s is not within the recording, 0-{self.duration_s} s."
            raise ValueError(problem)
        return self.read_span(index, start_s, stop_s)


def gaps_note(gaps: Sequence[tuple[float, float]]) -> str:
    """What a reader should know of the gaps of a recording."""
    return f"{len(gaps)} gap(s), {sum(b - a for a, b in gaps):g} s in all, in which nothing was recorded."


def beside(path: Path, name: str) -> Path:
    """The file that a header calls `name`, in the folder of the header `path`.

    Raises:
      RecordingError: the name leads elsewhere. What a header says may not open other files of this machine.
    """
    is_plain = len(name.encode("utf-8", "surrogateescape")) <= _LONGEST_NAME and not re.search(r"[/\\\0]|^~", name)
    if name in ("", "-", ".", "..") or not is_plain:
        raise RecordingError(path, "its header names a file outside its own folder, expected a plain file name.")
    return path.parent / name
