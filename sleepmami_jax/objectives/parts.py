"""A batch taken part after part, so that the activations of one part only are in memory.

For a loss that compares all examples with each other this is gradient caching (GradCache; Gao et al. 2021, arXiv
2101.06983): representations of all parts first, then the loss over the whole batch, then each part again for its
gradients. Under automatic differentiation a loop over parts that keeps nothing but its results is just that.
"""

from __future__ import annotations

from collections.abc import Callable

import jax

from sleepmami_jax.objectives.reduce import gather

FEWEST = 16
"""Rows that a device may always give to a gather: of fewer XLA makes an all-reduce on TPUs, which sends twice that."""


def in_parts(function: Callable, parts: int, *rows):
    """`function(*rows)` of so many equal parts of the rows, results stacked: (n, ...) -> (parts, ...).

    The parts divide the rows. With one part nothing is computed twice.
    """
    n = len(jax.tree.leaves(rows)[0])
    if parts == 1:
        return jax.tree.map(lambda v: v[None], function(*rows))
    split = jax.tree.map(lambda v: v.reshape(parts, n // parts, *v.shape[1:]), rows)
    return jax.lax.map(lambda part: jax.checkpoint(function)(*part), split)


def against_all(compare: Callable, rows, at_once: int, axes):
    """`compare(rows of all devices)`, some of them at a time, results stacked: (parts, ...).

    A part has as many rows of each device: a divisor of those it has, up to `FEWEST` or its share of `at_once`. It is
    gathered when its turn comes, and in the backward pass again, so that no device holds a batch larger than that.

    Args:
      rows: of this device, from inside `shard_map` over `axes`.
    """
    n = len(jax.tree.leaves(rows)[0])
    most = max(FEWEST, at_once // jax.lax.axis_size(axes))
    size = max(d for d in range(1, min(n, most) + 1) if n % d == 0)
    return in_parts(lambda rows: compare(jax.tree.map(lambda v: gather(v, axes), rows)), n // size, rows)
