"""Mamba-2's state-space duality (SSD; Dao & Gu 2024, arXiv 2405.21060) in plain JAX, by chunks, both ways.

    h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t^T,    y_t = C_t h_t + D x_t

Within a chunk this is a masked matmul, between chunks a short scan over states; `_chunks_forward` goes through the
four steps of the paper's listing 1 (section 6). A masked step of the night has dt = 0 and x = 0: the state passes
through it unchanged, so padding changes nothing in either direction.

In comments and subscripts b is the night, k the chunk, i and j are steps in a chunk (j writes, i reads), h the head, p
a channel of the head, n one of the N numbers that its state has for each channel.

Decays and their sums are float32 whatever `x` is, and so are the states; matmuls have operands of the dtype of `x`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sleepmami_jax.models.initial import Linear, RMSNorm, Rngs, ones, uniform, zeros

CONV_WIDTH = 4  # Mamba's short causal convolution
AT_ONCE = 2048
"""Steps of a night that are scanned at once; what is made of more leaves the caches on the way."""
LONG = 24 * 3600
"""Steps of a sequence, the seconds of a day, beyond which what is made of all of it at once would fill the memory."""
HALF_HOUR = 1800
"""Steps of a long sequence that are scanned at once: filling up the last group, where they do not divide it, copies
the night."""
FORGOTTEN = -60.0
"""The logarithm of a decay that is nothing beside 1: taken as 0, since CPUs are slow at denormal numbers."""


def ssd(
    x: jax.Array,  # (B, L, H, P) inputs
    dt: jax.Array,  # (B, L, H) step sizes >= 0, 0 where masked
    a: jax.Array,  # (H,) negative decay rates
    b: jax.Array,  # (B, L, N) input directions, shared by the heads
    c: jax.Array,  # (B, L, N) output directions
    chunk: int,
) -> jax.Array:  # (B, L, H, P), of the dtype of x
    """The scan by chunks. L need not be a multiple of `chunk`.

    >>> x_BxLxHxP, dt_BxLxH, b_BxLxN = jnp.ones((1, 6, 2, 4)), jnp.ones((1, 6, 2)), jnp.ones((1, 6, 3))
    >>> ssd(x_BxLxHxP, dt_BxLxH, -jnp.ones(2), b_BxLxN, b_BxLxN, chunk=2).shape
    (1, 6, 2, 4)
    """
    nothing = _zeros(x, (x.shape[0], b.shape[-1], *x.shape[2:]))
    return ssd_from(nothing, x, dt, a, b, c, chunk)[0]


def ssd_from(state: jax.Array, x, dt, a, b, c, chunk: int) -> tuple[jax.Array, jax.Array]:
    """`ssd` of what follows the steps that left `state` (B, N, H, P) float32, and the state after it."""
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
    # The paper's L is `decay` here, and its X is x dt.
    from_start, to_end, decay = _decays(dt, a)
    x_dt = _scaled(x, dt)
    # 1. Outputs within each chunk, as if nothing came before it: (L * C B^T) (x dt). What all heads share, C B^T and
    #    the products with states, is one wide matmul in the layout that x has.
    scores = (_dot("bkin,bkjn->bkij", c, b)[:, :, None] * decay).astype(x.dtype)
    # 2. The state that each chunk leaves, as if nothing came before it.
    left = _dot("bkjn,bkjhp->bknhp", b, _scaled(x_dt, to_end))
    # 3. The recurrence between chunks: the state that each one really begins with, and the last one leaves.
    begun, last = _carried(state, from_start[:, :, -1], left)
    # 4. Outputs of the state that each chunk begins with, beside those of 1.
    across = from_start[..., None] * _dot("bkin,bknhp->bkihp", c, begun.astype(x.dtype))
    y = _dot("bkhij,bkjhp->bkihp", scores, x_dt) + across
    return (y.astype(x.dtype), last), (x, dt, a, b, c, begun)


def _chunks_backward(saved, gradients):
    (x, dt, a, b, c, begun), (dy, d_last) = saved, gradients
    from_start, to_end, decay = _decays(dt, a)
    keep = from_start[:, :, -1]
    x_dt, dy_start = _scaled(x, dt), _scaled(dy, from_start)
    # 4 and 3, backwards: gradients of the states that chunks begin with go from the last chunk to the first, and
    # each is that of the state which the chunk before it leaves.
    d_left, d_state = _carried(d_last, keep, _dot("bkin,bkihp->bknhp", c, dy_start), reverse=True)
    begun_low, d_left_low = begun.astype(x.dtype), d_left.astype(x.dtype)

    # 1, backwards, and the parts that 2 and 4 have in the gradients of x dt, B and C.
    scores = _dot("bkin,bkjn->bkij", c, b)[:, :, None] * decay
    d_scores = _dot("bkihp,bkjhp->bkhij", dy, x_dt)
    d_cb = (d_scores * decay).sum(2).astype(x.dtype)
    d_x_left = to_end[..., None] * _dot("bkjn,bknhp->bkjhp", b, d_left_low)
    d_x_dt = _dot("bkhij,bkihp->bkjhp", scores.astype(x.dtype), dy) + d_x_left
    d_b = _dot("bkij,bkin->bkjn", d_cb, c) + _dot("bkjhp,bknhp->bkjn", _scaled(x_dt, to_end), d_left_low)
    d_c = _dot("bkij,bkjn->bkin", d_cb, b) + _dot("bkihp,bknhp->bkin", dy_start, begun_low)

    # Of the running sum of dt A: it grows what is read and shrinks what was written (B, K, c, H).
    d_log = d_scores * scores
    read = (dy_start * _dot("bkin,bknhp->bkihp", c, begun_low)).sum(-1)
    written = (x_dt * d_x_left).sum(-1)
    d_total = jnp.swapaxes(d_log.sum(-1) - d_log.sum(-2), -1, -2) + read - written
    d_end = written.sum(2) + keep * (d_left * begun).sum((2, 4))
    d_step = _dot("ij,bkih->bkjh", _triangle(dt.shape[2]), d_total, precision="highest") + d_end[:, :, None]

    d_dt = d_step * a + (d_x_dt * x).sum(-1)
    d_a = (d_step * dt).sum((0, 1, 2))
    gradients = (d_x_dt * dt[..., None], d_dt, d_a, d_b, d_c)
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


def _carried(state: jax.Array, keep: jax.Array, added: jax.Array, reverse: bool = False) -> tuple[jax.Array, jax.Array]:
    """The states that the chunks begin with (B, K, N, H, P), `state` the first of them, and the one after all.

    With `reverse`, those that they leave, from the night's end on.

    Args:
      state: (B, N, H, P).
      keep: (B, K, H), what of a state each chunk keeps.
      added: (B, K, N, H, P), what each adds to it.
    """

    def step(state, this):
        keep, add = this
        return keep[:, None, :, None] * state + add, state

    by_chunk = jnp.moveaxis(keep, 1, 0), jnp.moveaxis(added, 1, 0)
    last, states = jax.lax.scan(step, state, by_chunk, reverse=reverse)
    return jnp.moveaxis(states, 0, 1), last


def causal_conv(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """(B, L + width - 1, C), (width, C), (C,) -> (B, L, C): depthwise, as shifted multiply-adds."""
    width = kernel.shape[0]
    length = x.shape[1] - width + 1
    return sum(x[:, i : i + length] * kernel[i] for i in range(width)) + bias


def step_bias(rng: np.random.Generator | None, channels: int) -> np.ndarray:
    """(channels,) inverse softplus of step sizes log-uniform in [1e-3, 1e-1], as in Mamba."""
    dt = np.exp(uniform(rng, (channels,), math.log(1e-3), math.log(0.1)))
    return dt + np.log(-np.expm1(-dt))


def run_both_ways(forward: nnx.Module, backward: nnx.Module | None, *parts: jax.Array) -> jax.Array:
    """The sum of what two directions make of `parts`, each (B, L, ...): one reads from sleep onset, one from the end.

    Without `backward` it is what `forward` makes of them.
    """
    if backward is None:
        return forward(*parts)
    # Both directions as one batch: half the kernels to compile and to start.
    graph, there = nnx.split(forward)
    both = jax.tree.map(lambda *v: jnp.stack(v), there, nnx.state(backward))
    run = jax.vmap(lambda state, *parts: nnx.merge(graph, state)(*parts))
    y = run(both, *(jnp.stack([v, jnp.flip(v, 1)]) for v in parts))
    return y[0] + jnp.flip(y[1], 1)


def in_groups(scan: Callable, before, parts: Sequence[jax.Array], at_once: int, from_end: bool) -> jax.Array:
    """A long sequence group by group, so that most of what is made on the way stays in a cache.

    Args:
      scan: what was before a group, and the group's parts (B, l, ...) -> what is after it, and (B, l, D).
      parts: (B, L, ...) each; the last group is filled up with zeros.
      at_once: the longest that a group may be.
      from_end: read from the end of `parts`.

    Returns:
      (B, L, D), in the order of `parts`.
    """
    batch, length = parts[0].shape[:2]
    groups = -(-length // at_once)
    size = -(-length // groups)

    def split(v):  # (B, L, ...) -> (G, B, size, ...)
        v = jnp.pad(v, [(0, 0), (0, groups * size - length)] + [(0, 0)] * (v.ndim - 2))
        return jnp.moveaxis(v.reshape(batch, groups, size, *v.shape[2:]), 1, 0)

    def step(before, group):
        if not from_end:
            return scan(before, group)
        after, y = scan(before, tuple(jnp.flip(v, 1) for v in group))
        return after, jnp.flip(y, 1)

    _, y = jax.lax.scan(step, before, tuple(map(split, parts)), reverse=from_end)
    return jnp.moveaxis(y, 0, 1).reshape(batch, groups * size, -1)[:, :length]


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
        return self.scan(self.before(parts[1]), parts)[1]

    def in_groups(self, *parts, from_end: bool):
        """The same of a long sequence, group by group; with `from_end`, what reading from its end gives, in the order
        of `parts`."""
        return in_groups(self.scan, self.before(parts[1]), parts, AT_ONCE, from_end)

    def before(self, like: jax.Array):
        """The state, and the last inputs of the convolution, before the first step; on the devices and of the dtype of
        `like` (B, ...)."""
        state = _zeros(like, (len(like), self.state, self.heads, self.inner // self.heads))
        return state, _zeros(like, (len(like), CONV_WIDTH - 1, self.inner + 2 * self.state)).astype(like.dtype)

    def scan(self, before, parts):
        """What `before` gives -> the same after these parts, and (B, L, inner)."""
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

    def __init__(self, dim: int, state: int, head_dim: int, chunk: int, *, bidirectional: bool = True, rngs: Rngs):
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
        if x.shape[1] > LONG:
            return self._little_by_little(x, ok)
        parts = self._parts(x, ok)
        if x.shape[1] <= AT_ONCE:
            y = run_both_ways(self.forward, self.backward, *parts)
        else:
            y = self.forward.in_groups(*parts, from_end=False)
            if self.backward is not None:
                y = y + self.backward.in_groups(*parts, from_end=True)
        return x + self._out(y) * ok[..., None]

    def _parts(self, x: jax.Array, ok: jax.Array) -> tuple[jax.Array, ...]:
        """What a direction reads."""
        b, length, dim = x.shape
        h = self.in_proj(self.norm(x).reshape(b * length, dim)).reshape(b, length, -1)
        return *jnp.split(h, self.split, axis=-1), ok

    def _out(self, y: jax.Array) -> jax.Array:  # (B, L, inner) -> (B, L, D)
        b, length, _ = y.shape
        return self.out_proj(y.reshape(b * length, -1)).reshape(b, length, -1)

    def _little_by_little(self, x: jax.Array, ok: jax.Array) -> jax.Array:
        """The same, nothing wider than x being made of more than a group: twice the work of the first projection."""
        heard = jnp.zeros((), x.dtype)
        for direction in (self.forward, self.backward):
            if direction is not None:

                def scan(before, group, direction=direction):
                    after, y = direction.scan(before, self._parts(*group))
                    return after, self._out(y)

                heard = heard + in_groups(scan, direction.before(x), (x, ok), HALF_HOUR, direction is self.backward)
        return x + heard * ok[..., None]
