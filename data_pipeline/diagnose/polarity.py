"""Which way up the channels are, as far as the signals themselves can tell.

The ECG and the eyes can be checked. EEG cannot be by itself: K-complexes are rare and both ways round in places.
Breathing has no agreed direction, so there is nothing to check: belts and flow sensors of every laboratory differ.
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from data_pipeline.night import EPOCH_S, Channel, Quality

R_SHARE = 0.8
"""Share of seconds in which the larger deflection points one way that settles where R waves point."""
R_RATIO = 1.3
"""How much larger it must be: between the two a QRS is biphasic, and no direction is right."""
OPPOSITE, IN_PHASE = -0.5, 0.5
"""Correlation of the two eyes over an epoch. Conjugate eye movements drive E1 and E2 apart (AASM manual: that is what
the two leads are for); slow waves of the frontal EEG drive both together."""
OPPOSITE_SHARE = 0.01
"""Share of epochs that eye movements make opposite in any night with wake or REM in it."""
EYES_EPOCHS = 60
"""Epochs below which the absence of eye movements says nothing."""


class Polarity(StrEnum):
    """What the signals say of their polarity, in words for a person."""

    R_UP = "R waves point up"
    R_DOWN = "R waves point down; in lead II they point up, so it is turned over or another lead"
    R_BOTH = "R waves point both ways"
    R_UNSEEN = "no usable second to tell by"
    EYES_APART = "eye movements drive E1 and E2 apart, as they should"
    EYES_TOGETHER = "E1 and E2 move together and never apart: one is turned over, or both are the same eye"
    EYES_STILL = "no eye movements to tell by"
    EYES_UNSEEN = "no usable epoch of both eyes to tell by"

    @property
    def is_suspect(self) -> bool:
        return self in (Polarity.R_DOWN, Polarity.EYES_TOGETHER)

    @property
    def text(self) -> str:
        return f"check: {self}" if self.is_suspect else str(self)


def check_polarity(channels: Sequence[Channel]) -> dict[str, Polarity]:
    """What can be said of the polarity, by "ECG" and "EOG"."""
    by_slot = {c.slot: c for c in channels}
    said = {}
    if "ECG" in by_slot:
        said["ECG"] = _ecg(by_slot["ECG"])
    if {"E1", "E2"} <= by_slot.keys():
        said["EOG"] = _eyes(by_slot["E1"], by_slot["E2"])
    return said


def _ecg(channel: Channel) -> Polarity:
    seconds = channel.samples.reshape(-1, channel.rate_hz)[channel.quality == Quality.GOOD]
    seconds = seconds - np.median(seconds, axis=1, keepdims=True)
    up, down = seconds.max(axis=1), -seconds.min(axis=1)
    if not len(seconds) or not np.median(up + down):
        return Polarity.R_UNSEEN
    if np.mean(down > R_RATIO * up) > R_SHARE:
        return Polarity.R_DOWN
    return Polarity.R_UP if np.mean(up > R_RATIO * down) > R_SHARE else Polarity.R_BOTH


def _eyes(left: Channel, right: Channel) -> Polarity:
    usable = (left.quality == Quality.GOOD) & (right.quality == Quality.GOOD)
    n = len(usable) // EPOCH_S
    whole = usable[: n * EPOCH_S].reshape(n, EPOCH_S).all(axis=1)
    size = EPOCH_S * left.rate_hz
    a, b = (c.samples[: n * size].reshape(n, size)[whole] for c in (left, right))
    if not len(a):
        return Polarity.EYES_UNSEEN
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    scale = np.sqrt(np.square(a).sum(axis=1) * np.square(b).sum(axis=1))
    r = (a * b).sum(axis=1) / np.maximum(scale, 1e-12)
    if np.mean(r < OPPOSITE) >= OPPOSITE_SHARE:
        return Polarity.EYES_APART
    if len(a) >= EYES_EPOCHS and np.mean(r > IN_PHASE) >= OPPOSITE_SHARE:
        return Polarity.EYES_TOGETHER
    return Polarity.EYES_STILL


def has_inverted_range(physical_range: tuple[float, float], digital_range: tuple[int, int]) -> bool:
    """Whether a header turns its signal over: the smallest digital value stands for the largest physical one."""
    return (physical_range[1] - physical_range[0]) * (digital_range[1] - digital_range[0]) < 0
