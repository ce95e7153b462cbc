"""Endless shuffled batches of nights, or of windows of consecutive epochs: micro tokens of folders of embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grain
import jax
import numpy as np

from data_pipeline.night import EPOCH_S, UNKNOWN_STAGE
from data_pipeline.tasks import Task
from sleepmami_jax.config import DataConfig
from sleepmami_jax.data.ahead import ReadAhead
from sleepmami_jax.data.arrays import demographics_arrays
from sleepmami_jax.data.embeddings import EmbeddedFolder
from sleepmami_jax.data.labels import NOT_SCORED, event_labels
from sleepmami_jax.data.order import Batches, first_nights, in_random_order, people, window_starts
from sleepmami_jax.data.scored import EventWindows
from sleepmami_jax.data.source import chosen_nights


def _ahead(data: DataConfig) -> ReadAhead:
    return ReadAhead(batches=2, threads=2, workers=data.workers)


def embedded_nights(
    folders: list[EmbeddedFolder],
    data: DataConfig,
    length: int,
    *,
    global_batch: int,
    seed: int,
    rows: Sequence[int] | None = None,
) -> Batches:
    """Endless shuffled batches of whole nights for the Macro-Encoder.

    Args:
      folders: of `data.shards`, in their order.
      length: E of every night; longer ones are cut, shorter ones padded.
      global_batch, seed, rows: as in `data.batches.signal_batches`.

    Returns:
      batches of `summary` (N, E, M, W) float32, `present` (N, E, M) bool, `demographics` of (N,), `night` and `person`
      (N,) int32 as in `data.batches`.
    """
    nights = [chosen_nights(folder.prepared.manifest, data) for folder in folders]
    whole = [np.stack(np.broadcast_arrays(chosen, 0), -1) for chosen in nights]  # from their first epoch on
    prepared = [folder.prepared for folder in folders]
    read = _ReadNight(folders, first_nights(prepared), people(prepared), length)
    return Batches(in_random_order(data, whole, seed), global_batch, rows, _ahead(data), read)


@dataclass(frozen=True, eq=False)
class _ReadNight(grain.transforms.Map):
    """Places (N, 3) -> the nights' epochs in summary."""

    folders: list[EmbeddedFolder]
    first_nights: np.ndarray
    people: np.ndarray
    length: int

    def map(self, places: np.ndarray) -> dict[str, Any]:
        return _stacked([self._read(*place) for place in places.tolist()])

    def _read(self, number: int, night: int, _: int) -> dict[str, Any]:
        folder = self.folders[number]
        summary, present = folder.summary(night, self.length)
        place = self.first_nights[number] + night
        return {
            "summary": _padded(summary.astype(np.float32), self.length, 0),
            "present": _padded(present, self.length, False),
            "demographics": demographics_arrays(folder.prepared.manifest.nights[night].demographics),
            "night": np.int32(place),
            "person": self.people[place],
        }


def embedded_windows(
    folders: list[EmbeddedFolder],
    data: DataConfig,
    epochs: int,
    tasks: Sequence[Task] = (),
    *,
    global_batch: int,
    seed: int,
    rows: Sequence[int] | None = None,
    event_windows: float = 0.0,
) -> Batches:
    """Endless shuffled batches of scored windows of consecutive epochs, as `order.window_starts` draws them.

    Arguments as in `embedded_nights`; `epochs` is the length E of a window, `tasks` those of events whose
    seconds are labelled, `event_windows` as in `data.batches.signal_batches`.

    Returns:
      batches of `tokens` (N, E, L, D) float16, `ok` (N, E, L) bool, `stage` (N, E) int32, `seconds` of (N, E, T)
      int8, `night` and `epoch` (N,) int32 as in `data.batches`.
    """
    nights, elements, events = {}, [], []
    for number, folder in enumerate(folders):
        chosen = chosen_nights(folder.prepared.manifest, data)
        nights |= {(number, night): _LabelledNight.open(folder, night, tasks) for night in chosen}
        starts = [window_starts(night, len(nights[number, night].stage), epochs) for night in chosen]
        elements.append(np.concatenate(starts))
        if event_windows:
            events.append(EventWindows.of(folder.prepared, chosen, tasks, epochs, event_windows))
    read = _ReadWindow(nights, first_nights([folder.prepared for folder in folders]), epochs)
    return Batches(in_random_order(data, elements, seed, events), global_batch, rows, _ahead(data), read)


@dataclass(frozen=True, eq=False)
class _LabelledNight:
    folder: EmbeddedFolder
    stage: np.ndarray  # (E,) int32
    events: dict[str, np.ndarray]  # (E, T) int8

    @classmethod
    def open(cls, folder: EmbeddedFolder, night: int, tasks: Sequence[Task]) -> _LabelledNight:
        entry = folder.prepared.manifest.nights[night]
        events = folder.prepared.events(night)
        labels = event_labels(events, entry.scored, tasks, 0.0, entry.n_epochs * EPOCH_S)
        shaped = {task: v.reshape(entry.n_epochs, -1) for task, v in labels.items()}
        return cls(folder, entry.stage_codes.astype(np.int32), shaped)


@dataclass(frozen=True, eq=False)
class _ReadWindow(grain.transforms.Map):
    """Places (N, 3) -> the windows that begin there."""

    nights: dict[tuple[int, int], _LabelledNight]
    first_nights: np.ndarray
    epochs: int

    def map(self, places: np.ndarray) -> dict[str, Any]:
        return _stacked([self._read(*place) for place in places.tolist()])

    def _read(self, number: int, night: int, start: int) -> dict[str, Any]:
        labelled = self.nights[number, night]
        stop = min(start + self.epochs, len(labelled.stage))
        tokens, ok = labelled.folder.tokens(night, start, stop)
        seconds = {
            task: _padded(labels[start:stop], self.epochs, NOT_SCORED) for task, labels in labelled.events.items()
        }
        return {
            "tokens": _padded(tokens, self.epochs, 0),
            "ok": _padded(ok, self.epochs, False),
            "stage": _padded(labelled.stage[start:stop], self.epochs, UNKNOWN_STAGE),
            "seconds": seconds,
            "night": np.int32(self.first_nights[number] + night),
            "epoch": np.int32(start),
        }


def _stacked(examples: list[dict[str, Any]]) -> dict[str, Any]:
    """Arrays of examples -> those of a batch of them."""
    return jax.tree.map(lambda *values: np.stack(values), *examples)


def _padded(x: np.ndarray, length: int, fill: float) -> np.ndarray:
    """(E, ...) -> (length, ...)."""
    return np.pad(x, [(0, length - len(x))] + [(0, 0)] * (x.ndim - 1), constant_values=fill)
