"""All nights of a prepared folder into a pack, by several processes; what is there already is kept."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from data_pipeline.lock import alone_in
from data_pipeline.prepare.workers import Progress, run_local
from data_pipeline.shards.epochs import night_events
from data_pipeline.shards.files import open_shard, read_epochs
from data_pipeline.shards.pack import Pack
from sleepmami_jax.data.buckets import fetch_shard, in_bucket
from sleepmami_jax.data.source import PreparedFolder


def pack_folder(shards: Path | str, out: Path, workers: int = 1, progress: Progress | None = None) -> Pack:
    """Packs every night, and returns the pack. Stopped at any moment, it goes on where it was.

    Args:
      shards: a prepared folder, on a disk or in a bucket.
      out: a folder of packs on a local disk, which `data.pack` names.
      workers: processes; one works in this process.
      progress: called with (nights done, nights in all, night_id) after each.

    Raises:
      ValueError: a shard is missing or damaged, `out` is in a bucket, another process fills it, or the disk has too
        little room.
    """
    if in_bucket(out):
        raise ValueError(f"{out}: a pack is made on a disk; make it there, and copy its folder to the bucket")
    folder = PreparedFolder.open(shards, out)
    nights = folder.manifest.nights
    with alone_in(folder.pack.folder / "filling"):
        todo = [i for i, night in enumerate(nights) if night.night_id not in folder.pack.events]
        _check_room(folder, todo)
        jobs = run_local(partial(_pack_night, str(shards), out), todo, workers)
        for done, (night, outcome) in enumerate(jobs, start=len(nights) - len(todo) + 1):
            if isinstance(outcome, Exception):
                raise outcome
            if progress is not None:
                progress(done, len(nights), nights[night].night_id)
    return folder.pack


def _check_room(folder: PreparedFolder, todo: list[int]) -> None:
    """Raises ValueError where the rows that are not there yet have no room; holes in the file take none."""
    pack = folder.pack
    rows = sum(folder.manifest.nights[i].n_epochs for i in todo)
    needed = rows * pack.layout.row_bytes - (os.stat(pack.folder / "rows.bin").st_blocks * 512)
    free = shutil.disk_usage(pack.folder).free
    if needed > free:
        raise ValueError(
            f"{pack.folder}: {rows} epochs of {pack.layout.row_bytes} bytes take {needed / 1e9:.1f} GB more, and "
            f"{free / 1e9:.1f} GB are free; choose another disk"
        )


@lru_cache(maxsize=1)  # of a worker process: it packs many nights
def _opened(shards: str, out: Path) -> PreparedFolder:
    return PreparedFolder.open(shards, out)


def _pack_night(shards: str, out: Path, night: int) -> None:
    """Writes the rows of one night that are not there, and then its events."""
    folder = _opened(shards, out)
    entry, pack = folder.manifest.nights[night], folder.pack
    with tempfile.TemporaryDirectory() as scratch:
        path = fetch_shard(shards, entry, Path(scratch)) if in_bucket(shards) else folder.folder / entry.shard
        reader = open_shard(path, entry.n_epochs)
        missing = {*pack.missing(np.arange(entry.n_epochs) + folder.first_rows[night]).tolist()}
        scored = []
        for epoch in range(entry.n_epochs):
            (record,) = read_epochs(reader, path, entry.night_id, epoch, epoch + 1)
            row = int(folder.first_rows[night]) + epoch
            if row in missing:
                pack.write(row, record, entry)
            scored.append(replace(record, signals=()))
    pack.complete(entry, night_events(scored))
