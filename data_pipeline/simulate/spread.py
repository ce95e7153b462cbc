"""How `variety` widens a draw: 0 draws the middle, 1 the whole range, and values between a part of it."""

import numpy as np
from scipy import signal


def between(rng: np.random.Generator, low: float, high: float, variety: float) -> float:
    """Uniform around the middle of `low` … `high`, over the share `variety` of that range."""
    return float((low + high) / 2 + variety * (high - low) * (rng.random() - 0.5))


def correlated(rng: np.random.Generator, shape: tuple[int, int], rho: float) -> np.ndarray:
    """(n, k) float32 rows of unit variance, each `rho` of the row before plus fresh noise (AR(1))."""
    rows = rng.standard_normal(shape, dtype=np.float32)
    rows[1:] *= np.float32(np.sqrt(1 - rho**2))
    return signal.lfilter([1.0], [1.0, -rho], rows, axis=0).astype(np.float32)
