"""What must be known of a channel before it is read: mains hum, the true unit, whether it is dead. Found once a night.

A few minutes tell; the whole night is read only where they show nothing usable.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from data_pipeline.montage.mapping import Derivation
from data_pipeline.night import Quality, blocks, survey
from data_pipeline.readers.recording import Recording, microvolts_per
from data_pipeline.signals.channel import RecordedChannel, Stretch
from data_pipeline.signals.contact import habits, open_lead_flags
from data_pipeline.signals.filters import find_mains, mend_scale, typical_amplitude

_SURVEYED = 20
"""Pieces with a usable second that a channel is judged by."""
_INNER_S = 60
"""Seconds of a piece in which mains are looked for."""


def survey_channel(recording: Recording, derivation: Derivation) -> tuple[RecordedChannel | None, Quality]:
    """The channel with its gains and lines, None without a usable second; all flags that were seen."""
    n_seconds = int(recording.duration_s)
    units = [microvolts_per(recording.signals[index].unit) for index, _ in derivation.terms]
    is_known = derivation.modality.facts.voltage is not None and None not in units
    weights = [weight for _, weight in derivation.terms]
    gains = [w * unit if is_known else w for w, unit in zip(weights, units, strict=True)]
    known_signals = tuple(
        habits([recording.read(index, *span) for span in survey(n_seconds)], recording.signals[index].rate_hz)
        for index, _ in derivation.terms
    )
    as_stated = RecordedChannel(recording, derivation, tuple(gains), known_signals)
    seen = Quality.GOOD
    for spans in (survey(n_seconds), blocks(n_seconds)):
        pieces = []
        for stretch in (as_stated.as_recorded(*span) for span in spans):
            seen |= Quality(int(np.bitwise_or.reduce(stretch.flags)))
            if (stretch.flags == Quality.GOOD).any() and len(pieces) < _SURVEYED:
                pieces.append(stretch)
        if pieces:
            channel = _calibrated(as_stated, pieces, is_known)
            louder = channel.gains[0] / as_stated.gains[0]
            judged = [channel.prepared(_times(stretch, louder)) for stretch in pieces]
            flags = np.concatenate([piece.quality for piece in judged])
            # The pieces together are long enough to tell an open lead by.
            samples = np.concatenate([piece.samples for piece in judged])
            flags |= open_lead_flags(samples, derivation.modality, flags)
            seen |= Quality(int(np.bitwise_or.reduce(flags)))
            if (flags == Quality.GOOD).any():
                return channel, seen
    return None, seen


def _calibrated(channel: RecordedChannel, pieces: Sequence[Stretch], is_known: bool) -> RecordedChannel:
    """The channel with mains lines, mended unit and typical amplitude as its pieces show them."""
    facts, signal = channel.derivation.modality.facts, channel.signal
    if facts.is_code:
        return channel
    if not facts.is_value:
        inner = [_inner(piece, signal.rate_hz) for piece in pieces]
        longest = max(map(len, inner))
        alike = np.stack([x for x in inner if len(x) == longest])
        band_hz = min(facts.rate_hz, float(signal.rate_hz)) / 2
        channel = replace(channel, mains=find_mains(alike, signal.rate_hz, band_hz))
    good = np.concatenate(
        [channel.filtered(p).reshape(len(p.flags), -1)[p.flags == Quality.GOOD].ravel() for p in pieces]
    )
    if facts.is_value:
        if facts.unit == "%" and 0.3 < np.median(good) <= 1.05:
            return _amplified(channel, 100, "given as a fraction, taken as per cent")
        return channel
    amplitude = typical_amplitude(good)
    if is_known:
        factor = mend_scale(amplitude, channel.derivation.modality)
        remark = f"unit '{signal.unit}' would make a typical amplitude of {amplitude:.3g} uV, scaled by {factor:g}"
        return channel if factor == 1.0 else _amplified(channel, factor, remark)
    unscaled = f"unit '{signal.unit}' is no voltage: scale unknown, amplitudes as stored"
    return replace(channel, typical=amplitude, remarks=(unscaled,) if facts.voltage else ())


def _amplified(channel: RecordedChannel, factor: float, remark: str) -> RecordedChannel:
    return replace(channel, gains=tuple(gain * factor for gain in channel.gains), remarks=(remark,))


def _times(stretch: Stretch, factor: float) -> Stretch:
    return stretch if factor == 1 else replace(stretch, samples=stretch.samples * np.float32(factor))


def _inner(stretch: Stretch, rate_hz) -> np.ndarray:
    """The first minute of samples without context."""
    first = round(stretch.context_s * rate_hz)
    return stretch.samples[first : first + round(min(len(stretch.flags), _INNER_S) * rate_hz)]
