"""Experts that drop nothing, at about the cost of the tokens they are given (as in MegaBlocks, Gale et al. 2022).

Slots for every token at every expert cost experts / top_k times what is needed. Here an expert's tokens lie one
after another and are padded to whole blocks of rows; a block belongs to one expert, so its feed-forward is two plain
matmuls, and blocks that the routing did not fill are passed over. The number of blocks is that of the worst routing,
which is only `experts - 1` more than an even one, so that shapes are static.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

BLOCK_ROWS = 128  # about the best on CPU: smaller matmuls are slower, larger blocks hold more padding


def block_rows(choices: int, experts: int) -> int:
    """Rows of a block: a quarter of an even share of all choices, so that padding stays small, from 128 on."""
    return max(BLOCK_ROWS, -(-choices // (4 * experts)))


def blocks(choices: int, experts: int) -> int:
    """Blocks that any routing of so many choices fits into."""
    rows = block_rows(choices, experts)
    # The worst routing gives every expert one choice more than fills its blocks.
    return min(choices, experts) + max(0, choices - experts) // rows


def dropless(
    x: jax.Array,  # (T, D)
    expert: jax.Array,  # (T, K) int, each token's experts; `experts` is nowhere
    weight: jax.Array,  # (T, K) what each counts
    up: jax.Array,  # (E, D, F)
    down: jax.Array,  # (E, F, D)
) -> jax.Array:  # (T, D)
    """The weighted sum of every token's experts, GELU MLPs `gelu(x @ up) @ down`."""
    (t, k), experts = expert.shape, up.shape[0]
    up, down = jnp.asarray(up), jnp.asarray(down)  # numpy arrays cannot be indexed by a traced expert
    rows, n = block_rows(t * k, experts), blocks(t * k, experts)
    chosen = expert.reshape(-1)
    one_hot = jax.nn.one_hot(chosen, experts, dtype=jnp.int32)  # (T*K, E)
    queue = jnp.cumsum(one_hot, axis=0)
    filled = -(-queue[-1] // rows)  # (E,) blocks of each expert
    end = jnp.cumsum(filled)
    first = jnp.append((end - filled) * rows, n * rows)  # (E + 1,) row at which an expert begins
    place = first[chosen] + (queue * one_hot).sum(-1) - (chosen < experts)
    token = jnp.full(n * rows, t, jnp.int32)
    token = token.at[place].set(jnp.arange(t * k, dtype=jnp.int32) // k, mode="drop")
    owner = (jnp.arange(n)[:, None] >= end).sum(-1)  # (n,) whose block; `experts` is nobody's

    def feedforward(block, e):
        return jax.nn.gelu(block @ up[e]) @ down[e]

    def step(_, this):
        block, e = this
        return None, jax.lax.cond(e < experts, feedforward, lambda block, _: block, block, e)

    taken = jnp.take(x, token, axis=0, mode="fill", fill_value=0).reshape(n, rows, -1)
    _, y = jax.lax.scan(step, None, (taken, owner))
    y = jnp.take(y.reshape(n * rows, -1), place, axis=0, mode="fill", fill_value=0).reshape(t, k, -1)
    return (y * weight[..., None].astype(y.dtype)).sum(1)
