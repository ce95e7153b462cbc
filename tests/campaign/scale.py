"""Whether the bookkeeping of preparation grows with the number of nights and no faster.

    python -m tests.campaign.scale [--nights 20000] [--workers 2] [--folder DIR]

Nights of one epoch, 100 kB a shard: what is timed is finding, splitting, giving out, remembering and listing
them. Prints seconds for each 1,000 nights and the peak memory of the run; fails when the bookkeeping of the last
nights takes the processor half as long again as that of the first.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from data_pipeline.night import Night
from data_pipeline.prepare.run import prepare
from data_pipeline.prepare.verify import verify
from tests.support.nights import random_night


@cache
def _template() -> Night:
    return random_night(0, 1)


def load_short_night(recording: Path, scoring=(), *, night_id, subject_id, site, demographics, **facts) -> Night:
    """The same epoch for everybody but for a gain: the making of samples must not hide the bookkeeping."""
    first, *others = _template().channels
    louder = 1 + int(night_id.removeprefix("n")) / 100_000  # what is the same twice is one night
    channels = (replace(first, samples=first.samples * np.float32(louder)), *others)
    who = {"night_id": night_id, "subject_id": subject_id, "site": site, "demographics": demographics}
    return replace(_template(), channels=channels, **who)


def write_nights(folder: Path, nights: int) -> Path:
    """Recordings in one folder, a scoring beside each, and the table of all."""
    folder.mkdir()
    rows = ["night_id,subject_id,age_years,sex"]
    for k in range(nights):
        (folder / f"n{k:05}.edf").write_text(f"seed {k}")
        (folder / f"n{k:05}.csv").write_text("onset_s,duration_s,stage\n0,30,W\n")
        rows.append(f"n{k:05},p{k // 2},{20 + k % 70},{'FM'[k % 2]}")
    (folder / "demographics.csv").write_text("\n".join(rows) + "\n")
    return folder


def growth(inputs: Path, out: Path, workers: int) -> list[tuple[float, float]]:
    """Seconds, and processor seconds of this process, after each tenth of the nights of a run from nothing."""
    times: list[tuple[float, float]] = []
    start = time.monotonic()

    def progress(done: int, total: int, night_id: str) -> None:
        if done * 10 // total > len(times):
            times.append((time.monotonic() - start, time.process_time()))

    summary = prepare([inputs], out, workers=workers, load=load_short_night, progress=progress)
    if summary.rejected:
        raise SystemExit(f"refused: {summary.rejected[0]}")
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nights", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to work (2 GB); the system's own if absent")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        inputs, out = write_nights(Path(scratch) / "in", args.nights), Path(scratch) / "out"
        times = growth(inputs, out, args.workers)
        for tenth in range(1, 10):
            seconds, own = np.subtract(times[tenth], times[tenth - 1]) / (args.nights / 10_000)
            print(
                f"{(tenth + 1) * args.nights // 10:>7} nights {times[tenth][0]:7.1f} s; 1,000 nights took "
                f"{seconds:6.2f} s, {own:5.2f} s of them the run's own"
            )
        print(f"peak memory of the run {_peak_mb(resource.RUSAGE_SELF)} MB", end=", ")
        print(f"of its largest worker {_peak_mb(resource.RUSAGE_CHILDREN)} MB")
        start = time.monotonic()
        kept = prepare([inputs], out, workers=args.workers, load=load_short_night).kept
        print(f"again, nothing to do: {kept} nights kept in {time.monotonic() - start:.1f} s")
        start = time.monotonic()
        problems = verify(out, workers=args.workers)
        print(f"verified in {time.monotonic() - start:.1f} s: {len(problems)} problems")
    first, last = times[3][1] - times[0][1], times[-1][1] - times[-4][1]
    if kept != args.nights or problems or last > 1.5 * first:
        sys.exit(f"not as it should be: the bookkeeping of 3/10 of the nights took {first:.1f} s, later {last:.1f} s")


def _peak_mb(who: int) -> int:
    return resource.getrusage(who).ru_maxrss // 1024


if __name__ == "__main__":
    main()
