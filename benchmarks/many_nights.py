"""What several workers are worth, and whether memory grows over nights.

    python benchmarks/many_nights.py [--hours 8] [--nights 6] [--pairs 3] [--many 12]

Simulated nights of noise (`prepare_night.write_night`, 14 channels) are scored by the bundled model. One worker and two
run by turns, each in a process of its own with programs that are compiled already, so that other work on the machine
meets both; printed are medians of their ratios, the start of the processes included. One worker keeps more than one
core busy: what two can be worth at most is the machine's cores over those. For memory one worker scores
`many` nights of an hour, and what the process holds (VmRSS, Linux) is read after each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from prepare_night import machine, spread, write_night


def scored(recordings: Path, workers: int) -> dict[str, list[float] | float]:
    """Scores a folder of nights; seconds, and GB after each night."""
    from sleepmami_jax.cli import _keep_compiled
    from sleepmami_jax.many.run import score_many

    _keep_compiled()
    held: list[float] = []

    def progress(done: int, total: int, night_id: str) -> None:
        status = Path("/proc/self/status").read_text()
        held.append(int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e9)

    begun, spent_s = time.perf_counter(), cpu_s()
    with tempfile.TemporaryDirectory() as out:
        done = score_many([recordings], Path(out), workers=workers, progress=progress)
    if done.refused:
        raise SystemExit(f"refused: {done.refused[0].reason}")
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "cores": (cpu_s() - spent_s) / seconds, "held_gb": held}


def cpu_s() -> float:
    """Seconds of the CPU that this process and those that it has seen end have taken."""
    return sum(os.times()[:4])


def child(recordings: Path, workers: int) -> dict[str, list[float] | float]:
    """`scored` in a process of its own."""
    command = [sys.executable, __file__, "--score", str(recordings), str(workers)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(hours: float, nights: int, pairs: int, many: int) -> None:
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        few, long = Path(name) / "few", Path(name) / "many"
        for folder, count in ((few, nights), (long, many)):
            folder.mkdir()
            for k in range(count):
                write_night(folder / f"n{k}.edf", hours if folder == few else min(hours, 1), seed=k)
        held = child(long, 1)["held_gb"]  # and all is compiled for what follows, but for the length
        print(f"\n{many} nights of {min(hours, 1):g} h, one worker, GB held after each:")
        print("  " + " ".join(f"{gb:.2f}" for gb in held))
        if pairs:
            child(few, 1)
            told = [(child(few, 1), child(few, 2)) for _ in range(pairs)]
            runs = [(a["seconds"], b["seconds"]) for a, b in told]
            print(f"\n{nights} nights of {hours:g} h:")
            print(f"  one worker   {spread(a for a, _ in runs)} s")
            print(f"  two workers  {spread(b for _, b in runs)} s")
            print(f"  gain         {spread(a / b for a, b in runs)} times, pair by pair")
            print(f"  one worker keeps {spread(a['cores'] for a, _ in told)} cores busy")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--score"]:
        print(json.dumps(scored(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
        parser.add_argument("--hours", type=float, default=8)
        parser.add_argument("--nights", type=int, default=6)
        parser.add_argument("--pairs", type=int, default=3)
        parser.add_argument("--many", type=int, default=12)
        main(**vars(parser.parse_args()))
