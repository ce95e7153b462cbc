"""Nights as micro tokens: what a frozen Micro-Encoder makes of prepared folders, kept on disk.

A folder of embeddings has one safetensors file a night (`tokens` (E, L, D) float16, `ok` (E, L) bool, and of the
modalities of each epoch `summary` (E, M, W) float16, `present` (E, M) bool) and `embeddings.json`, which names the
weights they were made with. Each file says of which records it was made, and has a checksum: a night whose file is
damaged or of other records is embedded again. Labels, splits and demographics stay in the prepared folder. Half
precision keeps three digits of tokens of unit size, and halves what is read.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from data_pipeline.whole_files import whole_file, write_whole
from sleepmami_jax.data.arrays import Slots, bucket_length
from sleepmami_jax.data.source import PreparedFolder

INDEX = "embeddings.json"
BLOCK_EPOCHS = 16  # encoded at once
ALIGNED = 64  # bytes, where XLA's arrays on a CPU begin
_SAID = "made_of"

Encode = Callable[[dict], tuple[np.ndarray, np.ndarray]]
"""Arrays of `BLOCK_EPOCHS` epochs -> tokens (B, L, D) and which are there (B, L)."""


@dataclass(frozen=True)
class EmbeddedFolder:
    """Embeddings of the nights of one prepared folder."""

    folder: Path
    prepared: PreparedFolder

    def _path(self, night: int) -> Path:
        return self.folder / f"{self.prepared.manifest.nights[night].night_id}.safetensors"

    def summary(self, night: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """`macro.epoch_summary` of the first `stop` epochs: (E, M, W) float16 and which modalities are there (E, M)."""
        return self._arrays(night, slice(0, stop), "summary", "present")

    def tokens(self, night: int, start: int = 0, stop: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Tokens (E, L, D) float16 and their mask (E, L) of epochs [start, stop).

        Raises:
          ValueError: the night was not embedded.
        """
        return self._arrays(night, slice(start, stop), "tokens", "ok")

    def _arrays(self, night: int, epochs: slice, *names: str) -> tuple[np.ndarray, ...]:
        path = self._path(night)
        if not path.is_file():
            raise ValueError(f"{path}: not embedded; run `sleepmami embed` again, it makes what is missing")
        first, last, _ = epochs.indices(self.prepared.manifest.nights[night].n_epochs)
        try:
            with safe_open(path, framework="np") as file:
                return tuple(file.get_slice(name)[first:last] for name in names)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path}: damaged; the same command again finds that out, and makes it anew") from error


def embed_folder(
    prepared: PreparedFolder,
    out: Path,
    encode: Encode,
    weights_sha256: str,
    slots: Slots,
    summarise: Callable,
    nights: list[int],
    progress: Callable[[], None] = lambda: None,
) -> EmbeddedFolder:
    """Embed nights of a prepared folder, keeping those already made by the same weights from the same records.

    Args:
      encode: the frozen Micro-Encoder.
      weights_sha256: names its weights.
      summarise: `macro.epoch_summary`; the Macro-Encoder is pretrained on it, and reads nothing else.
      nights: places in the manifest.
      progress: called after each night.

    Raises:
      ValueError: `out` holds the embeddings of other weights, or other files.
    """
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, weights_sha256)
    embedded = EmbeddedFolder(out, prepared)
    for night in nights:
        entry = prepared.manifest.nights[night]
        path = embedded._path(night)
        made_of = {"records_sha256": entry.records_sha256, "weights_sha256": weights_sha256}
        if not _is_whole(path, made_of):
            blocks = encode_blocks(encode, night_blocks(prepared, night, slots))
            parts = [(*block, *map(np.asarray, summarise(*block))) for block in blocks]
            tokens, ok, summary, present = (np.concatenate(v)[: entry.n_epochs] for v in zip(*parts, strict=True))
            half = {"tokens": tokens.astype(np.float16), "summary": summary.astype(np.float16)}
            arrays = half | {"ok": ok, "present": present}
            with whole_file(path) as unfinished:
                save_file(arrays, unfinished, metadata={_SAID: _said(made_of, arrays)})
        progress()
    return embedded


def _claim(out: Path, weights_sha256: str) -> None:
    """Makes a folder the one for these weights. Raises ValueError where it is another's."""
    index = out / INDEX
    others = any(not path.name.startswith(".") for path in out.iterdir())  # before the index, which comes first
    if index.exists():
        try:
            made_with = json.loads(index.read_text(encoding="utf-8"))["weights_sha256"]
        except (ValueError, KeyError, TypeError, RecursionError):
            made_with = None  # damaged: what each file says decides
        if made_with == weights_sha256:
            return
        if made_with is not None:
            raise ValueError(f"{out} holds embeddings of other weights; choose another folder or remove it")
    elif others:
        raise ValueError(f"{out} holds other files; choose an empty or new folder")
    write_whole(index, json.dumps({"weights_sha256": weights_sha256}) + "\n")


def _is_whole(path: Path, made_of: dict[str, str]) -> bool:
    """Whether a night's file is there, of these records and weights, and as it was written."""
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return (file.metadata() or {}).get(_SAID) == _said(made_of, arrays)
    except (SafetensorError, OSError, TypeError, ValueError):
        return False


def _said(made_of: dict[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    """What a file says of itself, in one text: safetensors writes several in any order.

    The checksum is a CRC-32 of the arrays' names, shapes and values.
    """
    crc = 0
    for name, array in sorted(arrays.items()):
        crc = zlib.crc32(np.ascontiguousarray(array), zlib.crc32(f"{name}{array.shape}".encode(), crc))
    return json.dumps(made_of | {"crc32": crc}, sort_keys=True)


def encode_blocks(encode: Encode, blocks: Iterable[dict]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What `encode` makes of each block, in their order.

    Several blocks at a time, while the next one is read: the matmuls of a block are too small, and what lies between
    them too sequential, to fill the cores on their own.
    """
    workers = min(os.cpu_count() or 1, 8)
    with ThreadPoolExecutor(workers) as pool:
        running = deque()
        for block in blocks:
            running.append(pool.submit(encode, block))
            if len(running) > workers:  # one waits
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def blank_batch(n_epochs: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Room for the tokens (L, D) of a night as a batch of one, as long as its bucket: (1, B, L, D) float32 zeros, and
    which are there (1, B, L) bool.

    A night's tokens are large: XLA on a CPU takes what lies where its own arrays would, and copies anything else.
    """
    length = bucket_length(n_epochs)
    n_bytes = 4 * length * math.prod(shape)
    raw = np.zeros(n_bytes + ALIGNED, np.uint8)
    start = -raw.ctypes.data % ALIGNED
    x = raw[start : start + n_bytes].view(np.float32).reshape(1, length, *shape)
    return x, np.zeros((1, length, shape[0]), bool)


def batch_of_one(tokens: np.ndarray, ok: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Micro tokens of a night (E, L, D) and their mask (E, L), as in `blank_batch`."""
    n = len(tokens)
    x, there = blank_batch(n, tokens.shape[1:])
    x[0, :n], there[0, :n] = tokens, ok
    return x, there


def encode_night(encode: Encode, blocks: Iterable[dict], n_epochs: int) -> tuple[np.ndarray, np.ndarray]:
    """A night's signals, `BLOCK_EPOCHS` at a time, the last ones padded -> its tokens, as in `blank_batch`."""
    x: Any = None
    ok: Any = None
    starts, encoded = range(0, n_epochs, BLOCK_EPOCHS), encode_blocks(encode, blocks)
    for start, (tokens, there) in zip(starts, encoded, strict=True):
        if x is None:
            x, ok = blank_batch(n_epochs, tokens.shape[1:])
        stop = min(start + BLOCK_EPOCHS, n_epochs)
        x[0, start:stop], ok[0, start:stop] = tokens[: stop - start], there[: stop - start]
    return x, ok


def night_blocks(prepared: PreparedFolder, night: int, slots: Slots) -> Iterator[dict[str, Any]]:
    """The signals of a night, `BLOCK_EPOCHS` epochs at a time, the last block padded."""
    n = prepared.manifest.nights[night].n_epochs
    for start in range(0, n, BLOCK_EPOCHS):
        stop = min(start + BLOCK_EPOCHS, n)
        arrays = prepared.arrays(night, slots, start=start, stop=stop, length=BLOCK_EPOCHS)
        yield {m.value: arrays[m.value] for m in slots}
