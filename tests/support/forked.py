"""Processes of their own that need not import JAX each: they are forked from one that has, and has not yet used it.

To import it and the rest takes two seconds of processor time, most of what a short run takes.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parents[2]
_JAX_READS = {  # from the environment, when it is imported
    "jax_platforms": str,
    "jax_num_cpu_devices": int,
    "jax_compilation_cache_dir": str,
    "jax_persistent_cache_min_compile_time_secs": float,
}
_FORKSERVER = multiprocessing.get_context("forkserver")
_FORKSERVER.set_forkserver_preload(
    ["sleepmami_jax.training.finetune", "sleepmami_jax.training.phases.held_out", "tests.support.toy", "pytest"]
)


class Forked:
    """A process that calls `function(argument)` in this environment; it is asked as a `subprocess.Popen` is."""

    def __init__(self, function: Callable[[Any], None], argument: Any, environment: dict[str, str]):
        file, self._said = tempfile.mkstemp(prefix="said-")
        os.close(file)
        arguments = (function, argument, environment, self._said)
        self._process = _FORKSERVER.Process(target=_begin, args=arguments, daemon=True)
        with mock.patch.dict(os.environ, {"PYTHONPATH": str(ROOT)}):
            self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """What it said on stdout and stderr, once it has ended."""
        self.wait(timeout)
        text = Path(self._said).read_text()
        os.remove(self._said)
        return text, None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _begin(function: Callable[[Any], None], argument: Any, environment: dict[str, str], said: str) -> None:
    file = os.open(said, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.environ.clear()
    os.environ.update(environment)
    import jax

    for name, read in _JAX_READS.items():
        if name.upper() in environment:
            jax.config.update(name, read(environment[name.upper()]))
    try:
        function(argument)
    finally:
        atexit._run_exitfuncs()  # a forked process ends without
