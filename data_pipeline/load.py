"""From files to a `Night`.

The way: open the recording (`readers`), choose which signals fill which channels (`montage`), survey each channel
once (`signals.survey`), join the scoring (`annotations`); then read it, a stretch at a time (`signals.channel`). A
night in memory is all of its stretches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from data_pipeline.annotations import NothingScored, merge_scorings, read_scoring, scoring_from, without
from data_pipeline.annotations.terms import Meaning, own_terms
from data_pipeline.modalities import MODALITY_OF
from data_pipeline.montage.file import MontageRules, choose_channels
from data_pipeline.montage.labels import named
from data_pipeline.montage.mapping import Montage, Unused, by_reason
from data_pipeline.night import UNKNOWN_LIGHTS, Channel, Demographics, EventKind, Night, RecordingError, Scoring
from data_pipeline.readers import Recording, open_recording
from data_pipeline.readers.arrays import Arrays, recording_of_arrays
from data_pipeline.readers.joined import joined
from data_pipeline.readers.mne_raw import recording_of_raw
from data_pipeline.signals.channel import RecordedChannel, whole
from data_pipeline.signals.survey import survey_channel

if TYPE_CHECKING:
    from mne.io import BaseRaw

    Given: TypeAlias = Path | str | BaseRaw | Arrays
    """What a night is read from."""


def load_night(recording: Given, scoring: Sequence[Path] = (), **options: Any) -> Night:
    """Makes a recording ready, whole and in memory. Arguments and errors as in `open_night`.

    >>> night = load_night(Path("night.edf"), [Path("night.csv")])
    >>> night.n_epochs, night.channels[0].slot, night.channels[0].samples.shape
    (60, 'F3', (230400,))
    """
    return in_memory(open_night(recording, scoring, **options))


def in_memory(night: Night) -> Night:
    """A night of `open_night` with all samples of its channels."""
    return replace(night, channels=whole(cast("tuple[RecordedChannel, ...]", night.channels)))


def held(night: Night, most_bytes: int) -> Night:
    """A night of `open_night` as `in_memory`, unless its samples take more than that: it is then read from its file
    each time it is passed through. A night that is in memory stays there."""
    in_file = any(isinstance(channel, RecordedChannel) for channel in night.channels)
    n_bytes = 4 * night.duration_s * sum(channel.modality.facts.rate_hz for channel in night.channels)
    return in_memory(night) if in_file and n_bytes <= most_bytes else night


def open_night(
    recording: Given,
    scoring: Sequence[Path] = (),
    *,
    night_id: str | None = None,
    subject_id: str | None = None,
    site: str = "",
    demographics: Demographics = Demographics(),  # noqa: B008  (frozen)
    scored: frozenset[str] | None = None,
    dialect: str | None = None,
    terms: Mapping[str, Meaning] | None = None,
    kinds: Collection[str] = (),
    unusable: Collection[str] = (),
    montage: MontageRules | None = None,
    parts: Sequence[Path] = (),
) -> Night:
    """Makes a recording ready to be read a stretch at a time: the night's channels are `RecordedChannel`s.

    >>> open_night(Path("night.edf")).read(0, 30)[0].samples.shape  # the file is never read whole
    (3840,)

    Args:
      recording: a file of any format that `open_recording` reads; an `mne.io.Raw`, whose bad channels are left out; or
        arrays as `recording_of_arrays` takes them.
      scoring: files of the scorer(s), merged, the first has the word. Without any, annotations inside the
        recording are taken if they name a stage or an event; otherwise `Night.scoring` is None.
      night_id: the file's name without suffix unless given. subject_id: the night_id unless given.
      scored: what the scorer looked for, where that is known better than the annotations show.
      dialect: how the scoring files are written, see `read_scoring`.
      terms: words of the scoring to which a cohort gives a meaning of its own, see `scoring_from`.
      kinds: kinds of event of somebody's own that the scoring may hold, see `read_scoring`.
      unusable: what a cohort says is wrong in this recording and must not be used: channels (their slots),
        "stages", kinds of events. It counts as not recorded and not scored.
      montage: what fills which slot, where the laboratory knows better than the labels.
      parts: further files of the same night, in the order of time; each is placed by its time of day.
    Returns:
      A night of floor(recording) seconds. In seconds flagged GAP samples are 0 (SpO2: the bridged value).
    Raises:
      ValueError: a word of `unusable` is none of these.
      RecordingError: unreadable, shorter than a second, or no channel is usable; it names each and says why.
    """
    if wrong := set(unusable) - {"stages", *EventKind, *MODALITY_OF}:
        raise ValueError(f"unusable: {sorted(wrong)} is neither 'stages' nor an event kind nor a channel.")
    source, chosen = choose_channels(_opened(recording, parts), montage)
    channels, unused = open_channels(source, _usable(chosen, unusable))
    if all(channel.derivation.modality.facts.is_side for channel in channels):
        raise no_usable_channel(source, unused)
    truth, scoring_notes = _scoring(source, scoring, scored, dialect, terms, kinds)
    if truth is not None:
        truth, lost = without(truth, unusable)
        scoring_notes = (*scoring_notes, *lost)
    night_id = night_id if night_id is not None else source.path.stem
    return Night(
        night_id=night_id,
        subject_id=subject_id if subject_id is not None else night_id,
        site=site,
        duration_s=int(source.duration_s),
        channels=cast("tuple[Channel, ...]", channels),  # what reads as one, see `Night`
        scoring=truth,
        demographics=demographics,
        notes=(*source.notes, *_notes(channels, unused), *scoring_notes),
        defects=source.notes,
        start_clock=source.start_clock,
        start_day=source.start_day,
    )


def _opened(recording: Given, parts: Sequence[Path]) -> Recording:
    if isinstance(recording, Mapping):
        return recording_of_arrays(recording)
    if not isinstance(recording, str | Path):
        return recording_of_raw(recording)
    opened = [open_recording(Path(path)) for path in (recording, *parts)]
    return joined(opened) if parts else opened[0]


def open_channels(recording: Recording, montage: Montage) -> tuple[tuple[RecordedChannel, ...], tuple[Unused, ...]]:
    """All channels that the montage found and that have a usable second.

    Returns:
      channels, possibly none; every signal that is not used, with the reason.
    Raises:
      RecordingError: the recording is shorter than a second.
    """
    n_seconds = int(recording.duration_s)
    if n_seconds < 1:
        raise RecordingError(recording.path, f"{recording.duration_s:g} s long, expected at least 1 s.")
    channels, unused = [], list(montage.unused)
    for derivation in montage.channels:
        signals = [recording.signals[index] for index, _ in derivation.terms]
        if empty := [s for s in signals if not s.rate_hz * n_seconds >= 1]:
            unused.append(Unused(empty[0].index, empty[0].label, "it has no samples"))
            continue
        channel, seen = survey_channel(recording, derivation)
        if channel is not None:
            channels.append(channel)
        else:
            why = f"no usable second: {', '.join(str(flag.name).lower() for flag in seen)}"
            unused.append(Unused(signals[0].index, signals[0].label, why))
    return tuple(channels), tuple(sorted(unused, key=lambda u: u.index))


def said_together(remarks: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """(slot, remark) pairs -> a note for each remark: "C3, O2: 50 Hz mains removed"."""
    slots: dict[str, list[str]] = {}
    for slot, remark in remarks:
        slots.setdefault(remark, []).append(slot)
    return tuple(f"{', '.join(of_them)}: {remark}" for remark, of_them in slots.items())


def _notes(channels: Sequence[RecordedChannel], unused: Sequence[Unused]) -> tuple[str, ...]:
    done = said_together(
        (c.derivation.slot, remark)
        for c in channels
        for remark in (*(f"{line:g} Hz mains removed" for line in c.mains), *c.remarks)
    )
    # That it is the reference of others is no news.
    return (*done, *(f"{_named(u)} is not used: {u.reason}." for u in unused if not u.serves))


def _named(unused: Unused) -> str:
    return f"'{named(unused.label, unused.index)}'"


def no_usable_channel(recording: Recording, unused: Sequence[Unused]) -> RecordingError:
    """The error that names every signal and says why it was not used."""
    reasons = by_reason((_named(u), u.reason) for u in unused)
    listed = "; ".join(f"{labels}: {reason}" for labels, reason in reasons)
    return RecordingError(
        recording.path,
        f"no usable channel among {len(recording.signals)}. {listed}. "
        "Say what each channel is in a montage file (`sleepmami diagnose FILE --write-montage montage.yaml`).",
    )


def _usable(montage: Montage, unusable: Collection[str]) -> Montage:
    refused = [d for d in montage.channels if d.slot in unusable]
    why = "the cohort says that this channel is unusable"
    unused = (*montage.unused, *(Unused(d.terms[0][0], d.label, why) for d in refused))
    kept = tuple(d for d in montage.channels if d not in refused)
    return Montage(kept, tuple(sorted(unused, key=lambda u: u.index)))


def _scoring(
    recording: Recording,
    files: Sequence[Path],
    scored: frozenset[str] | None,
    dialect: str | None,
    terms: Mapping[str, Meaning] | None,
    kinds: Collection[str],
) -> tuple[Scoring | None, tuple[str, ...]]:
    if not files:
        words = own_terms(kinds) | dict(terms or {})
        scoring, notes = scoring_from(recording.annotations, recording.duration_s, scored, words)
        tells_when = scoring.lights_s != UNKNOWN_LIGHTS or scoring.cpap_from_s is not None
        if (scoring.stages >= 0).any() or scoring.events or tells_when:
            return scoring, notes
        if scored:
            notes = (*notes, "Said to be scored, but no scoring was found with it: taken as not scored.")
        return None, notes
    read, empty = [], []
    for path in files:
        try:
            options: dict[str, Any] = {"dialect": dialect, "terms": terms, "kinds": kinds}
            options |= {"start_clock": recording.start_clock, "start_day": recording.start_day}
            read.append(read_scoring(path, recording.duration_s, scored, **options))
        except NothingScored as error:
            empty.append((path, error))
    if not read:
        raise empty[0][1]
    merged, notes = merge_scorings([*(scoring for scoring, _ in read), *(error.scoring for _, error in empty)])
    merged, notes = _with_its_own(merged, notes, recording, own_terms(kinds) | dict(terms or {}))
    notes = (*notes, *(f"{path.name}: it holds no stage and no event that is understood." for path, _ in empty))
    return merged, (*(note for _, ns in read for note in ns), *notes)


def _with_its_own(
    scoring: Scoring, notes: tuple[str, ...], recording: Recording, words: Mapping[str, Meaning]
) -> tuple[Scoring, tuple[str, ...]]:
    """The scoring of files with the annotations inside the recording: its stages where no file has any, its events
    where no file has any. What else is inside may be a recorder's own guess, and is named."""
    inside, _ = scoring_from(recording.annotations, recording.duration_s, None, words)
    has_events = bool(scoring.scored - {"stages"})
    told = {kind for kind in inside.scored if kind in scoring.scored or (has_events and kind != "stages")}
    more, _ = without(inside, told)
    if left := told - scoring.scored:
        left_out = f"Annotations inside the recording were not used beside its files: {', '.join(sorted(left))}."
        notes = (*notes, left_out)
    if not ((more.stages >= 0).any() or more.events):
        return scoring, notes
    merged, differ = merge_scorings([scoring, more])
    used = f"Annotations inside the recording were used for what no file tells: {', '.join(sorted(more.scored))}."
    return merged, (*notes, *differ, used)
