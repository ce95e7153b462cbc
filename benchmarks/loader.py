"""How many random 30-second epochs a second the loader gives, beside raw int16 and beside compressed HDF5.

    python benchmarks/loader.py [--hours 4] [--rounds 5] [--workers 1 2]

The nights are those of `prepare_night.py`, prepared. Three readers take random epochs of all 14 channels:

- shards: `signal_batches` as training uses it, float32, normalised, masks and labels included, checksums verified, in
  a thread of this process; and by so many workers, whose own processor time is not seen from here;
- raw: the same samples as plain int16 in one `numpy.memmap`, read in two threads and left as int16; and in one;
- HDF5: every channel at 128 Hz as float16, gzip, in chunks of 5 minutes, as SleepFM stores its nights; one
  process, since h5py holds a lock while it reads. Needs h5py (`pip install h5py`).

All files are in the page cache, and malloc asks for huge pages, as the `sleepmami` command has it. The readers run
by turns, round by round, and the ratios are of one round each.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
from prepare_night import machine, spread, write_night

from data_pipeline.modalities import RATE_HZ, SLOTS
from data_pipeline.night import EPOCH_S
from data_pipeline.prepare.run import PrepareConfig, prepare
from sleepmami_jax.config import DataConfig, DataSource
from sleepmami_jax.data.ahead import BATCHES_OF_WORKER
from sleepmami_jax.data.arrays import epoch_bytes
from sleepmami_jax.data.batches import signal_batches
from sleepmami_jax.data.source import PreparedFolder

BATCH, NIGHTS, THREADS = 64, 2, 2
CHUNK_S = 300


def write_baselines(folder: PreparedFolder, raw: Path, hdf5: Path) -> np.ndarray:
    """The samples of all nights as they come from the shards: one row an epoch, and 5-minute chunks a channel."""
    rows = []
    with h5py.File(hdf5, "w") as file:
        for night, entry in enumerate(folder.manifest.nights):
            epochs = folder.epochs(night, 0, entry.n_epochs)
            rows.append(np.stack([np.concatenate([s.samples.ravel() for s in e.signals]) for e in epochs]))
            for signals in zip(*(e.signals for e in epochs), strict=True):
                physical = np.stack([s.physical() for s in signals])  # (epochs, channels, samples)
                for c, slot in enumerate(signals[0].slots):
                    x = physical[:, c].ravel().repeat(128 // RATE_HZ[signals[0].modality])
                    file.create_dataset(
                        f"{night}/{slot}",
                        data=x.astype(np.float16),
                        chunks=(CHUNK_S * 128,),
                        compression="gzip",
                    )
    stored = np.concatenate(rows)
    stored.tofile(raw)
    return stored


def shards(folder: Path, workers: int) -> Callable[[int], None]:
    """Batches one after another; a worker has a few in memory, so that many more are to be read at once."""
    memory = max(workers, 1) * BATCHES_OF_WORKER * BATCH * epoch_bytes(SLOTS)
    data = DataConfig(shards=(DataSource(str(folder)),), prefetch_bytes=memory, workers=workers)
    batches = signal_batches(data, global_batch=BATCH, seed=0)

    def read(n: int) -> None:
        for _ in range(n // BATCH):
            next(batches)

    return read


def raw_int16(path: Path, width: int, threads: int) -> Callable[[int], None]:
    mapped = np.memmap(path, np.int16, "r").reshape(-1, width)
    rng = np.random.default_rng(0)

    def batch(rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), width), np.int16)
        for i, row in enumerate(rows):
            out[i] = mapped[row]
        return out

    def read(n: int) -> None:
        rows = rng.integers(len(mapped), size=(n // BATCH, BATCH))
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(batch, rows))

    return read


def compressed_hdf5(path: Path) -> Callable[[int], None]:
    file = h5py.File(path, "r", rdcc_nbytes=0)  # random epochs find nothing in the cache
    nights = [[night[slot] for slot in night] for night in file.values()]
    rng = np.random.default_rng(0)

    def read(n: int) -> None:
        for _ in range(n):
            channels = nights[rng.integers(len(nights))]
            start = int(rng.integers(len(channels[0]) // (EPOCH_S * 128))) * EPOCH_S * 128
            np.stack([c[start : start + EPOCH_S * 128] for c in channels]).astype(np.float32)

    return read


def main(hours: float, rounds: int, workers: list[int]) -> None:
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "in").mkdir()
        for i in range(NIGHTS):
            write_night(root / "in" / f"n{i}.edf", hours, seed=i)
        prepare([root / "in"], root / "out", config=PrepareConfig(0, 0))
        stored = write_baselines(PreparedFolder.open(root / "out"), root / "raw.i16", root / "nights.h5")
        sizes = {
            "shards": sum(p.stat().st_size for p in (root / "out").glob("*.array_record")),
            "raw": (root / "raw.i16").stat().st_size,
            "HDF5": (root / "nights.h5").stat().st_size,
        }
        readers = {
            "shards": (shards(root / "out", 0), 64 * BATCH),
            **{f"shards, {n}": (shards(root / "out", n), 64 * BATCH) for n in workers},
            "raw": (raw_int16(root / "raw.i16", stored.shape[1], THREADS), 64 * BATCH),
            "raw, 1": (raw_int16(root / "raw.i16", stored.shape[1], 1), 64 * BATCH),
            "HDF5": (compressed_hdf5(root / "nights.h5"), BATCH),
        }
        speeds: dict[str, list[float]] = {name: [] for name in readers}
        cpu_us: dict[str, list[float]] = {name: [] for name in readers}
        for _ in range(rounds):
            for name, (read, n) in readers.items():
                if name.startswith("shards"):  # what was read ahead meanwhile must not be counted
                    read(2 * BATCHES_OF_WORKER * max(workers, default=1) * BATCH)
                begun, cpu = time.perf_counter(), time.process_time()
                read(n)
                speeds[name].append(n / (time.perf_counter() - begun))
                cpu_us[name].append((time.process_time() - cpu) / n * 1e6)
        print(f"\n{len(stored)} epochs of {NIGHTS} nights, {stored.shape[1] * 2 / 1e3:.1f} kB of int16 each:")
        for name in readers:
            print(
                f"  {name:<10}{spread(speeds[name], '.0f')} epochs/s, {spread(cpu_us[name], '.0f')} us of CPU each, "
                f"{sizes[name.split(',')[0]] / 1e6:.1f} MB"
            )
        for name in (*(f"shards, {n}" for n in workers), "raw", "raw, 1", "HDF5"):
            ratios = [ours / theirs for ours, theirs in zip(speeds["shards"], speeds[name], strict=True)]
            print(f"  shards / {name:<9} {spread(ratios)}, round by round")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    options = parser.parse_args()
    if "GLIBC_TUNABLES" not in os.environ:
        tuned = os.environ | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
        os.execve(sys.executable, [sys.executable, *sys.argv], tuned)
    sys.argv = sys.argv[:1]  # grain reads absl flags
    from absl import flags

    flags.FLAGS(sys.argv)
    main(**vars(options))
