"""The real training step of an experiment, compiled for a pod that is not here.

libtpu compiles on any Linux machine: what a step needs of each chip, which collectives it has and what they send are
known before a chip is rented, and so is what arithmetic, links and memory would take alone, at the chip's full rates.
A compilation shows neither speed nor numerics.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
from jax.experimental import topologies
from jax.sharding import Mesh

from sleepmami_jax.config import Experiment
from sleepmami_jax.costs.chips import CHIPS
from sleepmami_jax.costs.collectives import Collective, collectives
from sleepmami_jax.costs.flops import step_flops


@dataclass(frozen=True)
class Compiled:
    """What a step needs of each chip.

    Attributes:
      topology, chip, chips: where it runs.
      mesh: sizes of its axes.
      batch: examples of all chips together.
      compile_s: seconds the compilation took here.
      arguments_bytes, temporary_bytes: memory of a chip: state and batch, and what a step makes on the way.
      hbm_bytes: what the chip has.
      flops: useful ones of a chip in a step, by `costs.flops`.
      traffic_bytes: that XLA expects a step to move to and from memory, loops counted once.
      collectives: bytes that a chip sends in a step, and operations, by kind.
      largest_gather_bytes: of the largest array that is gathered.
      compute_s, memory_s, link_s: seconds of a step if the chip did only that, at the rates of `costs.chips`; links
        as closed rings along the axes of the torus, of which an operation of some chips has one.
    """

    topology: str
    chip: str
    chips: int
    mesh: dict[str, int]
    batch: int
    compile_s: float
    arguments_bytes: int
    temporary_bytes: int
    hbm_bytes: float
    flops: float
    traffic_bytes: float
    collectives: dict[str, dict[str, float]]
    largest_gather_bytes: int
    compute_s: float
    memory_s: float
    link_s: float


Lower = Callable[[Experiment, list[jax.Device]], tuple[jax.stages.Lowered, Mesh]]
"""The step of an experiment for these devices, and their mesh: `training.step.lower`."""


def compile_ahead(experiment: Experiment, topology: str, lower: Lower) -> Compiled:
    """Compile the step that `lower` makes of an experiment for a TPU topology such as "v5e:16x16".

    Raises:
      ValueError: there is no such topology, or the batch or a parameter does not divide over the mesh.
      RuntimeError: libtpu is not installed.
    """
    devices = _devices(topology)
    lowered, mesh = lower(experiment, devices)
    begun = time.perf_counter()
    compiled = lowered.compile()
    compile_s = time.perf_counter() - begun
    memory, chip = compiled.memory_analysis(), CHIPS[devices[0].device_kind]
    moved = collectives(compiled.as_text(), mesh.size)
    flops = step_flops(experiment) / mesh.size
    traffic = float(compiled.cost_analysis().get("bytes accessed", 0.0))
    return Compiled(
        topology=topology,
        chip=devices[0].device_kind,
        chips=mesh.size,
        mesh=dict(mesh.shape),
        batch=experiment.objective.batch,
        compile_s=round(compile_s, 1),
        arguments_bytes=memory.argument_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        hbm_bytes=chip.hbm,
        flops=flops,
        traffic_bytes=traffic,
        collectives=_by_kind(moved),
        largest_gather_bytes=max((c.largest for c in moved if c.kind == "all-gather"), default=0),
        compute_s=flops / chip.flops,
        memory_s=traffic / chip.hbm_rate,
        link_s=sum(c.sent / (chip.link_rate * chip.links * _torus_axes(c, devices)) for c in moved),
    )


def _devices(topology: str) -> list[jax.Device]:
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # libtpu would look for a TPU's host first,
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # and keep chips that are not here to itself
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices)
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"topology {topology!r}: expected one such as 'v5e:16x16' or 'v5p:4x4x4' ({reason})"
        ) from error
    except (ImportError, RuntimeError) as error:
        raise RuntimeError(f"no libtpu to compile with: pip install -e .[tpu] ({error})") from error


def _torus_axes(collective: Collective, devices: list[jax.Device]) -> int:
    """Axes of the torus that an operation of all chips uses at once; one of some chips, or a shift, goes along one."""
    if collective.group < len(devices) or collective.kind == "collective-permute":
        return 1
    return max(1, sum(len({d.coords[axis] for d in devices}) > 1 for axis in range(3)))


def _by_kind(moved: list[Collective]) -> dict[str, dict[str, float]]:
    kinds = sorted({c.kind for c in moved})
    return {
        kind: {
            "operations": sum(c.times for c in moved if c.kind == kind),
            "sent_bytes": sum(c.sent for c in moved if c.kind == kind),
        }
        for kind in kinds
    }
