"""Some steps of a run as a trace of `jax.profiler`: what devices and host did, and what they waited for."""

from __future__ import annotations

from pathlib import Path

import jax


class Trace:
    """A trace of `steps` steps from number `first` on, in `folder`; none where there are no steps to trace.

    It ends when the last of them has come out of the devices, or with the run.
    """

    def __init__(self, folder: Path, first: int, steps: int) -> None:
        self._folder, self._first, self._end, self._on = folder, first, first + steps, False

    def reach(self, step: int, before: object) -> None:
        """This step is next; `before` is what the one before it gives, None where that is known to be done."""
        if step == self._first < self._end:
            jax.profiler.start_trace(str(self._folder))
            self._on = True
        elif step == self._end:
            jax.block_until_ready(before)
            self.close()

    def close(self) -> None:
        if self._on:
            jax.profiler.stop_trace()
            self._on = False
