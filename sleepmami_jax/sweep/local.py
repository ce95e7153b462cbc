"""Runs as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from sleepmami_jax.sweep.launch import Job

_POLL_S = 0.1
_GRACE_S = 5.0


class Local:
    """Processes of this machine."""

    def __init__(self):
        self._running: dict[str, subprocess.Popen] = {}

    def start(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            with open(job.log, "ab") as output:
                self._running[job.run] = subprocess.Popen(
                    job.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # so that it can be ended with all that it started
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                )

    def ended(self) -> Mapping[str, str | None]:
        ended = {run: _how(process.poll()) for run, process in self._running.items() if process.poll() is not None}
        for run in ended:
            del self._running[run]
        if not ended:
            time.sleep(_POLL_S)
        return ended

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

    def preview(self, jobs: Sequence[Job]) -> str:
        return ""


def _how(code: int) -> str | None:
    if code < 0:
        # A process that takes more memory than there is ends by SIGKILL and leaves no word of its own.
        return f"ended by {signal.Signals(-code).name}"
    return f"exit status {code}" if code else None


def _signal(process: subprocess.Popen, number: int) -> None:
    with suppress(ProcessLookupError):  # all of the group are gone
        os.killpg(process.pid, number)
