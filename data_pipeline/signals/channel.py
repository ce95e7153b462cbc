"""A channel that is still in the recording: surveyed once, then read a stretch at a time.

A survey of a few minutes finds mains hum, mends units and tells dead channels. A stretch is read with the context that
filters and flags need, so that it is the same whatever is read before or after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from data_pipeline.montage.mapping import Derivation
from data_pipeline.night import (
    EPOCH_S,
    RATE_HZ,
    Channel,
    Modality,
    Quality,
    blocks,
    survey,
)
from data_pipeline.readers import Recording
from data_pipeline.signals.contact import (
    Habits,
    dropped_flags,
    habits,
    hum_flags,
    open_lead_flags,
    rail_flags,
)
from data_pipeline.signals.filters import (
    MARGIN_S,
    condition,
    fill_gaps,
    find_mains,
    mend_scale,
    microvolts_per,
    typical_amplitude,
)
from data_pipeline.signals.quality import FLAT_S, flat_flags, range_flags, raw_flags

_SURVEYED = 20
"""Pieces with a usable second that a channel is judged by."""


@dataclass(frozen=True)
class RecordedChannel:
    """A canonical channel that is still in the recording, and what must be known to read it.

    Attributes:
      recording, derivation: where its samples are.
      gains: for each term of the derivation, what its samples are multiplied by.
      known: for each term, how its signal behaves.
      mains: lines to remove, Hz.
      typical: typical amplitude where the scale is unknown; None where samples are in canonical units.
    """

    recording: Recording
    derivation: Derivation
    gains: tuple[float, ...]
    known: tuple[Habits, ...]
    mains: tuple[float, ...] = ()
    typical: float | None = None

    def amplified(self, factor: float) -> RecordedChannel:
        return replace(self, gains=tuple(gain * factor for gain in self.gains))

    def read(self, start_s: int, stop_s: int) -> Channel:
        """Seconds [start_s, stop_s), prepared and judged. The same samples whatever is read before or after.

        An open lead is told in stretches of five minutes or more, which the blocks of a night are.
        """
        return self.channel(self.recorded(start_s, stop_s))

    def recorded(self, start_s: int, stop_s: int) -> _Stretch:
        recording, modality = self.recording, self.derivation.modality
        # A whole number of epochs, so that most rates have a whole number of samples there.
        around_s = -(-max(MARGIN_S[modality], FLAT_S.get(modality, 0)) // EPOCH_S) * EPOCH_S
        first_s, last_s = max(0, start_s - around_s), min(recording.duration_s, stop_s + around_s)
        n_seconds = int(last_s) - first_s
        flags, lost, mixed = np.zeros(n_seconds, np.uint8), np.zeros(n_seconds, np.uint8), None
        for (index, _), gain, known in zip(self.derivation.terms, self.gains, self.known, strict=True):
            signal, x = recording.signals[index], recording.read(index, first_s, last_s)
            flags |= raw_flags(x, signal.rate_hz, modality, signal.physical_range, n_seconds)
            flags |= rail_flags(x, signal.rate_hz, modality, n_seconds, known)
            lost |= dropped_flags(x, signal.rate_hz, modality, flags, known)
            x *= np.float32(gain)
            mixed = x if mixed is None else mixed + x
        flags |= flat_flags(mixed, signal.rate_hz, modality, n_seconds)
        flags |= np.where(flags == Quality.GOOD, lost, np.uint8(0))
        samples = fill_gaps(mixed, self._beside(first_s, -1), self._beside(last_s, len(mixed)))
        context_s = start_s - first_s
        return _Stretch(start_s, context_s, samples, flags[context_s : stop_s - first_s])

    def _beside(self, second: float, place: int) -> tuple[int, float] | None:
        """Where a gap spans `second`, the last sample before it (place < 0) or the first after it.

        Returns:
          its place, counted from the sample at `second` when before; from there and on from `place` when after.
        """
        gap = next((g for g in self.recording.gaps if g[0] < second < g[1]), None)
        if gap is None:
            return None
        rate_hz = self.recording.signals[self.derivation.terms[0][0]].rate_hz
        near_s = 1 + 2 / float(rate_hz)
        if place < 0:
            span = max(0.0, gap[0] - near_s), gap[0]
        else:
            span = gap[1], min(gap[1] + near_s, self.recording.duration_s)
        reads = (self.recording.read(index, *span) for index, _ in self.derivation.terms)
        x = sum(np.float32(gain) * read for gain, read in zip(self.gains, reads, strict=True))
        known = np.flatnonzero(~np.isnan(x))
        if not known.size:
            return None
        at = known[-1] if place < 0 else known[0]
        away = round(span[0] * float(rate_hz)) + int(at) - round(second * float(rate_hz))
        return (min(away, -1) if place < 0 else place + max(away, 0)), float(x[at])

    def conditioned(self, stretch: _Stretch) -> np.ndarray:
        signal = self.recording.signals[self.derivation.terms[0][0]]
        return condition(
            stretch.samples,
            signal.rate_hz,
            self.derivation.modality,
            len(stretch.flags),
            self.mains,
            start_s=stretch.start_s,
            context_s=stretch.context_s,
        )

    def channel(self, stretch: _Stretch) -> Channel:
        derivation, samples = self.derivation, self.conditioned(stretch)
        rate_hz = self.recording.signals[derivation.terms[0][0]].rate_hz
        flags = stretch.flags | range_flags(samples, derivation.modality, self.typical)
        uv_per_unit = 1.0 if self.typical is None else None
        inside = stretch.samples[round(stretch.context_s * rate_hz) :]
        flags |= hum_flags(inside, rate_hz, derivation.modality, len(flags), uv_per_unit)
        flags |= open_lead_flags(samples, derivation.modality, flags)
        gap = (flags & Quality.GAP).astype(bool)
        if gap.any() and derivation.modality is not Modality.SPO2:
            samples.reshape(len(flags), -1)[gap] = 0
        return Channel(
            slot=derivation.slot,
            modality=derivation.modality,
            samples=samples,
            quality=flags,
            label=derivation.label,
            reason=derivation.reason,
            source_rate_hz=float(rate_hz),
        )


@dataclass(frozen=True)
class _Stretch:
    """Seconds of a derivation as recorded.

    Attributes:
      start_s: its first second; context_s: how many seconds of samples lie before it.
      samples: (n,) float32 with context, gaps bridged.
      flags: (seconds,) uint8 seen at the native rate.
    """

    start_s: int
    context_s: int
    samples: np.ndarray
    flags: np.ndarray

    def inner(self, rate_hz: Fraction) -> np.ndarray:
        """The first minute of samples without context."""
        first = round(self.context_s * rate_hz)
        return self.samples[first : first + round(min(len(self.flags), 60) * rate_hz)]

    def times(self, factor: float) -> _Stretch:
        return self if factor == 1 else replace(self, samples=self.samples * np.float32(factor))


def whole(channel: RecordedChannel, n_seconds: int) -> Channel:
    """The channel in memory."""
    rate_hz = RATE_HZ[channel.derivation.modality]
    samples = np.empty(n_seconds * rate_hz, np.float32)
    quality = np.empty(n_seconds, np.uint8)
    for start_s, stop_s in blocks(n_seconds):
        piece = channel.read(start_s, stop_s)
        samples[start_s * rate_hz : stop_s * rate_hz] = piece.samples
        quality[start_s:stop_s] = piece.quality
    return replace(piece, samples=samples, quality=quality)


def survey_channel(
    recording: Recording, derivation: Derivation, n_seconds: int
) -> tuple[RecordedChannel | None, Quality, list[str]]:
    """The channel with its gains and lines, None without a usable second; all flags that were seen; notes."""
    units = [microvolts_per(recording.signals[index].unit) for index, _ in derivation.terms]
    known = derivation.modality not in (Modality.RESP, Modality.SPO2) and None not in units
    weights = [weight for _, weight in derivation.terms]
    gains = [w * unit if known else w for w, unit in zip(weights, units, strict=True)]
    known_signals = tuple(
        habits([recording.read(index, *span) for span in survey(n_seconds)], recording.signals[index].rate_hz)
        for index, _ in derivation.terms
    )
    channel = RecordedChannel(recording, derivation, tuple(gains), known_signals)
    seen, notes = Quality.GOOD, []
    for spans in (survey(n_seconds), blocks(n_seconds)):  # all of it only where a few minutes show nothing
        pieces = []
        for stretch in (channel.recorded(*span) for span in spans):
            seen |= Quality(int(np.bitwise_or.reduce(stretch.flags)))
            if (stretch.flags == Quality.GOOD).any() and len(pieces) < _SURVEYED:
                pieces.append(stretch)
        if pieces:
            found, notes = _calibrated(channel, pieces, known)
            louder = found.gains[0] / channel.gains[0]
            judged = [found.channel(stretch.times(louder)) for stretch in pieces]
            flags = np.concatenate([piece.quality for piece in judged])
            # The pieces together are long enough to tell an open lead by.
            samples = np.concatenate([piece.samples for piece in judged])
            flags |= open_lead_flags(samples, derivation.modality, flags)
            seen |= Quality(int(np.bitwise_or.reduce(flags)))
            if (flags == Quality.GOOD).any():
                return found, seen, notes
    return None, seen, notes


def _calibrated(
    channel: RecordedChannel, pieces: Sequence[_Stretch], known: bool
) -> tuple[RecordedChannel, list[str]]:
    """The channel with mains lines, mended unit and typical amplitude as its pieces show them, and notes."""
    modality = channel.derivation.modality
    signal = channel.recording.signals[channel.derivation.terms[0][0]]
    notes = []
    if modality is not Modality.SPO2:
        band_hz = min(RATE_HZ[modality], float(signal.rate_hz)) / 2
        inner = [piece.inner(signal.rate_hz) for piece in pieces]
        longest = max(map(len, inner))
        whole = np.stack([x for x in inner if len(x) == longest])
        channel = replace(channel, mains=find_mains(whole, signal.rate_hz, band_hz))
        notes += [f"{line:g} Hz mains removed" for line in channel.mains]
    good = np.concatenate(
        [channel.conditioned(p).reshape(len(p.flags), -1)[p.flags == Quality.GOOD].ravel() for p in pieces]
    )
    if modality is Modality.SPO2:
        if 0.3 < np.median(good) <= 1.05:
            channel = channel.amplified(100)
            notes.append("given as a fraction, taken as per cent")
        return channel, notes
    amplitude = typical_amplitude(good)
    if known:
        factor = mend_scale(amplitude, modality)
        if factor != 1.0:
            channel = channel.amplified(factor)
            notes.append(
                f"unit '{signal.unit}' would make a typical amplitude of {amplitude:.3g} uV, scaled by {factor:g}"
            )
        return channel, notes
    if modality is not Modality.RESP:
        notes.append(f"unit '{signal.unit}' is no voltage: scale unknown, amplitudes as stored")
    return replace(channel, typical=amplitude), notes
