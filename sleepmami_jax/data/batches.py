"""Endless shuffled batches of epochs, or of windows of consecutive epochs: signals and labels of prepared folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grain
import jax
import numpy as np

from data_pipeline.modalities import SLOTS
from data_pipeline.tasks import Task
from sleepmami_jax.config import DataConfig
from sleepmami_jax.data.ahead import BATCHES_OF_WORKER, ReadAhead
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
from sleepmami_jax.data.order import Batches, first_nights, in_random_order, people, window_starts
from sleepmami_jax.data.scored import EventWindows
from sleepmami_jax.data.source import PreparedFolder, chosen_epochs, chosen_nights


def signal_batches(
    data: DataConfig,
    slots: Slots = SLOTS,
    *,
    epochs: int | None = None,
    global_batch: int,
    seed: int,
    rows: Sequence[int] | None = None,
    tasks: Sequence[Task] = (),
    event_windows: float = 0.0,
) -> Batches:
    """Batches of single epochs in random order, each once a pass over its folder; or of windows of a night.

    Args:
      data: what to read; folders are drawn from in proportion to their weights.
      slots: which channels, and their order on the C axis of their modality.
      epochs: the length E of a window, whose start is drawn as `order.window_starts` says; None for single epochs.
      global_batch: epochs or windows in a batch of all processes together.
      seed: decides the order.
      rows: those of each batch that this process reads, ascending; None is all of them.
      tasks: those of events whose seconds are labelled.
      event_windows: share of windows placed about an event of `tasks`, as `EventWindows` draws them, instead.

    Returns:
      An iterator of dictionaries with B = len(rows). Of single epochs: per modality `signal (B, C, 30 * rate)`
      float32, `usable (B, C, 30)` bool, `present (B, C)` bool; `stage (B,)` int32; `seconds` of `(B, 30)` int8. Of
      windows: what `sleepmami_jax.data.arrays` describes with a leading B. Of both: `night (B,)` int32, index into
      `order.open_nights`; `person (B,)` int32, see `order.people`; `epoch (B,)` int32, a window's first.

    Raises:
      ValueError: a manifest is missing, nothing in a folder is left to read, or the workers need more memory than
        `data.prefetch_bytes`. While iterating: a shard is missing or damaged.
    """
    folders, elements, events = [PreparedFolder.open(source.folder) for source in data.shards], [], []
    for folder in folders:
        try:
            nights = chosen_nights(folder.manifest, data)
        except ValueError as error:
            raise ValueError(f"{folder.folder}: {error}") from error
        listed = [
            np.stack(np.broadcast_arrays(night, usable), -1)
            if epochs is None
            else window_starts(night, folder.manifest.nights[night].n_epochs, epochs)
            for night, usable in chosen_epochs(folder.manifest, nights, slots)
        ]
        if not listed:
            raise ValueError(
                f"{folder.folder}: no epoch with a usable channel in {len(nights)} nights of split {data.split}; ask "
                "for other channels, or prepare more nights"
            )
        elements.append(np.concatenate(listed))
        if event_windows:
            own = np.unique(elements[-1][:, 0]).tolist()
            events.append(EventWindows.of(folder, own, tasks, epochs, event_windows))
    ordered = in_random_order(data, elements, seed, events)
    batch_bytes = (global_batch if rows is None else len(rows)) * (epochs or 1) * epoch_bytes(slots)
    least = data.workers * BATCHES_OF_WORKER * batch_bytes
    if least > data.prefetch_bytes:
        raise ValueError(
            f"data.prefetch_bytes={data.prefetch_bytes}: data.workers={data.workers} have {BATCHES_OF_WORKER} batches "
            f"of {batch_bytes / 2**20:.1f} MiB each in memory; give {least} or more, or read with fewer"
        )
    # Grain counts in elements, here whole batches, and would read 500 ahead. A second thread would fight the
    # first for the interpreter: two give a fifth less than one, for two thirds more of processor time.
    ahead = ReadAhead(max(1, data.prefetch_bytes // max(1, batch_bytes)), workers=data.workers)
    read = _Read(tuple(folders), first_nights(folders), people(folders), slots, epochs, tuple(tasks))
    return Batches(ordered, global_batch, rows, ahead, read)


_PLANS = 4096  # some kB each


@dataclass(frozen=True, eq=False)
class _Read(grain.transforms.Map):
    """Places (B, 3) -> a batch of windows, or of single epochs when `epochs` is None."""

    folders: tuple[PreparedFolder, ...]
    first_nights: np.ndarray
    people: np.ndarray
    slots: Slots
    epochs: int | None
    tasks: tuple[Task, ...]
    plans: dict[tuple[int, int], Plan] = field(default_factory=dict, repr=False)  # of nights seen lately

    def map(self, places: np.ndarray) -> dict[str, Any]:
        n, length = len(places), self.epochs or 1
        arrays = blank_arrays(n * length, self.slots, self.tasks)
        known = []
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
            known.append(demographics_arrays(entry.demographics))
        with_present(arrays, self.slots)
        if self.epochs is None:
            del arrays["epoch_mask"]
        else:
            arrays = jax.tree.map(lambda x: x.reshape(n, length, *x.shape[1:]), arrays)
            arrays["demographics"] = {name: np.stack([k[name] for k in known]) for name in known[0]}
        night = self.first_nights[places[:, 0]] + places[:, 1]
        return arrays | {"night": night, "person": self.people[night], "epoch": places[:, 2]}
