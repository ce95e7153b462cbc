"""Mamba-2's state-space duality (SSD; Dao & Gu 2024, arXiv 2405.21060) in plain JAX, by chunks, both ways.

    h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t^T,    y_t = C_t h_t + D x_t

Within a chunk this is a masked matmul, between chunks a short scan over states. A masked step has dt = 0 and x = 0:
the state passes through it unchanged, so padding changes nothing in either direction.

Decays and their sums are float32 whatever `x` is, and so are the states; matmuls have operands of the dtype of `x`.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sleepmami_jax.models.initial import Linear, RMSNorm, Rngs, ones, uniform, zeros

CONV_WIDTH = 4  # Mamba's short causal convolution
AT_ONCE = 2048  # steps of a sequence
FORGOTTEN = (
    -60.0
)  # log of a decay that is nothing beside 1: taken as 0, since CPUs are slow at denormal numbers


def ssd(
    x: jax.Array,  # (B, L, H, P) inputs
    dt: jax.Array,  # (B, L, H) step sizes >= 0, 0 where masked
    a: jax.Array,  # (H,) negative decay rates
    b: jax.Array,  # (B, L, N) input directions, shared by the heads
    c: jax.Array,  # (B, L, N) output directions
    chunk: int,
) -> jax.Array:  # (B, L, H, P), of the dtype of x
    """The scan by chunks. L need not be a multiple of `chunk`."""
    nothing = _zeros(x, (x.shape[0], b.shape[-1], *x.shape[2:]))
    return ssd_from(nothing, x, dt, a, b, c, chunk)[0]


def ssd_from(state: jax.Array, x, dt, a, b, c, chunk: int) -> tuple[jax.Array, jax.Array]:
    """`ssd` of what follows the steps that left `state`, and the state that it leaves itself."""
    length = x.shape[1]
    pad = -length % chunk

    def split(v):  # (B, L, ...) -> (B, K, chunk, ...)
        v = jnp.pad(v, [(0, 0), (0, pad)] + [(0, 0)] * (v.ndim - 2))
        return v.reshape(v.shape[0], -1, chunk, *v.shape[2:])

    y, state = _chunks(state, split(x), split(dt), a, split(b), split(c))
    return y.reshape(x.shape[0], length + pad, *x.shape[2:])[:, :length], state


def _zeros(like: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """float32 zeros that lie on the devices as `like` does: what a scan carries from step to step must."""
    return jnp.zeros_like(like, jnp.float32, shape)


def _dot(subscripts: str, *operands: jax.Array, **precision) -> jax.Array:
    """A product as float32. Asking the matmul itself for float32 is what XLA on CPU cannot do with bfloat16."""
    return jnp.einsum(subscripts, *operands, **precision).astype(jnp.float32)


@jax.custom_vjp
def _chunks(state, x, dt, a, b, c):  # (B, N, H, P), (B, K, c, H, P), (B, K, c, H), (H,), (B, K, c, N) twice
    """`ssd_from` of K chunks. Its gradient is written out: it keeps the states between chunks and no decays."""
    return _chunks_forward(state, x, dt, a, b, c)[0]


def _chunks_forward(state, x, dt, a, b, c):
    from_start, to_end, decay = _decays(dt, a)
    dx = _scaled(x, dt)
    # What all heads share, C B^T and the products with states, is one wide matmul in the layout that x has.
    weight = (_dot("bkin,bkjn->bkij", c, b)[:, :, None] * decay).astype(x.dtype)
    added = _dot("bkjn,bkjhp->bknhp", b, _scaled(dx, to_end))  # what each chunk adds to the state
    before, last = _carried(state, from_start[:, :, -1], added)
    across = from_start[..., None] * _dot("bkin,bknhp->bkihp", c, before.astype(x.dtype))
    y = _dot("bkhij,bkjhp->bkihp", weight, dx) + across
    return (y.astype(x.dtype), last), (x, dt, a, b, c, before)


def _chunks_backward(saved, gradients):
    (x, dt, a, b, c, before), (dy, d_last) = saved, gradients
    from_start, to_end, decay = _decays(dt, a)
    keep = from_start[:, :, -1]
    dx, dy_start = _scaled(x, dt), _scaled(dy, from_start)
    # Of the state that each chunk leaves, and of the one that the first begins with.
    after, d_state = _carried(d_last, keep, _dot("bkin,bkihp->bknhp", c, dy_start), reverse=True)
    begun, left = before.astype(x.dtype), after.astype(x.dtype)

    weight = _dot("bkin,bkjn->bkij", c, b)[:, :, None] * decay
    d_weight = _dot("bkihp,bkjhp->bkhij", dy, dx)
    d_scores = (d_weight * decay).sum(2).astype(x.dtype)
    d_added = to_end[..., None] * _dot("bkjn,bknhp->bkjhp", b, left)
    d_dx = _dot("bkhij,bkihp->bkjhp", weight.astype(x.dtype), dy) + d_added
    d_b = _dot("bkij,bkin->bkjn", d_scores, c) + _dot("bkjhp,bknhp->bkjn", _scaled(dx, to_end), left)
    d_c = _dot("bkij,bkjn->bkin", d_scores, b) + _dot("bkihp,bknhp->bkin", dy_start, begun)

    # Of the running sum of dt A: it grows what is read and shrinks what was written (B, K, c, H).
    d_log = d_weight * weight
    read = (dy_start * _dot("bkin,bknhp->bkihp", c, begun)).sum(-1)
    written = (dx * d_added).sum(-1)
    d_total = jnp.swapaxes(d_log.sum(-1) - d_log.sum(-2), -1, -2) + read - written
    d_end = written.sum(2) + keep * (after * before).sum((2, 4))
    d_step = _dot("ij,bkih->bkjh", _triangle(dt.shape[2]), d_total, precision="highest") + d_end[:, :, None]

    d_dt = d_step * a + (d_dx * x).sum(-1)
    d_a = (d_step * dt).sum((0, 1, 2))
    gradients = (d_dx * dt[..., None], d_dt, d_a, d_b, d_c)
    return d_state, *(g.astype(v.dtype) for g, v in zip(gradients, saved[:5], strict=True))


_chunks.defvjp(_chunks_forward, _chunks_backward)


def _decays(dt: jax.Array, a: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(B, K, c, H), (H,) -> the decay from the chunk's start and to its end (B, K, c, H), and from step j to
    step i (B, K, H, c, c)."""
    causal = _triangle(dt.shape[2])
    # The running sum as a matmul: XLA on CPU would work a cumsum out again for every element that is made of it.
    total = _dot("ij,bkjh->bkih", causal, dt.astype(jnp.float32) * a, precision="highest")
    by_head = jnp.swapaxes(total, -1, -2)
    between = by_head[..., :, None] - by_head[..., None, :]
    return _decay(total), _decay(total[:, :, -1:] - total), _decay(jnp.where(causal > 0, between, -jnp.inf))


def _decay(log: jax.Array) -> jax.Array:
    return jnp.where(log > FORGOTTEN, jnp.exp(log), 0.0)


def _triangle(size: int) -> jax.Array:
    return jnp.tril(jnp.ones((size, size), jnp.float32))


def _scaled(x: jax.Array, by: jax.Array) -> jax.Array:  # (B, K, c, H, P), (B, K, c, H)
    return (x * by[..., None]).astype(x.dtype)


def _carried(
    state: jax.Array, keep: jax.Array, added: jax.Array, reverse: bool = False
) -> tuple[jax.Array, jax.Array]:
    """(B, N, H, P), (B, K, H), (B, K, N, H, P): the state that each chunk begins with, `state` the first of them, and
    the one after all; with `reverse`, from the night's end."""

    def step(state, this):
        keep, add = this
        return keep[:, None, :, None] * state + add, state

    by_chunk = jnp.moveaxis(keep, 1, 0), jnp.moveaxis(added, 1, 0)
    last, states = jax.lax.scan(step, state, by_chunk, reverse=reverse)
    return jnp.moveaxis(states, 0, 1), last


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
    """(B, L + width - 1, C), (width, C), (C,) -> (B, L, C): depthwise, as shifted multiply-adds."""
    width = kernel.shape[0]
    length = x.shape[1] - width + 1
    return sum(x[:, i : i + length] * kernel[i] for i in range(width)) + bias


def step_bias(rng: np.random.Generator | None, channels: int) -> np.ndarray:
    """(channels,) inverse softplus of step sizes log-uniform in [1e-3, 1e-1], as in Mamba."""
    dt = np.exp(uniform(rng, (channels,), math.log(1e-3), math.log(0.1)))
    return dt + np.log(-np.expm1(-dt))


def read_both_ways(forward: nnx.Module, backward: nnx.Module | None, *parts: jax.Array) -> jax.Array:
    """The sum of what two directions make of `parts`, each (B, L, ...): one reads from sleep onset, one from the end.

    Without `backward` it is what `forward` makes of them.
    """
    if backward is None:
        return forward(*parts)
    # Both directions as one batch: half the kernels to compile and to start.
    graph, there = nnx.split(forward)
    both = jax.tree.map(lambda *v: jnp.stack(v), there, nnx.state(backward))
    read = jax.vmap(lambda state, *parts: nnx.merge(graph, state)(*parts))
    y = read(both, *(jnp.stack([v, jnp.flip(v, 1)]) for v in parts))
    return y[0] + jnp.flip(y[1], 1)


class Direction(nnx.Module):
    """The parameters that a direction of reading does not share: convolution, steps, decays, norm."""

    def __init__(self, inner: int, state: int, heads: int, chunk: int, *, rngs: Rngs):
        self.inner, self.state, self.heads, self.chunk = inner, state, heads, chunk
        channels = inner + 2 * state
        bound = CONV_WIDTH**-0.5
        self.conv_kernel = nnx.Param(uniform(rngs.params(), (CONV_WIDTH, channels), -bound, bound))
        self.conv_bias = nnx.Param(zeros(rngs.params(), (channels,)))
        self.dt_bias = nnx.Param(step_bias(rngs.params(), heads))
        self.a_log = nnx.Param(np.log(uniform(rngs.params(), (heads,), 1.0, 16.0)))
        self.d = nnx.Param(ones(rngs.params(), (heads,)))
        self.norm = RMSNorm(inner, rngs=rngs)

    def __call__(self, *parts):  # z (B, L, inner), xbc (B, L, inner + 2N), dt (B, L, H), ok (B, L)
        """(B, L, inner)."""
        return self._read(self._before(parts), parts)[1]

    def in_groups(self, *parts, from_end: bool):
        """The same of a long sequence, group by group, so that most of what is made on the way stays in a cache; with
        `from_end`, what reading from its end gives, in the order of `parts`."""
        batch, length = parts[0].shape[:2]
        groups = -(-length // AT_ONCE)
        size = -(-length // groups)

        def split(v):  # (B, L, ...) -> (G, B, size, ...)
            v = jnp.pad(v, [(0, 0), (0, groups * size - length)] + [(0, 0)] * (v.ndim - 2))
            return jnp.moveaxis(v.reshape(batch, groups, size, *v.shape[2:]), 1, 0)

        def read(before, group):
            if not from_end:
                return self._read(before, group)
            after, y = self._read(before, tuple(jnp.flip(v, 1) for v in group))
            return after, jnp.flip(y, 1)

        _, y = jax.lax.scan(read, self._before(parts), tuple(map(split, parts)), reverse=from_end)
        return jnp.moveaxis(y, 0, 1).reshape(batch, groups * size, -1)[:, :length]

    def _before(self, parts):
        """The state, and the last inputs of the convolution, before anything was read."""
        xbc = parts[1]
        batch, _, channels = xbc.shape
        state = _zeros(xbc, (batch, self.state, self.heads, self.inner // self.heads))
        return state, _zeros(xbc, (batch, CONV_WIDTH - 1, channels)).astype(xbc.dtype)

    def _read(self, before, parts):
        """What `_before` gives -> the same after these parts, and (B, L, inner)."""
        (state, last), (z, xbc, dt, ok) = before, parts
        b, length, _ = z.shape
        inputs = jnp.concatenate([last, xbc * ok[..., None]], 1)
        xbc = jax.nn.silu(causal_conv(inputs, self.conv_kernel[...], self.conv_bias[...]))
        x, b_in, c_out = jnp.split(xbc.astype(z.dtype), [self.inner, self.inner + self.state], axis=-1)
        x = x.reshape(b, length, self.heads, -1)
        dt_bias, a_log, d = (v[...].astype(jnp.float32) for v in (self.dt_bias, self.a_log, self.d))
        dt = jax.nn.softplus(dt.astype(jnp.float32) + dt_bias) * ok[..., None]
        y, state = ssd_from(state, x, dt, -jnp.exp(a_log), b_in, c_out, self.chunk)
        y = (y + d[:, None] * x).reshape(b, length, self.inner)
        return (state, inputs[:, length:]), self.norm((y * jax.nn.silu(z)).astype(z.dtype))


class BidirectionalSSD(nnx.Module):
    """A residual Mamba-2 block read from sleep onset and from the morning, with shared projections (as in Vim).

    With `bidirectional=False` it is read from sleep onset only, and an epoch knows nothing of later ones.
    """

    def __init__(
        self, dim: int, state: int, head_dim: int, chunk: int, *, bidirectional: bool = True, rngs: Rngs
    ):
        inner = 2 * dim
        heads = inner // head_dim
        self.split = (inner, 2 * inner + 2 * state)
        self.norm = RMSNorm(dim, rngs=rngs)
        self.in_proj = Linear(dim, 2 * inner + 2 * state + heads, use_bias=False, rngs=rngs)
        self.forward = Direction(inner, state, heads, chunk, rngs=rngs)
        self.backward = Direction(inner, state, heads, chunk, rngs=rngs) if bidirectional else None
        self.out_proj = Linear(inner, dim, use_bias=False, rngs=rngs)

    @jax.named_scope("ssd")
    def __call__(self, x: jax.Array, ok: jax.Array) -> jax.Array:  # (B, L, D), (B, L) -> (B, L, D)
        b, length, dim = x.shape
        h = self.in_proj(self.norm(x).reshape(b * length, dim)).reshape(b, length, -1)
        parts = (*jnp.split(h, self.split, axis=-1), ok)
        if length <= AT_ONCE:
            y = read_both_ways(self.forward, self.backward, *parts)
        else:
            y = self.forward.in_groups(*parts, from_end=False)
            if self.backward is not None:
                y = y + self.backward.in_groups(*parts, from_end=True)
        return x + self.out_proj(y.reshape(b * length, -1)).reshape(b, length, dim) * ok[..., None]
