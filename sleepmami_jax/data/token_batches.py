"""Batches of nights and windows of micro tokens, from folders of embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grain
import numpy as np

from data_pipeline.night import EPOCH_S
from data_pipeline.tasks import Task
from sleepmami_jax.config import DataConfig
from sleepmami_jax.data.arrays import demographics_arrays
from sleepmami_jax.data.batches import Batches
from sleepmami_jax.data.embeddings import EmbeddedFolder
from sleepmami_jax.data.labels import second_labels
from sleepmami_jax.data.source import chosen_nights


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
      length: E of every night; longer ones are cut, shorter ones padded.

    Returns:
      batches of `means` (N, E, M, D) float32, `present` (N, E, M) bool, `demographics` of (N,), `night` (N,) int32
      as in `data.batches`.
    """
    datasets = []
    for i, (folder, first) in enumerate(zip(folders, _first_nights(folders), strict=True)):
        nights = chosen_nights(folder.prepared.manifest, data)
        dataset = grain.MapDataset.source(np.asarray(nights, np.int32)).seed(seed + i)
        datasets.append(dataset.shuffle().repeat().map(_ReadNight(folder, first, length)))
    return _mixed(datasets, data, global_batch, rows)


@dataclass(frozen=True)
class _ReadNight(grain.transforms.Map):
    """A night -> its means."""

    folder: EmbeddedFolder
    first: int  # of this folder's nights among those of all folders
    length: int

    def map(self, element: np.int32) -> dict[str, Any]:
        night = int(element)
        x, present = self.folder.means(night, self.length)
        pad = self.length - len(x)
        return {
            "means": np.pad(x.astype(np.float32), ((0, pad), (0, 0), (0, 0))),
            "present": np.pad(present, ((0, pad), (0, 0))),
            "demographics": demographics_arrays(self.folder.prepared.manifest.nights[night].demographics),
            "night": np.int32(self.first + night),
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
) -> Batches:
    """Endless shuffled batches of scored windows of consecutive epochs.

    Returns:
      batches of `tokens` (N, E, L, D) float16, `ok` (N, E, L), `stage` (N, E), `seconds` of (N, E, 30), `night`
      and `epoch` (N,) int32 as in `data.batches`.
    """
    datasets = []
    for i, (folder, first) in enumerate(zip(folders, _first_nights(folders), strict=True)):
        nights = chosen_nights(folder.prepared.manifest, data)
        read = _ReadWindow({n: _LabelledNight.open(folder, n, tasks) for n in nights}, first, epochs)
        windows = [
            (n, part, parts)
            for n in nights
            for parts in [-(-read.nights[n].length // epochs)]
            for part in range(parts)
        ]
        dataset = grain.MapDataset.source(np.asarray(windows, np.int32)).seed(seed + i)
        datasets.append(dataset.shuffle().repeat().random_map(read))
    return _mixed(datasets, data, global_batch, rows)


@dataclass(frozen=True)
class _LabelledNight:
    folder: EmbeddedFolder
    night: int
    stage: np.ndarray  # (E,) int32
    seconds: dict[str, np.ndarray]  # (E, 30) int8

    @property
    def length(self) -> int:
        return len(self.stage)

    @classmethod
    def open(cls, folder: EmbeddedFolder, night: int, tasks: Sequence[Task]) -> _LabelledNight:
        entry = folder.prepared.manifest.nights[night]
        events = folder.prepared.events(night)
        seconds = second_labels(events, entry.scored, tasks, 0.0, entry.n_epochs * EPOCH_S)
        shaped = {task: labels.reshape(-1, EPOCH_S) for task, labels in seconds.items()}
        return cls(folder, night, entry.stage_codes.astype(np.int32), shaped)


@dataclass(frozen=True)
class _ReadWindow(grain.transforms.RandomMap):
    """(night, part, parts) -> a window; its start is drawn from one of so many equal parts of all starts."""

    nights: dict[int, _LabelledNight]
    first: int  # of this folder's nights among those of all folders
    epochs: int

    def random_map(self, element: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        night, (part, parts) = self.nights[int(element[0])], map(int, element[1:])
        latest = max(night.length - self.epochs, 0)
        start = int(rng.integers(latest * part // parts, latest * (part + 1) // parts + 1))
        stop = min(start + self.epochs, night.length)
        tokens, ok = night.folder.tokens(night.night, start, stop)
        pad = self.epochs - (stop - start)

        def padded(x, fill):
            return np.pad(x, [(0, pad)] + [(0, 0)] * (x.ndim - 1), constant_values=fill)

        return {
            "tokens": padded(tokens, 0),
            "ok": padded(ok, False),
            "stage": padded(night.stage[start:stop], -1),
            "seconds": {task: padded(labels[start:stop], -1) for task, labels in night.seconds.items()},
            "night": np.int32(self.first + night.night),
            "epoch": np.int32(start),
        }


def _first_nights(folders: list[EmbeddedFolder]) -> np.ndarray:
    """Place of each folder's first night in the order of `data.batches.open_nights`."""
    return np.cumsum([0] + [len(folder.prepared.manifest.nights) for folder in folders[:-1]])


def _mixed(
    datasets: list[grain.MapDataset], data: DataConfig, global_batch: int, rows: Sequence[int] | None
) -> Batches:
    mixed = grain.MapDataset.mix(datasets, weights=[source.weight for source in data.shards])
    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=2)
    return Batches(mixed, None, global_batch, range(global_batch) if rows is None else rows, options)
