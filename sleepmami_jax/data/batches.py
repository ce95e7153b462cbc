"""Endless shuffled batches of epochs, or of windows of consecutive epochs, from prepared folders.

The position in the data is one number, the global index of the next element; it does not depend on the number
of hosts. To resume at a step: `iterator.set_state({"global_next_index": step * global_batch})`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import grain
import numpy as np
from grain.experimental import ElasticIterator

from data_pipeline.manifest import NightEntry
from data_pipeline.night import SLOTS, EventKind
from sleepmami_jax.config import DataConfig
from sleepmami_jax.data.arrays import Slots, epoch_bytes
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
) -> ElasticIterator:
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
        return np.stack(np.broadcast_arrays(night, chosen, chosen), -1)

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
) -> ElasticIterator:
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
) -> ElasticIterator:
    """`places(night, chosen epochs, n_epochs)` says what to read: rows of (night, earliest, latest start)."""
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
    datasets, first_night = [], 0
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
        elements = np.concatenate(elements).astype(np.int32)
        dataset = grain.MapDataset.source(elements).seed(seed + len(datasets))
        read = _Read(folder, first_night, slots, epochs)
        datasets.append(dataset.shuffle().repeat().random_map(read))
        first_night += len(entries)
    mixed = grain.MapDataset.mix(datasets, weights=[source.weight for source in data.shards])
    batch_bytes = global_batch // process_count * (epochs or 1) * epoch_bytes(slots)
    ahead = max(1, data.prefetch_bytes // batch_bytes)
    return ElasticIterator(
        mixed,
        global_batch,
        grain.sharding.ShardOptions(process_index, process_count),
        # Grain counts in elements, here whole batches, and would read 500 ahead.
        read_options=grain.ReadOptions(
            num_threads=min(ahead, os.cpu_count() or 1), prefetch_buffer_size=ahead
        ),
    )


@dataclass(frozen=True)
class _Read(grain.transforms.RandomMap):
    """(night, earliest, latest start) -> arrays of a window, or of a single epoch when `epochs` is None."""

    folder: PreparedFolder
    first_night: int
    slots: Slots
    epochs: int | None

    def random_map(self, element: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        night, earliest, latest = map(int, element)
        start = earliest if earliest == latest else int(rng.integers(earliest, latest + 1))
        arrays = self.folder.arrays(
            night,
            self.slots,
            start=start,
            stop=min(start + (self.epochs or 1), self.folder.manifest.nights[night].n_epochs),
            length=self.epochs or 1,
        )
        if self.epochs is None:
            del arrays["demographics"], arrays["epoch_mask"]
            arrays = _without_epoch_axis(arrays)
        return arrays | {"night": np.int32(self.first_night + night), "epoch": np.int32(start)}


def _without_epoch_axis(arrays: dict[str, Any]) -> dict[str, Any]:
    return {k: _without_epoch_axis(v) if isinstance(v, dict) else v[0] for k, v in arrays.items()}
