"""Which epochs, nights and windows come when: drawn from prepared folders, shuffled, mixed, and batched without end.

A place is (folder, night, epoch): numbers of a folder in `data.shards`, of a night in its manifest, of an epoch in
the night. What is read at a place is not decided here: signals are (`data.batches`), or micro tokens
(`data.token_batches`).

The position in the data is one number, the global index of the next element; it does not depend on the number
of hosts. To resume at a step: `iterator.set_state({"global_next_index": step * global_batch})`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grain
import numpy as np
from grain.experimental import index_shuffle

from data_pipeline.shards.manifest import NightEntry
from sleepmami_jax.config import DataConfig
from sleepmami_jax.data.ahead import ReadAhead
from sleepmami_jax.data.scored import EventWindows
from sleepmami_jax.data.source import PreparedFolder


def open_nights(data: DataConfig) -> tuple[NightEntry, ...]:
    """All nights of all folders, in the order that the `night` of a batch counts in."""
    return tuple(night for source in data.shards for night in PreparedFolder.open(source.folder).manifest.nights)


def people(folders: Sequence[PreparedFolder]) -> np.ndarray:
    """(nights,) int32: whose each of `open_nights` is, as a number; the people of two folders may be the same."""
    subjects = [night.subject_id for folder in folders for night in folder.manifest.nights]
    return np.unique(subjects, return_inverse=True)[1].astype(np.int32)


def first_nights(folders: Sequence[PreparedFolder]) -> np.ndarray:
    """(F,) int32: where the first night of each folder stands in `open_nights`."""
    return np.cumsum([0] + [len(folder.manifest.nights) for folder in folders[:-1]], dtype=np.int32)


def window_starts(night: int, n_epochs: int, epochs: int) -> np.ndarray:
    """(W, 3): the night, and the earliest and latest first epoch of each of its windows in one pass.

    A pass takes W = ceil(n_epochs / epochs) windows of a night, one from each equal part of all possible starts. A
    night shorter than the window has one window, which is padded.
    """
    parts, latest = np.arange(-(-n_epochs // epochs)), max(n_epochs - epochs, 0)
    starts = latest * parts // len(parts), latest * (parts + 1) // len(parts)
    return np.stack(np.broadcast_arrays(night, *starts), -1)


def in_random_order(
    data: DataConfig, elements: Sequence[np.ndarray], seed: int, events: Sequence[EventWindows | None] = ()
) -> Order:
    """Places (3,) int32 without end: each element once a pass over its folder, folders mixed by their weights.

    Args:
      data: its shards say how often each folder is drawn from.
      elements: of each folder, rows of (night, epoch), or of (night, earliest, latest), of which the epoch is drawn
        anew in each pass, both ends included.
      seed: decides the order and the draws.
      events: of each folder, where some of its windows lie instead; none at all, or None, is nowhere.

    Raises:
      ValueError: no folder, or events in none of them.
    """
    if not data.shards:
        raise ValueError("data.shards: expected one or more folders, found none")
    if events and not any(events):
        raise ValueError(
            "objective.event_windows: no event of the tasks in any night; set it to 0, or change the tasks"
        )
    folders = []
    for folder, (rows, own) in enumerate(zip(elements, events or [None] * len(elements), strict=True)):
        numbered = np.pad(rows, ((0, 0), (1, 0)), constant_values=folder).astype(np.int32)
        dataset = grain.MapDataset.source(numbered).seed(seed + folder).shuffle().repeat()
        drawn = None if numbered.shape[1] == 3 else dataset.random_map(_DrawStart(own))
        folders.append(_Shuffled(numbered, _grain_seed(seed + folder), drawn))
    smallest = min(source.weight for source in data.shards)
    return Order(tuple(folders), tuple(int(source.weight * (100 / smallest)) for source in data.shards))


def _grain_seed(seed: int) -> int:
    """What `MapDataset.seed(seed).shuffle()` shuffles by."""
    return int(np.random.SeedSequence([seed, 1]).generate_state(1, np.uint32)[0])


@dataclass(frozen=True, eq=False)
class _Shuffled:
    """The elements of one folder, each pass in another order."""

    elements: np.ndarray  # (n, 3), or (n, 4) to draw from
    seed: int
    drawn: grain.MapDataset | None  # the same shuffled and drawn

    def at(self, indices: np.ndarray) -> np.ndarray:
        if self.drawn is not None:
            return np.stack([self.drawn[index] for index in indices.tolist()])
        n = len(self.elements)
        places = [
            index_shuffle(place, max_index=n - 1, seed=(self.seed + of_pass) % 2**32, rounds=4)
            for of_pass, place in (divmod(index, n) for index in indices.tolist())
        ]
        return self.elements[places]


@dataclass(frozen=True, eq=False)
class Order:
    """Places in random order, folder by folder as often as its share says.

    The order is that of Grain's `shuffle`, `repeat` and `mix`. These find one element at a time, which takes longer
    than to read it from a pack; here those of a batch are found at once.
    """

    folders: tuple[_Shuffled, ...]
    shares: tuple[int, ...]

    def at(self, indices: np.ndarray) -> np.ndarray:
        """Places (n, 3) int32 of indices (n,)."""
        places, waiting = np.empty((len(indices), 3), np.int32), np.arange(len(indices))
        first, behind, left = indices.astype(np.int64), indices.astype(np.int64) + 1, sum(self.shares)
        for folder, share in zip(self.folders, self.shares, strict=True):
            # Of k elements (left - share) / left are for the folders after this one.
            rest, rest_behind = first * (left - share) // left, behind * (left - share) // left
            own = behind - rest_behind != first - rest
            if own.any():
                places[waiting[own]] = folder.at((first - rest)[own])
            waiting, first, behind, left = waiting[~own], rest[~own], rest_behind[~own], left - share
        return places


@dataclass(frozen=True)
class _DrawStart(grain.transforms.RandomMap):
    """(folder, night, earliest, latest) -> (folder, night, epoch)."""

    events: EventWindows | None = None

    def random_map(self, element: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        folder, night, earliest, latest = element
        drawn = None if self.events is None else self.events.draw(rng)
        return np.array([folder, *(drawn or (night, rng.integers(earliest, latest + 1)))], np.int32)


class Batches:
    """An endless iterator whose state is the global index of the next element, for any number of processes.

    What `grain.experimental.ElasticIterator` is, with two differences: which rows of a global batch a process reads is
    the mesh's choice, and a whole batch is read at once, from the places (B, 3) in the data that it holds.

    Args:
      order: of the elements.
      global_batch: elements in a batch of all processes together.
      rows: those of each batch that this process reads, ascending; None is all of them.
      ahead: how far to read ahead, and by whom.
      read: places (B, 3) -> a batch.
    """

    def __init__(
        self,
        order: Order,
        global_batch: int,
        rows: Sequence[int] | None,
        ahead: ReadAhead,
        read: grain.transforms.Map,
    ) -> None:
        self._order, self._read, self._ahead = order, read, ahead
        self._global_batch, self._rows = global_batch, range(global_batch) if rows is None else rows
        self._iterator: grain.DatasetIterator | None = None
        self._next_index = 0

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> dict[str, Any]:
        if self._iterator is None:
            places = _Places(self._order, self._next_index, self._global_batch, np.asarray(self._rows))
            self._iterator = self._ahead.start(grain.MapDataset.source(places).map(self._read))
        batch = next(self._iterator)
        self._next_index += self._global_batch
        return batch

    def get_state(self) -> dict[str, int]:
        """The position in the data, for `set_state` of any process."""
        return {"global_next_index": self._next_index}

    def set_state(self, state: dict[str, int]) -> None:
        """Go on from there."""
        self.close()
        self._next_index = state["global_next_index"]

    def close(self) -> None:
        """No more is read ahead; the next batch begins to again."""
        if self._iterator is not None:
            self._iterator.close()
        self._iterator = None


@dataclass(frozen=True, eq=False)
class _Places:
    """Places (B, 3) of some rows of every batch of an order, from its element `first` on."""

    order: Order
    first: int
    batch: int
    rows: np.ndarray

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, step: int) -> np.ndarray:
        return self.order.at(self.first + step * self.batch + self.rows)
