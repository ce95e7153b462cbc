"""How fast a CPU reads a whole night: signals -> micro tokens -> vector, stages and events.

    python benchmarks/night.py [--sizes tiny small base] [--hours 8] [--rounds 3]

Each size runs in a process of its own, whose peak memory is what it prints; models are random, and the night is a
block of noise on all channels, given again and again: the recording itself takes neither time nor memory here. In
every round a large float32 matmul is timed just before and after the night: its rate is what this machine gives at
that moment, the share of it that the night's useful FLOPs reach (see `models.flops`) is comparable between machines,
and the night's FLOPs at that rate are the floor.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

MATMUL = 2048


def measure(name: str, hours: float, rounds: int) -> dict[str, float]:
    """One process: medians of rounds."""
    import jax
    import numpy as np

    from data_pipeline.modalities import SLOTS
    from data_pipeline.night import EPOCH_S
    from sleepmami_jax.costs.flops import micro_costs, night_costs, total
    from sleepmami_jax.costs.sizes import size
    from sleepmami_jax.data.arrays import blank_arrays
    from sleepmami_jax.data.embeddings import BLOCK_EPOCHS
    from sleepmami_jax.export.folder import ModelFolder
    from sleepmami_jax.models.sleepmami import create
    from sleepmami_jax.pretrained import Pretrained

    config, epochs = size(name), int(hours * 3600 / EPOCH_S)
    model = Pretrained(ModelFolder(config, create(config, 0)[1]))
    rng = np.random.default_rng(0)
    arrays = blank_arrays(BLOCK_EPOCHS, SLOTS)
    block = {m.value: arrays[m.value] for m in SLOTS}
    for values in block.values():
        values["signal"][:] = rng.standard_normal(values["signal"].shape, np.float32)
        values["usable"][:] = True
        values["present"] = values["usable"].any(-1)
    blocks = [block] * -(-epochs // BLOCK_EPOCHS)

    square = jax.device_put(rng.standard_normal((MATMUL, MATMUL), np.float32))
    matmul = jax.jit(lambda a: a @ a)

    def sgemm() -> float:
        begun = time.perf_counter()
        for _ in range(4):
            matmul(square).block_until_ready()
        return 4 * 2 * MATMUL**3 / (time.perf_counter() - begun)

    def night() -> tuple[float, float]:
        begun = time.perf_counter()
        tokens, ok = model.encoded(blocks, epochs)
        between = time.perf_counter()
        model.infer(tokens, ok, ())
        return between - begun, time.perf_counter() - between

    sgemm(), night()  # compiles
    results = []
    for _ in range(rounds):
        before, (micro, macro), after = sgemm(), night(), sgemm()
        results.append((micro, macro, (before + after) / 2))
    flops = total(micro_costs(config)).flops * epochs + total(night_costs(config, epochs)).flops
    rates = [flops / (micro + macro) for micro, macro, _ in results]
    return {
        "micro_s": statistics.median(r[0] for r in results),
        "macro_s": statistics.median(r[1] for r in results),
        "floor_s": statistics.median(flops / r[2] for r in results),
        "gflop_s": statistics.median(rates) / 1e9,
        "share": statistics.median(rate / r[2] for rate, r in zip(rates, results, strict=True)),
        "sgemm_gflop_s": statistics.median(r[2] for r in results) / 1e9,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }


def main(sizes: list[str], hours: float, rounds: int) -> None:
    print(
        f"{'size':7}{'micro s':>9}{'macro s':>9}{'total s':>9}{'floor s':>9}{'GFLOP/s':>9}{'sgemm':>9}{'share':>7}"
        f"{'peak MB':>9}"
    )
    for name in sizes:
        command = [sys.executable, __file__, "--one", name, "--hours", str(hours), "--rounds", str(rounds)]
        environment = os.environ | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "JAX_PLATFORMS": "cpu"}
        out = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        r = json.loads(out.stdout.splitlines()[-1])
        print(
            f"{name:7}{r['micro_s']:>9.1f}{r['macro_s']:>9.1f}{r['micro_s'] + r['macro_s']:>9.1f}{r['floor_s']:>9.1f}"
            f"{r['gflop_s']:>9.0f}{r['sgemm_gflop_s']:>9.0f}{r['share']:>7.0%}{r['peak_mb']:>9.0f}",
            flush=True,
        )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["tiny", "small", "base"])
    parser.add_argument("--hours", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = vars(parser.parse_args())
    if one := arguments.pop("one"):
        print(json.dumps(measure(one, arguments["hours"], arguments["rounds"])))
    else:
        main(**arguments)
