"""The device mesh, and how batches and parameters lie on it. One device is a mesh of size one, not another path."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXES = ("data", "fsdp", "expert")


def make_mesh() -> Mesh:
    """All devices along `data`; parameters are replicated."""
    return jax.make_mesh((jax.device_count(), 1, 1), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def shard_loss(loss: Callable, mesh: Mesh) -> Callable:
    """Run `loss(params, batch, keys, axes)` on every device with its part of the batch.

    The encoders run inside; the loss reduces over `axes` itself (`objectives.reduce`), so what comes out is the
    same everywhere, and differentiating from outside sums the devices' gradients.
    """
    return jax.shard_map(
        partial(loss, axes=AXES), mesh=mesh, in_specs=(P(), P(AXES), P(AXES)), out_specs=(P(), P())
    )


def replicate(tree, mesh: Mesh):
    """Copies of every leaf on every device."""
    return jax.device_put(tree, NamedSharding(mesh, P()))


def to_devices(batch, mesh: Mesh):
    """This process's rows of a global batch (numpy) as arrays sharded over the mesh."""
    sharding = NamedSharding(mesh, P(AXES))
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), batch)


def check_batch(batch: int, mesh: Mesh, parts: int) -> None:
    """Raises ValueError unless the batch divides over the devices and into `parts` on each of them."""
    divisor = mesh.size * parts
    if batch % divisor:
        into = f"{mesh.size} devices" + (f" times accumulate={parts} parts" if parts > 1 else "")
        raise ValueError(
            f"objective.batch={batch} does not divide over {into}; "
            f"use a multiple of {divisor}, such as {-(-batch // divisor) * divisor}"
        )
