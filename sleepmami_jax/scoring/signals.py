"""The night's signals as a page can carry them: fewer samples, 8 bits each, in blocks that are unpacked when looked at.

What would make the page too large is left out, first what lies far from any event, and the page says so.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from data_pipeline.modalities import Modality
from data_pipeline.night import BLOCK_S, Channel, Night, Quality, survey
from sleepmami_jax.scoring.rates import BREATH_RATE_HZ, STEP_S, beats_per_min, breaths_per_min

SHOWN_HZ = {
    Modality.EEG: 64,
    Modality.EOG: 32,
    Modality.EMG: 32,
    Modality.ECG: 64,
    Modality.RESP: 8,
    Modality.SPO2: 1,
    Modality.PPG: 16,
    Modality.SNORE: 16,
}
"""Samples a second on the page: enough to see a spindle, a breath, a beat (our choice). A code is no wave: not here."""
SHOWN_BLOCK_S = 120
NEAR_S = 30
"""Signals from so long before an event to so long after it are the last to be left out."""
MOST_BYTES = 7_000_000
"""Of all signals on a page, as text; of a night the rest of it stays below 1 MB."""
UNUSABLE = -128
SPO2_OFFSET, SPO2_STEP = 70.0, 0.25
"""40 to 100 % in the 8 bits."""
SHOWN_PERCENTILE = 99.0
"""Of the amplitudes: what a lane shows without being cut."""
REACHES = 4
"""The 8 bits reach so many times as far, in steps of less than a pixel."""


@dataclass
class Shown:
    """A channel on the page.

    Attributes:
      rate_hz: samples a second.
      offset, step: a value is `offset + step * sample`, in the channel's unit.
      reach: what fills half a lane, in the channel's unit.
      blocks: of 120 s each, base64 of the deflated differences of int8 samples; None is left out.
    """

    slot: str
    modality: Modality
    rate_hz: int
    offset: float
    step: float
    reach: float
    blocks: list[str | None] = field(default_factory=list)


@dataclass(frozen=True)
class Signals:
    """What one reading of a night gives: the channels on the page, and the rates (T / 10 s,) with NaN."""

    shown: tuple[Shown, ...]
    breaths_per_min: np.ndarray
    beats_per_min: np.ndarray


def read_signals(night: Night) -> Signals:
    """Reads a night once, 10 minutes at a time."""
    shown = tuple(_scaled(night))
    of_slot = {one.slot: one for one in shown}
    heart = next((m for m in (Modality.ECG, Modality.PPG) if any(c.modality == m for c in night.channels)), None)
    breaths: dict[str, list[np.ndarray]] = {}
    beats: list[np.ndarray] = []
    for start_s in range(0, night.duration_s, BLOCK_S):
        for channel in night.read(start_s, min(start_s + BLOCK_S, night.duration_s)):
            usable = channel.quality == Quality.GOOD
            if channel.slot in of_slot:
                of_slot[channel.slot].blocks += _packed(of_slot[channel.slot], channel, usable)
            if channel.modality is Modality.RESP:
                slow = _slower(channel, BREATH_RATE_HZ).astype(np.float64)
                slow[~np.repeat(usable, BREATH_RATE_HZ)] = np.nan
                breaths.setdefault(channel.slot, []).append(slow)
            if channel.modality is heart:
                beats.append(beats_per_min(channel.samples, channel.rate_hz, usable))
    steps = night.duration_s // STEP_S
    found = breaths_per_min([np.concatenate(parts) for parts in breaths.values()])
    return Signals(
        shown,
        found if len(found) else np.full(steps, np.nan),
        np.concatenate(beats) if beats else np.full(steps, np.nan),
    )


def fitted(shown: Sequence[Shown], near: dict[str, Sequence[tuple[float, float]]], most: int) -> list[str]:
    """Leaves out blocks until the rest is at most `most` bytes, and says what, a sentence a channel.

    Kept first is what lies within `NEAR_S` of what is to be seen in a channel, and of each modality its first channel.

    Args:
      near: slot -> (onset_s, end_s) of what it decided.
    """
    seen: dict[Modality, int] = {}
    order = []
    for one in shown:
        place = seen[one.modality] = seen.get(one.modality, 0) + 1
        wanted = np.zeros(len(one.blocks) + 1, bool)
        for onset_s, end_s in near.get(one.slot, ()):
            first, last = (int(max(t, 0) // SHOWN_BLOCK_S) for t in (onset_s - NEAR_S, end_s + NEAR_S))
            wanted[first : last + 1] = True
        order += [(not wanted[k], place, k, one) for k in range(len(one.blocks))]
    left = most
    for _, _, k, one in sorted(order, key=lambda entry: entry[:3]):
        left -= len(one.blocks[k] or "")
        if left < 0:
            one.blocks[k] = None
    lost = {one.slot: sum(block is None for block in one.blocks) / max(len(one.blocks), 1) for one in shown}
    return [f"{slot}: {100 * share:.0f} % of the night" for slot, share in lost.items() if share]


def _scaled(night: Night) -> Iterator[Shown]:
    """The channels of the page, without their blocks, scaled by pieces of the whole night."""
    pieces = [night.read(start_s, stop_s) for start_s, stop_s in survey(night.duration_s)]
    for place, channel in enumerate(night.channels):
        rate_hz = SHOWN_HZ.get(channel.modality)
        if rate_hz is None:
            continue
        if channel.modality is Modality.SPO2:
            yield Shown(channel.slot, channel.modality, rate_hz, SPO2_OFFSET, SPO2_STEP, 0.0)
            continue
        own = [piece[place] for piece in pieces]
        good = np.concatenate([c.samples[np.repeat(c.quality == Quality.GOOD, c.rate_hz)] for c in own])
        if np.isnan(good).any():  # a night whose waves were let go has none to show
            continue
        reach = float(np.percentile(np.abs(good), SHOWN_PERCENTILE)) if len(good) else 1.0
        reach = float(f"{reach or 1.0:.2g}")  # a scale that reads well
        yield Shown(channel.slot, channel.modality, rate_hz, 0.0, REACHES * reach / 127, reach)


def _slower(channel: Channel, rate_hz: int) -> np.ndarray:
    """(S * rate_hz,) means of neighbours. Of an EMG every so many samples are taken: a mean would hide its size."""
    every = channel.rate_hz // rate_hz
    if channel.modality is Modality.EMG:
        return channel.samples[::every]
    return sum(channel.samples[k::every] for k in range(every)) / every  # ten times as fast as a mean of short rows


def _packed(one: Shown, channel: Channel, usable: np.ndarray) -> Iterator[str]:
    samples = np.nan_to_num((_slower(channel, one.rate_hz) - one.offset) / one.step)
    quantised = np.clip(np.rint(samples), -127, 127).astype(np.int8)
    quantised[~np.repeat(usable, one.rate_hz)] = UNUSABLE
    n = SHOWN_BLOCK_S * one.rate_hz
    for start in range(0, len(quantised), n):
        block = quantised[start : start + n]
        squeeze = zlib.compressobj(wbits=-15, strategy=zlib.Z_HUFFMAN_ONLY)  # noise has nothing that comes again
        packed = squeeze.compress(np.diff(block, prepend=np.int8(0)).tobytes()) + squeeze.flush()
        yield b64encode(packed).decode("ascii")
