"""Every row of the global batch against every other, without any device holding all of them.

Rows travel around the ring of devices, and each device compares its own with those of whoever visits: in its memory
are its own rows, one visitor's, and what came of each visit. On the way back the rows travel once more, and the
gradient of a visitor's rows with them: after one round it is home.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp


def around(compare: Callable, params, rows, facts, axes):
    """`compare(params, (rows, facts), (their rows, their facts))` for the rows of every device in turn, stacked.

    Args:
      compare: gives arrays; must not depend on anything but its arguments.
      params: floats that both sides use.
      rows: floats of this device, with gradients both as one's own and as another's visitor.
      facts: what else is known of the rows; without gradients.
      axes: of the mesh, from inside `shard_map`.

    Returns:
      (devices, ...) of each array, one's own rows first.
    """
    if jax.lax.axis_size(axes) == 1:
        return jax.tree.map(lambda v: v[None], compare(params, (rows, facts), (rows, facts)))
    return _around(compare, axes, params, rows, facts)


def _next(tree, axes):
    """To the next device, from the one before it."""
    n = jax.lax.axis_size(axes)
    ring = [(i, (i + 1) % n) for i in range(n)]
    return jax.tree.map(lambda v: jax.lax.ppermute(v, axes, ring), tree)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _around(compare, axes, params, rows, facts):
    def visit(guest, _):
        return _next(guest, axes), compare(params, (rows, facts), guest)

    _, results = jax.lax.scan(visit, (rows, facts), length=jax.lax.axis_size(axes))
    return results


def _around_forward(compare, axes, params, rows, facts):
    return _around(compare, axes, params, rows, facts), (params, rows, facts)


def _around_backward(compare, axes, kept, cotangents):
    params, rows, facts = kept

    def visit(carry, cotangent):
        own, (theirs, their_facts), sum_own, sum_theirs = carry

        def compared(params, rows, theirs):
            return compare(params, (rows, facts), (theirs, their_facts))

        _, back = jax.vjp(compared, *own, theirs)
        *gradient, gradient_theirs = back(cotangent)
        sum_own = jax.tree.map(jnp.add, sum_own, tuple(gradient))
        sum_theirs = jax.tree.map(jnp.add, sum_theirs, gradient_theirs)
        guest, sum_theirs = _next(((theirs, their_facts), sum_theirs), axes)
        return (own, guest, sum_own, sum_theirs), None

    own = (params, rows)
    zeros = jax.tree.map(jnp.zeros_like, (own, rows))
    (_, _, (to_params, as_own), as_guest), _ = jax.lax.scan(visit, (own, (rows, facts), *zeros), cotangents)
    return to_params, jax.tree.map(jnp.add, as_own, as_guest), None


_around.defvjp(_around_forward, _around_backward)
