"""The vocabulary: what a night of polysomnography is made of, and the names everything else uses.

Units stand in names: `rate_hz`, `onset_s`, `amplitude_uv`. Time is seconds from the first sample of the
recording. An *epoch* is a 30-second scoring epoch (AASM manual, chapter II), never a pass over data.
"""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntFlag, StrEnum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_pipeline.modalities import Modality
from data_pipeline.runs import runs

if TYPE_CHECKING:
    from mne.io import RawArray

EPOCH_S = 30
BLOCK_S = 600
"""What is worked on at a time, a whole number of epochs: a night passes through memory in blocks of this length."""

STAGES = ("W", "N1", "N2", "N3", "REM")
"""Stage names; a stage's code is its place here (0–4)."""
UNKNOWN_STAGE = -1
"""Code of an epoch that nobody scored, or whose score means nothing (movement time, `?`)."""

Lights = tuple[float | None, float | None]
"""Seconds at which the lights went off and on, None where nobody marked it."""
UNKNOWN_LIGHTS: Lights = (None, None)


class EventKind(StrEnum):
    """The events we score. Each has one definition, in the docstring of the code that detects or counts it."""

    OBSTRUCTIVE_APNEA = "obstructive_apnea"
    CENTRAL_APNEA = "central_apnea"
    MIXED_APNEA = "mixed_apnea"
    APNEA = "apnea"  # type not stated
    HYPOPNEA = "hypopnea"
    RERA = "rera"
    DESATURATION = "desaturation"
    AROUSAL = "arousal"
    LIMB_MOVEMENT = "limb_movement"
    SPINDLE = "spindle"
    K_COMPLEX = "k_complex"
    ARTIFACT = "artifact"


APNEAS = frozenset({EventKind.OBSTRUCTIVE_APNEA, EventKind.CENTRAL_APNEA, EventKind.MIXED_APNEA, EventKind.APNEA})
BREATHING_EVENTS = APNEAS | {EventKind.HYPOPNEA}
"""The events that the AHI counts."""

OWN_KIND = r"[a-z][a-z0-9_]{0,31}"
"""How the name of a kind of event is written, also of one that somebody defined for a task of their own."""


@lru_cache  # asked for every event that is read
def event_kind(name: str) -> EventKind | str:
    """The kind of event of that name, of `EventKind` or somebody's own. Raises ValueError for what can be none."""
    if not re.fullmatch(OWN_KIND, name):
        raise ValueError(f"{name!r} is no kind of event; expected lower-case words joined by _")
    return next((kind for kind in EventKind if kind == name), name)


class Quality(IntFlag):
    """What is wrong with one second of one channel; 0 is a usable second."""

    GOOD = 0
    GAP = 1  # no samples were recorded
    FLAT = 2  # the signal does not move
    CLIPPED = 4  # the amplifier or the file's range cut it
    OUT_OF_RANGE = 8  # no body makes such values
    DISCONNECTED = 16  # the electrode is off: an open lead hums or hisses
    MAINS = 32  # mains hum swamps it, more than a notch can take away
    DROPPED = 64  # the recorder lost samples and repeated the last one


@dataclass(frozen=True)
class Event:
    """Something with a beginning and a length.

    Attributes:
      kind: what it is: of `EventKind`, or of somebody's own (see `OWN_KIND`).
      onset_s: seconds from the first sample of the recording.
      duration_s: length in seconds, >= 0.
      source: the scorer's own word for it, kept for the record ("" when we made it).
      rule: for a hypopnea, the rule it was scored by: "1A", "1B", "flow" when reduced flow alone made it one (neither
        desaturation nor arousal was asked for), "" when unknown.
    """

    kind: EventKind | str
    onset_s: float
    duration_s: float
    source: str = ""
    rule: str = ""

    @property
    def end_s(self) -> float:
        return self.onset_s + self.duration_s


STAGE_TEXT = ("Sleep stage W", "Sleep stage N1", "Sleep stage N2", "Sleep stage N3", "Sleep stage R")
UNKNOWN_TEXT = "Sleep stage ?"
EVENT_TEXT: dict[str, str] = {
    EventKind.AROUSAL: "EEG arousal",
    EventKind.DESATURATION: "Oxygen desaturation",
    EventKind.RERA: "RERA",
}
"""Annotation texts in the style of the EDF+ standard texts (edfplus.info); other kinds are called by their name."""


def marks(stages: np.ndarray, events: Sequence[Event]) -> list[tuple[float, float, str]]:
    """Stages (E,) and events as annotations: (onset_s, duration_s, text), each epoch's and then each event's.

    >>> marks(np.array([2]), [Event(EventKind.LIMB_MOVEMENT, 4.0, 0.5)])
    [(0, 30, 'Sleep stage N2'), (4.0, 0.5, 'Limb movement')]
    """
    texts = [STAGE_TEXT[code] if code >= 0 else UNKNOWN_TEXT for code in stages]
    staged: list[tuple[float, float, str]] = [(epoch * EPOCH_S, EPOCH_S, text) for epoch, text in enumerate(texts)]
    return staged + [(e.onset_s, e.duration_s, EVENT_TEXT.get(e.kind) or kind_title(e.kind)) for e in events]


def kind_title(kind: str) -> str:
    """A kind of event in words: "Limb movement"."""
    return kind.replace("_", " ").capitalize()


AGE_YEARS = (0, 130)
BMI = (5, 150)
"""What is taken for an age and for a body mass index (kg/m2); a value outside is a wrong unit or column."""


@dataclass(frozen=True)
class Demographics:
    """What DGCL needs of a person; None is unknown.

    Attributes:
      age_years: age at the recording; cohorts that censor at 90 give 90.
      sex: "F" or "M".
      bmi: body mass index, kg/m2.

    Raises:
      ValueError: none of these; the field is named.
    """

    age_years: float | None = None
    sex: str | None = None
    bmi: float | None = None

    def __post_init__(self) -> None:
        if self.sex not in (None, "F", "M"):
            raise ValueError("Demographics.sex: expected 'F', 'M' or None")
        for name, (lowest, highest) in (("age_years", AGE_YEARS), ("bmi", BMI)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and lowest <= value <= highest):
                raise ValueError(f"Demographics.{name}: expected a number {lowest}-{highest}, or None")
            if value is not None:
                object.__setattr__(self, name, float(value))  # 41 and 41.0 would be two texts in a manifest


@dataclass(frozen=True)
class Channel:
    """One canonical channel at its canonical rate.

    Attributes:
      slot: its name, one of `modality.facts.slots`.
      modality: its kind.
      samples: (duration_s * rate_hz,) float32 in `modality.facts.unit`.
      quality: (duration_s,) uint8 of `Quality` flags, one a second.
      label: the label(s) in the file, e.g. "EEG C3" or "C3 - M2"; words that may be a name are left out.
      reason: why this label was taken for this slot, for a person to read.
      source_rate_hz: the rate in the file.
    """

    slot: str
    modality: Modality
    samples: np.ndarray
    quality: np.ndarray
    label: str
    reason: str
    source_rate_hz: float

    @property
    def rate_hz(self) -> int:
        return self.modality.facts.rate_hz

    def read(self, start_s: int, stop_s: int) -> Channel:
        """Its seconds [start_s, stop_s), as views."""
        samples = self.samples[start_s * self.rate_hz : stop_s * self.rate_hz]
        return replace(self, samples=samples, quality=self.quality[start_s:stop_s])


@dataclass(frozen=True)
class Scoring:
    """A scorer's opinion of a night.

    Attributes:
      stages: (n_epochs,) int8 codes of `STAGES`, `UNKNOWN_STAGE` where unscored; epoch 0 starts at second 0.
      events: sorted by onset.
      scored: what the scorer looked for; an absent event means nothing unless its kind is in here.
        Kinds of events and the word "stages".
      unclear: what nobody may count as scored, in whatever file: there were marks for it that were not understood.
        Never in `scored`.
      lights_s: lights off and lights on, seconds from the first sample; None where nobody marked it.
      cpap_from_s: from when on the person breathes under positive pressure, in a split night; None where nobody marked
        it.
    """

    stages: np.ndarray
    events: tuple[Event, ...] = ()
    scored: frozenset[str] = frozenset()
    unclear: frozenset[str] = frozenset()
    lights_s: Lights = UNKNOWN_LIGHTS
    cpap_from_s: float | None = None


_MNE_TYPES = {Modality.EEG: "eeg", Modality.EOG: "eog", Modality.EMG: "emg", Modality.ECG: "ecg", Modality.RESP: "resp"}


@dataclass(frozen=True)
class Night:
    """A recording made ready: canonical channels, in memory or still in the file, and what is known about them.

    Attributes:
      night_id: unique within a data set; no personal identifier.
      subject_id: nights of one person share it; splits are made on it.
      site: where it was recorded ("" when unknown).
      duration_s: whole seconds of recording.
      channels: at most one a slot, in the order of `MODALITY_OF`; or what `read`s as one, see `load.open_night`.
      scoring: None when nobody scored it; one with nothing `scored` may say when the lights went off.
      demographics: what is known of the person.
      notes: one sentence each for what a reader should know: channels refused, units mended, gaps, trims.
      defects: those of them that tell of the file itself: that it was cut, that it has gaps.
      start_clock: time of day of the first sample, "22:31:05"; start_day: its calendar day. None where the recording
        does not say. What is made of a night for others (shards, reports) has neither; `annotations.edf`, which is
        laid over the recording, has both.
    """

    night_id: str
    subject_id: str
    site: str
    duration_s: int
    channels: tuple[Channel, ...]
    scoring: Scoring | None = None
    demographics: Demographics = field(default_factory=Demographics)
    notes: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()
    start_clock: str | None = None
    start_day: datetime.date | None = None

    def __repr__(self) -> str:
        kinds = Counter(str(channel.modality) for channel in self.channels)
        has = ", ".join(f"{n} {kind}" for kind, n in kinds.items()) or "no channel"
        scored = ", ".join(sorted(self.scoring.scored)) if self.scoring else ""
        return f"<Night {self.night_id}: {self.duration_s / 3600:.1f} h, {has}; scored: {scored or 'nothing'}>"

    @property
    def n_epochs(self) -> int:
        """Whole 30-second epochs; a shorter tail is not scored."""
        return self.duration_s // EPOCH_S

    @property
    def lights_s(self) -> Lights:
        """As its scoring has them."""
        return UNKNOWN_LIGHTS if self.scoring is None else self.scoring.lights_s

    def read(self, start_s: int, stop_s: int) -> tuple[Channel, ...]:
        """The channels from second `start_s` to `stop_s`."""
        return tuple(channel.read(start_s, stop_s) for channel in self.channels)

    def to_mne(self) -> RawArray:
        """A copy as an `mne.io.RawArray`, its stages and events as annotations ("Sleep stage N2", "Hypopnea").

        mne knows one rate: all channels have that of the fastest, waves resampled (`scipy.signal.resample_poly`),
        values held. Voltages are in V, others in their modality's unit. What no channel recorded is "BAD_ACQ_SKIP".

        >>> from data_pipeline.load import load_night
        >>> raw = load_night(Path("night.edf"), [Path("night.csv")]).to_mne()
        >>> raw.info["sfreq"], raw.annotations.description[0]
        (128.0, 'Sleep stage W')
        """
        import mne
        from scipy.signal import resample_poly

        pieces = zip(*(self.read(*span) for span in blocks(self.duration_s)), strict=True)
        channels = [(of[0], np.concatenate([c.samples for c in of]), [c.quality for c in of]) for of in pieces]
        rate_hz = max(channel.rate_hz for channel, _, _ in channels)
        data = np.empty((len(channels), self.duration_s * rate_hz))
        for row, (channel, samples, _) in zip(data, channels, strict=True):
            facts, times = channel.modality.facts, rate_hz // channel.rate_hz
            row[:] = np.repeat(samples, times) if facts.is_value or facts.is_code else resample_poly(samples, times, 1)
            row *= 1e-6 if facts.voltage else 1.0
        kinds = [_MNE_TYPES.get(channel.modality, "misc") for channel, _, _ in channels]
        info = mne.create_info([channel.slot for channel, _, _ in channels], rate_hz, kinds)
        if self.start_day and self.start_clock:
            clock = datetime.time.fromisoformat(self.start_clock)
            info.set_meas_date(datetime.datetime.combine(self.start_day, clock, datetime.UTC))
        raw = mne.io.RawArray(data, info, verbose="ERROR")
        told = [] if self.scoring is None else marks(self.scoring.stages, self.scoring.events)
        lost = np.logical_and.reduce([np.concatenate(quality) & Quality.GAP > 0 for _, _, quality in channels])
        told += [(start_s, stop_s - start_s, "BAD_ACQ_SKIP") for start_s, stop_s in runs(lost)]
        onsets, durations, texts = zip(*told, strict=True) if told else ((), (), ())
        return raw.set_annotations(mne.Annotations(onsets, durations, texts), verbose="ERROR")


def blocks(duration_s: int) -> Iterator[tuple[int, int]]:
    """(start_s, stop_s) of the blocks of a night; the last one has from a half to one and a half of the length.

    >>> list(blocks(1800))
    [(0, 600), (600, 1200), (1200, 1800)]
    """
    starts: Sequence[int] = range(0, max(duration_s - BLOCK_S // 2, 0) + 1, BLOCK_S) if duration_s else ()
    for start_s in starts:
        is_last = start_s == starts[-1]
        yield start_s, duration_s if is_last else start_s + BLOCK_S


def survey(duration_s: int, pieces: int = 20, piece_s: int = 60) -> list[tuple[int, int]]:
    """(start_s, stop_s) of evenly spaced pieces of a night, all of it when it is short: what statistics need."""
    if duration_s <= pieces * piece_s:
        return list(blocks(duration_s))
    last = (duration_s - piece_s) // EPOCH_S
    starts = [last * k // (pieces - 1) * EPOCH_S for k in range(pieces)]
    return [(start_s, start_s + piece_s) for start_s in starts]


class RecordingError(Exception):
    """A file or recording that cannot be used.

    Attributes:
      path: the file.
      problem: what is wrong with it, what was expected and what to do; without the file's name.
    """

    def __init__(self, path: Path, problem: str):
        super().__init__(path, problem)
        self.path, self.problem = Path(path), problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"
