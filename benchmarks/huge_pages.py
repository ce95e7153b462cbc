"""What page faults cost a training step of the Micro-Encoder on CPU, and two cures: huge pages, and a heap kept.

    python benchmarks/huge_pages.py [ROUNDS]

XLA on CPU takes its temporary buffers anew at each call, and glibc gives them back to the system each time. The same
step runs by turns in processes with `glibc.malloc.hugetlb` off (small pages) and on (huge pages), and with `mallopt`
told never to give memory back (kept heap). Prints medians a step, and the memory that the process holds between
steps and at most. The `sleepmami` command takes huge pages: a kept heap saves the zeroing too, but holds the peak of
everything the process ever did, compilation included.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from micro_step import micro_ours

SMALL, HUGE = "glibc.malloc.hugetlb=0", "glibc.malloc.hugetlb=1"
SETTINGS = {"small pages": (SMALL, "free"), "huge pages": (HUGE, "free"), "kept heap": (SMALL, "keep")}
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8  # malloc.h


def measure(keep: bool) -> dict[str, float]:
    """One process."""
    if keep:
        options = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 2**28, M_ARENA_MAX: 1}
        for option, value in options.items():
            if ctypes.CDLL(None).mallopt(option, value) != 1:
                raise OSError(f"mallopt({option}, {value}) was refused; this benchmark is for glibc")
    step = micro_ours()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    step["held_mib"] = pages * resource.getpagesize() / 2**20
    step["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return step


def main() -> None:
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(measure(sys.argv[2] == "keep")))
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in SETTINGS}
    for _ in range(rounds):
        for name, (tunable, heap) in SETTINGS.items():
            command, environment = [sys.executable, __file__, "one", heap], {"GLIBC_TUNABLES": tunable}
            out = subprocess.run(command, env=os.environ | environment, capture_output=True, check=True)
            runs[name].append(json.loads(out.stdout.splitlines()[-1]))
    columns = ("ms", "cpu_ms", "system_ms", "faults", "held_mib", "peak_mib")
    print(f"{'':12}" + "".join(f"{c.replace('_', ' '):>11}" for c in columns))
    for name, results in runs.items():
        print(f"{name:12}" + "".join(f"{statistics.median(r[c] for r in results):>11.0f}" for c in columns))
    for name in ("huge pages", "kept heap"):
        ratios = [a["ms"] / b["ms"] for a, b in zip(runs[name], runs["small pages"], strict=True)]
        print(f"{name} / small pages: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
