"""A stack of equal blocks, one after another: unrolled or scanned, kept or computed again for the backward pass."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from sleepmami_jax.config import ComputeConfig
from sleepmami_jax.models.initial import MATMUL


def apply_blocks(
    blocks: Sequence[nnx.Module], x: jax.Array, *args: jax.Array, compute: ComputeConfig, **options
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """`x = block(x, *args, **options)` for every block of equal structure.

    The way it is computed changes no name of a parameter: a scan stacks the blocks' parameters when it is called.

    Args:
      blocks: each returns x, or x and a dictionary of scalars.
      args: arrays that every block sees.
      options: Python values that every block sees.

    Returns:
      x and the scalars of all blocks as (blocks,) arrays; none for blocks that return x only.
    """

    def run(state, x, *args):
        out = nnx.merge(graph, state)(x, *args, **options)
        return out if isinstance(out, tuple) else (out, {})

    if not blocks:
        return x, {}
    scanned = compute.scan and len(blocks) > 1
    if compute.remat != "none":
        keep = {"full": None, "names": jax.checkpoint_policies.save_only_these_names(MATMUL)}
        # A scan's body cannot be merged with its recomputation, so it needs no barrier against that.
        run = jax.checkpoint(run, policy=keep[compute.remat], prevent_cse=not scanned)

    graphs, states = zip(*(nnx.split(block) for block in blocks), strict=True)
    graph = graphs[0]
    if scanned:
        stacked = jax.tree.map(lambda *v: jnp.stack(v), *states)
        return jax.lax.scan(lambda x, state: run(state, x, *args), x, stacked)
    statistics = []
    for state in states:
        x, scalars = run(state, x, *args)
        statistics.append(scalars)
    return x, jax.tree.map(lambda *v: jnp.stack(v), *statistics)
