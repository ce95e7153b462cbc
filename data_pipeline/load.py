"""From files to a `Night`: read, map, scale, filter, judge, and join the scoring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_pipeline.annotations import merge_scorings, read_scoring, scoring_from
from data_pipeline.montage import Derivation, Montage, Unused, map_channels
from data_pipeline.night import (
    Channel,
    Demographics,
    Modality,
    Night,
    Quality,
    RecordingError,
    Scoring,
)
from data_pipeline.quality import flat_flags, range_flags, raw_flags
from data_pipeline.readers import Recording, open_recording
from data_pipeline.signal import condition, mend_scale, microvolts_per, typical_amplitude


def load_night(
    recording: Path,
    scoring: Sequence[Path] = (),
    *,
    night_id: str | None = None,
    subject_id: str | None = None,
    site: str = "",
    demographics: Demographics = Demographics(),  # noqa: B008  (frozen)
    scored: frozenset[str] | None = None,
    dialect: str | None = None,
) -> Night:
    """Makes a recording ready.

    Args:
      recording: EDF, EDF+, BDF or BDF+.
      scoring: files of the scorer(s), merged, the first has the word. Without any, annotations inside the
        recording are taken if they name a stage or an event; otherwise `Night.scoring` is None.
      night_id: the file's name without suffix unless given. subject_id: the night_id unless given.
      scored: what the scorer looked for, where that is known better than the annotations show.
      dialect: how the scoring files are written, see `read_scoring`.
    Returns:
      A night of floor(recording) seconds. In seconds flagged GAP samples are 0 (SpO2: the bridged value).
    Raises:
      RecordingError: unreadable, shorter than a second, or no channel is usable; it names each and says why.
    """
    source = open_recording(recording)
    channels, unused, notes = prepare_channels(source, map_channels(source.signals))
    if not channels:
        raise no_usable_channel(source, unused)
    truth, scoring_notes = _scoring(source, scoring, scored, dialect)
    night_id = night_id if night_id is not None else source.path.stem
    return Night(
        night_id=night_id,
        subject_id=subject_id if subject_id is not None else night_id,
        site=site,
        duration_s=int(source.duration_s),
        channels=channels,
        scoring=truth,
        demographics=demographics,
        notes=(*source.notes, *notes, *scoring_notes),
    )


def prepare_channels(
    recording: Recording, montage: Montage
) -> tuple[tuple[Channel, ...], tuple[Unused, ...], tuple[str, ...]]:
    """All channels that the montage found and that have a usable second, one after the other.

    Returns:
      channels, possibly none; every signal that is not used, with the reason; notes.
    Raises:
      RecordingError: the recording is shorter than a second.
    """
    n_seconds = int(recording.duration_s)
    if n_seconds < 1:
        raise RecordingError(f"{recording.path}: {recording.duration_s:g} s long, expected at least 1 s.")
    channels, unused, notes = [], list(montage.unused), []
    for derivation in montage.channels:
        empty = [
            s for index, _ in derivation.terms if not (s := recording.signals[index]).rate_hz * n_seconds >= 1
        ]
        if empty:
            unused.append(Unused(empty[0].index, empty[0].label, "it has no samples"))
            continue
        channel, channel_notes = _prepare(recording, derivation, n_seconds)
        notes += [f"{channel.slot} ({channel.label}): {note}" for note in channel_notes]
        if (channel.quality == Quality.GOOD).any():
            channels.append(channel)
        else:
            seen = Quality(int(np.bitwise_or.reduce(channel.quality)))
            index = derivation.terms[0][0]
            why = f"no usable second: {', '.join(str(f.name).lower() for f in seen)}"
            unused.append(Unused(index, recording.signals[index].label, why))
    unused.sort(key=lambda u: u.index)
    # "Not needed" is no news; a refusal is.
    notes += [f"'{u.label}' is not used: {u.reason}." for u in unused if not u.reason.startswith("used ")]
    return tuple(channels), tuple(unused), tuple(notes)


def no_usable_channel(recording: Recording, unused: Sequence[Unused]) -> RecordingError:
    """The error that names every signal and says why it was not used."""
    listed = "; ".join(f"'{u.label}': {u.reason}" for u in unused)
    return RecordingError(
        f"{recording.path}: no usable channel among {len(recording.signals)}. {listed}. "
        "Rename the labels to their positions (C4-M1, E1-M2, Chin, Thorax, SpO2 …) or export again."
    )


def _prepare(recording: Recording, derivation: Derivation, n_seconds: int) -> tuple[Channel, list[str]]:
    modality = derivation.modality
    is_voltage = modality not in (Modality.RESP, Modality.SPO2)
    signals = [recording.signals[index] for index, _ in derivation.terms]
    rate_hz = signals[0].rate_hz
    units = [microvolts_per(s.unit) for s in signals]
    known = is_voltage and None not in units
    flags = np.zeros(n_seconds, np.uint8)
    mixed = None
    for signal, unit, (index, weight) in zip(signals, units, derivation.terms, strict=True):
        x = recording.read(index)
        flags |= raw_flags(x, rate_hz, modality, signal.physical_range, n_seconds)
        x *= np.float32(weight * (unit if known else 1.0))
        mixed = x if mixed is None else mixed + x
    flags |= flat_flags(mixed, rate_hz, modality, n_seconds)
    samples, mains = condition(mixed, rate_hz, modality, n_seconds)
    seconds = samples.reshape(n_seconds, -1)
    amplitude = typical_amplitude(seconds[flags == Quality.GOOD].ravel())

    notes = [f"{line:g} Hz mains removed" for line in mains]
    typical = None
    if modality is Modality.SPO2:
        recorded = seconds[flags == Quality.GOOD]
        if recorded.size and 0.3 < np.median(recorded) <= 1.05:
            samples *= np.float32(100)
            notes.append("given as a fraction, taken as per cent")
    elif known:
        factor = mend_scale(amplitude, modality)
        if factor != 1.0:
            samples *= np.float32(factor)
            notes.append(
                f"unit '{signals[0].unit}' would make a typical amplitude of {amplitude:.3g} uV, "
                f"scaled by {factor:g}"
            )
    else:
        typical = amplitude
        if is_voltage:
            notes.append(f"unit '{signals[0].unit}' is no voltage: scale unknown, amplitudes as stored")
    flags |= range_flags(samples, modality, typical)
    gap = (flags & Quality.GAP).astype(bool)
    if gap.any() and modality is not Modality.SPO2:
        seconds[gap] = 0
    channel = Channel(
        slot=derivation.slot,
        modality=modality,
        samples=samples,
        quality=flags,
        label=derivation.label,
        reason=derivation.reason,
        source_rate_hz=float(rate_hz),
    )
    return channel, notes


def _scoring(
    recording: Recording, files: Sequence[Path], scored: frozenset[str] | None, dialect: str | None
) -> tuple[Scoring | None, tuple[str, ...]]:
    if not files:
        scoring, notes = scoring_from(recording.annotations, recording.duration_s, scored)
        if (scoring.stages >= 0).any() or scoring.events:
            return scoring, notes
        if scored:
            notes = (*notes, "Said to be scored, but no scoring was found with it: taken as not scored.")
        return None, notes
    read = [read_scoring(path, recording.duration_s, scored, dialect=dialect) for path in files]
    merged, notes = merge_scorings([scoring for scoring, _ in read])
    return merged, (*(note for _, ns in read for note in ns), *notes)
