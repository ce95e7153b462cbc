"""A mixture of experts: each token goes to its top-k experts (Shazeer et al. 2017; Switch Transformer 2021).

In training tokens are gathered into a fixed number of slots per expert, so that shapes are static and the experts
run as one batched matmul: an expert takes `capacity` times an even share and drops the rest. With `exact` nothing is
dropped (see `dropless`), and no token's result depends on its neighbours in the batch.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx

from sleepmami_jax.models.dropless import dropless
from sleepmami_jax.models.initial import Linear, Rngs, lecun


class MixtureOfExperts(nnx.Module):
    """Experts are two-layer GELU MLPs; the router is float32."""

    def __init__(self, dim: int, hidden: int, experts: int, top_k: int, capacity: float, *, rngs: Rngs):
        if not 1 <= top_k <= experts:
            raise ValueError(f"top_k must lie between 1 and experts={experts}, found {top_k}")
        self.experts, self.top_k, self.capacity = experts, top_k, capacity
        self.router = Linear(dim, experts, use_bias=False, rngs=rngs)
        self.up = nnx.Param(lecun(rngs.params(), (experts, dim, hidden)))
        self.down = nnx.Param(lecun(rngs.params(), (experts, hidden, dim)))

    @jax.named_scope("moe")
    def __call__(
        self,
        x: jax.Array,  # (T, D)
        ok: jax.Array,  # (T,) bool; other tokens take no slot
        *,
        exact: bool = True,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns (T, D) and the router's statistics: `balance`, `z` losses and the `dropped` share."""
        t, e, k = len(x), self.experts, self.top_k
        logits = x.astype(jnp.float32) @ self.router.kernel[...].astype(jnp.float32)  # (T, E)
        probs = jax.nn.softmax(logits, axis=-1)
        gate, expert = jax.lax.top_k(probs, k)  # (T, K)
        gate = gate / gate.sum(-1, keepdims=True)

        chosen = jnp.where(ok[:, None], expert, e).reshape(-1)  # (T*K,), e is nowhere
        up, down = (p[...].astype(x.dtype) for p in (self.up, self.down))
        if exact:
            y, kept = dropless(x, chosen.reshape(t, k), gate, up, down), chosen < e
        else:
            y, kept = self._with_capacity(x, chosen, gate, up, down)

        there = ok.astype(jnp.float32)
        n = jnp.maximum(there.sum(), 1.0)
        load = jax.nn.one_hot(expert[:, 0], e).T @ there / n  # share of tokens whose first choice it is
        importance = probs.T @ there / n
        z = jax.nn.logsumexp(logits, axis=-1) ** 2 @ there / n
        dropped = 1.0 - kept.sum() / (n * k)
        return y, {"balance": e * (load * importance).sum(), "z": z, "dropped": dropped}

    def _with_capacity(self, x, chosen, gate, up, down) -> tuple[jax.Array, jax.Array]:
        """The experts' sum (T, D) and which choices (T*K,) found a slot."""
        t, dim = x.shape
        e, k = self.experts, self.top_k
        slots = min(t, math.ceil(self.capacity * t * k / e))
        one_hot = jax.nn.one_hot(chosen, e, dtype=jnp.int32)  # (T*K, E)
        place = (jnp.cumsum(one_hot, axis=0) * one_hot).sum(-1) - 1  # position in its expert's queue
        kept = (chosen < e) & (place < slots)
        slot = jnp.where(kept, chosen * slots + place, e * slots)
        token = jnp.full(e * slots + 1, t, jnp.int32).at[slot].set(jnp.arange(t * k, dtype=jnp.int32) // k)

        rows = jnp.concatenate([x, jnp.zeros((1, dim), x.dtype)])  # row t is the empty slot
        h = rows[token[:-1]].reshape(e, slots, dim)
        h = jax.nn.gelu(h @ up) @ down  # (E, slots, D)
        h = jnp.concatenate([h.reshape(e * slots, dim), jnp.zeros((1, dim), h.dtype)])
        y = (h[slot].reshape(t, k, dim) * (gate * kept.reshape(t, k))[..., None].astype(h.dtype)).sum(1)
        return y, kept
