"""Endless shuffled batches of epochs, or of windows of consecutive epochs, from prepared folders.

The position in the data is one number, the global index of the next element; it does not depend on the number
of hosts. To resume at a step: `iterator.set_state({"global_next_index": step * global_batch})`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import grain
import numpy as np

from data_pipeline.night import SLOTS
from data_pipeline.shards.manifest import NightEntry
from data_pipeline.tasks import Task
from sleepmami_jax.config import DataConfig
from sleepmami_jax.data.arrays import (
    Plan,
    Slots,
    blank_arrays,
    demographics_arrays,
    epoch_bytes,
    fill_epochs,
    plan_of,
    with_present,
)
from sleepmami_jax.data.source import PreparedFolder, chosen_epochs, chosen_nights


def open_nights(data: DataConfig) -> tuple[NightEntry, ...]:
    """All nights of all folders, in the order that the `night` of a batch counts in."""
    return tuple(
        night for source in data.shards for night in PreparedFolder.open(source.folder).manifest.nights
    )


def epoch_batches(
    data: DataConfig,
    slots: Slots = SLOTS,
    *,
    global_batch: int,
    seed: int,
    rows: Sequence[int] | None = None,
    require: Collection[str] = (),
) -> Batches:
    """Batches of single epochs in random order, each once a pass over its folder, without end.

    Args:
      data: what to read; folders are drawn from in proportion to their weights.
      slots: which channels, and their order on the C axis of their modality.
      global_batch: epochs in a batch of all processes together.
      seed: decides the order.
      rows: those of each batch that this process reads, ascending; None is all of them.
      require: what must have been scored: "stages" and names of `EventKind`; the rest is left out.

    Returns:
      An iterator of dictionaries with B = len(rows): per modality `signal (B, C, 30 *
      rate)`, `usable (B, C, 30)`, `present (B, C)`; `stage (B,)`; `night (B,)` int32,
      index into `open_nights`; `epoch (B,)` int32.

    Raises:
      ValueError: a manifest is missing, or nothing in a folder is left to read. While iterating: a shard is missing
        or damaged.
    """

    def places(night: int, chosen: np.ndarray, n_epochs: int) -> np.ndarray:
        return np.stack(np.broadcast_arrays(night, chosen), -1)

    return _batches(data, slots, require, places, None, global_batch, seed, rows)


def window_batches(
    data: DataConfig,
    slots: Slots = SLOTS,
    *,
    epochs: int,
    global_batch: int,
    seed: int,
    rows: Sequence[int] | None = None,
    require: Collection[str] = (),
    tasks: Sequence[Task] = (),
) -> Batches:
    """Batches of windows of consecutive epochs, without end.

    A pass takes `ceil(n_epochs / epochs)` windows of each night, one from each equal part of it, its start
    drawn anew in each pass. A night shorter than the window is padded.

    Arguments and errors as in `epoch_batches`; `epochs` is the length E of a window, `tasks` those of events whose
    seconds are labelled.

    Returns:
      An iterator of dictionaries: what `sleepmami_jax.data.arrays` describes with a leading B, and `night
      (B,)`, `epoch (B,)` int32, the window's first epoch.
    """

    def places(night: int, chosen: np.ndarray, n_epochs: int) -> np.ndarray:
        parts, spare = np.arange(-(-n_epochs // epochs)), max(n_epochs - epochs, 0)
        bounds = np.broadcast_arrays(night, spare * parts // len(parts), spare * (parts + 1) // len(parts))
        return np.stack(bounds, -1)

    return _batches(data, slots, require, places, epochs, global_batch, seed, rows, tasks)


def _batches(
    data: DataConfig,
    slots: Slots,
    require: Collection[str],
    places: Callable[[int, np.ndarray, int], np.ndarray],
    epochs: int | None,
    global_batch: int,
    seed: int,
    rows: Sequence[int] | None,
    tasks: Sequence[Task] = (),
) -> Batches:
    """`places(night, chosen epochs, n_epochs)` gives rows of (night, epoch), or (night, earliest, latest start)."""
    if not data.shards:
        raise ValueError("data.shards: expected one or more folders, found none")
    rows = range(global_batch) if rows is None else rows
    datasets, folders, first_nights = [], [], [0]
    for source in data.shards:
        folder = PreparedFolder.open(source.folder)
        entries = folder.manifest.nights
        try:
            nights = chosen_nights(folder.manifest, data)
        except ValueError as error:
            raise ValueError(f"{source.folder}: {error}") from error
        chosen = chosen_epochs(folder.manifest, nights, slots, require)
        elements = [places(night, epochs_in, entries[night].n_epochs) for night, epochs_in in chosen]
        if not elements:
            scored = f" and {', '.join(require)} scored" if require else ""
            raise ValueError(
                f"{source.folder}: no epoch with a usable channel{scored} in {len(nights)} nights of split "
                f"{data.split}; ask for other channels or less scoring, or prepare more nights"
            )
        elements = np.pad(np.concatenate(elements), ((0, 0), (1, 0)), constant_values=len(folders))
        dataset = grain.MapDataset.source(elements.astype(np.int32)).seed(seed + len(datasets))
        shuffled = dataset.shuffle().repeat()
        datasets.append(shuffled if epochs is None else shuffled.random_map(_Start()))
        folders.append(folder)
        first_nights.append(first_nights[-1] + len(entries))
    mixed = grain.MapDataset.mix(datasets, weights=[source.weight for source in data.shards])
    batch_bytes = len(rows) * (epochs or 1) * epoch_bytes(slots)
    ahead = max(1, data.prefetch_bytes // batch_bytes)
    return Batches(
        mixed,
        _Read(tuple(folders), tuple(first_nights), slots, epochs, tuple(tasks)),
        global_batch,
        rows,
        # Grain counts in elements, here whole batches, and would read 500 ahead. A second thread would fight the
        # first for the interpreter: two give a fifth less than one, for two thirds more of processor time.
        grain.ReadOptions(num_threads=1, prefetch_buffer_size=ahead),
    )


class Batches:
    """An endless iterator whose state is the global index of the next element, for any number of processes.

    What `grain.experimental.ElasticIterator` is, with two differences: which rows of a global batch a process reads is
    the mesh's choice, and a whole batch of elements may be read at once, from the places in the data that they are.
    """

    def __init__(
        self,
        elements: grain.MapDataset,
        read: grain.transforms.Map | None,
        global_batch: int,
        rows: Sequence[int],
        options: grain.ReadOptions,
    ) -> None:
        self._elements, self._read, self._options = elements, read, options
        self._global_batch, self._rows = global_batch, rows
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
            self._iterator = iter(batched.to_iter_dataset(self._options))
        batch = next(self._iterator)
        self._next_index += self._global_batch
        return batch

    def get_state(self) -> dict[str, int]:
        return {"global_next_index": self._next_index}

    def set_state(self, state: dict[str, int]) -> None:
        self.close()
        self._next_index = state["global_next_index"]

    def close(self) -> None:
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


class _Start(grain.transforms.RandomMap):
    """(folder, night, earliest, latest start) -> (folder, night, start)."""

    def random_map(self, element: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        earliest, latest = element[2:]
        return np.array([*element[:2], rng.integers(earliest, latest + 1)], np.int32)


_PLANS = 4096  # some kB each


@dataclass(frozen=True)
class _Read(grain.transforms.Map):
    """Places (B, 3) -> a batch of windows, or of single epochs when `epochs` is None."""

    folders: tuple[PreparedFolder, ...]
    first_nights: tuple[int, ...]
    slots: Slots
    epochs: int | None
    tasks: tuple[Task, ...]
    plans: dict[tuple[int, int], Plan] = field(default_factory=dict, repr=False)  # of nights seen lately

    def map(self, places: np.ndarray) -> dict[str, Any]:
        n, length = len(places), self.epochs or 1
        arrays = blank_arrays(n * length, self.slots, self.tasks)
        people = []
        for row, (number, night, start) in enumerate(places.tolist()):
            folder = self.folders[number]
            entry = folder.manifest.nights[night]
            records = folder.epochs(night, start, min(start + length, entry.n_epochs))
            plan = self.plans.get((number, night))
            if plan is None:
                if len(self.plans) >= _PLANS:
                    self.plans.clear()
                plan = self.plans[number, night] = plan_of(records[0], entry.channels, self.slots)
            fill_epochs(arrays, records, plan, self.tasks, row * length)
            people.append(entry.demographics)
        with_present(arrays, self.slots)
        if self.epochs is None:
            del arrays["epoch_mask"]
        else:
            arrays = _map_arrays(arrays, lambda x: x.reshape(n, length, *x.shape[1:]))
            of_each = [demographics_arrays(person) for person in people]
            arrays["demographics"] = {key: np.stack([of[key] for of in of_each]) for key in of_each[0]}
        night = np.array(self.first_nights, np.int32)[places[:, 0]] + places[:, 1]
        return arrays | {"night": night, "epoch": places[:, 2]}


def _map_arrays(arrays: dict[str, Any], function: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    return {k: _map_arrays(v, function) if isinstance(v, dict) else function(v) for k, v in arrays.items()}
