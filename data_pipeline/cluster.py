"""The same jobs on a Ray cluster (https://docs.ray.io): one job a core, on whichever node has one free.

Every node needs an environment with what setup.py asks for and the `ray` extra, and sees the inputs and the
output under the same paths (a shared file system). This package itself is sent along with the jobs, so that
all nodes run the code of the machine that asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from data_pipeline.workers import Job, ProcessDied, Result

TRIES = 3
"""How often a job is given out whose process or node goes away under it."""
_AHEAD = 2
"""Jobs given out for each core of the cluster: the next one waits at the node when one ends."""


def run_on_ray(
    function: Callable[[Job], Result], jobs: Iterable[Job], address: str
) -> Iterator[tuple[Job, Result | Exception]]:
    """As `run_local`, on the cluster at `address` ("auto", "host:6379" or "ray://host:10001").

    Few jobs are with the cluster at any time; nodes may join and go. A job whose process or node dies is
    given to another, `TRIES` times in all; then its outcome is `ProcessDied`.

    Raises:
      ValueError: Ray is not installed here.
      ConnectionError: no cluster answers at the address.
      RuntimeError: a node cannot import what the jobs need.
    """
    try:
        import ray
        from ray.exceptions import RayError, RaySystemError, RayTaskError, RuntimeEnvSetupError
    except ImportError as error:
        raise ValueError(
            "Ray is not installed: pip install 'sleepmami[ray]', here and on every node"
        ) from error
    import data_pipeline

    # Workers' output stays with them: 20,000 nights' warnings would bury the progress.
    ray.init(
        address=address,
        runtime_env={"py_modules": [data_pipeline]},
        log_to_driver=False,
        logging_level="warning",
    )
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
                    if isinstance(
                        outcome, ImportError | RaySystemError
                    ):  # the job itself could not be read there
                        why = str(outcome).partition("traceback")[0].strip()
                        raise RuntimeError(
                            f"a node cannot import what is needed ({why}); install sleepmami[ray] on every node"
                        ) from error
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
