"""Patches of a signal become tokens.

A token sees its patch twice: as samples, and as log power in bands (`models.stem`). A narrow network cannot square its
inputs cheaply, and what a scorer looks at in EEG (delta, alpha, sigma) is power. Each has half of the features before
they are mixed: added to each other, samples, which depend on phase, drown the power of a spindle.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sleepmami_jax.models.initial import Linear, Rngs, normal


def time_code(n: int, dim: int) -> np.ndarray:
    """(n, dim) sinusoidal positions (Vaswani et al. 2017), float32."""
    rate = np.exp(-np.log(1e4) * np.arange(0, dim, 2) / dim)
    angle = np.arange(n)[:, None] * rate
    return np.concatenate([np.sin(angle), np.cos(angle)], -1)[:, :dim].astype(np.float32)


class Tokenizer(nnx.Module):
    """Tokens of the channels of one modality. A channel is known by its slot, so any subset may be there."""

    def __init__(self, samples: int, features: int, slots: int, tokens: int, dim: int, *, rngs: Rngs):
        self.tokens, self.dim = tokens, dim
        self.amplitude = Linear(samples, dim // 2, rngs=rngs)
        self.spectrum = Linear(features, dim - dim // 2, rngs=rngs)
        self.mix = Linear(dim, dim, rngs=rngs)
        self.slot = nnx.Param(normal(rngs.params(), (slots, dim), 0.02))

    def __call__(
        self,
        patches: jax.Array,  # (B, C, K, P) float32
        features: jax.Array,  # (B, C, K, F) float32, see `stem.features`
        place: jax.Array,  # (B, K) int, which of the epoch's tokens each is
    ) -> jax.Array:  # (B, C, K, D)
        parts = self.amplitude(patches), self.spectrum(features)
        h = self.mix(jax.nn.gelu(jnp.concatenate(parts, -1)))
        times = jnp.asarray(time_code(self.tokens, self.dim), h.dtype)[place]
        return h + self.slot[...][:, None, :] + times[:, None]
