"""Whether a run is the same on any number of processes and devices.

    python -m tests.campaign.matrix

1, 2 and 4 processes with 1, 2 and 4 devices each, parameters split over the devices of a process. The rows of every
global batch, by digest, have to be those that one process on one device reads, each read once, and the losses its
losses but for the order of sums: to 1e-5.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from tests.hosts import STEPS, finish, losses, prepared_nights, seen, start

SIZES = (1, 2, 4)
BATCH = 16  # a row for each device of 4 x 4


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        shards, expected = prepared_nights(scratch), None
        print("processes x devices  rows the same  largest relative difference of a loss")
        for processes in SIZES:
            for devices in SIZES:
                run = scratch / f"{processes}x{devices}"
                finish(
                    start(shards, run, processes, devices, mesh={"fsdp": devices}, batch=BATCH), timeout=600
                )
                rows, loss = seen(run), np.array(losses(run))
                if expected is None:
                    expected = rows, loss
                assert len(rows) == STEPS * BATCH and rows == expected[0], f"{run.name}: other rows"
                for p in range(1, processes):
                    assert losses(run / f"process-{p}") == losses(run), (
                        f"{run.name}: process {p} lost otherwise"
                    )
                apart = np.abs(loss / expected[1] - 1).max()
                assert apart <= 1e-5, f"{run.name}: losses differ by {apart}"
                print(f"{run.name:>19}  {len(rows):>13}  {apart:.1e}", flush=True)


if __name__ == "__main__":
    main()
