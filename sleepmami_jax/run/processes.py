"""Many processes, one run: how they meet, and how a run is asked to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import jax
from jax.experimental import multihost_utils

HEARTBEAT_S = 60
"""A process that the others have not heard of for so long ends all of them; a supervisor starts them again."""
STALL_S = 900.0
"""If no step ends for so long, every thread's stack goes to stderr: what the run hangs in."""


class Preempted(RuntimeError):
    """The run was asked to stop, and its state is saved."""

    exit_code = os.EX_TEMPFAIL  # "try again": what supervisors and batch systems take for a reason to start again


def join(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Join the other processes of this run; before anything else is asked of JAX.

    Without arguments Slurm, Open MPI, Cloud TPU and GKE say who there is (see `jax.distributed.initialize`). Of
    several processes on a node of Slurm or Open MPI each has one GPU, a single one has all.

    Args:
      coordinator: "host:port" of process 0, reachable by all.
      processes: how many there are.
      process: which one this is, from 0.

    Raises:
      ValueError: some of the arguments without the others, or none and nobody else says who there is.
      RuntimeError: the others were not found.
    """
    given = [value is not None for value in (coordinator, processes, process)]
    if any(given) and not all(given):
        raise ValueError("--coordinator, --processes and --process go together; leave all out under Slurm or on TPUs")
    jax.config.update("jax_enable_preemption_service", True)
    how = {"local_device_ids": [] if _alone_on_its_node() else None, "heartbeat_timeout_seconds": HEARTBEAT_S}
    try:
        jax.distributed.initialize(coordinator, processes, process, **how)
    except ValueError as error:
        if any(given):
            raise
        raise ValueError(
            "nothing here says who the other processes are: start this with srun or mpirun, on Cloud TPU VMs or GKE, "
            f"or give --coordinator, --processes and --process ({error})"
        ) from error
    if jax.default_backend() == "cpu":
        # Each CPU process has a key of its own for the same program, and only the first one's is written. It would
        # begin at once where the others compile, wait for them half a minute and give up, at every start.
        jax.config.update("jax_enable_compilation_cache", False)


def _alone_on_its_node() -> bool:
    """Whether Slurm or Open MPI started one process a node.

    JAX then still gives each process the one GPU that has its number on the node, 0, and leaves the others idle,
    unless told which it has. An empty list is no restriction.
    """
    if "JAX_LOCAL_DEVICE_IDS" in os.environ:  # somebody knows better
        return False
    tasks, nodes = (os.environ.get(f"SLURM_STEP_NUM_{what}") for what in ("TASKS", "NODES"))
    return (tasks is not None and tasks == nodes) or os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE") == "1"


@contextmanager
def leaving(*together: type[Exception]) -> Iterator[None]:
    """Inside, an error ends one of many processes at once, with a traceback and exit status 1.

    An orderly end would wait for the others, while they wait for this process in the next step. What they see instead
    is that it died, and they end too.

    Args:
      together: errors that all processes raise at the same step; they end in order.
    """
    try:
        yield
    except together:
        raise
    except BaseException:
        if jax.process_count() > 1:
            traceback.print_exc()
            sys.stdout.flush()
            os._exit(1)
        raise


class Preemption:
    """Listens for SIGTERM, which batch systems and clouds send some seconds before they end a process.

    With many processes the one that hears of it tells the others, and all stop at the same step.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._alone = jax.process_count() == 1
        self._before = None
        if self._alone and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, lambda *_: self._asked.set())

    def reached(self, step: int) -> bool:
        """Whether to stop after this step. Every process has to ask after every step."""
        if self._alone:
            return self._asked.is_set()
        return multihost_utils.reached_preemption_sync_point(step)

    def close(self) -> None:
        """SIGTERM does again what it did before."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)


class Watchdog:
    """Shows where a run stands when no step ends, not even the first.

    `faulthandler.dump_traceback_later` walks the stacks of running threads without holding the interpreter, which
    ends the process on CPython 3.13.0. This thread holds it while it looks, and so cannot speak while something else
    keeps it; waiting for devices and for other processes does not.
    """

    def __init__(self) -> None:
        self._stepped, self._closed = threading.Event(), False
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._closed:
            if not self._stepped.wait(STALL_S):
                self._show()
                self._stepped.wait()  # once a stall
            self._stepped.clear()

    def _show(self) -> None:
        if sys.__stderr__ is None:  # as under pythonw
            return
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        lines = [f"Timeout: no step has ended for {STALL_S:.0f} s. The threads stand here:\n"]
        for ident, frame in sys._current_frames().items():
            lines += [f"Thread {names.get(ident, ident)}:\n", *traceback.format_stack(frame)]
        sys.__stderr__.write("".join(lines))
        sys.__stderr__.flush()

    def stepped(self) -> None:
        """A step has ended; the clock starts anew."""
        self._stepped.set()

    def close(self) -> None:
        """No more is expected to end."""
        self._closed = True
        self._stepped.set()
        self._thread.join()
