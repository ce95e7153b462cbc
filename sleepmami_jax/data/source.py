"""Random access to a prepared folder: any epochs of any night, by the manifest's order of nights."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from data_pipeline.modalities import SLOTS
from data_pipeline.night import Event
from data_pipeline.shards.epochs import Epoch, night_events
from data_pipeline.shards.files import open_shard, read_epochs, read_scoring
from data_pipeline.shards.manifest import Manifest, NightEntry, read_manifest
from data_pipeline.shards.pack import Pack, events_in
from data_pipeline.tasks import Task
from sleepmami_jax.config import DataConfig, DataSource
from sleepmami_jax.data.arrays import (
    Slots,
    blank_arrays,
    demographics_arrays,
    fill_epochs,
    plan_of,
    usable_channels,
    with_present,
)
from sleepmami_jax.data.buckets import PackInBucket, in_bucket, manifest_path, open_pack

SPARE_FILES = 1024
"""Open files that are left to everything but shards. Our choice."""


def _most_readers() -> int:
    """How many shards may stay open: as many files as the system lets us have; a reader takes some 60 kB besides."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return max(soft - SPARE_FILES, soft // 2)


@lru_cache(maxsize=1)
def _readers() -> Callable[[Path, str, int], tuple[ArrayRecordReader, Path]]:
    """Opens shards, and keeps them open: to open one anew takes as long as to read ten epochs.

    Shared by the whole process, so that a `PreparedFolder` holds no file and can be sent to another process. A reader
    that falls out is closed when its last user lets go.
    """

    @lru_cache(maxsize=_most_readers())
    def opened(folder: Path, shard: str, n_epochs: int) -> tuple[ArrayRecordReader, Path]:
        return open_shard(folder / shard, n_epochs), folder / shard

    return opened


def _reader(folder: Path, shard: str, n_epochs: int) -> tuple[ArrayRecordReader, Path]:
    if in_bucket(folder):
        raise ValueError(f"{folder}/{shard}: shards in a bucket are read whole; `sleepmami pack` them, set data.pack")
    return _readers()(folder, shard, n_epochs)


@dataclass(frozen=True)
class PreparedFolder:
    """A prepared folder and its manifest.

    Attributes:
      folder: where the shards are.
      manifest: its nights; a night's index is its place there.
      pack: the same epochs to be read without decoding; None where none is asked for.
    """

    folder: Path
    manifest: Manifest
    pack: Pack | PackInBucket | None = None

    @classmethod
    def open(cls, folder: Path | str, pack: Path | str | None = None) -> PreparedFolder:
        """Reads the manifest, not the shards; of `pack`, a folder of packs, that of this manifest, made if need be.

        Raises ValueError as `read_manifest` and `Pack.open` do.
        """
        manifest, sha256 = _manifest(folder)
        return cls(Path(folder), manifest, None if pack is None else open_pack(pack, manifest, sha256))

    def with_channels(self, slots: Collection[str]) -> PreparedFolder:
        """The same nights, as if only these channels had been recorded."""
        nights = tuple(
            replace(night, channels=tuple(c for c in night.channels if c.slot in slots))
            for night in self.manifest.nights
        )
        return replace(self, manifest=replace(self.manifest, nights=nights))

    def epochs(self, night: int, start: int, stop: int) -> list[Epoch]:
        """Records [start, stop) of a night.

        Raises:
          ValueError: the shard is missing or damaged; it is named.
        """
        entry = self.manifest.nights[night]
        return read_epochs(*_reader(self.folder, entry.shard, entry.n_epochs), entry.night_id, start, stop)

    @cached_property
    def first_rows(self) -> np.ndarray:
        """(nights,) int64: where the first epoch of each night stands in a pack."""
        return np.cumsum([0] + [night.n_epochs for night in self.manifest.nights], dtype=np.int64)[:-1]

    def packed(self, nights: np.ndarray, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which epochs (n,) are in the pack, once those that were not have been put there, and their rows (n,).

        Raises:
          ValueError: a shard that a row is to be made from is missing or damaged, or the pack lies in a bucket.
        """
        rows = self.first_rows[nights] + epochs
        missing = np.isin(rows, self.pack.missing(rows))
        held = ~missing
        for i in np.flatnonzero(missing).tolist():
            night, epoch = int(nights[i]), int(epochs[i])
            (record,) = self.epochs(night, epoch, epoch + 1)
            held[i] = self.pack.write(int(rows[i]), record, self.manifest.nights[night])
        return held, rows

    def events(self, night: int) -> tuple[Event, ...]:
        """All events of a night, sorted by onset from its first sample: by the pack, if the whole night is in it, else
        by the whole shard, without signals."""
        entry = self.manifest.nights[night]
        if self.pack is not None and (known := self.pack.events.get(entry.night_id)) is not None:
            return events_in(known)
        reader, path = _reader(self.folder, entry.shard, entry.n_epochs)
        return night_events(read_scoring(reader, path, entry.night_id, 0, entry.n_epochs))

    def arrays(
        self,
        night: int,
        slots: Slots = SLOTS,
        *,
        start: int = 0,
        stop: int | None = None,
        length: int | None = None,
        tasks: Sequence[Task] = (),
    ) -> dict[str, Any]:
        """A night, or epochs [start, stop) of it, as arrays; see `sleepmami_jax.data.arrays` for their shapes.

        `length` pads E, with masked epochs; `bucket_length` gives a good one. `tasks` of events are labelled.
        """
        entry = self.manifest.nights[night]
        epochs = self.epochs(night, start, entry.n_epochs if stop is None else stop)
        arrays = blank_arrays(len(epochs) if length is None else length, slots, tasks)
        if epochs:
            fill_epochs(arrays, epochs, plan_of(epochs[0], entry.channels, slots), tasks)
        return with_present(arrays, slots) | {"demographics": demographics_arrays(entry.demographics)}


def manifest_sha256(folder: Path | str) -> str:
    """Digest of a prepared folder's manifest, which names the digest of every night's records.

    Raises ValueError as `read_manifest` does.
    """
    return _manifest(folder)[1]


def open_folders(data: DataConfig) -> list[PreparedFolder]:
    """The folders of `data.shards`, read by way of `data.pack` if it is set. Raises as `PreparedFolder.open`."""
    return [PreparedFolder.open(source.folder, data.pack) for source in data.shards]


def _manifest(folder: Path | str) -> tuple[Manifest, str]:
    """A folder's manifest and its digest, read once while the file is as it was: 10,000 nights take seconds."""
    path = manifest_path(folder)
    found = path.stat() if path.is_file() else None
    return _read_manifest(path, found and (found.st_ino, found.st_size, found.st_mtime_ns))


@lru_cache(maxsize=8)
def _read_manifest(path: Path, state: tuple[int, ...] | None) -> tuple[Manifest, str]:
    return read_manifest(path), hashlib.sha256(path.read_bytes()).hexdigest()


def chosen_nights(manifest: Manifest, data: DataConfig) -> list[int]:
    """Places in the manifest of the nights that `data` asks for, in its order.

    Which ones `data.skip` and `data.nights` leave is decided by a digest of their names, so that few nights are of all
    sites.

    Raises:
      ValueError: no such night is there.
    """
    nights = [index for index, entry in enumerate(manifest.nights) if _asked_for(entry, data)]
    # A manifest lists one site after the other: the first so many would be of one laboratory.
    mixed = sorted(nights, key=lambda n: hashlib.sha256(manifest.nights[n].night_id.encode()).digest())
    nights = sorted(mixed[data.skip :][: data.nights])
    if not nights:
        raise ValueError(
            f"no {'scored ' if data.scored else ''}night of split {data.split!r} among {len(manifest.nights)} prepared "
            f"nights (the first {data.skip} left out, limit {data.nights}); prepare more nights, or name splits in the "
            "demographics table"
        )
    return nights


def with_nights(data: DataConfig) -> DataConfig:
    """`data` with those of its folders that have a night of its split, scored if it asks for that; maybe none."""

    def has(source: DataSource) -> bool:
        return any(_asked_for(entry, data) for entry in PreparedFolder.open(source.folder).manifest.nights)

    return replace(data, shards=tuple(filter(has, data.shards)))


def nights_of_split(shards: Sequence[Path | str], split: str) -> DataConfig:
    """Those of some prepared folders that have a night of a split.

    Raises:
      ValueError: none has.
    """
    data = with_nights(DataConfig(shards=tuple(DataSource(str(folder)) for folder in shards), split=split))
    if not data.shards:
        raise ValueError(
            f"no night of split {split!r} in {', '.join(map(str, shards))}; their manifest.jsonl names the splits"
        )
    return data


def _asked_for(entry: NightEntry, data: DataConfig) -> bool:
    return entry.split == data.split and bool(entry.scored or not data.scored)


def chosen_epochs(manifest: Manifest, nights: Sequence[int], slots: Slots) -> Iterator[tuple[int, np.ndarray]]:
    """Night index and sorted epoch indices of what a pass goes over, from the manifest alone.

    An epoch is in when any channel of `slots` has a good second there. A night without such an epoch is left out.
    """
    for night in nights:
        entry = manifest.nights[night]
        usable = np.zeros(entry.n_epochs, bool)
        for _, channel in usable_channels(entry.channels, slots).values():
            usable |= channel.usable(entry.n_epochs)
        if usable.any():
            yield night, np.flatnonzero(usable)
