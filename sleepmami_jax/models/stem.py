"""What a scorer measures of a signal, measured once and kept: log power in bands, at the pace of what happens in them.

A filterbank: filter, square, logarithm. Windows are longer than a token and overlap their neighbours, so that a spindle
that lies across two seconds is whole in one of them, and waves below 1 Hz have a place. The filters are fixed: nothing
here is learnt, and what the Micro-Encoder makes of these features stands beside them in its tokens and not in their
place (see `models.micro`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from data_pipeline.modalities import RATE_HZ, Modality
from data_pipeline.night import EPOCH_S
from data_pipeline.tasks import FAST_HZ

POWER_FLOOR = 1e-6  # of a signal in robust standard deviations: keeps the logarithm of silence finite


@dataclass(frozen=True)
class Look:
    """One way of looking at a signal: the power of a Hann window in bands, again and again.

    Attributes:
      window_s: its length; bins of the spectrum are 1 / window_s Hz apart.
      hop_s: seconds from one window to the next.
      bands_hz: (first, last) frequency of each band, both included.
    """

    window_s: float
    hop_s: Fraction
    bands_hz: tuple[tuple[float, float], ...]


def _between(*edges_hz: float) -> tuple[tuple[float, float], ...]:
    """Bands from one edge up to just below the next."""
    return tuple((low, high - 1e-6) for low, high in pairwise(edges_hz))


FAST = Look(1, Fraction(1, FAST_HZ), ((1, 4), (7, 10), (11, 12), (13, 15), (18, 24)))
"""Delta, alpha, slow and fast sigma, beta of the EEG: what tells a spindle or a K-complex from its surroundings."""
LOOKS = {
    Modality.EEG: (
        FAST,
        Look(4, Fraction(1), _between(0.25, 0.5, 1)),
        Look(2, Fraction(1), _between(1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 25, 30, 40)),
    ),
    Modality.EOG: (
        Look(1, Fraction(1, 2), _between(1, 4, 8)),
        Look(4, Fraction(2), _between(0.25, 0.5, 1, 2, 4, 8, 12, 16, 30)),
    ),
    Modality.EMG: (
        Look(0.5, Fraction(1, 2), _between(10, 20, 40)),
        Look(2, Fraction(2), _between(5, 10, 15, 20, 30, 45, 60)),
    ),
    Modality.ECG: (Look(5, Fraction(5), _between(0.6, 0.8, 1, 1.2, 1.4, 1.6, 1.8, 2.2, 3, 5, 10, 20, 40)),),
    Modality.RESP: (
        Look(4, Fraction(1), _between(0.25, 1)),
        Look(2, Fraction(1), _between(0.5, 1, 2, 4, 8, 15)),
        Look(8, Fraction(2), _between(0.125, 0.25, 0.375, 0.5, 0.75, 1)),
    ),
    Modality.SPO2: (Look(10, Fraction(5), _between(0.1, 0.2, 0.3, 0.51)),),
}
"""Of each modality; one that is not here is looked at as `plain_look` says. Our choice of bands: a hertz wide where
stages and spindles differ in the EEG, the pace of breaths and beats where those are recorded."""
_MOST_BANDS = 12
MOST_BINS = 4
"""Of a band, evenly spread: a window hears twice as far as its bins lie apart, and each is a column of a matmul."""


def plain_look(rate_hz: int, token_s: int) -> Look:
    """A token's own spectrum in bands that widen with frequency."""
    last = token_s * rate_hz // 2
    edges = np.unique(np.round(np.geomspace(1, last + 1, min(_MOST_BANDS, last) + 1)).astype(int)) / token_s
    return Look(token_s, Fraction(token_s), _between(*map(float, edges)))


@lru_cache
def looks_of(modality: Modality, token_s: int) -> tuple[Look, ...]:
    """How a modality is looked at whose tokens are so long: a whole number of looks falls into each."""
    looks = LOOKS.get(modality, (plain_look(RATE_HZ[modality], token_s),))
    return tuple(Look(look.window_s, _common(look.hop_s, token_s), look.bands_hz) for look in looks)


def _common(hop_s: Fraction, token_s: int) -> Fraction:
    return Fraction(math.gcd(hop_s.numerator, token_s * hop_s.denominator), hop_s.denominator)


def n_features(modality: Modality, token_s: int) -> int:
    """How many numbers `features` gives for a token.

    >>> n_features(Modality.EEG, 1)
    63
    """
    return sum(len(look.bands_hz) * int(token_s / look.hop_s) for look in looks_of(modality, token_s))


def features(
    signal: jax.Array,  # (B, C, T) one epoch each
    usable: jax.Array,  # (B, C, 30)
    modality: Modality,
    token_s: int,
) -> jax.Array:  # (B, C, n, F)
    """Log amplitude of every look at every token, about 0 on average; not differentiated.

    A window that reaches over unusable seconds counts the power of the others; one that reaches over the epoch's ends
    sees the epoch reflected there.
    """
    n = EPOCH_S // token_s
    parts = [_powers(signal, usable, look, RATE_HZ[modality]) for look in looks_of(modality, token_s)]
    shaped = [p.reshape(*p.shape[:2], n, -1) for p in parts]
    # Power spans many decades; a quarter of its logarithm is of unit size.
    return lax.stop_gradient(0.25 * jnp.log(jnp.concatenate(shaped, -1) + POWER_FLOOR) + 0.5)


def _powers(signal: jax.Array, usable: jax.Array, look: Look, rate_hz: int) -> jax.Array:
    """(B, C, T), (B, C, 30) -> (B, C, looks, bands): mean power of a bin; 1 for white noise of unit variance."""
    wave, band, energy = filters(look, rate_hz)
    b, c, _ = signal.shape
    x = jnp.pad(_heard(signal, usable).reshape(b * c, -1), ((0, 0), _margins(look, rate_hz)), mode="reflect")
    stride, order = int(look.hop_s * rate_hz), ("NWC", "WIO", "NWC")
    both = lax.conv_general_dilated(x[..., None], wave[:, None], (stride,), "VALID", dimension_numbers=order) ** 2
    power = (both[..., : len(band)] + both[..., len(band) :]) @ band  # of cosines, and of sines
    seen = usable.reshape(b * c, EPOCH_S).astype(jnp.float32) @ energy  # (B * C, looks) share of the window's energy
    return (power / jnp.maximum(seen, 0.1)[..., None]).reshape(b, c, -1, band.shape[1])


def _heard(signal: jax.Array, usable: jax.Array) -> jax.Array:
    """The signal about its mean, 0 in unusable seconds, so that a level is no step beside them: (B, C, 30, rate)."""
    there = usable[..., None]
    x = jnp.where(there, signal.astype(jnp.float32).reshape(*usable.shape, -1), 0.0)
    level = x.sum((2, 3), keepdims=True) / jnp.maximum(there.sum((2, 3), keepdims=True) * x.shape[-1], 1)
    return jnp.where(there, x - level, 0.0)


def _margins(look: Look, rate_hz: int) -> tuple[int, int]:
    """Samples before and after an epoch that its first and last window reach over."""
    beyond = round(look.window_s * rate_hz) - int(look.hop_s * rate_hz)
    return beyond // 2, beyond - beyond // 2


@lru_cache
def filters(look: Look, rate_hz: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosines and sines (window, 2 bins) under a Hann window of unit energy, mean over bands (bins, bands), and the
    share of each look's energy that lies in each second (30, looks). Bins of no band are left out."""
    window = round(look.window_s * rate_hz)
    bins_hz = np.arange(window // 2 + 1) / look.window_s
    inside = np.zeros((len(bins_hz), len(look.bands_hz)), bool)
    for i, (low, high) in enumerate(look.bands_hz):
        bins = np.flatnonzero((bins_hz >= low) & (bins_hz <= high))
        if not len(bins):
            raise ValueError(f"{low} to {high} Hz of {look} holds no bin; expected a wider band or a longer window")
        inside[bins[np.linspace(0, len(bins) - 1, min(len(bins), MOST_BINS)).astype(int)], i] = True
    kept = inside.any(1)
    taper = np.hanning(window + 2)[1:-1]
    taper /= np.sqrt((taper**2).sum())
    angle = 2 * np.pi * np.arange(window)[:, None] / window * np.flatnonzero(kept)
    wave = taper[:, None] * np.concatenate([np.cos(angle), np.sin(angle)], 1)
    wave -= wave.mean(0) * taper[:, None] / taper.mean()  # blind to a constant
    wave /= np.tile(np.sqrt((wave**2).sum(0).reshape(2, -1).sum(0)), 2)  # white noise has power 1 in every bin
    second = np.pad(np.arange(EPOCH_S).repeat(rate_hz), _margins(look, rate_hz), mode="reflect")
    reached = np.lib.stride_tricks.sliding_window_view(second, window)[:: int(look.hop_s * rate_hz)]
    energy = (reached == np.arange(EPOCH_S)[:, None, None]) @ taper**2
    band = inside[kept] / inside[kept].sum(0)
    return wave.astype(np.float32), band.astype(np.float32), energy.astype(np.float32)
