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
) -> grain.MapDataset:
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
    datasets = []
    for folder, (rows, own) in enumerate(zip(elements, events or [None] * len(elements), strict=True)):
        numbered = np.pad(rows, ((0, 0), (1, 0)), constant_values=folder).astype(np.int32)
        dataset = grain.MapDataset.source(numbered).seed(seed + folder).shuffle().repeat()
        datasets.append(dataset if numbered.shape[1] == 3 else dataset.random_map(_DrawStart(own)))
    return grain.MapDataset.mix(datasets, weights=[source.weight for source in data.shards])


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
    the mesh's choice, and a whole batch may be read at once, from the places (B, 3) in the data that it holds.

    Args:
      elements: endless; places, or what was read there.
      global_batch: elements in a batch of all processes together.
      rows: those of each batch that this process reads, ascending; None is all of them.
      ahead: how far to read ahead, and by whom.
      read: places (B, 3) -> a batch; None where the elements have been read one by one.
    """

    def __init__(
        self,
        elements: grain.MapDataset,
        global_batch: int,
        rows: Sequence[int] | None,
        ahead: ReadAhead,
        read: grain.transforms.Map | None = None,
    ) -> None:
        self._elements, self._read, self._ahead = elements, read, ahead
        self._global_batch, self._rows = global_batch, range(global_batch) if rows is None else rows
        self._iterator: grain.DatasetIterator | None = None
        self._next_index = 0

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> dict[str, Any]:
        if self._iterator is None:
            ours = _Rows(self._elements, self._next_index, self._global_batch, self._rows)
            batched = grain.MapDataset.source(ours).batch(len(self._rows), drop_remainder=True)
            if self._read is not None:
                batched = batched.map(self._read)
            self._iterator = self._ahead.start(batched)
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


@dataclass(frozen=True)
class _Rows:
    """Some rows of every batch of an endless dataset, from its element `first` on."""

    elements: grain.MapDataset
    first: int
    batch: int
    rows: Sequence[int]

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int):
        step, place = divmod(index, len(self.rows))
        return self.elements[self.first + step * self.batch + int(self.rows[place])]
