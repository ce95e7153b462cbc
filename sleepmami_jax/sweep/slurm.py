"""Runs as array jobs of Slurm (https://slurm.schedmd.com/job_array.html): one array for all that can start together.

Slurm's queue is all that is asked. A run has ended when the queue says so or has it no more, and is finished if its
result is there. No exit status is kept in files: that would need a shell that outlives the run, whereas here the run
takes the script's place and gets the signals itself, so that it can save. Nor is `sacct` asked, which not every
cluster has; the queue remembers how a job ended for some minutes (MinJobAge).

DIR/slurm/NAME.sh is an array's script, and NAME.json lists the run of each index; NAME is made of what the script says
and is also the array's name in the queue. So a sweep that comes back finds what an earlier one submitted, and does not
submit it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from data_pipeline.lock import alone_in
from sleepmami_jax.config import ConfigError
from sleepmami_jax.sweep.launch import Job
from sleepmami_jax.sweep.result import RESULT

POLL_S = 10.0
PATIENCE_S = 60.0
"""How long a file from another machine may take to be seen here, and a cancelled run to save and end."""
_DIED = {"BOOT_FAIL", "CANCELLED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"}
_ENDED = {"COMPLETED", "REVOKED", *_DIED}
_OURS = {"array", "clusters", "job-name", "output", "parsable", "test-only", "wait", "wrap"}
_PREFIX = "sleepmami-"

Task = tuple[str, int]
"""An array's name and an index in it."""


class Slurm:
    """Tasks of job arrays.

    Args:
      workdir: the sweep's, seen by all nodes under the same path.
      options: of sbatch, such as "partition=gpu" and "exclusive".

    Raises:
      ConfigError: an option that is the sweep's own.
    """

    def __init__(self, workdir: Path, options: Sequence[str] = ()):
        self._options = [f"--{option.removeprefix('--')}" for option in options]
        for option in self._options:
            if (name := option[2:].partition("=")[0]) in _OURS:
                raise ConfigError(f"--slurm {option[2:]}: {name} is set by the sweep; leave it out")
        self._folder = workdir.resolve() / "slurm"
        self._waiting: list[Job] = []
        self._running: dict[Task, Job] = {}
        self._missing: dict[Task, float] = {}
        self._alone: ExitStack | None = None
        self._said = ""

    def start(self, jobs: Sequence[Job]) -> None:
        if self._alone is None:  # two sweeps would both submit what comes next
            self._alone = ExitStack()
            self._alone.enter_context(alone_in(self._folder))
        self._waiting += jobs

    def ended(self) -> Mapping[str, str | None]:
        ended: dict[str, str | None] = {}
        try:
            queue = _queue()
            ended = self._take_ended(queue)
            self._submit(queue)
            self._said = ""
        except RuntimeError as error:
            # Slurm may be down for a while, or take no more jobs of this user at the same time. What runs goes on.
            if not self._running and not ended:
                raise
            if str(error) != self._said:
                self._said = str(error)
                tqdm.write(f"{error}\ntrying again", file=sys.stderr)
        if not ended:
            time.sleep(POLL_S)
        return ended

    def stop(self) -> None:
        self._waiting.clear()
        try:
            if self._running and (tasks := self._in_queue()):
                tqdm.write(f"cancelling {len(tasks)} runs in Slurm's queue", file=sys.stderr)
                _call("scancel", *tasks)
                deadline = time.monotonic() + PATIENCE_S
                while self._in_queue() and time.monotonic() < deadline:
                    time.sleep(min(POLL_S, 1.0))
        except RuntimeError as error:
            names = ",".join(sorted({name for name, _ in self._running}))
            tqdm.write(f"{error}\nnot cancelled; do it later: scancel --name={names}", file=sys.stderr)
        self._running.clear()
        if self._alone is not None:
            self._alone.close()
            self._alone = None

    def preview(self, jobs: Sequence[Job]) -> str:
        path, text = self._script(jobs)
        return f"{shlex.join(self._sbatch(path, len(jobs)))}\n\n{path}:\n\n{text}"

    def _take_ended(self, queue: Mapping[Task, tuple[str, str]]) -> dict[str, str | None]:
        ended: dict[str, str | None] = {}
        now = time.monotonic()
        for task, job in list(self._running.items()):
            _, state = queue.get(task, ("", "not in the queue any more"))
            if task in queue and state not in _ENDED:
                self._missing.pop(task, None)
                continue
            finished = (job.folder / RESULT).is_file()
            since = self._missing.setdefault(task, now)
            if not finished and state not in _DIED and now - since < PATIENCE_S:
                continue  # its result may be on its way
            del self._running[task], self._missing[task]
            ended[job.run] = None if finished else f"{state}{self._last_word(task)}"
        return ended

    def _last_word(self, task: Task) -> str:
        """What Slurm itself said of a task: the run's own words are in its log."""
        name, index = task
        path = self._folder / f"{name}-{index}.txt"
        lines = path.read_text(errors="replace").split("\n") if path.is_file() else []
        return next((f"; {line.strip()}" for line in reversed(lines) if line.strip()), "")

    def _submit(self, queue: Mapping[Task, tuple[str, str]]) -> None:
        earlier = self._submitted_earlier(queue) if self._waiting else {}
        self._running |= {earlier[job.run]: job for job in self._waiting if job.run in earlier}
        self._waiting = [job for job in self._waiting if job.run not in earlier]
        if not self._waiting:
            return
        path, text = self._script(self._waiting)
        path.with_suffix(".json").write_text(json.dumps([job.run for job in self._waiting]))
        path.write_text(text)
        tasks = {(path.stem, index): job for index, job in enumerate(self._waiting)}
        self._running |= tasks  # first, so that `stop` finds them if it comes in between
        try:
            _call(*self._sbatch(path, len(tasks)))
        except RuntimeError as error:
            for task in tasks:
                del self._running[task]
            raise RuntimeError(
                f"{error}\nSlurm did not take {path}; --slurm gives sbatch's options, --parallel makes arrays smaller"
            ) from error
        self._waiting.clear()

    def _submitted_earlier(self, queue: Mapping[Task, tuple[str, str]]) -> dict[str, Task]:
        """Runs that are in the queue, put there by a process that did not live to see them end."""
        earlier: dict[str, Task] = {}
        for name in {name for name, _ in queue}:
            runs = self._folder / f"{name}.json"
            for index, run in enumerate(json.loads(runs.read_text()) if runs.is_file() else ()):
                _, state = queue.get((name, index), ("", "COMPLETED"))
                if state not in _ENDED:
                    earlier[run] = name, index
        return earlier

    def _in_queue(self) -> list[str]:
        """Ids of running tasks that have not ended."""
        queue = _queue()
        return [f"{queue[t][0]}_{t[1]}" for t in self._running if t in queue and queue[t][1] not in _ENDED]

    def _script(self, jobs: Sequence[Job]) -> tuple[Path, str]:
        cases = "".join(
            f"{index}) # {job.run}\n"
            f"    exec {shlex.join(job.command)} \\\n"
            f"        >> {shlex.quote(str(job.log))} 2>&1\n"
            "    ;;\n"
            for index, job in enumerate(jobs)
        )
        text = f"#!/bin/bash\nexport PYTHONUNBUFFERED=1\ncase $SLURM_ARRAY_TASK_ID in\n{cases}esac\n"
        return self._folder / f"{_PREFIX}{hashlib.sha256(text.encode()).hexdigest()[:12]}.sh", text

    def _sbatch(self, path: Path, n: int) -> list[str]:
        output = str(path.with_suffix("")).replace("%", "%%")
        return [
            *("sbatch", "--parsable", *self._options),
            *(f"--job-name={path.stem}", f"--array=0-{n - 1}", f"--output={output}-%a.txt", str(path)),
        ]


def _queue() -> dict[Task, tuple[str, str]]:
    """Tasks of arrays like ours with their job's id and state, also of those that ended a moment ago."""
    lines = _call("squeue", f"--user={os.getuid()}", "--array", "--states=all", "--noheader", "--format=%F %K %T %j")
    queue: dict[Task, tuple[str, str]] = {}
    for line in lines.splitlines():
        job, index, state, *name = line.split(maxsplit=3)  # a name may be empty
        if index.isdigit() and "".join(name).startswith(_PREFIX):
            task = name[0], int(index)
            if int(job) >= int(queue.get(task, ("0",))[0]):  # the newest, when the same was submitted twice
                queue[task] = job, state
    return queue


def _call(*words: str) -> str:
    """What a command of Slurm prints. A session of its own keeps it from the terminal's Ctrl-C."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, start_new_session=True)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{words[0]}: no such command here; start the sweep where jobs are submitted (a login node), or use "
            "another --launcher"
        ) from error
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"{words[0]} ended with status {done.returncode}")
    return done.stdout
