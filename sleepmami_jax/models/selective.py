"""Mamba-1's selective scan (Gu & Dao 2023, arXiv 2312.00752) in plain JAX, both ways.

    h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t,    y_t = C_t h_t + D x_t,    of every channel by itself

Every channel has its own step size and a decay for each of its N states, so nothing here is a matmul: it is what
the SSD of `ssd.py` is compared with, several times slower at the same N. A masked step has dt = 0, as there.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sleepmami_jax.models.initial import Linear, RMSNorm, Rngs, ones, uniform, zeros
from sleepmami_jax.models.ssd import CONV_WIDTH, causal_conv, run_both_ways, step_bias

CHUNK = 64  # steps that the backward pass runs again from one stored state


def selective_scan(
    x: jax.Array,  # (B, L, D) inputs
    dt: jax.Array,  # (B, L, D) step sizes >= 0, 0 where masked
    a: jax.Array,  # (D, N) negative decay rates
    b: jax.Array,  # (B, L, N) input directions, shared by the channels
    c: jax.Array,  # (B, L, N) output directions
    chunk: int = CHUNK,
) -> jax.Array:  # (B, L, D), of the dtype of x
    """The scan step by step in float32. Only the states between chunks are stored: all of them would be N times x.

    L need not be a multiple of `chunk`.
    """
    length = x.shape[1]
    rates = a.astype(jnp.float32).T  # channels last: a step is then a few long vectors

    def step(state, this):  # (B, N, D)
        x_t, dt_t, b_t, c_t = (v.astype(jnp.float32) for v in this)
        decay = jnp.exp(dt_t[:, None] * rates)
        state = decay * state + b_t[..., None] * (dt_t * x_t)[:, None]
        return state, (c_t[..., None] * state).sum(1).astype(x.dtype)

    def split(v):  # (B, L, ...) -> (K, chunk, B, ...)
        v = jnp.pad(v, [(0, 0), (0, -length % chunk), (0, 0)])
        return jnp.moveaxis(v, 1, 0).reshape(-1, chunk, v.shape[0], v.shape[2])

    run = jax.checkpoint(lambda state, these: jax.lax.scan(step, state, these))
    first = jnp.zeros_like(x, jnp.float32, (x.shape[0], *rates.shape))  # on the devices that x is on
    _, y = jax.lax.scan(run, first, tuple(map(split, (x, dt, b, c))))
    return jnp.moveaxis(y.reshape(-1, *y.shape[2:]), 0, 1)[:, :length]


class SelectiveDirection(nnx.Module):
    """The parameters that a direction of reading does not share: convolution, what chooses B, C and dt, decays."""

    def __init__(self, inner: int, state: int, rank: int, *, rngs: Rngs):
        self.split = (rank, rank + state)
        bound = CONV_WIDTH**-0.5
        self.conv_kernel = nnx.Param(uniform(rngs.params(), (CONV_WIDTH, inner), -bound, bound))
        self.conv_bias = nnx.Param(zeros(rngs.params(), (inner,)))
        self.x_proj = Linear(inner, rank + 2 * state, use_bias=False, rngs=rngs)
        self.dt_proj = Linear(rank, inner, use_bias=False, rngs=rngs)
        self.dt_bias = nnx.Param(step_bias(rngs.params(), inner))
        self.a_log = nnx.Param(np.log(np.tile(np.arange(1, state + 1, dtype=np.float32), (inner, 1))))
        self.d = nnx.Param(ones(rngs.params(), (inner,)))

    def __call__(self, z, x, ok):  # (B, L, inner), (B, L, inner), (B, L)
        x = jnp.pad(x * ok[..., None], ((0, 0), (CONV_WIDTH - 1, 0), (0, 0)))
        x = jax.nn.silu(causal_conv(x, self.conv_kernel[...], self.conv_bias[...]))
        x = x.astype(z.dtype)
        low, b_in, c_out = jnp.split(self.x_proj(x), self.split, axis=-1)
        dt_bias, a_log, d = (v[...].astype(jnp.float32) for v in (self.dt_bias, self.a_log, self.d))
        dt = jax.nn.softplus(self.dt_proj(low).astype(jnp.float32) + dt_bias) * ok[..., None]
        y = selective_scan(x, dt, -jnp.exp(a_log), b_in, c_out) + d * x
        return (y * jax.nn.silu(z)).astype(z.dtype)


class BidirectionalSelective(nnx.Module):
    """A residual Mamba-1 block with the interface of `BidirectionalSSD`, projections shared by the directions."""

    def __init__(self, dim: int, state: int, *, bidirectional: bool = True, rngs: Rngs):
        inner, rank = 2 * dim, math.ceil(dim / 16)
        self.norm = RMSNorm(dim, rngs=rngs)
        self.in_proj = Linear(dim, 2 * inner, use_bias=False, rngs=rngs)
        self.forward = SelectiveDirection(inner, state, rank, rngs=rngs)
        self.backward = SelectiveDirection(inner, state, rank, rngs=rngs) if bidirectional else None
        self.out_proj = Linear(inner, dim, use_bias=False, rngs=rngs)

    @jax.named_scope("selective")
    def __call__(self, x: jax.Array, ok: jax.Array) -> jax.Array:  # (B, L, D), (B, L) -> (B, L, D)
        b, length, dim = x.shape
        h = self.in_proj(self.norm(x).reshape(b * length, dim)).reshape(b, length, -1)
        y = run_both_ways(self.forward, self.backward, *jnp.split(h, 2, axis=-1), ok)
        return x + self.out_proj(y.reshape(b * length, -1)).reshape(b, length, dim) * ok[..., None]
