"""A mixture of experts: each token goes to its top-k experts (Shazeer et al. 2017; Switch Transformer 2021).

In training tokens are gathered into a fixed number of slots per expert, so that shapes are static and the experts
run as one batched matmul: an expert takes `capacity` times an even share and drops the rest. With `exact` nothing is
dropped (see `dropless`), and no token's result depends on its neighbours in the batch.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from sleepmami_jax.models.dropless import dropless
from sleepmami_jax.models.initial import MATMUL, Linear, Rngs, lecun

EXPERT = "expert"  # the axis of the mesh along which experts are split


@jax.custom_vjp
def take_rows(
    x: jax.Array,  # (N, D)
    rows: jax.Array,  # (M,) int; N and beyond give a row of zeros
    taken_by: jax.Array,  # (N, K) int, every place where `rows` names a row of x; M and beyond are none
) -> jax.Array:  # (M, D)
    """x[rows], with a gradient that is a gather too: scattering rows is slow everywhere, and serial on CPU."""
    return x.at[rows].get(mode="fill", fill_value=0)


def _take_rows_forward(x, rows, taken_by):
    return take_rows(x, rows, taken_by), (rows, taken_by)


def _take_rows_backward(places, gradient):
    rows, taken_by = places
    back = gradient.at[taken_by].get(mode="fill", fill_value=0).sum(1)
    return back, *(np.zeros(v.shape, jax.dtypes.float0) for v in (rows, taken_by))


take_rows.defvjp(_take_rows_forward, _take_rows_backward)


class MixtureOfExperts(nnx.Module):
    """Experts are two-layer GELU MLPs; the router is float32."""

    def __init__(self, dim: int, hidden: int, experts: int, top_k: int, capacity: float, *, rngs: Rngs):
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
        axes=(),
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Tokens (T, D) and the router's statistics, scalars over all devices along the mesh `axes`.

        `balance` (Switch Transformer, eq. 4) and `z` (ST-MoE, eq. 5) are losses; `dropped` is the share of choices
        that found their expert full; `busiest` and `idlest` are the demand for two experts over an even share:
        both 1 for an even router, the number of experts (over top-k) and 0 for one that has collapsed.
        """
        e, k = self.experts, self.top_k
        logits = self.router(x.astype(jnp.float32))  # (T, E)
        probs = jax.nn.softmax(logits, axis=-1)
        gate, expert = jax.lax.top_k(probs, k)  # (T, K)
        gate = gate / gate.sum(-1, keepdims=True)
        chosen = jnp.where(ok[:, None], expert, e)  # (T, K), e is nowhere
        if exact:
            x = x.astype(self.up[...].dtype)
            y, full = dropless(x, chosen, gate, self.up[...], self.down[...]), jnp.zeros(())
        else:
            y, full = self._with_capacity(x, chosen.reshape(-1), gate)

        there = ok.astype(jnp.float32)
        first = jax.nn.one_hot(expert[:, 0], e).T @ there  # tokens whose first choice it is
        n, load, importance, demand, z, full = jax.lax.psum(
            (
                there.sum(),
                first,
                probs.T @ there,
                jax.nn.one_hot(chosen.reshape(-1), e).sum(0),
                jax.nn.logsumexp(logits, axis=-1) ** 2 @ there,
                full,
            ),
            axes,
        )
        n = jnp.maximum(n, 1.0)
        return y, {
            "balance": e * (load * importance).sum() / n**2,
            "z": z / n,
            "dropped": full / (n * k),
            "busiest": demand.max() * e / (n * k),
            "idlest": demand.min() * e / (n * k),
        }

    def _with_capacity(self, x, chosen, gate) -> tuple[jax.Array, jax.Array]:
        """The experts' sum (T, D), and how many choices (T*K,) found no slot."""
        t, dim = x.shape
        e, k = self.experts, self.top_k
        slots = min(t, math.ceil(self.capacity * t * k / e))
        one_hot = jax.nn.one_hot(chosen, e, dtype=jnp.int32)  # (T*K, E)
        place = (jnp.cumsum(one_hot, axis=0) * one_hot).sum(-1) - 1  # position in its expert's queue
        kept = (chosen < e) & (place < slots)
        slot = jnp.where(kept, chosen * slots + place, e * slots)  # (T*K,)
        choice = jnp.full(e * slots + 1, t * k, jnp.int32).at[slot].set(jnp.arange(t * k, dtype=jnp.int32))
        choice = choice[:-1]  # (E*slots,), the choice that sits there; t*k is none

        up, down = self.up[...], self.down[...]
        h = take_rows(x.astype(up.dtype), choice // k, slot.reshape(t, k)).reshape(e, slots, dim)
        away = len(up) < e  # other devices have the other experts
        if away:
            h = jax.lax.all_to_all(h, EXPERT, split_axis=0, concat_axis=1, tiled=True)
        h = jax.nn.gelu(checkpoint_name(h @ up, MATMUL))
        h = checkpoint_name(h @ down, MATMUL)
        if away:
            h = jax.lax.all_to_all(h, EXPERT, split_axis=1, concat_axis=0, tiled=True)
        h = take_rows(h.reshape(e * slots, dim), slot, choice[:, None]).reshape(t, k, dim)
        return (h * gate[..., None].astype(h.dtype)).sum(1), ((chosen < e) & ~kept).sum().astype(jnp.float32)
