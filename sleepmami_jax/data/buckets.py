"""Shards and packs in a bucket: `gs://…`, `s3://…`, or whatever else fsspec reads.

A pack is read where it lies, in ranges of bytes, many at a time: what a bucket is slow at is to begin. Shards are read
whole, so that they are packed rather than learnt from.
"""

from __future__ import annotations

import os
import re
import tempfile
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.shards.manifest import MANIFEST, Manifest, NightEntry
from data_pipeline.shards.pack import EVENTS, MARKS, PACK, ROWS, Layout, Pack, check_layout, mark_of, nights_in

IN_FLIGHT = 64
"""Reads that one batch has under way at once: at 20 ms each, 3,000 a second. Our choice."""
PIECE_BYTES = 4 * 2**20
"""Of a shard that is fetched. Our choice."""


def in_bucket(place: Path | str) -> bool:
    """Whether a place has a scheme, such as `gs://`, of which pathlib drops a slash."""
    return re.match(r"\w{2,}:/", os.fspath(place)) is not None


def _store(place: Path | str) -> tuple[Any, str]:
    """The fsspec file system of a place in a bucket, and its path there.

    Raises:
      ValueError: what that kind of bucket needs is not installed.
    """
    from fsspec.core import url_to_fs

    url = re.sub(r"^(\w+):/+", r"\1://", os.fspath(place))
    try:
        return url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{url}: {error}; gs:// needs `pip install -e .[gcs]`, s3:// `pip install s3fs`") from error


def read_object(place: Path | str, name: str) -> bytes:
    """A whole object. Raises ValueError where it cannot be read, with its name."""
    files, path = _store(place)
    try:
        return files.cat_file(f"{path}/{name}")
    except OSError as error:
        raise ValueError(f"{place}/{name}: cannot be read ({error})") from error


@lru_cache(maxsize=1)
def _scratch() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="sleepmami-")


@lru_cache(maxsize=8)
def _fetched(place: str, name: str) -> Path:
    path = Path(tempfile.mkdtemp(dir=_scratch().name)) / name
    path.write_bytes(read_object(place, name))
    return path


def manifest_path(folder: Path | str) -> Path:
    """A prepared folder's manifest on a disk; out of a bucket it is fetched once. Raises as `read_object`."""
    return _fetched(os.fspath(folder), MANIFEST) if in_bucket(folder) else Path(folder) / MANIFEST


def fetch_shard(folder: str, night: NightEntry, into: Path) -> Path:
    """A night's shard, out of a bucket onto a disk, in pieces that come at once. Raises ValueError as `read_object`."""
    files, path = _store(folder)
    starts = [*range(0, night.shard_bytes, PIECE_BYTES)]
    ends = [min(start + PIECE_BYTES, night.shard_bytes) for start in starts]
    pieces = _ranges(files, f"{path}/{night.shard}", starts, ends)
    copy = into / night.shard
    copy.write_bytes(b"".join(pieces))
    return copy


def _ranges(files: Any, path: str, starts: list[int], ends: list[int]) -> list[bytes]:
    parts = files.cat_ranges([path] * len(starts), starts, ends, batch_size=IN_FLIGHT, on_error="return")
    for part in parts:
        if isinstance(part, Exception):
            raise ValueError(f"{path}: cannot be read ({part!r})") from part
    return parts


def open_pack(folder: Path | str, manifest: Manifest, sha256: str) -> Pack | PackInBucket:
    """The pack of a manifest below `folder`; on a disk it is made if it is not there. Raises ValueError, OSError."""
    layout = Layout.of(manifest, sha256)
    return PackInBucket(os.fspath(folder), layout) if in_bucket(folder) else Pack.open(Path(folder), layout)


class PackInBucket:
    """`Pack` in a bucket: it is whole, and only read.

    Raises:
      ValueError: it is not there, or that of another manifest.
    """

    def __init__(self, folder: str, layout: Layout) -> None:
        self.layout, self._folder = layout, folder
        self._place = f"{folder.rstrip('/')}/{layout.manifest_sha256[:16]}"
        check_layout(f"{self._place}/{PACK}", read_object(self._place, PACK).decode(), layout)
        marks = read_object(self._place, MARKS)
        if len(marks) != 8 * layout.rows:
            raise ValueError(f"{self._place}/{MARKS}: {len(marks)} bytes, expected {8 * layout.rows}; copy it again")
        self._marks = np.frombuffer(marks, "<u8")

    def __reduce__(self):
        return PackInBucket, (self._folder, self.layout)

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """None of `rows`. Raises ValueError where one was not packed."""
        if not self._marks[rows].all():
            raise ValueError(f"{self._place}: not all rows are there; `sleepmami pack` on a disk, and copy it again")
        return rows[:0]

    def block(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n,) as they are there, (n, row_bytes) uint8, and 0..n-1; neighbours come in one read.

        Raises:
          ValueError: a row cannot be read, or is not what was written; it is named.
        """
        files, path = _store(self._place)
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        spans = [(int(part[0]), int(part[-1]) + 1) for part in np.split(rows, breaks)]
        size = self.layout.row_bytes
        starts, ends = ([n * size for n in side] for side in zip(*spans, strict=True))
        content = b"".join(_ranges(files, f"{path}/{ROWS}", starts, ends)).ljust(len(rows) * size)[: len(rows) * size]
        block = np.frombuffer(content, np.uint8).reshape(len(rows), size)
        for row, found in zip(rows.tolist(), block, strict=True):
            if self._marks[row] != mark_of(found):
                raise ValueError(f"{self._place}/{ROWS}: row {row} is not what was written; copy the pack again")
        return block, np.arange(len(rows))

    def write(self, *_: object) -> bool:
        """Never: whoever asks for what is missing gets an error."""
        return False

    @cached_property
    def events(self) -> dict[str, bytes]:
        """As `Pack.events`."""
        return nights_in(read_object(self._place, EVENTS))
