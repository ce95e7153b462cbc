"""Many jobs on this machine, in processes that hold one job each.

A process that dies takes its own job with it and no other, and it is known whose it was.
"""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from data_pipeline.processes import deaf_to_interrupts, end_with_parent

Job = TypeVar("Job")
Result = TypeVar("Result")
Progress = Callable[[int, int, str], None]
"""What is called after each night with (nights done, nights in all, night_id)."""


class ProcessDied(Exception):
    """The process that did a job ended before the job did, each time it was tried."""


def run_local(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Iterator[tuple[Job, Result | Exception]]:
    """Each job and what the function made of it, or the exception that it raised, as they finish.

    Jobs are taken one by one as processes become free. One whose process died is tried once more when all
    others are done, alone: it may have died for want of memory.

    Args:
      function: must be importable by name when there are several workers.
      jobs: what to give it.
      workers: processes; one works in a thread of this process.
    """
    # A thread, so that an error nobody foresaw ends its own job only, as in a worker process.
    executors: list[Executor] = [ThreadPoolExecutor(1)] if workers == 1 else [_process() for _ in range(workers)]
    orphans: list[Job] = []
    for job, outcome in _run_on(executors, function, jobs):
        if isinstance(outcome, BrokenProcessPool):
            orphans.append(job)
        else:
            yield job, outcome
    for job, outcome in _run_on([_process()], function, orphans):
        if isinstance(outcome, BrokenProcessPool):
            outcome = ProcessDied("the process that read it died twice, perhaps for want of memory")
        yield job, outcome


def _run_on(
    free: list[Executor], function: Callable[[Job], Result], jobs: Iterable[Job]
) -> Iterator[tuple[Job, Result | Exception]]:
    waiting = iter(jobs)
    running: dict[Future[Result], tuple[Job, Executor]] = {}
    try:
        while True:
            for job in islice(waiting, len(free)):
                executor = free.pop()
                with deaf_to_interrupts():  # it may start a process
                    running[executor.submit(function, job)] = job, executor
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, executor = running.pop(future)
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    executor.shutdown()
                    executor = _process()
                free.append(executor)
                if error is not None and not isinstance(error, Exception):
                    raise error  # somebody stopped us
                yield job, future.result() if error is None else error
    finally:
        for executor in (*free, *(executor for _, executor in running.values())):
            executor.shutdown(cancel_futures=True)


def _process() -> ProcessPoolExecutor:
    """A process of its own; it starts with its first job."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent)
