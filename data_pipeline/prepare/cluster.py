"""The same jobs on a Ray cluster (https://docs.ray.io): one job a core, on whichever node has one free.

Every node needs an environment with what setup.py asks for and the `ray` extra, and sees the inputs and the
output under the same paths (a shared file system). This package itself is sent along with the jobs, so that
all nodes run the code of the machine that asked.
"""

from collections.abc import Callable, Iterable, Iterator
from types import ModuleType

from data_pipeline.prepare.workers import Job, ProcessDied, Result

TRIES = 3
"""How often a job is given out whose process or node goes away under it."""
_AHEAD = 2
"""Jobs given out for each core of the cluster: the next one waits at the node when one ends."""


def connect(address: str, *packages: ModuleType) -> ModuleType:
    """Ray, connected to the cluster at `address` ("auto", "host:6379" or "ray://host:10001"); packages are sent along.

    Raises:
      ValueError: Ray is not installed here.
      ConnectionError: no cluster answers at the address.
    """
    try:
        import ray
    except ImportError as error:
        raise ValueError("Ray is not installed: pip install 'sleepmami[ray]', here and on every node") from error
    # Workers' output stays with them: 20,000 nights' warnings would bury the progress.
    ray.init(address=address, runtime_env={"py_modules": list(packages)}, log_to_driver=False, logging_level="warning")
    return ray


def run_on_ray(
    function: Callable[[Job], Result], jobs: Iterable[Job], address: str
) -> Iterator[tuple[Job, Result | Exception]]:
    """As `run_local`, on the cluster at `address` (see `connect`).

    Few jobs are with the cluster at any time; nodes may join and go. A job whose process or node dies is
    given to another, `TRIES` times in all; then its outcome is `ProcessDied`.

    Raises:
      ValueError: Ray is not installed here.
      ConnectionError: no cluster answers at the address.
      RuntimeError: a node cannot import what the jobs need.
    """
    import data_pipeline

    ray = connect(address, data_pipeline)
    from ray.exceptions import RayError, RaySystemError, RayTaskError, RuntimeEnvSetupError

    # Ray would try again without end after want of memory.
    task = ray.remote(num_cpus=1, max_retries=0)(function)
    waiting = iter(jobs)
    running: dict[ray.ObjectRef, tuple[Job, int]] = {}
    try:
        while True:
            room = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1))) - len(running)
            for _, job in zip(range(room), waiting, strict=False):
                running[task.remote(job)] = job, 1
            if not running:
                return
            for ref in ray.wait(list(running))[0]:
                job, tries = running.pop(ref)
                try:
                    outcome = ray.get(ref)
                except RayTaskError as error:
                    outcome = error.cause
                    if isinstance(outcome, ImportError | RaySystemError):  # the job itself could not be read there
                        why = str(outcome).partition("traceback")[0].strip()
                        problem = f"a node cannot import what is needed ({why}); install sleepmami[ray] on every node"
                        raise RuntimeError(problem) from error
                except RuntimeEnvSetupError as error:
                    raise RuntimeError(f"a node could not be made ready: {error}") from error
                except RayError as error:
                    if tries < TRIES:
                        running[task.remote(job)] = job, tries + 1
                        continue
                    outcome = ProcessDied(
                        f"the process or node that read it died {TRIES} times ({type(error).__name__}), "
                        "perhaps for want of memory"
                    )
                yield job, outcome
    finally:
        ray.shutdown()
