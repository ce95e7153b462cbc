"""What huge pages are worth to a training step of the Macro-Encoder on CPU.

    python benchmarks/huge_pages.py

Runs the same step in two processes by turns, three times, with and without `glibc.malloc.hugetlb`, and prints the
median seconds, system seconds and page faults of a step, and the ratio.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time

STEPS = 6


def measure() -> dict[str, float]:
    """One process: 12 nights of 6.5 h, forward and backward."""
    import jax
    import numpy as np

    from sleepmami_jax.config import ModelConfig
    from sleepmami_jax.models.sleepmami import create, merge

    config = ModelConfig()
    graph, params = create(config, 0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((24, 780, 6, config.micro.dim)).astype(np.float32)
    present = np.ones(x.shape[:3], bool)
    step = jax.jit(jax.grad(lambda p: (merge(graph, p).macro(x, present)[0] ** 2).sum()))
    jax.block_until_ready(step(params))
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for _ in range(STEPS):
        jax.block_until_ready(step(params))
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": (time.perf_counter() - begun) / STEPS,
        "system_seconds": (after.ru_stime - before.ru_stime) / STEPS,
        "faults": (after.ru_minflt - before.ru_minflt) / STEPS,
    }


def main() -> None:
    if "one" in sys.argv:
        print(json.dumps(measure()))
        return
    settings = {"small pages": "glibc.malloc.hugetlb=0", "huge pages": "glibc.malloc.hugetlb=1"}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in settings}
    for _ in range(3):
        for name, tunable in settings.items():
            command = [sys.executable, __file__, "one"]
            out = subprocess.run(
                command, env=os.environ | {"GLIBC_TUNABLES": tunable}, capture_output=True, check=True
            )
            runs[name].append(json.loads(out.stdout.splitlines()[-1]))
    print(f"{'':12}{'s a step':>10}{'system s':>10}{'faults':>10}")
    medians = {
        name: {k: statistics.median(r[k] for r in results) for k in results[0]}
        for name, results in runs.items()
    }
    for name, m in medians.items():
        print(f"{name:12}{m['seconds']:>10.2f}{m['system_seconds']:>10.2f}{m['faults']:>10.0f}")
    print(f"ratio {medians['huge pages']['seconds'] / medians['small pages']['seconds']:.2f}")


if __name__ == "__main__":
    main()
