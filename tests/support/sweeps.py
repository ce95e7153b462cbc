"""A small sweep, and a launcher that does its runs in this process."""

from __future__ import annotations

import csv
from pathlib import Path

from sleepmami_jax.cli import parse, run_command
from sleepmami_jax.sweep.launch import launch
from sleepmami_jax.sweep.plan import load_sweep

EXPERIMENT = '''"""Does a wider net catch more?

And a second paragraph."""
from functools import partial
from pathlib import Path
from sleepmami_jax.sweep import Plot, Run

def pond(dir):
    with open(dir / "runs" / "pond" / "fish", "a") as fish:
        fish.write("3")
    return {}

def catch(dir, net, width, seed):
    if (dir / "storm").exists() and net == "fine":
        raise RuntimeError("the net is torn")
    fish = int((dir / "runs" / "pond" / "fish").read_text()) if net == "fine" else 3
    return {"fish": fish * width + seed, "error": None if width == 2 else 0.5}

def sweep():
    nets = [("fine", 2), ("fine", 4), ("coarse", 2)]
    runs = [
        Run(f"{net}-{width}-{seed}", partial(catch, net=net, width=width, seed=seed),
            {"net": net, "width": width, "seed": seed}, after=("pond",))
        for net, width in nets for seed in (0, 1)
    ]
    return [*runs, Run("pond", pond)]

PLOTS = (Plot("width", ("fish", "error"), "net", "Wider nets", x_log=True), Plot("net", ("fish",)))
'''


def sleepmami(file, workdir, *words) -> int:
    return run_command(parse(["sleepmami", "sweep", "--config", str(file), "--workdir", str(workdir), *words]))


class Here:
    """A launcher that does runs in this process, in the order in which it is asked, and remembers all of it."""

    def __init__(self, fails=()):
        self.fails, self.begun, self.at_once = set(fails), [], []
        self._running: dict[str, list[str]] = {}

    def start(self, jobs):
        for job in jobs:
            self.begun.append(job.run)
            self._running[job.run] = job.command
            self.at_once.append(len(self._running))
            job.log.write_text("no luck\n")

    def ended(self):
        name = next(iter(self._running))
        words = self._running.pop(name)[4:]
        failed = name in self.fails or run_command(parse(["sleepmami", *words]))
        return {name: "no luck" if failed else None}

    def stop(self):
        assert not self._running


def launch_all(file, workdir, launcher, **options):
    sweep = load_sweep(file)
    return launch(sweep, workdir, list(sweep.runs), launcher, **options)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as table:
        return list(csv.DictReader(table))
