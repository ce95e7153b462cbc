"""Whether a run is the same on any number of processes and devices.

    python -m tests.campaign.matrix

1, 2 and 4 processes with 1, 2 and 4 devices each, parameters split over the devices of a process. The rows of every
global batch, by digest, have to be those that one process on one device reads, each read once, and the losses its
losses but for the order of sums: to 1e-5. Then macro pretraining and fine-tuning, whose micro tokens the processes
make together, by one process and by two.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from tests.support.hosts import STEPS, finish, losses, prepared_nights, seen, start

SIZES = (1, 2, 4)
BATCH = 16  # a row for each device of 4 x 4


def apart(run: Path, expected: Path, processes: int) -> float:
    """The largest relative difference of a loss. Raises AssertionError if it is large, or processes disagree."""
    for p in range(1, processes):
        assert losses(run / f"process-{p}") == losses(run), f"{run.name}: process {p} lost otherwise"
    largest = np.abs(np.array(losses(run)) / losses(expected) - 1).max()
    assert largest <= 1e-5, f"{run.name}: losses differ by {largest}"
    return largest


def matrix(shards: Path, scratch: Path) -> None:
    print("processes x devices  rows the same  largest relative difference of a loss")
    alone = scratch / "1x1"
    for processes in SIZES:
        for devices in SIZES:
            run = scratch / f"{processes}x{devices}"
            finish(start(shards, run, processes, devices, mesh={"fsdp": devices}, batch=BATCH), timeout=600)
            rows = seen(run)
            assert len(rows) == STEPS * BATCH and rows == seen(alone), f"{run.name}: other rows"
            print(f"{run.name:>19}  {len(rows):>13}  {apart(run, alone, processes):.1e}", flush=True)


def kinds(shards: Path, scratch: Path) -> None:
    for kind in ("macro", "finetune"):
        for processes in (1, 2):
            run = scratch / f"{kind}-{processes}"
            finish(start(shards, run, processes, kind=kind, steps=3, batch=4), timeout=600)
        print(
            f"{kind} by 2 processes: losses as by one, but for {apart(run, scratch / f'{kind}-1', 2):.1e}",
            flush=True,
        )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        shards = prepared_nights(scratch)
        matrix(shards, scratch)
        kinds(shards, scratch)


if __name__ == "__main__":
    main()
