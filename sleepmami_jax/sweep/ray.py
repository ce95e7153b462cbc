"""Runs as tasks of a Ray cluster (https://docs.ray.io): each on the node that has what it takes.

Every node needs an environment with the `ray` extra and sees the experiment file, DIR and the folder in which the
sweep is started under the same paths. Our packages are sent along, so that all nodes run the code of the machine that
asked; variables of its environment are not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from data_pipeline.prepare.cluster import connect
from sleepmami_jax.config import ConfigError
from sleepmami_jax.sweep.launch import Job
from sleepmami_jax.sweep.local import Local

_POLL_S = 0.5
_GRACE_S = 15.0


class Ray:
    """Tasks of a cluster.

    Args:
      address: "auto", "host:6379" or "ray://host:10001".
      resources: what a run takes, such as "CPU=4", "GPU=1" or "TPU=4"; one CPU if that is not said.

    Raises:
      ConfigError: a resource that is no name and number.
    """

    def __init__(self, address: str, resources: Sequence[str] = ()):
        self._address = address
        self._resources = {"CPU": 1.0} | dict(map(_resource, resources))
        self._ray = None
        self._running = {}  # ray.ObjectRef -> the run's name

    def start(self, jobs: Sequence[Job]) -> None:
        if self._ray is None:
            import data_pipeline
            import sleepmami_jax

            self._ray = connect(self._address, data_pipeline, sleepmami_jax)
            nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            if not any(all(node.get(name, 0) >= n for name, n in self._resources.items()) for node in nodes):
                tqdm.write(f"no node of the cluster has {self._words()} yet; runs wait for one", file=sys.stderr)
        others = {name: number for name, number in self._resources.items() if name not in ("CPU", "GPU")}
        task = self._ray.remote(
            num_cpus=self._resources["CPU"],
            num_gpus=self._resources.get("GPU", 0),
            resources=others,
            max_retries=0,  # whether it is worth another try is for whoever reads its log
        )(_do)
        for job in jobs:
            self._running[task.remote(job, Path.cwd())] = job.run

    def ended(self) -> Mapping[str, str | None]:
        from ray.exceptions import RayError, RayTaskError

        ended: dict[str, str | None] = {}
        for ref in self._ray.wait(list(self._running), timeout=_POLL_S)[0]:
            run = self._running.pop(ref)
            try:
                ended[run] = self._ray.get(ref)
            except RayTaskError as error:
                ended[run] = f"not started on its node: {error.cause!r}"
            except RayError as error:
                reason = str(error).partition("\n")[0]
                ended[run] = f"lost by Ray: {type(error).__name__}: {reason}"
        return ended

    def stop(self) -> None:
        for ref in self._running:
            self._ray.cancel(ref)
        if self._running:
            self._ray.wait(list(self._running), num_returns=len(self._running), timeout=_GRACE_S)
        self._running.clear()
        if self._ray is not None:
            self._ray.shutdown()
            self._ray = None

    def preview(self, jobs: Sequence[Job]) -> str:
        names = ", ".join(job.run for job in jobs)
        return f"to the Ray cluster at {self._address!r}, each with {self._words()}: {names}"

    def _words(self) -> str:
        return " ".join(f"{name}={number:g}" for name, number in self._resources.items())


def _do(job: Job, directory: Path) -> str | None:
    """On a node: the run in a process of its own, as here. `cancel` raises KeyboardInterrupt in it."""
    os.chdir(directory)
    here = Local()
    try:
        here.start([replace(job, command=[sys.executable, *job.command[1:]])])
        while not (ended := here.ended()):
            pass
        return ended[job.run]
    finally:
        here.stop()


def _resource(word: str) -> tuple[str, float]:
    name, _, number = word.partition("=")
    try:
        return name, float(number)
    except ValueError as error:
        raise ConfigError(f"--resources {word}: expected a name and a number, such as CPU=8 or GPU=1") from error
