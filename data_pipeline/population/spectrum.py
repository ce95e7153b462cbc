"""Power in the usual EEG bands, from a few epochs of a prepared night."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import scipy.fft

from data_pipeline.night import EPOCH_S, Quality
from data_pipeline.shards.files import open_shard, read_epochs
from data_pipeline.shards.manifest import NightEntry

BANDS_HZ = {"delta": (0.5, 4), "theta": (4, 8), "alpha": (8, 12), "sigma": (12, 16), "beta": (16, 30)}
"""Half-open bands. They are taken of electrodes on the head, whose high-pass (0.3 Hz) leaves them whole."""
EPOCHS = 24
"""Epochs of a night that are read, evenly spaced: twelve minutes, a fortieth of eight hours."""
_SEGMENT_S, _STEP_S = 4, 2  # Welch: Hann windows that overlap by half, lines 0.25 Hz apart


def evenly(n: int, most: int) -> list[int]:
    """At most `most` of n places, evenly spaced, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, n - 1, min(n, most))})


def band_powers(folder: Path, night: NightEntry) -> dict[str, np.ndarray]:
    """Slot -> (bands,) float64, the median power over segments of good seconds, in uV^2; a silent slot is left out.

    Args:
      folder: where the night's shard lies.
      night: its entry in the manifest.
    Raises:
      ValueError: the shard is missing or damaged; it is named.
    """
    usable = {channel.slot for channel in night.channels if channel.normalisable()}
    path = folder / night.shard
    reader = open_shard(path, night.n_epochs)
    segments = defaultdict(list)
    for place in evenly(night.n_epochs, EPOCHS):
        (epoch,) = read_epochs(reader, path, night.night_id, place, place + 1)
        for packed in epoch.signals:
            if packed.modality.facts.on_head:
                for slot, samples, quality in zip(packed.slots, packed.physical(), packed.quality, strict=True):
                    if slot in usable:
                        segments[slot].append(_segment_powers(samples, quality, packed.modality.facts.rate_hz))
    stacked = {slot: np.concatenate(powers) for slot, powers in segments.items()}
    medians = {slot: np.median(powers, axis=0) for slot, powers in stacked.items() if len(powers)}
    return {slot: power for slot, power in medians.items() if power.sum() > 0}


def _segment_powers(samples: np.ndarray, quality: np.ndarray, rate_hz: int) -> np.ndarray:
    """(segments, bands) power in those segments of an epoch that have good seconds only.

    samples: (30 * rate,) in uV; quality: (30,).
    """
    seconds = np.arange(0, EPOCH_S - _SEGMENT_S + 1, _STEP_S)[:, None] + np.arange(_SEGMENT_S)
    seconds = seconds[(quality[seconds] == Quality.GOOD).all(axis=1)]
    if not len(seconds):
        return np.empty((0, len(BANDS_HZ)))
    pieces = samples.reshape(EPOCH_S, rate_hz)[seconds].reshape(len(seconds), -1)
    pieces = pieces.astype(np.float64) - pieces.mean(axis=1, keepdims=True)
    window = np.hanning(pieces.shape[1] + 1)[:-1]
    spectrum = scipy.fft.rfft(pieces * window, axis=1)
    power = 2 * np.abs(spectrum) ** 2 / (np.square(window).sum() * pieces.shape[1])  # one-sided, of each line
    frequencies = np.arange(power.shape[1]) / _SEGMENT_S
    inside = [(frequencies >= low) & (frequencies < high) for low, high in BANDS_HZ.values()]
    return np.stack([power[:, band].sum(axis=1) for band in inside], axis=1)
