"""A night passed through once: what must be known of it before it is encoded, and what stays when its samples go."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from data_pipeline.night import Channel, Night, blocks
from data_pipeline.shards.manifest import ChannelEntry, channel_entry
from data_pipeline.shards.scale import Meter
from sleepmami_jax.trust.looks import Look, Watch


@dataclass(frozen=True)
class Measured:
    """What is known of a night whose samples are no longer needed.

    Attributes:
      night: in memory but for its waves, whose samples are NaN and take no room; flags, and what is counted by its
        values (SpO2), are whole.
      channels: how each is normalised, and where it is usable.
      looks: what those look like that a model reads.
    """

    night: Night
    channels: tuple[ChannelEntry, ...]
    looks: tuple[Look, ...]


def measured(night: Night) -> Measured:
    """Passes through a night, in memory or still in its file (`load.open_night`), a block at a time."""
    passed = [_Passing(night.duration_s) for _ in night.channels]
    for span in blocks(night.duration_s):
        for channel, piece in zip(passed, night.read(*span), strict=True):
            channel.add(piece)
    channels = [channel.whole() for channel in passed]
    looks = tuple(look for c in passed if (look := c.look()) is not None)
    return Measured(replace(night, channels=tuple(channels)), tuple(c.entry() for c in passed), looks)


class _Passing:
    """One channel of it."""

    def __init__(self, n_seconds: int) -> None:
        self._n_seconds = n_seconds
        self._meter, self._watch = Meter(n_seconds, 1.0, 0.0), Watch(n_seconds)  # stored nowhere: any step will do
        self._quality: list[np.ndarray] = []
        self._values: list[np.ndarray] = []

    def add(self, piece: Channel) -> None:
        self._last = piece
        self._meter.add(piece)
        self._watch.add(piece)
        self._quality.append(piece.quality)
        if piece.modality.facts.is_value:
            self._values.append(piece.samples)

    def whole(self) -> Channel:
        n = self._n_seconds * self._last.rate_hz
        samples = np.concatenate(self._values) if self._values else np.broadcast_to(np.float32(np.nan), n)
        return replace(self._last, samples=samples, quality=np.concatenate(self._quality))

    def entry(self) -> ChannelEntry:
        return channel_entry(self._last, self._meter.scale(), self._meter.quality)

    def look(self) -> Look | None:
        return None if self._last.modality.facts.is_side else self._watch.look()
