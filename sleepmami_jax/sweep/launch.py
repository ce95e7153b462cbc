"""Runs a sweep: each run in a process of its own, as soon as those before it are finished.

A launcher starts runs somewhere and says which have ended; whoever asks it (`launch`) decides which and when. Every
launcher starts the same command, `sleepmami sweep --config FILE --workdir DIR --run NAME`.
"""

from __future__ import annotations

import fnmatch
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from sleepmami_jax.config import ConfigError
from sleepmami_jax.sweep.plan import Sweep
from sleepmami_jax.sweep.plots import write_plots
from sleepmami_jax.sweep.result import LOG, folder, read_results
from sleepmami_jax.sweep.table import write_tables

_POLL_S = 0.1
_GRACE_S = 5.0
_TAIL_LINES = 15


class Launcher(Protocol):
    """Where runs are done."""

    def start(self, name: str, command: Sequence[str], log: Path) -> None:
        """Starts `command`, whose output goes to the end of `log`."""

    def ended(self) -> Mapping[str, int]:
        """Exit status by name of runs that ended since the last call; waits a little when there are none."""

    def stop(self) -> None:
        """Ends all that still run."""


class Local:
    """Processes of this machine."""

    def __init__(self):
        self._running: dict[str, subprocess.Popen] = {}

    def start(self, name: str, command: Sequence[str], log: Path) -> None:
        with open(log, "ab") as output:
            self._running[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that it can be ended with all that it started
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def ended(self) -> Mapping[str, int]:
        codes = {name: process.poll() for name, process in self._running.items()}
        codes = {name: code for name, code in codes.items() if code is not None}
        for name in codes:
            del self._running[name]
        if not codes:
            time.sleep(_POLL_S)
        return codes

    def stop(self) -> None:
        for process in self._running.values():
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_S
        for process in self._running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            _signal(process, signal.SIGKILL)
            process.wait()
        self._running.clear()


def _signal(process: subprocess.Popen, number: int) -> None:
    with suppress(ProcessLookupError):  # all of the group are gone
        os.killpg(process.pid, number)


def launch(
    sweep: Sweep, workdir: Path, names: Sequence[str], launcher: Launcher, *, parallel: int = 1
) -> tuple[list[str], list[str]]:
    """Does the named runs that are not finished, at most `parallel` at once.

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
            for name in ready[: parallel - len(running)]:
                log = folder(workdir, name) / LOG
                log.parent.mkdir(parents=True, exist_ok=True)
                launcher.start(name, command(sweep, workdir, name), log)
                waiting.remove(name)
                running.add(name)
            words = "; ".join(filter(None, (", ".join(sorted(running)), failed and f"{len(failed)} failed")))
            if words != shown:
                bar.set_postfix_str(shown := words)
            if not running:
                return failed, waiting
            for name, code in launcher.ended().items():
                running.remove(name)
                if code == 0:
                    finished.add(name)
                    bar.update()
                else:
                    failed.append(name)
                    bar.write(_report(name, code, folder(workdir, name) / LOG), file=sys.stderr)
    finally:
        launcher.stop()
        bar.close()


def run_sweep(
    sweep: Sweep,
    workdir: Path,
    launcher: Launcher,
    *,
    only: str | None = None,
    parallel: int = 1,
    dry_run: bool = False,
) -> int:
    """The `sleepmami sweep` command: does the runs, writes tables and plots, and returns the exit status.

    Raises:
      ConfigError: `only` matches no run, `parallel` is none, or a run was started with another description.
    """
    if parallel < 1:
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
        return 0
    workdir.mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # under nohup a hang-up means nothing
            signal.signal(number, _stopped)
    try:
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


def _stopped(number, frame):
    raise KeyboardInterrupt


def command(sweep: Sweep, workdir: Path, name: str) -> list[str]:
    """The command that does one run, from any folder."""
    program = [sys.executable, "-P", "-m", "sleepmami_jax.cli", "sweep"]
    return [
        *program,
        "--config",
        str(sweep.file.resolve()),
        "--workdir",
        str(workdir.resolve()),
        "--run",
        name,
    ]


def _report(name: str, code: int, log: Path) -> str:
    text = log.read_text(errors="replace").replace("\r", "\n")
    tail = [f"  {line}" for line in text.splitlines() if line.strip()][-_TAIL_LINES:]
    # A process that takes more memory than there is ends by SIGKILL and leaves no word of its own.
    how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    return "\n".join([f"{name} failed ({how}); the end of {log}:", *tail])
