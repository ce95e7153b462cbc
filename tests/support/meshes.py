"""A function on a mesh of one device or of four."""

from functools import partial

import jax
import numpy as np
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from data_pipeline.modalities import SLOTS
from sleepmami_jax.training.sharding import AXES

BATCH = 8
M = len(SLOTS)


def mesh_of(devices: int):
    return jax.make_mesh((devices, 1, 1), AXES, axis_types=(AxisType.Auto,) * 3, devices=jax.devices()[:devices])


def keys_of(n: int, seed: int = 0):
    return jax.random.split(jax.random.key(seed), n)


def on_one_device(function):
    """`function(*arguments, axes)`, compiled for a mesh of one device."""
    call = jax.jit(jax.shard_map(lambda *v: function(*v, AXES), mesh=mesh_of(1), in_specs=P(), out_specs=P()))
    return lambda *arguments: jax.device_get(call(*arguments))


def same_on_four(loss, params, batch, atol=1e-5):
    """Value, metrics and gradients of `loss(params, batch, keys, axes)` agree on one device and on four.

    Returns the value.
    """
    results = []
    for devices in (1, 4):
        sharded = jax.shard_map(
            lambda *v: loss(*v, AXES),
            mesh=mesh_of(devices),
            in_specs=(P(), P(AXES), P(AXES)),
            out_specs=P(),
        )
        step = jax.jit(jax.value_and_grad(sharded, has_aux=True))
        results.append(jax.device_get(step(params, batch, keys_of(BATCH))))
    ((one, metrics), gradients), ((four, other), others) = results
    np.testing.assert_allclose(one, four, atol=atol)
    jax.tree.map(partial(np.testing.assert_allclose, atol=atol), metrics, other)
    jax.tree.map(partial(np.testing.assert_allclose, atol=atol), gradients, others)
    assert max(np.abs(g).max() for g in jax.tree.leaves(gradients)) > 1e-4
    return one
