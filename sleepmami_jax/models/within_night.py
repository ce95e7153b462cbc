"""What is usual in a night, and each number against it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sleepmami_jax.models.stretches import by_stretches

STILL = 0.1
"""A log amplitude that varies less than this over a night counts as still: it is not blown up, nor is its rounding."""


class Moments(NamedTuple):
    """Of numbers (N, E, ..., D) over E, where they are there; float32.

    Attributes:
      count: (N, 1, ..., 1) how many there are.
      mean, variance: (N, 1, ..., D), 0 where there is none.
    """

    count: jax.Array
    mean: jax.Array
    variance: jax.Array

    def of(self, some: slice) -> Moments:
        """Of some of the D numbers."""
        return Moments(self.count, self.mean[..., some], self.variance[..., some])


def moments(x: jax.Array, ok: jax.Array) -> Moments:
    """(N, E, ..., D), (N, E, ...) -> what they are over E where ok."""
    wide, weight = x.astype(jnp.float32), ok[..., None].astype(jnp.float32)
    total = weight.sum(1, keepdims=True)
    count = jnp.maximum(total, 1.0)
    mean = (wide * weight).sum(1, keepdims=True) / count
    # A sum over a whole night rounds: what is left of the mean says by how much.
    mean = mean + ((wide - mean) * weight).sum(1, keepdims=True) / count
    return Moments(total, mean, (jnp.square(wide - mean) * weight).sum(1, keepdims=True) / count)


def by_parts(of_stretch: Callable[..., Moments], *parts: jax.Array) -> Moments:
    """The moments of a long night, by those of its stretches; arguments as of `by_stretches`.

    XLA on a CPU makes of all that it sums up something five times as large on the way.
    """
    return _together(by_stretches(of_stretch, *parts))


def _together(parts: Moments) -> Moments:
    """Of stretches side by side (N, stretches, ...)."""
    total = parts.count.sum(1, keepdims=True)
    count = jnp.maximum(total, 1.0)
    mean = (parts.count * parts.mean).sum(1, keepdims=True) / count
    spread = parts.variance + jnp.square(parts.mean - mean)
    return Moments(total, mean, (parts.count * spread).sum(1, keepdims=True) / count)


def within_night(x: jax.Array, ok: jax.Array, causal: bool, known: Moments | None = None) -> jax.Array:
    """Each number against the night it is of: (N, E, ..., D), (N, E, ...) -> standardised over E, 0 where not ok.

    People and recorders differ by more than stages do; what a scorer sees is more delta than in the rest of the night.
    Beyond five standard deviations it is cut. `causal` knows of the night only what has passed.

    Args:
      known: of the whole night, where x is a stretch of it; of x unless given.
    """
    wide, weight = x.astype(jnp.float32), ok[..., None].astype(jnp.float32)
    if causal:
        count = jnp.maximum(jnp.cumsum(weight, 1), 1.0)
        mean = jnp.cumsum(wide * weight, 1) / count
        variance = jnp.cumsum(jnp.square(wide) * weight, 1) / count - jnp.square(mean)
    else:
        _, mean, variance = moments(x, ok) if known is None else known
    z = (wide - mean) * jax.lax.rsqrt(jnp.maximum(variance, 0.0) + STILL**2)
    return (jnp.clip(z, -5.0, 5.0) * weight).astype(x.dtype)
