"""Endless shuffled batches of epochs, or of windows of consecutive epochs: signals and labels of prepared folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grain
import jax
import numpy as np

from data_pipeline.modalities import SLOTS
from data_pipeline.night import EPOCH_S, Event
from data_pipeline.shards.manifest import NightEntry, stage_codes
from data_pipeline.shards.pack import check_scale, row_header
from data_pipeline.tasks import Task
from sleepmami_jax.config import DataConfig
from sleepmami_jax.data.ahead import BATCHES_OF_WORKER, ReadAhead
from sleepmami_jax.data.arrays import Slots, blank_labels, demographics_arrays
from sleepmami_jax.data.labels import event_labels
from sleepmami_jax.data.order import Batches, first_nights, in_random_order, people, window_starts
from sleepmami_jax.data.scored import EventWindows
from sleepmami_jax.data.source import PreparedFolder, chosen_epochs, chosen_nights, open_folders
from sleepmami_jax.data.stored import Rows, scaling_of, stored_bytes


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
      An iterator of dictionaries with B = len(rows), whose signals are on their way as `data.stored` says, and are
      made `signal`, `usable` and `present` by `stored.normalised`. Of single epochs: `stage (B,)` int32; `seconds` of
      `(B, 30)` int8. Of windows: what `sleepmami_jax.data.arrays` describes with a leading B. Of both: `night (B,)`
      int32, index into `order.open_nights`; `person (B,)` int32, see `order.people`; `epoch (B,)` int32, a window's
      first.

    Raises:
      ValueError: a manifest is missing, nothing in a folder is left to read, or the workers need more memory than
        `data.prefetch_bytes`. While iterating: a shard is missing or damaged.
    """
    folders, elements, events = open_folders(data), [], []
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
    batch_bytes = (global_batch if rows is None else len(rows)) * (epochs or 1) * stored_bytes(slots)
    least = data.workers * BATCHES_OF_WORKER * batch_bytes
    if least > data.prefetch_bytes:
        raise ValueError(
            f"data.prefetch_bytes={data.prefetch_bytes}: data.workers={data.workers} have {BATCHES_OF_WORKER} batches "
            f"of {batch_bytes / 2**20:.1f} MiB each in memory; give {least} or more, or read with fewer"
        )
    # Grain counts in elements, here whole batches, and would read 500 ahead. A second thread would fight the
    # first for the interpreter: two give a fifth less than one, for two thirds more of processor time. Rows of a pack
    # are copied, or waited for, without the interpreter.
    threads = 1 if data.pack is None else 2
    ahead = ReadAhead(max(1, data.prefetch_bytes // max(1, batch_bytes)), threads, data.workers)
    read = _Read(tuple(folders), first_nights(folders), people(folders), slots, epochs, tuple(tasks))
    return Batches(ordered, global_batch, rows, ahead, read)


@dataclass(frozen=True, eq=False)
class _Read(grain.transforms.Map):
    """Places (B, 3) -> a batch of windows, or of single epochs when `epochs` is None."""

    folders: tuple[PreparedFolder, ...]
    first_nights: np.ndarray
    people: np.ndarray
    slots: Slots
    epochs: int | None
    tasks: tuple[Task, ...]
    scalings: dict[tuple[int, int], np.ndarray] = field(default_factory=dict, repr=False)  # of nights seen
    checked: set[tuple[int, int]] = field(default_factory=set, repr=False)  # nights whose records fit their manifest

    def map(self, places: np.ndarray) -> dict[str, Any]:
        length = self.epochs or 1
        shape = (len(places),) if self.epochs is None else (len(places), length)
        entries = [self.folders[number].manifest.nights[night] for number, night, _ in places.tolist()]
        epochs = places[:, 2:] + np.arange(length)
        there = (epochs < np.array([[entry.n_epochs] for entry in entries])).ravel()
        scaling = np.stack([self._scaling(number, night) for number, night, _ in places.tolist()])
        rows = Rows(np.repeat(scaling, length, 0) * there[:, None, None], self.slots)
        labels = blank_labels(len(there), self.tasks)
        number, night = np.repeat(places[:, :2], length, 0).T
        for i, folder in enumerate(self.folders):
            mine = np.flatnonzero(there & (number == i))
            if mine.size:
                self._fill(rows, labels, i, folder, mine, night[mine], epochs.ravel()[mine])
        labels["epoch_mask"] = there
        spans = zip(entries, places[:, 2].tolist(), strict=True)
        stages = "".join(entry.stages[start : start + length].ljust(length, "?") for entry, start in spans)
        labels["stage"] = stage_codes(stages).astype(np.int32)
        arrays = {**rows.arrays(shape), **jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), labels)}
        if self.epochs is None:
            del arrays["epoch_mask"]
        else:
            known = [demographics_arrays(entry.demographics) for entry in entries]
            arrays["demographics"] = {name: np.stack([k[name] for k in known]) for name in known[0]}
        night = self.first_nights[places[:, 0]] + places[:, 1]
        return arrays | {"night": night, "person": self.people[night], "epoch": places[:, 2]}

    def _scaling(self, number: int, night: int) -> np.ndarray:
        if (number, night) not in self.scalings:
            channels = self.folders[number].manifest.nights[night].channels
            self.scalings[number, night] = scaling_of(channels, self.slots)
        return self.scalings[number, night]

    def _fill(
        self,
        rows: Rows,
        labels: dict[str, Any],
        number: int,
        folder: PreparedFolder,
        mine: np.ndarray,
        nights: np.ndarray,
        epochs: np.ndarray,
    ) -> None:
        """Rows `mine` are these epochs of a folder."""
        unpacked = range(len(mine))
        if folder.pack is not None:
            held, at = folder.packed(nights, epochs)
            if held.any():
                block, within = folder.pack.block(at[held])
                rows.packed(mine[held], block, within, folder.pack.layout)
                if self.tasks:
                    for i, row in zip(np.flatnonzero(held).tolist(), within.tolist(), strict=True):
                        _, _, events = row_header(folder.pack.layout, block[row])
                        self._label(labels, int(mine[i]), events, folder.manifest.nights[nights[i]])
            unpacked = np.flatnonzero(~held).tolist()
        for i in unpacked:
            night, row = int(nights[i]), int(mine[i])
            entry = folder.manifest.nights[night]
            (epoch,) = folder.epochs(night, int(epochs[i]), int(epochs[i]) + 1)
            if (number, night) not in self.checked:
                check_scale(epoch, entry)
                self.checked.add((number, night))
            rows.record(row, epoch)
            self._label(labels, row, epoch.events, entry)

    def _label(self, labels: dict[str, Any], row: int, events: tuple[Event, ...], entry: NightEntry) -> None:
        for task, values in event_labels(events, entry.scored, self.tasks, 0.0, EPOCH_S).items():
            labels["seconds"][task][row] = values
