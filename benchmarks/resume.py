"""What it costs to be able to go on: how long a save holds up the steps, and how soon a restarted run steps again.

    python benchmarks/resume.py [--size tiny] [--rounds 3]

`sleepmami pretrain` of the recipe `micro_tiny`, its model of the given size, by turns with an empty cache of
compiled programs and with the cache that the run before left. From the clocks of the runs: the time that the loop
stands still for a save, as a share of 100 steps, and the time from the command to the end of the first step.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from prepare_night import machine, spread, write_night

from data_pipeline.prepare.run import PrepareConfig, prepare

STEPS, SAVE_EVERY, BETWEEN_SAVES = 41, 10, 100
CONFIG = """
from dataclasses import replace
from sleepmami_jax.recipes.micro_tiny import get_config as tiny
from sleepmami_jax.costs.sizes import size

def get_config():
    return replace(tiny(), model=size({size!r}), steps={steps}, save_every={save_every})
"""


def run(root: Path) -> tuple[float, float, list[float]]:
    """Seconds to the end of the first step, of a step, and that the loop stood still for each save but the last."""
    shutil.rmtree(root / "run", ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "sleepmami_jax.cli",
        "pretrain",
        "--config",
        "config.py",
        "--workdir",
        "run",
    ]
    environment = os.environ | {
        "XDG_CACHE_HOME": str(root / "cache"),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    begun = time.time()
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    events = [json.loads(line) for line in (root / "run" / "clock.jsonl").read_text().splitlines()]
    first = next(e["time"] for e in events if e["event"] == "compiled") - begun
    step = statistics.median(e["step_median_s"] for e in events if e["event"] == "throughput")
    return first, step, [e["save_s"] for e in events if e["event"] == "saved"][:-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="tiny", help="of the model, as `sleepmami sizes` names it")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "in").mkdir()
        for i in range(2):
            write_night(root / "in" / f"n{i}.edf", 0.5, seed=i)
        prepare([root / "in"], root / "shards", config=PrepareConfig(0, 0))
        (root / "config.py").write_text(CONFIG.format(size=args.size, steps=STEPS, save_every=SAVE_EVERY))
        firsts: dict[str, list[float]] = {"cold": [], "warm": []}
        steps, saves = [], []
        for _ in range(args.rounds):
            shutil.rmtree(root / "cache", ignore_errors=True)
            for found in firsts.values():
                first, step, save = run(root)
                found.append(first)
                steps.append(step)
                saves += save
        checkpoint = max((root / "run" / "checkpoints").iterdir(), key=lambda path: int(path.name))
        size = sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file())
    step, save = statistics.median(steps), statistics.median(saves)
    print(f"{args.size}: a step {spread(steps, '.3f')} s, a checkpoint {size / 1e6:.0f} MB")
    print(
        f"  the loop stands still for a save {spread(saves, '.3f')} s: {save / (BETWEEN_SAVES * step):.1%} of "
        f"{BETWEEN_SAVES} steps"
    )
    for cache, found in firsts.items():
        print(f"  to the end of the first step, {cache} cache: {spread(found, '.1f')} s")
    ratios = [warm / cold for cold, warm in zip(firsts["cold"], firsts["warm"], strict=True)]
    print(f"  warm / cold {spread(ratios)}, round by round")


if __name__ == "__main__":
    main()
