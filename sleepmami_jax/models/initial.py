"""How parameters start: numpy draws them.

JAX compiles a program for every shape it draws, ten seconds for a tiny model on two cores before anything is
learnt. Numpy draws at once, and the same numbers on every accelerator.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from flax import nnx


class Rngs:
    """Stands where flax expects `nnx.Rngs`, and hands its generator to the initialisers below.

    With `Rngs(None)` nothing is drawn and nothing takes memory: parameters have their shapes only.
    """

    def __init__(self, seed: int | None):
        self.generator = None if seed is None else np.random.default_rng(seed)

    def params(self) -> np.random.Generator | None:
        return self.generator


def constant(rng: np.random.Generator | None, shape: tuple[int, ...], value: float) -> np.ndarray:
    """Float32, the same number everywhere."""
    return np.broadcast_to(np.float32(value), shape) if rng is None else np.full(shape, value, np.float32)


def normal(rng: np.random.Generator | None, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Float32 normal numbers of standard deviation `scale`."""
    if rng is None:
        return constant(rng, shape, scale)
    return rng.standard_normal(shape, np.float32) * np.float32(scale)


def uniform(rng: np.random.Generator | None, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """Float32 numbers uniform in [low, high)."""
    return constant(rng, shape, low) if rng is None else rng.uniform(low, high, shape).astype(np.float32)


def lecun(rng: np.random.Generator | None, shape: tuple[int, ...], dtype=np.float32) -> np.ndarray:
    """A kernel (..., inputs, outputs) that keeps the variance of its inputs (LeCun et al. 1998)."""
    return normal(rng, shape, shape[-2] ** -0.5)


def zeros(rng: np.random.Generator | None, shape: tuple[int, ...], dtype=np.float32) -> np.ndarray:
    return constant(rng, shape, 0.0)


def ones(rng: np.random.Generator | None, shape: tuple[int, ...], dtype=np.float32) -> np.ndarray:
    return constant(rng, shape, 1.0)


Linear = partial(nnx.Linear, kernel_init=lecun, bias_init=zeros)
RMSNorm = partial(nnx.RMSNorm, scale_init=ones)
