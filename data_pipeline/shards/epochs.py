"""A night as the epochs that are stored, and its events back from them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from data_pipeline.modalities import Modality
from data_pipeline.night import EPOCH_S, UNKNOWN_STAGE, Channel, Event, Night
from data_pipeline.shards.scale import INT16_MAX, second_quality, storage_ranges


@dataclass(frozen=True, eq=False)
class PackedSignals:
    """The channels of one modality in one epoch, as stored.

    Attributes:
      modality: their kind.
      slots: their names, n of them, in the order of `modality.facts.slots`.
      scale, offset: (n,) float64; a stored value is `stored * scale + offset` in the channel's unit.
      samples: (n, 30 * modality.facts.rate_hz) int16.
      quality: (n, 30) uint8 of `Quality` flags.
    """

    modality: Modality
    slots: tuple[str, ...]
    scale: np.ndarray
    offset: np.ndarray
    samples: np.ndarray
    quality: np.ndarray

    def physical(self) -> np.ndarray:
        """Samples in the channels' unit, (n, 30 * modality.facts.rate_hz) float32.

        Within `scale / 2` (and float32 rounding) of what was recorded, unless it was clipped; where nothing
        was recorded (`Quality.GAP`) the value means nothing.
        """
        return (self.samples * self.scale[:, None] + self.offset[:, None]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Epoch:
    """One 30-second epoch of a night.

    Attributes:
      night_id: the night it belongs to.
      index, n_epochs: its place, and how many epochs the night has.
      stage: code of `STAGES`, or `UNKNOWN_STAGE`.
      signals: one entry a modality that the night has, in the order of `Modality`.
      events: every event that touches this epoch, onset relative to its first second, so it may be negative.
        An event *belongs* to the epoch in which it begins; one that begins before second 0 belongs to the
        first epoch, one that begins after the last whole epoch to the last.
      scored: as in `Scoring`.
    """

    night_id: str
    index: int
    n_epochs: int
    stage: int
    signals: tuple[PackedSignals, ...]
    events: tuple[Event, ...] = ()
    scored: frozenset[str] = frozenset()

    def owns(self, event: Event) -> bool:
        """Whether one of this epoch's `events` belongs to it."""
        after_start = event.onset_s >= 0 or self.index == 0
        return after_start and (event.onset_s < EPOCH_S or self.index == self.n_epochs - 1)


def night_epochs(
    night: Night,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    pieces: Iterable[tuple[Channel, ...]] | None = None,
) -> Iterator[Epoch]:
    """The epochs of a night in order, quantised; a tail shorter than an epoch is left out.

    Args:
      night: a prepared night; anything with its fields, and `read` where `ranges` are not given.
      ranges: scale and offset to store each slot with; `storage_ranges(night)` when None.
      pieces: the night's channels in consecutive stretches of whole epochs, the last with the tail; as one
        stretch, `night.channels`, when None.

    Raises:
      ValueError: the scorer gave another number of stages than the night has whole epochs.
    """
    n_epochs = night.n_epochs
    stages = np.full(n_epochs, UNKNOWN_STAGE, np.int8)
    events: list[list[Event]] = [[] for _ in range(n_epochs)]
    scored: frozenset[str] = frozenset()
    if night.scoring is not None:
        if len(night.scoring.stages) != n_epochs:
            problem = f"night {night.night_id}: {len(night.scoring.stages)} stages for {n_epochs} whole epochs"
            raise ValueError(f"{problem}; give one stage an epoch, -1 where unscored")
        stages, scored = night.scoring.stages, night.scoring.scored
        for event in night.scoring.events if n_epochs else ():
            first = min(max(int(event.onset_s // EPOCH_S), 0), n_epochs - 1)
            last = max(first, min(int(-(-event.end_s // EPOCH_S)) - 1, n_epochs - 1))
            for index in range(first, last + 1):
                events[index].append(_shifted(event, -index * EPOCH_S))
    ranges = storage_ranges(night) if ranges is None else ranges
    index = 0
    for channels in (night.channels,) if pieces is None else pieces:
        by_modality = [(m, tuple(c for c in channels if c.modality is m)) for m in Modality]
        stored = [_quantised(m, of_modality, ranges) for m, of_modality in by_modality if of_modality]
        for signals in zip(*(_by_epoch(s) for s in stored), strict=True):
            yield Epoch(night.night_id, index, n_epochs, int(stages[index]), signals, tuple(events[index]), scored)
            index += 1


def night_events(epochs: Iterable[Epoch]) -> tuple[Event, ...]:
    """The events of a night, or of consecutive epochs of it, each once; onset from second 0."""
    events = [_shifted(e, epoch.index * EPOCH_S) for epoch in epochs for e in epoch.events if epoch.owns(e)]
    return tuple(sorted(events, key=lambda event: event.onset_s))


def _shifted(event: Event, seconds: float) -> Event:
    return Event(event.kind, event.onset_s + seconds, event.duration_s, event.source, event.rule)


def _quantised(
    modality: Modality, channels: tuple[Channel, ...], ranges: Mapping[str, tuple[float, float]]
) -> PackedSignals:
    """The whole epochs of the channels of a modality: `PackedSignals` whose arrays lead with n epochs."""
    n_epochs = len(channels[0].quality) // EPOCH_S
    n_samples = n_epochs * EPOCH_S * modality.facts.rate_hz
    stored = np.empty((n_epochs, len(channels), EPOCH_S * modality.facts.rate_hz), np.int16)
    for place, channel in enumerate(channels):
        scale, offset = ranges[channel.slot]
        steps = channel.samples[:n_samples] - np.float32(offset)
        steps /= np.float32(scale)
        np.rint(steps, out=steps)
        if not np.isfinite(steps.sum()):
            steps[~np.isfinite(channel.samples[:n_samples])] = 0
        np.clip(steps, -INT16_MAX, INT16_MAX, out=steps)
        stored[:, place] = steps.reshape(stored[:, place].shape)
    quality = [second_quality(channel)[: n_epochs * EPOCH_S].reshape(n_epochs, EPOCH_S) for channel in channels]
    scale, offset = np.array([ranges[channel.slot] for channel in channels]).T
    slots = tuple(channel.slot for channel in channels)
    return PackedSignals(modality, slots, scale, offset, stored, np.stack(quality, 1))


def _by_epoch(stored: PackedSignals) -> Iterator[PackedSignals]:
    for samples, quality in zip(stored.samples, stored.quality, strict=True):
        yield replace(stored, samples=samples, quality=quality)
