"""A pre-norm transformer block over masked tokens."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from sleepmami_jax.models.initial import Linear, RMSNorm, Rngs
from sleepmami_jax.models.moe import MixtureOfExperts

MASKED = -1e30  # finite, so that a row without any key stays finite (its output is masked later)


class Attention(nnx.Module):
    """Multi-head self-attention; masked keys get no weight."""

    def __init__(self, dim: int, heads: int, *, rngs: Rngs):
        self.heads = heads
        self.qkv = Linear(dim, 3 * dim, use_bias=False, rngs=rngs)
        self.out = Linear(dim, dim, use_bias=False, rngs=rngs)

    def __call__(
        self,
        x: jax.Array,  # (B, L, D)
        ok: jax.Array,  # (B, L) bool, False for tokens that are not there
    ) -> jax.Array:  # (B, L, D)
        b, length, dim = x.shape
        qkv = self.qkv(x).reshape(b, length, 3, self.heads, dim // self.heads)
        q, k, v = (qkv[:, :, i].swapaxes(1, 2) for i in range(3))  # (B, H, L, Dh)
        scores = (q * q.shape[-1] ** -0.5) @ k.mT  # (B, H, L, L)
        scores = jnp.where(ok[:, None, None, :], scores.astype(jnp.float32), MASKED)
        y = jax.nn.softmax(scores, axis=-1).astype(v.dtype) @ v  # (B, H, L, Dh)
        return self.out(y.swapaxes(1, 2).reshape(b, length, dim))


class Mlp(nnx.Module):
    """Linear, GELU, linear."""

    def __init__(self, dim: int, hidden: int, *, rngs: Rngs):
        self.up = Linear(dim, hidden, rngs=rngs)
        self.down = Linear(hidden, dim, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:  # (..., D) -> (..., D)
        return self.down(jax.nn.gelu(self.up(x)))


class Block(nnx.Module):
    """Attention, then an MLP or a mixture of experts, each behind an RMS norm and a residual."""

    def __init__(self, dim: int, heads: int, feedforward: Mlp | MixtureOfExperts, *, rngs: Rngs):
        self.norm_attention = RMSNorm(dim, rngs=rngs)
        self.attention = Attention(dim, heads, rngs=rngs)
        self.norm_feedforward = RMSNorm(dim, rngs=rngs)
        self.feedforward = feedforward

    @jax.named_scope("block")
    def __call__(
        self, x: jax.Array, ok: jax.Array, *, exact: bool = True, axes=()
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Tokens (B, L, D), (B, L) -> tokens and the router's statistics (none for a plain MLP).

        See `MixtureOfExperts` for `exact` and `axes`.
        """
        x = x + self.attention(self.norm_attention(x), ok)
        h = self.norm_feedforward(x)
        if not isinstance(self.feedforward, MixtureOfExperts):
            return x + self.feedforward(h), {}
        y, router = self.feedforward(h.reshape(-1, h.shape[-1]), ok.reshape(-1), exact=exact, axes=axes)
        return x + y.reshape(x.shape), router
