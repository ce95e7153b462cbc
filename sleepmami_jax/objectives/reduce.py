"""Means and gathers over the global batch, from inside `shard_map`."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def global_mean(values: jax.Array, weight: jax.Array, axes) -> tuple[jax.Array, jax.Array]:
    """The weighted mean of `values` over every device, and the total weight. 0 where nothing has weight."""
    weight = jnp.broadcast_to(weight, values.shape).astype(values.dtype)
    total, n = jax.lax.psum(((values * weight).sum(), weight.sum()), axes)
    return total / jnp.maximum(n, 1.0), n


def gather(x: jax.Array, axes) -> jax.Array:
    """(B, ...) on each device -> (global B, ...) on all, in the order of the batch."""
    return jax.lax.all_gather(x, axes, axis=0, tiled=True)


def global_index(n: int, axes) -> jax.Array:
    """(n,) places of this device's rows in the gathered batch."""
    return jax.lax.axis_index(axes) * n + jnp.arange(n)
