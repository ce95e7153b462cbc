"""A channel that is still in the recording, read a stretch at a time.

A stretch is read with the context that filters and flags need, so that it is the same whatever is read before or
after. What must be known to read it (gains, mains, habits) is found once, by `survey`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from data_pipeline.modalities import Modality
from data_pipeline.montage.labels import shown
from data_pipeline.montage.mapping import Derivation
from data_pipeline.night import EPOCH_S, Channel, Quality, blocks
from data_pipeline.readers import Recording
from data_pipeline.readers.recording import Signal
from data_pipeline.signals.contact import Habits, dropped_flags, hum_flags, open_lead_flags, rail_flags
from data_pipeline.signals.filters import condition, fill_gaps
from data_pipeline.signals.quality import flat_flags, range_flags, raw_flags


@dataclass(frozen=True)
class Stretch:
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


@dataclass(frozen=True)
class RecordedChannel:
    """A canonical channel that is still in the recording, and what must be known to read it.

    Attributes:
      recording, derivation: where its samples are.
      gains: for each term of the derivation, what its samples are multiplied by.
      habits: for each term, how its signal behaves.
      mains: lines to remove, Hz.
      typical: typical amplitude where the scale is unknown; None where samples are in canonical units.
      remarks: what was found about its unit, for a person to read.
    """

    recording: Recording
    derivation: Derivation
    gains: tuple[float, ...]
    habits: tuple[Habits, ...]
    mains: tuple[float, ...] = ()
    typical: float | None = None
    remarks: tuple[str, ...] = ()

    @property
    def slot(self) -> str:
        return self.derivation.slot

    @property
    def modality(self) -> Modality:
        return self.derivation.modality

    @property
    def signal(self) -> Signal:
        """The signal that is measured, not its reference."""
        return self.recording.signals[self.derivation.terms[0][0]]

    def read(self, start_s: int, stop_s: int) -> Channel:
        """Seconds [start_s, stop_s), prepared and judged. The same samples whatever is read before or after.

        An open lead is told in stretches of five minutes or more, which the blocks of a night are.
        """
        return self.prepared(self.as_recorded(start_s, stop_s))

    def as_recorded(self, start_s: int, stop_s: int) -> Stretch:
        """The first half of `read`: samples times gains, added up, and what the native rate tells."""
        recording, modality = self.recording, self.derivation.modality
        # A whole number of epochs, so that most rates have a whole number of samples there.
        around_s = -(-max(modality.facts.margin_s, modality.facts.flat_s or 0) // EPOCH_S) * EPOCH_S
        first_s, last_s = max(0, start_s - around_s), min(recording.duration_s, stop_s + around_s)
        n_seconds = int(last_s) - first_s
        flags, lost, mixed = np.zeros(n_seconds, np.uint8), np.zeros(n_seconds, np.uint8), None
        for (index, _), gain, habits in zip(self.derivation.terms, self.gains, self.habits, strict=True):
            signal, x = recording.signals[index], recording.read(index, first_s, last_s)
            if np.isinf(signal.physical_range[0]):  # the file stores floats, and may hold an infinite one
                x[np.isinf(x)] = np.nan
            flags |= raw_flags(x, signal.rate_hz, modality, signal.physical_range, n_seconds)
            flags |= rail_flags(x, signal.rate_hz, modality, n_seconds, habits)
            lost |= dropped_flags(x, signal.rate_hz, modality, flags, habits)
            x *= np.float32(gain)
            mixed = x if mixed is None else mixed + x
        flags |= flat_flags(mixed, signal.rate_hz, modality, n_seconds)
        flags |= np.where(flags == Quality.GOOD, lost, np.uint8(0))
        samples = fill_gaps(mixed, self._beside(first_s, -1), self._beside(last_s, len(mixed)))
        context_s = start_s - first_s
        return Stretch(start_s, context_s, samples, flags[context_s : stop_s - first_s])

    def _beside(self, second: float, place: int) -> tuple[int, float] | None:
        """Where a gap spans `second`, the last sample before it (place < 0) or the first after it.

        Returns:
          its place, counted from the sample at `second` when before; from there and on from `place` when after.
        """
        gap = next((g for g in self.recording.gaps if g[0] < second < g[1]), None)
        if gap is None:
            return None
        rate_hz = float(self.signal.rate_hz)
        near_s = 1 + 2 / rate_hz
        if place < 0:
            span = max(0.0, gap[0] - near_s), gap[0]
        else:
            span = gap[1], min(gap[1] + near_s, self.recording.duration_s)
        reads = (self.recording.read(index, *span) for index, _ in self.derivation.terms)
        x = sum(np.float32(gain) * read for gain, read in zip(self.gains, reads, strict=True))
        there = np.flatnonzero(~np.isnan(x))
        if not there.size:
            return None
        at = there[-1] if place < 0 else there[0]
        away = round(span[0] * rate_hz) + int(at) - round(second * rate_hz)
        return (min(away, -1) if place < 0 else place + max(away, 0)), float(x[at])

    def filtered(self, stretch: Stretch) -> np.ndarray:
        """(seconds * canonical rate,) float32: a stretch at the canonical rate and band."""
        modality, n_seconds = self.derivation.modality, len(stretch.flags)
        place = {"start_s": stretch.start_s, "context_s": stretch.context_s}
        return condition(stretch.samples, self.signal.rate_hz, modality, n_seconds, self.mains, **place)

    def prepared(self, stretch: Stretch) -> Channel:
        """The second half of `read`: filtered, and what the filtered samples tell of their quality."""
        derivation, rate_hz = self.derivation, self.signal.rate_hz
        facts, samples = derivation.modality.facts, self.filtered(stretch)
        flags = stretch.flags | range_flags(samples, derivation.modality, self.typical)
        uv_per_unit = 1.0 if self.typical is None else None
        inside = stretch.samples[round(stretch.context_s * rate_hz) :]
        flags |= hum_flags(inside, rate_hz, derivation.modality, len(flags), uv_per_unit)
        flags |= open_lead_flags(samples, derivation.modality, flags)
        gap = (flags & Quality.GAP).astype(bool)
        if gap.any() and (facts.is_code or not facts.is_value):
            samples.reshape(len(flags), -1)[gap] = 0
        return Channel(
            slot=derivation.slot,
            modality=derivation.modality,
            samples=samples,
            quality=flags,
            label=shown(derivation.label),
            reason=derivation.reason,
            source_rate_hz=float(rate_hz),
        )


def whole(channels: Sequence[RecordedChannel]) -> tuple[Channel, ...]:
    """All whole seconds of channels of one recording.

    A stretch of all channels at a time, as the file has them: it is read once, and not once a channel.
    """
    if not channels:
        return ()
    n_seconds = int(channels[0].recording.duration_s)
    rates_hz = [channel.derivation.modality.facts.rate_hz for channel in channels]
    samples = [np.empty(n_seconds * rate_hz, np.float32) for rate_hz in rates_hz]
    quality = np.empty((len(channels), n_seconds), np.uint8)
    for start_s, stop_s in blocks(n_seconds):
        pieces = [channel.read(start_s, stop_s) for channel in channels]
        for piece, rate_hz, into, flags in zip(pieces, rates_hz, samples, quality, strict=True):
            into[start_s * rate_hz : stop_s * rate_hz] = piece.samples
            flags[start_s:stop_s] = piece.quality
    return tuple(replace(p, samples=s, quality=q) for p, s, q in zip(pieces, samples, quality, strict=True))
