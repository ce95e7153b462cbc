"""True time of a file that was interrupted: each piece at its own time, NaN between, never joined."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np

from data_pipeline.night import RecordingError
from data_pipeline.readers.recording import gaps_note

_AT_ONCE = 1 << 20
_MOST_MISSING = 30_000_000
"""Samples of one signal that may be missing in gaps: 16 h at 512 Hz. A few bytes can claim any number."""
_MOST_GAPS = 10_000
"""Assumed: a recorder that stands still oftener than every three seconds of a night writes no night."""


def check_gaps(path: Path, gaps: Sequence[tuple[float, float]], rate_hz: float, whose: str) -> None:
    """Refuses gaps that would fill the memory, or take for ever, whatever little is recorded between them.

    Args:
      gaps: (start_s, stop_s) each, of a signal of `rate_hz`.
      whose: what has them, for the message: "channel 'C4-M1'".
    Raises:
      RecordingError: too many of them, or too long.
    """
    lost_s = sum(stop - start for start, stop in gaps)
    if len(gaps) > _MOST_GAPS:
        problem = f"{whose}: {len(gaps)} gaps, expected at most {_MOST_GAPS}. Its time stamps are damaged"
        raise RecordingError(path, f"{problem}: export it again.")
    if lost_s * rate_hz > _MOST_MISSING:
        problem = f"{whose}: {lost_s:g} s are missing at {rate_hz:g} samples a second, too much to fill"
        raise RecordingError(path, f"{problem}. Split the recording at its gaps, or mend its header.")


@dataclass(frozen=True)
class Break:
    """Where a file does not go on as it seems to.

    Attributes:
      first, stop: samples of the file that hold nothing.
      lost: samples that were not written after them; None when nobody says how many.
    """

    first: int
    stop: int
    lost: int | None = 0


def joint(at: int, lost: int | None) -> Break:
    """A break before sample `at`. Of unknown length, it takes the samples beside it.

    So the pieces are not joined, and times stay those of the file.
    """
    return Break(at, at, lost) if lost is not None else Break(at - 1, at + 1, None)


@dataclass(frozen=True)
class Timeline:
    """The time axis of a file with one rate.

    Attributes:
      n: samples a channel in the file.
      rate_hz: samples a second.
      breaks: in any order; those at or before the first sample and after the last do not count.
    """

    n: int
    rate_hz: Fraction
    breaks: tuple[Break, ...] = ()

    @cached_property
    def _inner(self) -> tuple[Break, ...]:
        holds_any = (b for b in self.breaks if b.lost != 0 or b.stop > b.first)
        inner = {b for b in holds_any if b.stop > 0 and b.first < self.n and (b.first, b.stop) != (-1, 1)}
        return tuple(sorted(inner, key=lambda b: (b.first, b.stop)))

    @cached_property
    def _pieces(self) -> tuple[tuple[int, int, int], ...]:
        """(place on the true axis, place in the file, size) of each piece, in samples."""
        pieces, first, shift = [], 0, 0
        for b in (*self._inner, Break(self.n, self.n)):
            if b.first > first:
                pieces.append((first + shift, first, b.first - first))
            first = max(first, b.stop)
            shift += b.lost or 0
        return tuple(pieces)

    @property
    def n_stored(self) -> int:
        """Samples a channel that the file has to hold."""
        return sum(size for _, _, size in self._pieces)

    @property
    def duration_s(self) -> float:
        return float((self.n + sum(b.lost or 0 for b in self._inner)) / self.rate_hz)

    @property
    def gaps(self) -> tuple[tuple[float, float], ...]:
        """(start_s, stop_s) of each stretch in which nothing was recorded."""
        gaps, end = [], 0
        for at, _, size in (*self._pieces, (round(self.duration_s * self.rate_hz), 0, 0)):
            if at > end:
                gaps.append((float(end / self.rate_hz), float(at / self.rate_hz)))
            end = at + size
        return tuple(gaps)

    @property
    def notes(self) -> tuple[str, ...]:
        notes = [gaps_note(self.gaps)] if self.gaps else []
        if n := sum(b.lost is None for b in self._inner):
            notes.append(f"{n} of them of a length that the file does not state: times after it are the file's own.")
        return tuple(notes)

    @cached_property
    def _shifts(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each break ends in the file, and the samples lost up to there."""
        stops = np.array([0, *(b.stop for b in self._inner)])
        return np.maximum.accumulate(stops), np.cumsum([0, *(b.lost or 0 for b in self._inner)])

    def true_s(self, onset_s: float) -> float:
        """Seconds from the first sample, for a time that counts only what is in the file."""
        stops, lost = self._shifts
        before = np.searchsorted(stops, onset_s * float(self.rate_hz) + 1e-6, side="right") - 1
        return round(onset_s + float(int(lost[max(before, 0)]) / self.rate_hz), 9)

    def read_span(self, load: Callable[[int, int, int], np.ndarray]) -> Callable[[int, float, float], np.ndarray]:
        """`Recording.read_span`, from `load(index, first, stop)`: samples of the file, a million a call at most."""

        def read_span(index: int, start_s: float, stop_s: float) -> np.ndarray:
            start, end = round(start_s * float(self.rate_hz)), round(stop_s * float(self.rate_hz))
            samples = np.full(end - start, np.nan, np.float32)
            for at, first, size in self._pieces:
                lo, hi = max(at, start), min(at + size, end)
                for a in range(lo, hi, _AT_ONCE):
                    b = min(a + _AT_ONCE, hi)
                    samples[a - start : b - start] = load(index, a - at + first, b - at + first)
            return samples

        return read_span


def exact_rate(rate_hz: float) -> Fraction:
    """The simplest fraction that a float of 32 or 64 bits stands for: 512.82051 is 20000/39."""
    candidates = (Fraction(round(rate_hz * d), d) for d in range(1, 1001))
    return next((f for f in candidates if abs(float(f) / rate_hz - 1) < 1e-7), Fraction(rate_hz))
