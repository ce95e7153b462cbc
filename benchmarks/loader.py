"""How many random 30-second epochs a second the loader gives, by how many nights there are, and how soon the first.

    python benchmarks/loader.py [--rounds 5] [--nights 2 200 1000 6000] [--start 10000] [--workers 2]

Nights are those of `prepare_night.py` with events at random, two of them of an hour; as many as asked for are
look-alikes, which share the two shards' bytes but have files, rows and lines in the manifest of their own. Of each so
many epochs count as usable that there are 24,000 in all, or the whole hour. Readers take random epochs of all 14
channels, without labels of events:

- shards: `signal_batches` as training uses it, int16 with gain, shift and masks, checksums verified, in a thread of
  this process; and by so many workers of the two nights themselves (own processor time is not seen from here);
- pack: the same of a pack, each row checked before; every night has rows of its own;
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
from data_pipeline.shards.files import read_epochs
from data_pipeline.shards.pack import EVENTS, MARKS, ROWS, events_line
from data_pipeline.tasks import AROUSAL, BREATHING, STAGES
from sleepmami_jax.config import DataConfig, DataSource
from sleepmami_jax.data import source
from sleepmami_jax.data.ahead import BATCHES_OF_WORKER
from sleepmami_jax.data.batches import signal_batches
from sleepmami_jax.data.packing import pack_folder
from sleepmami_jax.data.scored import class_counts
from sleepmami_jax.data.source import PreparedFolder
from sleepmami_jax.data.stored import stored_bytes

BATCH, SHORT_H, LONG_H, EPOCHS = 64, 1, 8, 24_000
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


def look_alikes(two: Path, n: int, usable: int | None = None) -> Path:
    """A prepared folder of n nights, which are the two by turns, of so many usable epochs or of all."""
    head, *nights = map(json.loads, (two / "manifest.jsonl").read_text().splitlines())
    del head["nights_sha256"]
    folder = two.with_name(f"look-alikes-{n}")
    folder.mkdir()
    lines = [head]
    for i in range(n):
        night = nights[i % 2]
        own = {"night_id": f"x{i:05d}", "subject_id": f"x{i:05d}", "shard": f"x{i:05d}.array_record"}
        os.link(two / night["shard"], folder / own["shard"])
        channels = [c | {"usable_epochs": [[0, usable or night["n_epochs"]]]} for c in night["channels"]]
        lines.append(night | own | {"channels": channels})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def as_look_alike(reader, path: Path, night_id: str, *span: int):
    """Records of a look-alike, which say that they are of n0 or n1."""
    return read_epochs(reader, path, f"n{int(night_id[1:]) % 2}", *span)


def packed(two: Path, folder: Path, out: Path, usable: int) -> np.ndarray:
    """The rows (n,) of the usable epochs of look-alikes, once they stand in a pack as packing would write them."""
    whole, pack = pack_folder(two, out), PreparedFolder.open(folder, out).pack
    size, nights = pack.layout.row_bytes, len(PreparedFolder.open(folder).manifest.nights)
    epochs, marks = pack.layout.rows // nights, np.fromfile(whole.folder / MARKS, "<u8").reshape(2, -1)
    rows = np.fromfile(whole.folder / ROWS, np.uint8).reshape(2, epochs, size)
    with (pack.folder / ROWS).open("r+b") as file:
        for night in range(nights):
            file.seek(night * epochs * size)
            file.write(rows[night % 2, :usable].tobytes())
    np.resize(marks, (nights, epochs)).tofile(pack.folder / MARKS)
    return (epochs * np.arange(nights)[:, None] + np.arange(usable)).ravel()


# --- random epochs ----------------------------------------------------------------------------------------------


def loader(folder: Path, workers: int = 0, pack: Path | None = None) -> Callable[[int], None]:
    """Batches one after another, with as much memory to read ahead as a worker cannot do without."""
    memory = max(workers, 1) * BATCHES_OF_WORKER * BATCH * stored_bytes(SLOTS)
    own = None if pack is None else str(pack)
    data = DataConfig((DataSource(str(folder)),), prefetch_bytes=memory, workers=workers, pack=own)
    batches = signal_batches(data, global_batch=BATCH, seed=0)

    def read(n: int) -> None:
        for _ in range(n // BATCH):
            next(batches)

    return read


def floor(path: Path, rows: np.ndarray, row_bytes: int) -> Callable[[int], None]:
    mapped = np.asarray(np.memmap(path, np.int16, "r").reshape(-1, row_bytes // 2))
    out, rng = np.empty((BATCH, row_bytes // 2), np.int16), np.random.default_rng(0)

    def read(n: int) -> None:
        for _ in range(n // BATCH):
            np.take(mapped, rng.choice(rows, BATCH), axis=0, out=out, mode="clip")

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
        told = f"{spread(wall[name], '.0f')} epochs/s; of a core's own second {spread(cpu[name], '.0f')}"
        print(f"  {name:<18}{told}", flush=True)
    for name in readers:
        if name.startswith("pack"):
            ratios = [ours / theirs for ours, theirs in zip(cpu[name], cpu["floor"], strict=True)]
            print(f"  {name} / floor    {spread(ratios)} of processor time, round by round")


def throughput(root: Path, counts: list[int], rounds: int, workers: list[int]) -> None:
    two, out = two_nights(root, SHORT_H), root / "packs"
    for n in counts:
        usable = min(int(SHORT_H * 120), EPOCHS // n)
        folder = look_alikes(two, n, usable)
        rows = packed(two, folder, out, usable)
        opened = PreparedFolder.open(folder, out)
        for night in range(n):  # every shard is open
            opened.epochs(night, 0, 1)
        size, shards, pack = opened.pack.layout.row_bytes, loader(folder), loader(folder, pack=out)
        print(f"\n{n} nights, {len(rows)} rows of {size / 1e3:.1f} kB, {BATCH} a batch:", flush=True)
        readers = {
            "shards": (shards, 16 * BATCH),
            **{f"two, {w} workers": (loader(two, w), 16 * BATCH) for w in workers},
            "pack": (pack, 64 * BATCH),
            "floor": (floor(opened.pack.folder / ROWS, rows, size), 64 * BATCH),
        }
        pack(2 * len(rows) // BATCH * BATCH)  # each row is checked once by a process
        measure(readers, rounds)
        shutil.rmtree(opened.pack.folder)


# --- the first batch --------------------------------------------------------------------------------------------


def first_batch(root: Path, n: int) -> None:
    two = two_nights(root, LONG_H)
    folder, out = look_alikes(two, n), root / "packs"
    pack = PreparedFolder.open(folder, out).pack
    events = [PreparedFolder.open(two).events(i) for i in range(2)]
    (pack.folder / EVENTS).write_bytes(b"".join(events_line(f"x{i:05d}", events[i % 2]) for i in range(n)))
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
    source.read_epochs = as_look_alike
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
