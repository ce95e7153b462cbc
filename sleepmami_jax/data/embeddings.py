"""Nights as micro tokens: what a frozen Micro-Encoder makes of prepared folders, kept on disk.

A folder of embeddings has one safetensors file a night (`tokens` (E, L, D) float16, `ok` (E, L) bool) and
`embeddings.json`, which names the weights they were made with. Labels, splits and demographics stay in the prepared
folder. Half precision keeps three digits of tokens of unit size, and halves what is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grain
import numpy as np
from grain.experimental import ElasticIterator
from safetensors import safe_open
from safetensors.numpy import save_file

from data_pipeline.manifest import NightEntry
from data_pipeline.night import EPOCH_S
from sleepmami_jax.config import DataConfig
from sleepmami_jax.data.arrays import Slots, demographics_arrays
from sleepmami_jax.data.labels import second_labels
from sleepmami_jax.data.source import PreparedFolder, chosen_nights

INDEX = "embeddings.json"
BLOCK_EPOCHS = (
    8  # encoded at once: on CPU what these leave behind stays in the cache, 32 take half as long again
)

Encode = Callable[[dict], tuple[np.ndarray, np.ndarray]]
"""Arrays of `BLOCK_EPOCHS` epochs -> tokens (B, L, D) and which are there (B, L)."""


@dataclass(frozen=True)
class EmbeddedFolder:
    """Embeddings of the nights of one prepared folder."""

    folder: Path
    prepared: PreparedFolder

    def _path(self, night: int) -> Path:
        return self.folder / f"{self.prepared.manifest.nights[night].night_id}.safetensors"

    def tokens(self, night: int, start: int = 0, stop: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Tokens (E, L, D) float16 and their mask (E, L) of epochs [start, stop).

        Raises:
          ValueError: the night was not embedded.
        """
        path = self._path(night)
        if not path.is_file():
            raise ValueError(f"{path}: not embedded; run `sleepmami embed` again, it makes what is missing")
        n = self.prepared.manifest.nights[night].n_epochs
        span = slice(start, n if stop is None else min(stop, n))
        with safe_open(path, framework="np") as file:
            return file.get_slice("tokens")[span], file.get_slice("ok")[span]


def embed_folder(
    prepared: PreparedFolder,
    out: Path,
    encode: Encode,
    weights_sha256: str,
    slots: Slots,
    nights: list[int],
    progress: Callable[[], None] = lambda: None,
) -> EmbeddedFolder:
    """Embed nights of a prepared folder, keeping those already made by the same weights from the same records.

    Args:
      encode: the frozen Micro-Encoder.
      weights_sha256: names its weights.
      nights: places in the manifest.
      progress: called after each night.

    Raises:
      ValueError: `out` holds the embeddings of other weights.
    """
    out.mkdir(parents=True, exist_ok=True)
    index = out / INDEX
    if index.exists():
        made_with = json.loads(index.read_text())["weights_sha256"]
        if made_with != weights_sha256:
            raise ValueError(f"{out} holds embeddings of other weights; choose another folder or remove it")
    else:
        if any(out.iterdir()):
            raise ValueError(f"{out} holds other files; choose an empty or new folder")
        index.write_text(json.dumps({"weights_sha256": weights_sha256}) + "\n")
    embedded = EmbeddedFolder(out, prepared)
    for night in nights:
        entry = prepared.manifest.nights[night]
        path = embedded._path(night)
        if not _made_from(path, entry):
            blocks = [encode(block) for block in _one_ahead(night_blocks(prepared, night, slots))]
            tokens, ok = (np.concatenate(parts)[: entry.n_epochs] for parts in zip(*blocks, strict=True))
            temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
            arrays = {"tokens": tokens.astype(np.float16), "ok": ok}
            save_file(arrays, temporary, metadata={"records_sha256": entry.records_sha256})
            temporary.replace(path)
        progress()
    return embedded


def _made_from(path: Path, entry: NightEntry) -> bool:
    if not path.is_file():
        return False
    with safe_open(path, framework="np") as file:
        return file.metadata()["records_sha256"] == entry.records_sha256


def _one_ahead(items: Iterator) -> Iterator:
    """The same items, each one made in a thread while the one before it is used."""
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(next, items, None)
        while (item := ahead.result()) is not None:
            ahead = pool.submit(next, items, None)
            yield item


def night_blocks(prepared: PreparedFolder, night: int, slots: Slots) -> Iterator[dict[str, Any]]:
    """The signals of a night, `BLOCK_EPOCHS` epochs at a time, the last block padded."""
    n = prepared.manifest.nights[night].n_epochs
    for start in range(0, n, BLOCK_EPOCHS):
        stop = min(start + BLOCK_EPOCHS, n)
        arrays = prepared.arrays(night, slots, start=start, stop=stop, length=BLOCK_EPOCHS)
        yield {m.value: arrays[m.value] for m in slots}


def embedded_nights(
    folders: list[EmbeddedFolder], data: DataConfig, length: int, means: Callable, *, batch: int, seed: int
) -> ElasticIterator:
    """Endless shuffled batches of whole nights for the Macro-Encoder.

    Args:
      length: E of every night; longer ones are cut, shorter ones padded.
      means: (E, L, D), (E, L) -> mean token of each modality (E, M, D) and its mask (E, M).

    Returns:
      batches of `means` (N, E, M, D) float32, `present` (N, E, M) bool, `demographics` of (N,), `night` (N,) int32
      as in `data.batches`.
    """
    datasets = []
    for i, (folder, first) in enumerate(zip(folders, _first_nights(folders), strict=True)):
        nights = chosen_nights(folder.prepared.manifest, data)
        # A night's means are small; the tokens they come from are read once.
        table = [
            _night_means(folder, night, length, means) | {"night": np.int32(first + night)}
            for night in nights
        ]
        datasets.append(grain.MapDataset.source(table).seed(seed + i).shuffle().repeat())
    return _mixed(datasets, data, batch)


def _night_means(folder: EmbeddedFolder, night: int, length: int, means: Callable) -> dict[str, Any]:
    x, present = (np.asarray(v) for v in means(*folder.tokens(night, 0, length)))
    pad = length - len(x)
    return {
        "means": np.pad(x.astype(np.float32), ((0, pad), (0, 0), (0, 0))),
        "present": np.pad(present, ((0, pad), (0, 0))),
        "demographics": demographics_arrays(folder.prepared.manifest.nights[night].demographics),
    }


def embedded_windows(
    folders: list[EmbeddedFolder], data: DataConfig, epochs: int, *, batch: int, seed: int
) -> ElasticIterator:
    """Endless shuffled batches of scored windows of consecutive epochs.

    Returns:
      batches of `tokens` (N, E, L, D) float16, `ok` (N, E, L), `stage` (N, E), `seconds` of (N, E, 30), `night`
      and `epoch` (N,) int32 as in `data.batches`.
    """
    datasets = []
    for i, (folder, first) in enumerate(zip(folders, _first_nights(folders), strict=True)):
        nights = chosen_nights(folder.prepared.manifest, data)
        read = _ReadWindow({n: _LabelledNight.open(folder, n) for n in nights}, first, epochs)
        windows = [
            (n, part, parts)
            for n in nights
            for parts in [-(-read.nights[n].length // epochs)]
            for part in range(parts)
        ]
        dataset = grain.MapDataset.source(np.asarray(windows, np.int32)).seed(seed + i)
        datasets.append(dataset.shuffle().repeat().random_map(read))
    return _mixed(datasets, data, batch)


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
    def open(cls, folder: EmbeddedFolder, night: int) -> _LabelledNight:
        entry = folder.prepared.manifest.nights[night]
        events = folder.prepared.events(night)
        seconds = second_labels(events, frozenset(entry.scored), 0.0, entry.n_epochs * EPOCH_S)
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


def _mixed(datasets: list[grain.MapDataset], data: DataConfig, batch: int) -> ElasticIterator:
    mixed = grain.MapDataset.mix(datasets, weights=[source.weight for source in data.shards])
    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=2)
    return ElasticIterator(mixed, batch, grain.sharding.ShardOptions(0, 1), read_options=options)
