"""Patches of a signal become tokens.

A token sees its patch twice: as samples, and as log power in bands. A narrow network cannot square its inputs
cheaply, and what a scorer looks at in EEG (delta, alpha, sigma) is power. Each has half of the features before they
are mixed: added to each other, samples, which depend on phase, drown the power of a spindle.
"""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sleepmami_jax.models.initial import Linear, Rngs, normal

POWER_FLOOR = 1e-4  # of a signal in robust standard deviations: keeps the logarithm of silence finite


def band_edges(samples: int, most: int = 24) -> np.ndarray:
    """Edges of log-spaced bands, in bins of the patch's spectrum (bin i is i/token_s Hz); bin 0 is left out."""
    last = samples // 2 + 1
    return np.unique(np.round(np.geomspace(1, last, min(most, last - 1) + 1)).astype(int))


def spectrum_matrices(samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosine and sine (samples, bins) of a Hann-windowed DFT, and the mean over bands (bins, bands), float32.

    A matmul rather than an FFT: patches are short, and matmuls run everywhere.
    """
    n = np.arange(samples)
    window = np.hanning(samples + 2)[1:-1] if samples > 2 else np.ones(samples)
    window = window / np.sqrt((window**2).sum())
    bins = np.arange(samples // 2 + 1)
    angle = 2 * np.pi * np.outer(n, bins) / samples
    edges = band_edges(samples)
    bands = np.zeros((len(bins), len(edges) - 1))
    for i, (low, high) in enumerate(pairwise(edges)):
        bands[low:high, i] = 1.0 / (high - low)
    cosine, sine = window[:, None] * np.cos(angle), window[:, None] * np.sin(angle)
    return tuple(a.astype(np.float32) for a in (cosine, sine, bands))


def n_bands(samples: int) -> int:
    """How many bands `log_spectrum` gives for a patch of so many samples.

    >>> n_bands(128)
    19
    """
    return len(band_edges(samples)) - 1


def log_spectrum(patches: jax.Array) -> jax.Array:
    """(..., P) samples -> (..., bands) natural log of mean power in log-spaced bands."""
    cosine, sine, bands = spectrum_matrices(patches.shape[-1])
    centred = patches - patches.mean(-1, keepdims=True)
    power = (centred @ cosine) ** 2 + (centred @ sine) ** 2
    return jnp.log(power @ bands + POWER_FLOOR)


def time_code(n: int, dim: int) -> np.ndarray:
    """(n, dim) sinusoidal positions (Vaswani et al. 2017), float32."""
    rate = np.exp(-np.log(1e4) * np.arange(0, dim, 2) / dim)
    angle = np.arange(n)[:, None] * rate
    return np.concatenate([np.sin(angle), np.cos(angle)], -1)[:, :dim].astype(np.float32)


class Tokenizer(nnx.Module):
    """Tokens of the channels of one modality. A channel is known by its slot, so any subset may be there."""

    def __init__(self, samples: int, slots: int, tokens: int, dim: int, *, rngs: Rngs):
        self.tokens, self.dim = tokens, dim
        self.amplitude = Linear(samples, dim // 2, rngs=rngs)
        self.spectrum = Linear(n_bands(samples), dim - dim // 2, rngs=rngs)
        self.mix = Linear(dim, dim, rngs=rngs)
        self.slot = nnx.Param(normal(rngs.params(), (slots, dim), 0.02))

    def __call__(
        self,
        patches: jax.Array,  # (B, C, K, P) float32
        place: jax.Array,  # (B, K) int, which of the epoch's tokens each is
    ) -> jax.Array:  # (B, C, K, D)
        parts = self.amplitude(patches), self.spectrum(0.5 * log_spectrum(patches))
        h = self.mix(jax.nn.gelu(jnp.concatenate(parts, -1)))
        times = jnp.asarray(time_code(self.tokens, self.dim), h.dtype)[place]
        return h + self.slot[...][:, None, :] + times[:, None]
