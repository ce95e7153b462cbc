"""How one channel of one night is measured: for storing it as int16, and for normalising it.

The step of the int16 must be known before the first sample is stored; it comes from pieces of the night. Median
and IQR come from the whole night as it passes by.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from data_pipeline.night import Channel, Night, Quality, blocks, survey

INT16_MAX = 32767
_HEADROOM = 8.0
"""The int16 range reaches this many times as far as the middle 99.9 % of good samples, so that only lead-off
transients are cut. For a normal signal a step is then 1/1200 of the standard deviation: quantisation noise lies
73 dB below the signal, a recorder's own noise 20 to 40 dB. Finer steps would store noise, and noise is what does
not compress."""
PERCENTILE_SAMPLES = 250_000
"""Percentiles of a night are those of about so many of its samples, evenly spaced: the middle 50 % is known to a
fifth of a per cent, in a tenth of the time."""
IQR_OF_NORMAL = 1.349  # interquartile range of a standard normal distribution


@dataclass(frozen=True)
class ChannelScale:
    """How one channel of one night is measured: for normalising (median, IQR) and for storing (scale,
    offset).

    Attributes:
      median, iqr: of the finite samples of good seconds, in the channel's unit; None when there are none.
      scale, offset: a stored value is `stored * scale + offset` in the channel's unit.
      clipped_samples: finite samples of good seconds that lie outside what int16 reaches at this scale.
    """

    median: float | None
    iqr: float | None
    scale: float
    offset: float
    clipped_samples: int


def second_quality(channel: Channel) -> np.ndarray:
    """(duration_s,) uint8 flags of each second, with `Quality.GAP` added where any sample is not finite."""
    if np.isfinite(channel.samples.sum()):  # so is each of them
        return channel.quality
    finite = np.isfinite(channel.samples).reshape(len(channel.quality), channel.rate_hz).all(-1)
    return np.where(finite, channel.quality, channel.quality | Quality.GAP).astype(np.uint8)


def channel_scale(channel: Channel) -> ChannelScale:
    """Robust scale of a channel over its good seconds. Deterministic; a constant channel gets scale 1."""
    meter = Meter(len(channel.quality), *(_robust_range([channel]) or _full_range([channel])))
    meter.add(channel)
    return meter.scale()


def storage_ranges(night: Night) -> dict[str, tuple[float, float]]:
    """Scale and offset of each slot, from pieces of the night; from all of it where they show no spread.

    Args:
      night: anything with `duration_s` and `read`.
    """
    surveyed = zip(*(night.read(*span) for span in survey(night.duration_s)), strict=True)
    ranges = {pieces[0].slot: _robust_range(pieces) for pieces in surveyed}
    for slot in [slot for slot, range_ in ranges.items() if range_ is None]:
        everything = (c for span in blocks(night.duration_s) for c in night.read(*span) if c.slot == slot)
        ranges[slot] = _full_range(everything)
    return ranges


def _robust_range(pieces: Iterable[Channel]) -> tuple[float, float] | None:
    """Scale and offset by the middle 99.9 % of good samples; None where they are all one value, or none is good."""
    pieces = list(pieces)
    if (stored := pieces[0].modality.facts.stored) is not None:
        return _range(*stored)
    values = np.concatenate([_good(piece) for piece in pieces])
    if not values.size:
        return None
    if pieces[0].modality.facts.is_code:  # steps of 2**-7 or a larger power of two, which store a code as it is
        reach = max(1.0, float(np.abs(values).max())) * _HEADROOM
        return 2.0 ** max(-7, int(np.ceil(np.log2(reach / INT16_MAX)))), 0.0
    sample = values[:: max(1, values.size // PERCENTILE_SAMPLES)]
    low, high = map(float, np.percentile(sample, (0.05, 99.95)))
    return _range(_HEADROOM * (high - low) / 2, (low + high) / 2) if high > low else None


def _full_range(pieces: Iterable[Channel]) -> tuple[float, float]:
    """Scale and offset that reach every finite sample."""
    extremes = [(x.min(), x.max()) for x in map(_finite, pieces) if x.size]
    if not extremes:
        return 1.0, 0.0
    low, high = float(min(e[0] for e in extremes)), float(max(e[1] for e in extremes))
    return _range((high - low) / 2, (low + high) / 2) if high > low else (1.0, low)


def _range(reach: float, offset: float) -> tuple[float, float]:
    """Scale and offset as float32 has them, which is what samples are divided by."""
    return float(np.float32(reach / INT16_MAX)), float(np.float32(offset))


def _good(piece: Channel) -> np.ndarray:
    seconds = piece.samples.reshape(len(piece.quality), piece.rate_hz)
    return seconds[second_quality(piece) == Quality.GOOD].ravel()


def _finite(piece: Channel) -> np.ndarray:
    return piece.samples[np.isfinite(piece.samples)]


class Meter:
    """Measures a channel that passes by in pieces."""

    def __init__(self, n_seconds: int, scale: float, offset: float) -> None:
        self._n_seconds, self._scale, self._offset = n_seconds, scale, offset
        self._quality: list[np.ndarray] = []
        self._sample: list[np.ndarray] = []
        self._seen = self._clipped = 0

    def add(self, piece: Channel) -> None:
        """Adds the next piece, whole seconds."""
        quality = second_quality(piece)
        good = quality == Quality.GOOD
        step = max(1, self._n_seconds * piece.rate_hz // PERCENTILE_SAMPLES)
        places = np.arange(-self._seen % step, len(piece.samples), step)
        self._sample.append(piece.samples[places[good[places // piece.rate_hz]]])
        reach = np.float32(self._scale * (INT16_MAX + 0.5))
        furthest = np.abs(piece.samples.reshape(len(good), -1)[good] - np.float32(self._offset))
        self._clipped += int(np.count_nonzero(furthest > reach))
        self._quality.append(quality)
        self._seen += len(piece.samples)

    @property
    def quality(self) -> np.ndarray:
        """(seconds seen,) uint8, see `second_quality`."""
        return np.concatenate(self._quality)

    def scale(self) -> ChannelScale:
        sample = np.concatenate(self._sample)
        median = iqr = None
        if sample.size:
            q25, median, q75 = map(float, np.percentile(sample, (25, 50, 75)))
            iqr = q75 - q25
        return ChannelScale(median, iqr, self._scale, self._offset, self._clipped)
