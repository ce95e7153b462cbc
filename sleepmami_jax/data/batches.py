"""Endless shuffled batches of epochs, or of windows of consecutive epochs, from prepared folders.

The position in the data is one number, the global index of the next element; it does not depend on the number
of hosts. To resume at a step: `iterator.set_state({"global_next_index": step * global_batch})`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import grain
import numpy as np

from data_pipeline.manifest import NightEntry
from data_pipeline.night import SLOTS, EventKind
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
    process_index: int = 0,
    process_count: int = 1,
    require: Collection[str] = (),
) -> Batches:
    """Batches of single epochs in random order, each once a pass over its folder, without end.

    Args:
      data: what to read; folders are drawn from in proportion to their weights.
      slots: which channels, and their order on the C axis of their modality.
      global_batch: epochs in a batch of all processes together.
      seed: decides the order.
      process_index, process_count: which share of each batch is ours.
      require: what must have been scored: "stages" and names of `EventKind`; the rest is left out.

    Returns:
      An iterator of dictionaries with B = global_batch / process_count: per modality `signal (B, C, 30 *
      rate)`, `usable (B, C, 30)`, `present (B, C)`; `stage (B,)`; `seconds` of `(B, 30)`; `night (B,)` int32,
      index into `open_nights`; `epoch (B,)` int32.

    Raises:
      ValueError: a manifest is missing, nothing in a folder is left to read, or `global_batch` cannot be
        shared equally. While iterating: a shard is missing or damaged.
    """

    def places(night: int, chosen: np.ndarray, n_epochs: int) -> np.ndarray:
        return np.stack(np.broadcast_arrays(night, chosen), -1)

    return _batches(data, slots, require, places, None, global_batch, seed, process_index, process_count)


def window_batches(
    data: DataConfig,
    slots: Slots = SLOTS,
    *,
    epochs: int,
    global_batch: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    require: Collection[str] = (),
) -> Batches:
    """Batches of windows of consecutive epochs, without end.

    A pass takes `ceil(n_epochs / epochs)` windows of each night, one from each equal part of it, its start
    drawn anew in each pass. A night shorter than the window is padded.

    Arguments and errors as in `epoch_batches`; `epochs` is the length E of a window.

    Returns:
      An iterator of dictionaries: what `sleepmami_jax.data.arrays` describes with a leading B, and `night
      (B,)`, `epoch (B,)` int32, the window's first epoch.
    """
    if epochs < 1:
        raise ValueError(f"epochs {epochs}: expected at least 1")

    def places(night: int, chosen: np.ndarray, n_epochs: int) -> np.ndarray:
        parts, spare = np.arange(-(-n_epochs // epochs)), max(n_epochs - epochs, 0)
        bounds = np.broadcast_arrays(night, spare * parts // len(parts), spare * (parts + 1) // len(parts))
        return np.stack(bounds, -1)

    return _batches(data, slots, require, places, epochs, global_batch, seed, process_index, process_count)


def _batches(
    data: DataConfig,
    slots: Slots,
    require: Collection[str],
    places: Callable[[int, np.ndarray, int], np.ndarray],
    epochs: int | None,
    global_batch: int,
    seed: int,
    process_index: int,
    process_count: int,
) -> Batches:
    """`places(night, chosen epochs, n_epochs)` gives rows of (night, epoch), or (night, earliest, latest start)."""
    if not data.shards or any(source.weight <= 0 for source in data.shards):
        raise ValueError(f"data.shards {data.shards}: expected one or more folders, each with a weight > 0")
    if unknown := set(require) - {"stages", *EventKind}:
        raise ValueError(
            f"require {sorted(unknown)}: expected 'stages' or {[str(kind) for kind in EventKind]}"
        )
    if global_batch < 1 or global_batch % process_count:
        raise ValueError(
            f"global_batch {global_batch}: expected a positive multiple of process_count {process_count}"
        )
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
    batch_bytes = global_batch // process_count * (epochs or 1) * epoch_bytes(slots)
    ahead = max(1, data.prefetch_bytes // batch_bytes)
    return Batches(
        mixed,
        _Read(tuple(folders), tuple(first_nights), slots, epochs),
        global_batch,
        process_index,
        process_count,
        # Grain counts in elements, here whole batches, and would read 500 ahead. A second thread would fight the
        # first for the interpreter: two give a fifth less than one, for two thirds more of processor time.
        grain.ReadOptions(num_threads=1, prefetch_buffer_size=ahead),
    )


class Batches:
    """An endless iterator whose state is the global index of the next element, for any number of processes.

    What `grain.experimental.ElasticIterator` is to elements, with this difference: an element is a place in the
    data, and a whole batch of places is read at once, into arrays that are made once a batch.
    """

    def __init__(
        self,
        places: grain.MapDataset,
        read: _Read,
        global_batch: int,
        process_index: int,
        process_count: int,
        options: grain.ReadOptions,
    ) -> None:
        self._places, self._read, self._options = places, read, options
        self._global_batch, self._index, self._count = global_batch, process_index, process_count
        self._iterator: grain.DatasetIterator | None = None
        self._next_index = 0

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> dict[str, Any]:
        if self._iterator is None:
            ours = self._places[self._next_index + self._index :: self._count]
            batched = ours.batch(self._global_batch // self._count, drop_remainder=True)
            self._iterator = iter(batched.map(self._read).to_iter_dataset(self._options))
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
    plans: dict[tuple[int, int], Plan] = field(default_factory=dict, repr=False)  # of nights seen lately

    def map(self, places: np.ndarray) -> dict[str, Any]:
        n, length = len(places), self.epochs or 1
        arrays = blank_arrays(n * length, self.slots)
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
            fill_epochs(arrays, records, plan, row * length)
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
