"""Coloured noise for a whole night, made one scoring epoch at a time in the frequency domain.

Blocks of 32 s overlap their neighbours by 2 s and cross-fade with equal power, so a night costs one short
inverse FFT an epoch and a spectrum may change from epoch to epoch without a seam.
"""

import numpy as np
from scipy import fft

from data_pipeline.night import EPOCH_S

FADE_S = 2
BLOCK_S = EPOCH_S + FADE_S
HIGHEST_HZ = 50  # the bins above carry nothing


def block_frequencies_hz(rate_hz: int) -> np.ndarray:
    """(n_bins,) float32 centre frequencies of the bins that `colour` fills, from 0 up to `HIGHEST_HZ`."""
    return np.arange(int(min(HIGHEST_HZ, 0.45 * rate_hz) * BLOCK_S), dtype=np.float32) / BLOCK_S


def white_spectrum(rng: np.random.Generator, n_epochs: int, rate_hz: int) -> np.ndarray:
    """(n_epochs, n_bins) complex64 Gaussian noise; `colour` turns unit density (1 / Hz) into unit power."""
    n_bins = len(block_frequencies_hz(rate_hz))
    return rng.standard_normal((n_epochs, 2 * n_bins), dtype=np.float32).view(np.complex64)


def colour(white: np.ndarray, amplitude: np.ndarray, rate_hz: int) -> np.ndarray:
    """Shapes white spectra and joins them into one signal.

    Args:
      white: (n_epochs, n_bins) complex64 from `white_spectrum`.
      amplitude: (n_epochs, n_bins) float32 square root of the one-sided power density, unit / sqrt(Hz).
      rate_hz: sampling rate of the result.

    Returns:
      (n_epochs * 30 * rate_hz,) float32 in the unit of `amplitude`.
    """
    length, fade = BLOCK_S * rate_hz, FADE_S * rate_hz
    # Power of one bin: 2 |X|² / length² with E|X|² = 2 scale², over a bin of 1 / BLOCK_S Hz.
    scale = np.float32(length / (2 * np.sqrt(BLOCK_S)))
    blocks = fft.irfft(white * (amplitude * scale), n=length, axis=1)
    ramp = np.sin(np.linspace(0, np.pi / 2, fade, dtype=np.float32))
    blocks[:, :fade] *= ramp
    blocks[:, -fade:] *= ramp[::-1]
    body = blocks[:, :-fade]
    body[1:, :fade] += blocks[:-1, -fade:]
    signal = np.concatenate([body.ravel(), blocks[-1, -fade:]])
    half = fade // 2
    return signal[half : half + len(white) * EPOCH_S * rate_hz]


def bump(frequencies_hz: np.ndarray, centre_hz: float, width_hz: float) -> np.ndarray:
    """(n_bins,) float32 Gaussian power density of unit power."""
    density = np.exp(-0.5 * ((frequencies_hz - centre_hz) / width_hz) ** 2)
    return (density / (density.sum() / BLOCK_S)).astype(np.float32)
