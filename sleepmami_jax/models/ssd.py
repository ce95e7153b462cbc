"""Mamba-2's state-space duality (SSD; Dao & Gu 2024, arXiv 2405.21060) in plain JAX, by chunks, both ways.

    h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t^T,    y_t = C_t h_t + D x_t

Within a chunk this is a masked matmul, between chunks a short scan over states. Decays and their sums are float32,
and the causal mask is applied before `exp`, because a masked infinity has a NaN gradient. A masked step has dt = 0
and x = 0: the state passes through it unchanged, so padding changes nothing in either direction.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sleepmami_jax.models.initial import Linear, RMSNorm, Rngs, ones, uniform, zeros

CONV_WIDTH = 4  # Mamba's short causal convolution


def ssd(
    x: jax.Array,  # (B, L, H, P) inputs
    dt: jax.Array,  # (B, L, H) step sizes >= 0, 0 where masked
    a: jax.Array,  # (H,) negative decay rates
    b: jax.Array,  # (B, L, N) input directions, shared by the heads
    c: jax.Array,  # (B, L, N) output directions
    chunk: int,
) -> jax.Array:  # (B, L, H, P)
    """The scan by chunks. L need not be a multiple of `chunk`."""
    batch, length, heads, p = x.shape
    n = b.shape[-1]
    pad = -length % chunk
    if pad:
        x, dt, b, c = (jnp.pad(v, [(0, 0), (0, pad)] + [(0, 0)] * (v.ndim - 2)) for v in (x, dt, b, c))
    chunks = (length + pad) // chunk

    # Head-major, so that every product below is one batched matmul: (B, H, chunks, chunk, ...)
    dx = (x * dt[..., None]).reshape(batch, chunks, chunk, heads, p).transpose(0, 3, 1, 2, 4)
    log_decay = (dt.astype(jnp.float32) * a).reshape(batch, chunks, chunk, heads).transpose(0, 3, 1, 2)
    total = jnp.cumsum(log_decay, axis=-1)  # (B, H, chunks, chunk)
    b = b.reshape(batch, 1, chunks, chunk, n)
    c = c.reshape(batch, 1, chunks, chunk, n)

    causal = jnp.tril(jnp.ones((chunk, chunk), bool))
    decay = jnp.exp(jnp.where(causal, total[..., :, None] - total[..., None, :], -jnp.inf))
    within = ((c @ b.mT) * decay.astype(x.dtype)) @ dx  # (B, H, chunks, chunk, P)

    to_end = jnp.exp(total[..., -1:] - total).astype(x.dtype)
    added = (b * to_end[..., None]).mT @ dx  # (B, H, chunks, N, P): what each chunk adds to the state
    kept = jnp.exp(total[..., -1])  # (B, H, chunks)

    def step(state, this):
        add, keep = this
        return keep[..., None, None].astype(add.dtype) * state + add, state

    first = jnp.zeros_like(added[:, :, 0])
    _, before = jax.lax.scan(step, first, (jnp.moveaxis(added, 2, 0), jnp.moveaxis(kept, 2, 0)))
    before = jnp.moveaxis(before, 0, 2)  # (B, H, chunks, N, P): the state each chunk begins with
    across = (c * jnp.exp(total)[..., None].astype(x.dtype)) @ before

    y = (within + across).transpose(0, 2, 3, 1, 4).reshape(batch, length + pad, heads, p)
    return y[:, :length]


def ssd_sequential(x, dt, a, b, c):
    """The recurrence step by step, same arguments as `ssd` without the chunk: the reference for tests."""

    def step(state, this):  # (B, H, N, P)
        x_t, dt_t, b_t, c_t = this
        decay = jnp.exp(dt_t * a)[..., None, None]
        state = decay * state + jnp.einsum("bn,bhp,bh->bhnp", b_t, x_t, dt_t)
        return state, jnp.einsum("bn,bhnp->bhp", c_t, state)

    first = jnp.zeros((x.shape[0], x.shape[2], b.shape[-1], x.shape[3]), x.dtype)
    _, y = jax.lax.scan(step, first, jax.tree.map(lambda v: jnp.moveaxis(v, 1, 0), (x, dt, b, c)))
    return jnp.moveaxis(y, 0, 1)


def causal_conv(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """(B, L, C), (width, C), (C,) -> (B, L, C): depthwise, as shifted multiply-adds."""
    width, length = kernel.shape[0], x.shape[1]
    padded = jnp.pad(x, ((0, 0), (width - 1, 0), (0, 0)))
    return sum(padded[:, i : i + length] * kernel[i] for i in range(width)) + bias


def _step_bias(rng, heads):
    """Inverse softplus of step sizes log-uniform in [1e-3, 1e-1], as in Mamba."""
    dt = np.exp(uniform(rng, (heads,), math.log(1e-3), math.log(0.1)))
    return dt + np.log(-np.expm1(-dt))


class Direction(nnx.Module):
    """The parameters that a direction of reading does not share: convolution, steps, decays, norm."""

    def __init__(self, inner: int, state: int, heads: int, *, rngs: Rngs):
        self.inner, self.state, self.heads = inner, state, heads
        channels = inner + 2 * state
        bound = CONV_WIDTH**-0.5
        self.conv_kernel = nnx.Param(uniform(rngs.params(), (CONV_WIDTH, channels), -bound, bound))
        self.conv_bias = nnx.Param(zeros(rngs.params(), (channels,)))
        self.dt_bias = nnx.Param(_step_bias(rngs.params(), heads))
        self.a_log = nnx.Param(np.log(uniform(rngs.params(), (heads,), 1.0, 16.0)))
        self.d = nnx.Param(ones(rngs.params(), (heads,)))
        self.norm = RMSNorm(inner, rngs=rngs)

    def __call__(self, z, xbc, dt, ok, chunk):  # (B, L, inner), (B, L, inner + 2N), (B, L, H), (B, L)
        b, length, _ = z.shape
        xbc = jax.nn.silu(causal_conv(xbc * ok[..., None], self.conv_kernel[...], self.conv_bias[...]))
        x, b_in, c_out = jnp.split(xbc, [self.inner, self.inner + self.state], axis=-1)
        x = x.reshape(b, length, self.heads, -1)
        dt = jax.nn.softplus(dt.astype(jnp.float32) + self.dt_bias[...]) * ok[..., None]
        y = ssd(x, dt.astype(x.dtype), -jnp.exp(self.a_log[...]), b_in, c_out, chunk)
        y = (y + self.d[...][:, None] * x).reshape(b, length, self.inner)
        return self.norm(y * jax.nn.silu(z))


class BidirectionalSSD(nnx.Module):
    """A residual Mamba-2 block read from sleep onset and from the morning, with shared projections (as in Vim)."""

    def __init__(self, dim: int, state: int, head_dim: int, chunk: int, *, rngs: Rngs):
        inner = 2 * dim
        if inner % head_dim:
            raise ValueError(f"head_dim={head_dim} must divide twice the width, {inner}")
        heads = inner // head_dim
        self.split, self.chunk = (inner, 2 * inner + 2 * state), chunk
        self.norm = RMSNorm(dim, rngs=rngs)
        self.in_proj = Linear(dim, 2 * inner + 2 * state + heads, use_bias=False, rngs=rngs)
        self.forward = Direction(inner, state, heads, rngs=rngs)
        self.backward = Direction(inner, state, heads, rngs=rngs)
        self.out_proj = Linear(inner, dim, use_bias=False, rngs=rngs)

    @jax.named_scope("ssd")
    def __call__(self, x: jax.Array, ok: jax.Array) -> jax.Array:  # (B, L, D), (B, L) -> (B, L, D)
        b, length, dim = x.shape
        h = self.in_proj(self.norm(x).reshape(b * length, dim)).reshape(b, length, -1)
        parts = (*jnp.split(h, self.split, axis=-1), ok)

        # Both directions as one batch: half the kernels to compile and to start.
        graph, there = nnx.split(self.forward)
        back = nnx.state(self.backward)
        both = jax.tree.map(lambda *v: jnp.stack(v), there, back)
        read = jax.vmap(lambda state, *parts: nnx.merge(graph, state)(*parts, self.chunk))
        y = read(both, *(jnp.stack([v, jnp.flip(v, 1)]) for v in parts))
        y = y[0] + jnp.flip(y[1], 1)
        return x + self.out_proj(y.reshape(b * length, -1)).reshape(b, length, dim) * ok[..., None]
