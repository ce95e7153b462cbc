"""The two layers that everything is made of, and how parameters start: numpy draws them.

JAX compiles a program for every shape it draws, ten seconds for a tiny model on two cores before anything is
learnt. Numpy draws at once, and the same numbers on every accelerator.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

MATMUL = "matmul"  # the name of what `ComputeConfig.remat="names"` keeps


class Rngs:
    """Stands where flax expects `nnx.Rngs`, and hands its generator to the initialisers below.

    With `Rngs(None)` nothing is drawn and nothing takes memory: parameters have their shapes only.
    """

    def __init__(self, seed: int | None):
        self.generator = None if seed is None else np.random.default_rng(seed)

    def params(self) -> np.random.Generator | None:
        """The generator, None where nothing is drawn."""
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


def lecun(rng: np.random.Generator | None, shape: tuple[int, ...]) -> np.ndarray:
    """A kernel (..., inputs, outputs) that keeps the variance of its inputs (LeCun et al. 1998)."""
    return normal(rng, shape, shape[-2] ** -0.5)


def zeros(rng: np.random.Generator | None, shape: tuple[int, ...]) -> np.ndarray:
    """Float32."""
    return constant(rng, shape, 0.0)


def ones(rng: np.random.Generator | None, shape: tuple[int, ...]) -> np.ndarray:
    """Float32."""
    return constant(rng, shape, 1.0)


class Linear(nnx.Module):
    """x @ kernel + bias, in the dtype of the kernel whatever the dtype of x.

    All axes but the last are made one: the weight gradient is then one plain matmul, which XLA on CPU runs about
    1.5x faster than the batched form.
    """

    def __init__(self, inputs: int, outputs: int, *, use_bias: bool = True, rngs: Rngs):
        self.kernel = nnx.Param(lecun(rngs.params(), (inputs, outputs)))
        self.bias = nnx.Param(zeros(rngs.params(), (outputs,))) if use_bias else nnx.data(None)

    def __call__(self, x: jax.Array) -> jax.Array:  # (..., inputs) -> (..., outputs)
        kernel = self.kernel[...]
        y = x.reshape(-1, x.shape[-1]).astype(kernel.dtype) @ kernel
        if self.bias is not None:
            y = y + self.bias[...]
        return checkpoint_name(y, MATMUL).reshape(*x.shape[:-1], y.shape[-1])


class RMSNorm(nnx.Module):
    """x over its root mean square (Zhang & Sennrich 2019), computed in float32 and given in the dtype of x."""

    def __init__(self, dim: int, *, rngs: Rngs):
        self.scale = nnx.Param(ones(rngs.params(), (dim,)))

    def __call__(self, x: jax.Array) -> jax.Array:  # (..., D) -> (..., D)
        wide = x.astype(jnp.float32)
        mean = jnp.square(wide).mean(-1, keepdims=True)
        return (wide * (jax.lax.rsqrt(mean + 1e-6) * self.scale[...])).astype(x.dtype)
