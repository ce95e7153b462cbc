"""What a channel looks like: a few numbers of a whole night, and the power of every epoch by band."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.fft

from data_pipeline.modalities import Modality
from data_pipeline.night import EPOCH_S, Channel, Quality
from data_pipeline.population.spectrum import evenly

BANDS_HZ = (0.3, 1.0, 4.0, 8.0, 12.0, 16.0, 30.0, 45.0, 64.0)
"""Edges for what electrodes give, from the high-pass up to half our rate: slow waves, delta, theta, alpha, sigma, beta,
and two of muscle, hum and hiss."""
BREATH_BANDS_HZ = (0.05, 0.15, 0.6, 1.2, 4.0, 16.0)
"""Edges for breathing sensors: below a breath, breaths (9 to 36 a minute), hearts, and what no chest does."""
PULSE_HZ = 16
PULSE_S = (0.4, 1.5)
"""Between heart beats at 150 and 40 a minute."""
PULSE_EVERY = 8
"""Every so many epochs are asked for a pulse."""
MOST_EPOCHS = 240
"""Evenly spaced, are looked at: a median of them is known to a tenth of its spread, in a quarter of the time."""
USABLE_SHARE = 2 / 3
"""Of the seconds of an epoch that its power is taken of."""
FLOOR = 1e-9
SMALLEST_SHARE = 1e-4
"""Of the power: what a filter of the recorder leaves is no smaller or larger."""


@dataclass(frozen=True)
class Look:
    """A channel in numbers.

    Attributes:
      slot, modality: which it is.
      level: log10 of its amplitude (median over epochs of the standard deviation), in the modality's unit.
      shape: (F,) float64, what does not depend on gain or sign: log shares of the bands, log crest, pulse; see `names`.
        NaN for a band that the file's own rate has no room for. Of SpO2: median, spread, steps a minute and share of
        the commonest value.
      powers: (E, bands) float32 log power, NaN in epochs that are not usable or not looked at; (E, 0) of a value.
    """

    slot: str
    modality: Modality
    level: float
    shape: np.ndarray
    powers: np.ndarray


def names(modality: Modality) -> tuple[str, ...]:
    """What the numbers of `Look.shape` are."""
    if modality.facts.is_value:
        return ("median", "spread", "steps a minute", "share of the commonest value")
    return (*(f"{low:g}-{high:g} Hz" for low, high in pairwise(edges(modality))), "crest", "pulse")


def look(channel: Channel) -> Look | None:
    """What a channel looks like; None where no epoch of it is usable."""
    watch = Watch(len(channel.quality))
    watch.add(channel)
    return watch.look()


class Watch:
    """Looks at a channel that passes by in pieces of whole epochs; a rest shorter than one is not looked at."""

    def __init__(self, n_seconds: int) -> None:
        self._n = n_seconds // EPOCH_S
        self._chosen = np.array(evenly(self._n, MOST_EPOCHS) if self._n else [], int)
        self._epochs: list[np.ndarray] = []
        self._quality: list[np.ndarray] = []
        self._seen = 0

    def add(self, piece: Channel) -> None:
        """The next piece. Of a wave the epochs that are looked at are copied, of a value all."""
        n = min(len(piece.quality) // EPOCH_S, self._n - self._seen)
        epochs = piece.samples[: n * EPOCH_S * piece.rate_hz].reshape(n, EPOCH_S * piece.rate_hz)
        if not piece.modality.facts.is_value:
            inside = (self._chosen >= self._seen) & (self._chosen < self._seen + n)
            epochs = epochs[self._chosen[inside] - self._seen]
        self._epochs.append(epochs)
        self._quality.append(piece.quality[: n * EPOCH_S])
        self._seen += n
        self._last = piece

    def look(self) -> Look | None:
        """What all of it looks like; None where no epoch is usable."""
        if self._n == 0:
            return None
        good = (np.concatenate(self._quality) == Quality.GOOD).reshape(self._n, EPOCH_S)
        epochs = np.concatenate(self._epochs)
        if self._last.modality.facts.is_value:
            return _value_look(self._last, good, epochs)
        is_usable = good[self._chosen].mean(axis=1) >= USABLE_SHARE
        usable = self._chosen[is_usable]
        return _wave_look(self._last, self._n, usable, np.nan_to_num(epochs[is_usable])) if len(usable) else None


def _wave_look(channel: Channel, n: int, usable: np.ndarray, epochs: np.ndarray) -> Look:
    """Of a channel of n epochs, by those at the places `usable`: (len(usable), samples)."""
    borders = edges(channel.modality)
    sd = np.maximum(epochs.std(axis=1), FLOOR)
    powers = np.full((n, len(borders) - 1), np.nan, np.float32)
    powers[usable] = np.log(_band_powers(epochs, channel.rate_hz, borders) + FLOOR * sd[:, None] ** 2 + FLOOR**2)
    whole = np.exp(powers[usable].astype(np.float64))
    shares = np.log10(np.median(whole / whole.sum(axis=1, keepdims=True), axis=0) + SMALLEST_SHARE)
    shares[np.array(borders[1:]) > channel.source_rate_hz / 2] = np.nan
    crest = np.log10(np.median(np.abs(epochs).max(axis=1) / sd))
    shape = np.array([*shares, crest, _pulse(epochs[::PULSE_EVERY], channel.rate_hz)])
    return Look(channel.slot, channel.modality, float(np.log10(np.median(sd))), shape, powers)


def edges(modality: Modality) -> tuple[float, ...]:
    """Of the bands of a kind of signal, in Hz."""
    return BANDS_HZ if modality.facts.voltage else BREATH_BANDS_HZ


def _band_powers(epochs: np.ndarray, rate_hz: int, borders: tuple[float, ...]) -> np.ndarray:
    """(n, samples) -> (n, bands) mean power, of a Hann window over each epoch."""
    samples = epochs.shape[1]
    window = np.hanning(samples + 1)[:-1].astype(np.float32)
    spectrum = scipy.fft.rfft((epochs - epochs.mean(axis=1, keepdims=True)) * window, axis=1)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    places = np.round(np.array(borders) * samples / rate_hz).astype(int)
    places[-1] = min(places[-1], power.shape[1])
    sums = np.add.reduceat(power, places[:-1], axis=1)
    sums[:, -1] = power[:, places[-2] : places[-1]].sum(axis=1)
    return sums * (2 / (samples * np.square(window).sum()))


def _pulse(epochs: np.ndarray, rate_hz: int) -> float:
    """How regularly something beats: the median over epochs of the highest autocorrelation of what stands out."""
    factor = max(rate_hz // PULSE_HZ, 1)
    size = epochs.shape[1] // factor * factor
    outline = np.abs(epochs[:, :size] - np.median(epochs, axis=1, keepdims=True)).reshape(len(epochs), -1, factor)
    outline = np.sqrt(outline.max(axis=2))
    outline = outline - outline.mean(axis=1, keepdims=True)
    spectrum = scipy.fft.rfft(outline, 2 * outline.shape[1], axis=1)
    correlation = scipy.fft.irfft(np.square(np.abs(spectrum)), axis=1)
    first, last = (round(lag_s * rate_hz / factor) for lag_s in PULSE_S)
    beats = correlation[:, first : last + 1].max(axis=1) / np.maximum(correlation[:, 0], FLOOR)
    return float(np.clip(np.median(beats), 0, 1))


def _value_look(channel: Channel, good: np.ndarray, epochs: np.ndarray) -> Look | None:
    values = epochs.reshape(-1)[good.reshape(-1)]
    if not len(values):
        return None
    q25, median, q75 = np.percentile(values, (25, 50, 75))
    steps = np.count_nonzero(np.diff(values)) * 60 / len(values)
    commonest = np.unique(np.round(values), return_counts=True)[1].max() / len(values)
    shape = np.array([median, q75 - q25, steps, commonest], np.float64)
    return Look(channel.slot, channel.modality, 0.0, shape, np.empty((len(epochs), 0), np.float32))
