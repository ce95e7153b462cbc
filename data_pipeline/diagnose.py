"""Will this recording work, and for what? What each channel is, and why; what is wrong; which tasks work."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from data_pipeline.load import prepare_channels
from data_pipeline.montage import map_channels
from data_pipeline.night import EPOCH_S, SLOTS, Channel, Modality, Quality, RecordingError
from data_pipeline.readers import open_recording

TASKS = {
    "stages": (Modality.EEG, Modality.EOG),
    "breathing events": (Modality.RESP, Modality.SPO2),
    "arousals": (Modality.EEG,),
}
"""Task -> modalities, any one of which it needs (AASM manual: what each is scored from)."""


@dataclass(frozen=True)
class ChannelReport:
    """One signal of the file.

    Attributes:
      label, unit, rate_hz: as in the file.
      slot: the canonical channel it fills, None if it fills none.
      reason: why, for a person to read.
      good_share: share of seconds without a quality flag (0–1), None if it fills no slot.
      problems: share of seconds by quality flag, those above 0.
    """

    label: str
    unit: str
    rate_hz: float
    slot: str | None
    reason: str
    good_share: float | None
    problems: dict[str, float]


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Attributes:
      file: the file's name.
      usable: whether the file can be prepared and scored.
      error: why it cannot be ("" if it can).
      duration_s: seconds of recording; start_clock: time of day of the first sample, or None.
      channels: one for each signal of the file, in its order.
      missing: canonical slots that nothing fills.
      tasks: task -> "" if it will work, otherwise what it lacks.
      notes: a sentence each.
    """

    file: str
    usable: bool
    error: str = ""
    duration_s: float = 0.0
    start_clock: str | None = None
    channels: tuple[ChannelReport, ...] = ()
    missing: tuple[str, ...] = ()
    tasks: dict[str, str] | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict:
        """Plain types only, ready for JSON."""
        return asdict(self)

    def to_text(self) -> str:
        """One screen: a line for each channel that is used, the others by reason."""
        if not self.channels:
            return f"{self.file}: NOT USABLE\n{self.error}"
        hours, seconds = divmod(int(self.duration_s), 3600)
        start = f", from {self.start_clock}" if self.start_clock else ""
        verdict = "usable" if self.usable else "NOT USABLE"
        lines = [f"{self.file}: {verdict}, {hours} h {seconds // 60} min {seconds % 60} s{start}", ""]
        lines.append(f"{'label':<17}{'unit':<7}{'Hz':>7}  {'slot':<15}{'good':>5}  reason")
        same_reason: dict[str, list[str]] = {}
        for c in self.channels:
            if c.slot is None:
                same_reason.setdefault(c.reason, []).append(c.label)
                continue
            bad = "".join(f"; {name} {share:.1%}" for name, share in c.problems.items())
            head = f"{c.label:<17}{c.unit:<7}{c.rate_hz:>7g}  {c.slot:<15}{c.good_share:>5.0%}"
            lines.append(f"{head}  {c.reason}{bad}")
        for reason, labels in same_reason.items():
            more = f" and {len(labels) - 8} more" if len(labels) > 8 else ""
            lines.append(f"not used: {', '.join(labels[:8])}{more}: {reason}")
        lines += ["", f"missing: {', '.join(self.missing) or 'nothing'}"]
        lines += [
            f"{task}: {'will work' if not lack else f'no, needs {lack}'}"
            for task, lack in (self.tasks or {}).items()
        ]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines + ([self.error] if self.error else []))


def diagnose(path: Path) -> Diagnosis:
    """Reads the whole recording as scoring would, and reports. An unusable file is a result, not an error."""
    path = Path(path)
    try:
        recording = open_recording(path)
        montage = map_channels(recording.signals)
        channels, unused, notes = prepare_channels(recording, montage)
    except RecordingError as error:
        return Diagnosis(path.name, usable=False, error=str(error))
    index_of = {d.slot: d.terms[0][0] for d in montage.channels}
    by_index = {index_of[c.slot]: c for c in channels}
    why = {u.index: u.reason for u in unused}
    reports = tuple(
        _used(s.unit, s.label, by_index[s.index])
        if s.index in by_index
        else ChannelReport(s.label, s.unit, float(s.rate_hz), None, why[s.index], None, {})
        for s in recording.signals
    )
    slots, have = {c.slot for c in channels}, {c.modality for c in channels}
    error = ""
    if not channels:
        error = "No channel is usable: rename the labels to their positions (C4-M1, E1-M2, Chin …)."
    elif recording.duration_s < EPOCH_S:
        error = f"{recording.duration_s:g} s long, expected at least one epoch of {EPOCH_S} s."
    # Labels and reasons stand in the channel lines already.
    notes = tuple(n for n in notes if " is not used: " not in n)
    return Diagnosis(
        file=path.name,
        usable=not error,
        error=error,
        duration_s=recording.duration_s,
        start_clock=recording.start_clock,
        channels=reports,
        missing=tuple(slot for slots_ in SLOTS.values() for slot in slots_ if slot not in slots),
        tasks={
            task: "" if have & set(any_of) else " or ".join(map(str, any_of))
            for task, any_of in TASKS.items()
        },
        notes=recording.notes + notes,
    )


def _used(unit: str, label: str, channel: Channel) -> ChannelReport:
    problems = {
        str(flag.name).lower(): float(np.mean((channel.quality & flag) != 0))
        for flag in Quality
        if (channel.quality & flag).any()
    }
    reason = channel.reason if channel.label == label else f"{channel.label}: {channel.reason}"
    good = float(np.mean(channel.quality == Quality.GOOD))
    return ChannelReport(label, unit, channel.source_rate_hz, channel.slot, reason, good, problems)
