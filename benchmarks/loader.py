"""How many random 30-second epochs a second the loader gives, by how many nights there are, and how soon the first.

    python benchmarks/loader.py [--rounds 5] [--nights 2 200 1000 6000] [--start 10000] [--workers 2]

Nights are those of `prepare_night.py` with events at random, two of them; as many as asked for are look-alikes, which
share the two shards' bytes but have files, rows and lines in the manifest of their own. Readers take random epochs of
all 14 channels, labels of two tasks not asked for:

- shards: `signal_batches` as training uses it, int16 with gain, shift and masks, checksums verified, in a thread of
  this process; and by so many workers, whose own processor time is not seen from here;
- pack: the same of a pack that is whole, each row checked before; every night has rows of its own;
- floor: `numpy.take` of rows as long in one `numpy.memmap` of as many rows: nothing less can be done.

All files are in the page cache, and malloc asks for huge pages, as the `sleepmami` command has it. The readers run by
turns, round by round; ratios are of one round each. Beside epochs a second stand those that a second of a core's own
time is enough for, which other work on the machine disturbs less.

Then how long fine-tuning of whole nights (8 h) takes to its first batch, with classes counted and windows laid about
events, of a pack that knows all events and has no row: nights of shards that have only been hard-linked.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from prepare_night import machine, spread, write_night

from data_pipeline.load import load_night
from data_pipeline.modalities import SLOTS
from data_pipeline.night import Event, EventKind, Scoring
from data_pipeline.prepare.run import PrepareConfig, prepare
from data_pipeline.shards.pack import EVENTS, MARKS, ROWS, events_line
from data_pipeline.tasks import AROUSAL, BREATHING, STAGES
from sleepmami_jax.config import DataConfig, DataSource
from sleepmami_jax.data.ahead import BATCHES_OF_WORKER
from sleepmami_jax.data.batches import signal_batches
from sleepmami_jax.data.packing import pack_folder
from sleepmami_jax.data.scored import class_counts
from sleepmami_jax.data.source import PreparedFolder
from sleepmami_jax.data.stored import stored_bytes

BATCH, SHORT_H, LONG_H = 64, 1 / 30, 8
EVENTS_AN_HOUR = 40


def load_scored(recording, *args, **facts):
    """The night with stages and events that nobody saw."""
    night = load_night(recording, *args, **facts)
    rng = np.random.default_rng(night.duration_s)
    kinds = (EventKind.AROUSAL, EventKind.HYPOPNEA, EventKind.OBSTRUCTIVE_APNEA)
    onsets = np.sort(rng.uniform(0, night.duration_s - 30, int(night.duration_s / 3600 * EVENTS_AN_HOUR)))
    events = tuple(
        Event(kinds[i % 3], float(on), float(rng.uniform(3, 30)), "by chance") for i, on in enumerate(onsets)
    )
    stages = rng.integers(0, 5, night.n_epochs).astype(np.int8)
    return replace(night, scoring=Scoring(stages, events, frozenset({"stages", "arousal", "breathing"})))


def two_nights(root: Path, hours: float) -> Path:
    (root / "in").mkdir(parents=True)
    for i in range(2):
        write_night(root / "in" / f"n{i}.edf", hours, seed=i)
    prepare([root / "in"], root / "2", config=PrepareConfig(0, 0), load=load_scored)
    return root / "2"


def look_alikes(two: Path, n: int) -> Path:
    """A prepared folder of n nights, which are the two by turns."""
    head, *nights = map(json.loads, (two / "manifest.jsonl").read_text().splitlines())
    del head["nights_sha256"]
    folder = two.with_name(str(n))
    folder.mkdir()
    lines = [head]
    for i in range(n):
        night = nights[i % 2]
        own = {"night_id": f"x{i:05d}", "subject_id": f"x{i:05d}", "shard": f"x{i:05d}.array_record"}
        os.link(two / night["shard"], folder / own["shard"])
        lines.append(night | own)
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def packed(two: Path, folder: Path, out: Path) -> None:
    """A pack of look-alikes that is whole: rows of the two nights over and over, which are what packing would write."""
    whole, pack = pack_folder(two, out), PreparedFolder.open(folder, out).pack
    times = pack.layout.rows // whole.layout.rows
    for name in (ROWS, MARKS):
        part = (whole.folder / name).read_bytes()
        with (pack.folder / name).open("wb") as file:
            for _ in range(times):
                file.write(part)


# --- random epochs ----------------------------------------------------------------------------------------------


def loader(folder: Path, workers: int = 0, pack: Path | None = None) -> Callable[[int], None]:
    """Batches one after another, with as much memory to read ahead as a worker cannot do without."""
    memory = max(workers, 1) * BATCHES_OF_WORKER * BATCH * stored_bytes(SLOTS)
    source, pack = DataSource(str(folder)), None if pack is None else str(pack)
    data = DataConfig((source,), prefetch_bytes=memory, workers=workers, pack=pack)
    batches = signal_batches(data, global_batch=BATCH, seed=0)

    def read(n: int) -> None:
        for _ in range(n // BATCH):
            next(batches)

    return read


def floor(path: Path, rows: int, row_bytes: int) -> Callable[[int], None]:
    mapped = np.asarray(np.memmap(path, np.int16, "r").reshape(rows, row_bytes // 2))
    out, rng = np.empty((BATCH, row_bytes // 2), np.int16), np.random.default_rng(0)

    def read(n: int) -> None:
        for _ in range(n // BATCH):
            np.take(mapped, rng.integers(rows, size=BATCH), axis=0, out=out, mode="clip")

    return read


def measure(readers: dict[str, tuple[Callable[[int], None], int]], rounds: int) -> None:
    wall: dict[str, list[float]] = {name: [] for name in readers}
    cpu: dict[str, list[float]] = {name: [] for name in readers}
    for turn in range(rounds + 1):
        for name, (read, n) in readers.items():
            read(8 * BATCH)  # what was read ahead meanwhile must not be counted
            begun, busy = time.perf_counter(), time.process_time()
            read(n)
            if turn:  # the first opens files
                wall[name].append(n / (time.perf_counter() - begun))
                cpu[name].append(n / (time.process_time() - busy))
    for name in readers:
        print(f"  {name:<18}{spread(wall[name], '.0f')} epochs/s; of a core's own second {spread(cpu[name], '.0f')}")
    for name in readers:
        if name.startswith("pack"):
            ratios = [ours / theirs for ours, theirs in zip(cpu[name], cpu["floor"], strict=True)]
            print(f"  {name} / floor    {spread(ratios)} of processor time, round by round")


def throughput(root: Path, counts: list[int], rounds: int, workers: list[int]) -> None:
    two = two_nights(root, SHORT_H)
    for n in counts:
        folder = two if n == 2 else look_alikes(two, n)
        out = root / "packs"
        packed(two, folder, out)
        pack = PreparedFolder.open(folder, out).pack
        rows = np.arange(pack.layout.rows)
        assert not pack.missing(rows).size
        first = 64 * BATCH if n == 2 else 3 * n  # so that every shard has been opened
        warm = loader(folder)
        warm(first // BATCH * BATCH)
        print(f"\n{n} nights, {len(rows)} rows of {pack.layout.row_bytes / 1e3:.1f} kB, {BATCH} a batch:", flush=True)
        whole = loader(folder, pack=out)
        whole(4 * len(rows) // BATCH * BATCH)  # each row is checked once by a process
        readers = {
            "shards": (warm, 32 * BATCH),
            **{f"shards, {w} workers": (loader(folder, w), 32 * BATCH) for w in workers},
            "pack": (whole, 128 * BATCH),
            "floor": (floor(pack.folder / ROWS, len(rows), pack.layout.row_bytes), 128 * BATCH),
        }
        measure(readers, rounds)
        shutil.rmtree(pack.folder)


# --- the first batch --------------------------------------------------------------------------------------------


def first_batch(root: Path, n: int) -> None:
    two = two_nights(root, LONG_H)
    folder, out = look_alikes(two, n), root / "packs"
    pack = PreparedFolder.open(folder, out).pack
    events = [PreparedFolder.open(two).events(i) for i in range(2)]
    (pack.folder / EVENTS).write_bytes(b"".join(events_line(f"x{i:05d}", events[i % 2]) for i in range(n)))
    from sleepmami_jax.data import source

    source._read_manifest.cache_clear()
    data = DataConfig((DataSource(str(folder)),), scored=True, pack=str(out))
    tasks, times, busy = (STAGES, BREATHING, AROUSAL), [time.perf_counter()], time.process_time()
    PreparedFolder.open(folder, out)
    times.append(time.perf_counter())
    class_counts(data, tasks)
    times.append(time.perf_counter())
    how = {"epochs": 30, "global_batch": 32, "seed": 0, "tasks": tasks[1:], "event_windows": 0.5}
    with closing(signal_batches(data, **how)) as batches:
        times.append(time.perf_counter())
        next(batches)
    times.append(time.perf_counter())
    parts = zip(("manifest", "classes counted", "windows laid", "first batch"), np.diff(times), strict=True)
    print(f"\nFine-tuning of {n} nights of {LONG_H} h, {len(events[0])} events each, to its first batch of 32 windows:")
    print(f"  {times[-1] - times[0]:.1f} s, {time.process_time() - busy:.1f} s of a core: ", end="")
    print(", ".join(f"{name} {seconds:.1f}" for name, seconds in parts))


def main(rounds: int, nights: list[int], start: int, workers: list[int]) -> None:
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        throughput(Path(name) / "short", nights, rounds, workers)
        if start:
            first_batch(Path(name) / "long", start)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nights", type=int, nargs="*", default=[2, 200, 1000, 6000])
    parser.add_argument("--start", type=int, default=10_000, help="nights; 0 is not measured")
    parser.add_argument("--workers", type=int, nargs="*", default=[2])
    options = parser.parse_args()
    if "GLIBC_TUNABLES" not in os.environ:
        tuned = os.environ | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
        os.execve(sys.executable, [sys.executable, *sys.argv], tuned)
    sys.argv = sys.argv[:1]  # grain reads absl flags
    from absl import flags

    flags.FLAGS(sys.argv)
    main(**vars(options))
