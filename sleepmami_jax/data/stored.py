"""Signals on their way to the devices: int16 as they are stored, half the bytes, and normalised there.

A batch on the way has, in place of what `sleepmami_jax.data.arrays` describes, per modality (leading axes ..., B, or
N, E of windows):

    "stored": a tuple of C arrays (..., 30 * rate) int16, of no rows, (0, ...), where none of them has that channel
    "gain", "shift": (..., C) float32: clip(stored * gain + shift) is the signal; 0 where a row has no such channel
    "usable": (..., C, 30) bool
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np

from data_pipeline.modalities import MODALITY_OF, RATE_HZ, Modality
from data_pipeline.night import EPOCH_S, Quality
from data_pipeline.shards.epochs import Epoch
from data_pipeline.shards.manifest import ChannelEntry
from data_pipeline.shards.pack import Layout
from sleepmami_jax.data.arrays import Normaliser, Slots, usable_channels

_GOOD = int(Quality.GOOD)


def scaling_of(channels: Sequence[ChannelEntry], slots: Slots) -> np.ndarray:
    """(2, C) float32: gain and shift of a night's stored samples by its manifest, C channels of all modalities.

    A gain of 0 is a channel that the model does not get.
    """
    first = dict(zip(slots, np.cumsum([0, *map(len, slots.values())]), strict=False))
    scaling = np.zeros((2, sum(map(len, slots.values()))), np.float32)
    for place, channel in usable_channels(channels, slots).values():
        how = Normaliser.fit(channel.modality, channel.median, channel.iqr, channel.scale, channel.offset)
        scaling[:, first[channel.modality] + place] = how.gain, how.shift
    return scaling


class Rows:
    """The signals of a batch under way, n epochs one after another, filled from records or from a pack.

    Args:
      scaling: (n, 2, C), of each epoch's night, see `scaling_of`; all 0 is an epoch that is not there.
    """

    def __init__(self, scaling: np.ndarray, slots: Slots) -> None:
        self._gain, self._shift, self._slots = scaling[:, 0], scaling[:, 1], slots
        self._places = {slot: place for place, slot in enumerate(chain.from_iterable(slots.values()))}
        self._stored: dict[str, np.ndarray] = {}
        # In one piece, of large pages where the system has them; what is never touched takes no memory.
        self._memory = np.zeros(len(scaling) * sum(_samples(slot) for slot in self._places), np.int16)
        self._used = 0
        self._usable = np.zeros((*self._gain.shape, EPOCH_S), bool)

    def record(self, row: int, epoch: Epoch) -> None:
        """One row is this record; those of its channels are taken that have a gain."""
        gain = self._gain[row].tolist()
        for signals in epoch.signals:
            for at, slot in enumerate(signals.slots):
                place = self._places.get(slot)
                if place is not None and gain[place]:
                    self._channel(slot)[row] = signals.samples[at]
                    self._usable[row, place] = signals.quality[at] == _GOOD

    def packed(self, rows: np.ndarray, block: np.ndarray, at: np.ndarray, layout: Layout) -> None:
        """Many rows are rows `at` of a `block` (n, row bytes) uint8 of a pack, channels taken as by `record`."""
        taken = self._gain[rows] != 0
        good = block[:, layout.quality][at].reshape(len(at), -1, EPOCH_S) == _GOOD
        whole = len(rows) == len(self._gain)
        for column, slot in enumerate(layout.slots):
            place = self._places.get(slot)
            if place is None or not (own := taken[:, place]).any():
                continue
            samples = block[:, layout.samples[slot]].view("<i2")
            if own.all():
                self._usable[rows, place] = good[:, column]
            else:
                self._usable[rows[own], place] = good[own, column]
            if whole and own.all():
                self._stored[slot] = samples[at]  # in one piece: `rows` are all there are, in their order
            else:
                self._channel(slot)[rows[own]] = samples[at[own]]

    def arrays(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """What is on its way, see above, with n as leading axes of this `shape`."""
        batch, first = {}, 0
        for m, names in self._slots.items():
            own = slice(first, first + len(names))
            absent = np.zeros((0, *shape[1:], _samples(names[0])), np.int16)
            batch[m.value] = {
                "stored": tuple(self._stored[s].reshape(*shape, -1) if s in self._stored else absent for s in names),
                "gain": self._gain[:, own].reshape(*shape, -1),
                "shift": self._shift[:, own].reshape(*shape, -1),
                "usable": self._usable[:, own].reshape(*shape, -1, EPOCH_S),
            }
            first = own.stop
        return batch

    def _channel(self, slot: str) -> np.ndarray:
        if slot not in self._stored:
            size = len(self._gain) * _samples(slot)
            self._stored[slot] = self._memory[self._used : self._used + size].reshape(len(self._gain), -1)
            self._used += size
        return self._stored[slot]


def _samples(slot: str) -> int:
    return EPOCH_S * RATE_HZ[MODALITY_OF[slot]]


def stored_bytes(slots: Slots) -> int:
    """Memory of one epoch on its way, in bytes, when it has every channel."""
    return sum(len(names) * (EPOCH_S * RATE_HZ[m] * 2 + EPOCH_S + 8) for m, names in slots.items())


def normalised(batch: dict[str, Any], xp: ModuleType = jnp) -> dict[str, Any]:
    """A batch as the model gets it, of one on its way; what is not a signal stays as it is.

    The same as `Normaliser`, but for float32 rounding, and for what is clipped: exactly at the limit, not at the last
    stored step before it.

    Args:
      xp: `jax.numpy`, to be compiled; or `numpy`, to look at a batch.
    """
    return batch | {
        m.value: _normalised(xp, m, **batch[m.value]) for m in Modality if "stored" in batch.get(m.value, ())
    }


def _normalised(xp: ModuleType, modality: Modality, stored, gain, shift, usable) -> dict[str, Any]:
    lead, limit = usable.shape[:-2], modality.facts.clip
    whole = [x if x.shape[0] else xp.zeros((*lead, x.shape[-1]), np.int16) for x in stored]
    signal = xp.stack(whole, -2).astype(np.float32) * gain[..., None] + shift[..., None]
    signal = xp.clip(signal, -limit, limit).reshape(*usable.shape, -1)
    signal = xp.where(usable[..., None], signal, np.float32(0)).reshape(*lead, len(stored), -1)
    return {"signal": signal, "usable": usable, "present": usable.any(-1)}
