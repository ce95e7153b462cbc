"""Runs a sweep: each run in a process of its own, as soon as those before it are finished.

A launcher starts runs somewhere and says which have ended; whoever asks it (`launch`) decides which and when. Every
launcher starts the same command, `sleepmami sweep --config FILE --workdir DIR --run NAME`; `local`, `slurm` and `ray`
beside this file are the places.
"""

from __future__ import annotations

import fnmatch
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from data_pipeline.lock import alone_in
from sleepmami_jax.config import ConfigError
from sleepmami_jax.sweep.plan import Sweep
from sleepmami_jax.sweep.plots import write_plots
from sleepmami_jax.sweep.result import LOG, folder, read_results
from sleepmami_jax.sweep.table import write_tables

_TAIL_LINES = 15
_SHOWN = 4


@dataclass(frozen=True)
class Job:
    """A run as a launcher sees it.

    Attributes:
      run: its name.
      command: does it, from any folder.
      folder: DIR/runs/NAME, which is there.
    """

    run: str
    command: Sequence[str]
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / LOG


class Launcher(Protocol):
    """Where runs are done."""

    def start(self, jobs: Sequence[Job]) -> None:
        """Starts these at once, or as soon as there is room; their output goes to the end of their logs."""

    def ended(self) -> Mapping[str, str | None]:
        """Runs that ended since the last call, and how each failed, None if it finished; waits a little for one."""

    def stop(self) -> None:
        """Ends all that still run."""

    def preview(self, jobs: Sequence[Job]) -> str:
        """What `start` would do with these, for those who want to read it first; does and asks nothing."""


def launch(
    sweep: Sweep, workdir: Path, names: Sequence[str], launcher: Launcher, *, parallel: int | None = 1
) -> tuple[list[str], list[str]]:
    """Does the named runs that are not finished, at most `parallel` at once, or all that are ready.

    A run that fails stops those that come after it and no others.

    Args:
      names: in order, each with all that come before it.

    Returns:
      names of runs that failed, and of those that were not started because of them.

    Raises:
      ConfigError: a run was started with another description.
      KeyboardInterrupt: somebody stopped it; whatever ran has been ended.
    """
    finished = set(read_results(sweep, workdir))
    waiting = [name for name in names if name not in finished]
    running: set[str] = set()
    failed: list[str] = []
    shown = ""
    bar = tqdm(total=len(names), initial=len(names) - len(waiting), desc="sweep", unit="run")
    try:
        while True:
            ready = [name for name in waiting if finished.issuperset(sweep.runs[name].after)]
            if jobs := _jobs(sweep, workdir, ready if parallel is None else ready[: parallel - len(running)]):
                for job in jobs:
                    job.folder.mkdir(parents=True, exist_ok=True)
                    waiting.remove(job.run)
                    running.add(job.run)
                launcher.start(jobs)
            named = ", ".join(sorted(running)) if len(running) <= _SHOWN else f"{len(running)} runs"
            words = "; ".join(filter(None, (named, failed and f"{len(failed)} failed")))
            if words != shown:
                bar.set_postfix_str(shown := words)
            if not running:
                return failed, waiting
            for name, how in launcher.ended().items():
                running.remove(name)
                if how is None:
                    finished.add(name)
                    bar.update()
                else:
                    failed.append(name)
                    bar.write(_report(name, how, folder(workdir, name) / LOG), file=sys.stderr)
    finally:
        launcher.stop()
        bar.close()


def run_sweep(
    sweep: Sweep, workdir: Path, launcher: Launcher, *, only: str | None, parallel: int | None, dry_run: bool
) -> int:
    """The `sleepmami sweep` command: does the runs, writes tables and plots, and returns the exit status.

    Raises:
      ConfigError: `only` matches no run, `parallel` is none, or a run was started with another description.
      ValueError: another sweep works in `workdir`.
    """
    if parallel is not None and parallel < 1:
        raise ConfigError(f"--parallel {parallel}: expected at least 1")
    names = list(sweep.runs)
    if only:
        chosen = fnmatch.filter(names, only)
        if not chosen:
            raise ConfigError(f"--only {only!r} matches none of the {len(names)} runs; --dry-run lists them")
        names = sweep.with_predecessors(chosen)
    results = read_results(sweep, workdir)
    if dry_run:
        for name in names:
            state = f"done, {results[name].seconds:g} s" if name in results else "to do"
            after = f"  after {', '.join(sweep.runs[name].after)}" if sweep.runs[name].after else ""
            print(f"{name:40} {state:16}{after}".rstrip())
        ready = [n for n in names if n not in results and results.keys() >= set(sweep.runs[n].after)]
        if ready and (text := launcher.preview(_jobs(sweep, workdir, ready[:parallel]))):
            print(f"\n{text}")
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # under nohup a hang-up means nothing
            signal.signal(number, signal.default_int_handler)
    try:
        with alone_in(workdir):
            failed, blocked = launch(sweep, workdir, names, launcher, parallel=parallel)
    except KeyboardInterrupt:
        print("stopped: finished runs are kept, the same command goes on from here", file=sys.stderr)
        return 130
    results = read_results(sweep, workdir)
    write_tables(sweep, results, workdir)
    plots = write_plots(sweep.plots, results, workdir)
    print((workdir / "summary.md").read_text(encoding="utf-8"))
    print(f"every run: {workdir}/table.csv" + (f"   plots: {workdir}/plots" if plots else ""))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    if blocked:
        print(f"not started, as they come after these: {', '.join(blocked)}", file=sys.stderr)
    return 1 if failed else 0


def _jobs(sweep: Sweep, workdir: Path, names: Sequence[str]) -> list[Job]:
    home, program = workdir.resolve(), (sys.executable, "-P", "-m", "sleepmami_jax.cli", "sweep")
    command = [*program, "--config", str(sweep.file.resolve()), "--workdir", str(home), "--run"]
    return [Job(name, [*command, name], folder(home, name)) for name in names]


def _report(name: str, how: str, log: Path) -> str:
    if not log.is_file():
        return f"{name} failed ({how}), before it wrote anything"
    text = log.read_text(errors="replace").replace("\r", "\n")
    tail = [f"  {line}" for line in text.splitlines() if line.strip()][-_TAIL_LINES:]
    return "\n".join([f"{name} failed ({how}); the end of {log}:", *tail])
