"""Means and gathers over the global batch, from inside `shard_map`."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def global_mean(values: jax.Array, weight: jax.Array | float, axes) -> tuple[jax.Array, jax.Array]:
    """The weighted mean of `values` over every device, and the total weight, float32. 0 where nothing has weight."""
    values = values.astype(jnp.float32)
    weight = jnp.broadcast_to(weight, values.shape).astype(jnp.float32)
    total, n = jax.lax.psum(((values * weight).sum(), weight.sum()), axes)
    return total / jnp.maximum(n, 1.0), n


def standardise(x: jax.Array, weight: jax.Array | float, axes) -> jax.Array:
    """(..., F) -> each of the F with mean 0 and variance 1 over the rows of every device, as they weigh (...); float32.

    What does not vary is 0.
    """
    x, rows = x.astype(jnp.float32), tuple(range(x.ndim - 1))
    weight = jnp.broadcast_to(weight, x.shape[:-1]).astype(jnp.float32)[..., None]
    n = jnp.maximum(jax.lax.psum(weight.sum(), axes), 1.0)
    mean = jax.lax.psum((x * weight).sum(rows), axes) / n
    variance = jax.lax.psum((jnp.square(x - mean) * weight).sum(rows), axes) / n
    return (x - mean) * jax.lax.rsqrt(variance + 1e-6)


def gather(x: jax.Array, axes) -> jax.Array:
    """(B, ...) on each device -> (global B, ...) on all, in the order of the batch."""
    return jax.lax.all_gather(x, axes, axis=0, tiled=True)


def global_index(n: int, axes) -> jax.Array:
    """(n,) places of this device's rows in the gathered batch."""
    return jax.lax.axis_index(axes) * n + jnp.arange(n)


def on_all(x: jax.Array, axes) -> jax.Array:
    """`gather` that may leave `shard_map`, where it has to be known that all devices have the same."""
    n = len(x)
    whole = jnp.zeros((n * jax.lax.axis_size(axes), *x.shape[1:]), x.dtype)
    return jax.lax.psum(whole.at[global_index(n, axes)].set(x), axes)
