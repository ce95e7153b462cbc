"""Will this recording work, and for what? What each channel is, and why; what is wrong; which tasks work."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from data_pipeline.diagnose.polarity import Polarity, check_polarity, has_inverted_range
from data_pipeline.load import open_channels, said_together
from data_pipeline.modalities import SLOTS
from data_pipeline.montage.file import MontageRules, choose_channels, write_montage
from data_pipeline.montage.labels import Confidence, named
from data_pipeline.montage.mapping import Derivation, by_reason
from data_pipeline.night import EPOCH_S, Channel, Quality, RecordingError
from data_pipeline.readers import Signal, open_recording
from data_pipeline.signals.channel import whole
from data_pipeline.tasks import TASKS, Task

WELL_COVERED, BARELY_COVERED = 0.95, 0.2
"""Share of the recording, in the best channel of a task, above and below which it is worth a word."""


@dataclass(frozen=True)
class ChannelReport:
    """One signal of the file.

    Attributes:
      label, unit, rate_hz: as in the file; of the label what may be shown (`montage.labels.named`).
      slot: the canonical channel it fills, None if it fills none.
      reason: why, for a person to read.
      confidence: how sure that is ("certain", "likely", "guess"), None if it fills no slot.
      good_share: share of seconds without a quality flag (0–1), None if it fills no slot.
      problems: share of seconds by quality flag, those above 0.
    """

    label: str
    unit: str
    rate_hz: float
    slot: str | None
    reason: str
    confidence: str | None
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
      missing: canonical slots that a model looks at and nothing fills.
      tasks: name of a task -> "" if it will work, otherwise what it needs.
      coverage: name of a task -> share of the recording in which its best channel is usable (0–1).
      mains_hz: line frequencies that were found and removed.
      polarity: what the signals say of their polarity, see `polarity.check_polarity`.
      gaps_s: (start, stop) of stretches in which nothing was recorded.
      notes: a sentence each.
      quality: slot -> (duration_s,) uint8 of `Quality`, for the picture.
      montage_yaml: the montage file of this recording, for review; "" when it cannot be read.
    """

    file: str
    usable: bool
    error: str = ""
    duration_s: float = 0.0
    start_clock: str | None = None
    channels: tuple[ChannelReport, ...] = ()
    missing: tuple[str, ...] = ()
    tasks: dict[str, str] = field(default_factory=dict)
    coverage: dict[str, float] = field(default_factory=dict)
    mains_hz: tuple[float, ...] = ()
    polarity: dict[str, Polarity] = field(default_factory=dict)
    gaps_s: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()
    quality: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    montage_yaml: str = field(default="", repr=False)

    def to_dict(self) -> dict:
        """Plain types only, ready for JSON; without `quality` and `montage_yaml`."""
        told = [f.name for f in fields(self) if f.name not in ("quality", "montage_yaml")]
        return {name: getattr(self, name) for name in told} | {
            "channels": [vars(channel) for channel in self.channels],
            "polarity": {what: polarity.text for what, polarity in self.polarity.items()},
        }

    def to_text(self) -> str:
        """One screen: a line for each channel that is used, the others by reason."""
        text = "\n".join(self._lines())
        return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)  # labels are a stranger's

    def _lines(self) -> list[str]:
        if not self.channels:
            return [f"{self.file}: NOT USABLE", self.error]
        hours, seconds = divmod(int(self.duration_s), 3600)
        start = f", from {self.start_clock}" if self.start_clock else ""
        verdict = "usable" if self.usable else "NOT USABLE"
        lines = [f"{self.file}: {verdict}, {hours} h {seconds // 60} min {seconds % 60} s{start}"]
        lines += [self.error] if self.error else []
        used = []
        for c in self.channels:
            if c.slot is None:
                continue
            bad = "".join(
                f"; {name.replace('_', ' ')} {share:.1%}" for name, share in c.problems.items() if share >= 0.0005
            )
            head = f"{c.label:<17}{c.unit:<7}{c.rate_hz:>7g}  {c.slot:<15}{c.good_share:>5.0%}"
            used.append(f"{head}  {c.confidence:<8} {c.reason}{bad}")
        if used:
            lines += ["", f"{'label':<17}{'unit':<7}{'Hz':>7}  {'slot':<15}{'good':>5}  sure     reason", *used]
        lines.append("")
        for labels, reason in by_reason((c.label, c.reason) for c in self.channels if c.slot is None):
            lines.append(f"not used: {labels}: {reason.replace('_', ' ')}")
        lines.append(f"missing: {', '.join(self.missing) or 'nothing'}" if used else "missing: everything")
        if self.usable:
            lines += [f"{task.plural}: {self._task(task)}" for task in TASKS]
        if self.mains_hz:
            lines.append(f"mains: {', '.join(f'{line:g} Hz' for line in self.mains_hz)}, removed")
        lines += [f"polarity of the {what}: {polarity.text}" for what, polarity in self.polarity.items()]
        return lines + [f"note: {note}" for note in self.notes]

    def _task(self, task: Task) -> str:
        if self.tasks[task.name]:
            return f"no, needs {self.tasks[task.name]}"
        share = self.coverage[task.name]
        if share < BARELY_COVERED:
            words = f"hardly: usable in {share:.0%} of the recording"
        else:
            words = "will work" + (f" in {share:.0%} of the recording" if share < WELL_COVERED else "")
        sure = [c.confidence for c in self.channels if c.slot in task.slots]
        guessed = all(confidence == Confidence.GUESS for confidence in sure)
        return words + (", but what the channel is was guessed: see above" if guessed else "")


def diagnose(path: Path, montage: MontageRules | None = None) -> Diagnosis:
    """Reads the whole recording as scoring would, and reports. An unusable file is a result, not an error.

    >>> diagnosis = diagnose(Path("night.edf"))
    >>> diagnosis.usable, diagnosis.missing, diagnosis.channels[0].slot
    (True, (), 'F3')

    Args:
      path: the recording.
      montage: what fills which slot, as in `load_night`.
    """
    path = Path(path)
    try:
        recording, chosen = choose_channels(open_recording(path), montage)
        opened, unused = open_channels(recording, chosen)
        channels = whole(opened)
    except RecordingError as error:
        return Diagnosis(path.name, usable=False, error=f"{error.path.name}: {error.problem}")
    filled: dict[int, list[ChannelReport]] = {}  # a montage file may fill several slots from one signal
    for made, c in zip(opened, channels, strict=True):
        s = made.signal
        filled.setdefault(s.index, []).append(_used(s, c, made.derivation))
    why = {u.index: u.reason for u in unused}
    reports = tuple(
        report
        for s in recording.signals
        for report in filled.get(s.index)
        or [
            ChannelReport(named(s.label, s.index), s.unit, float(s.rate_hz), None, why.get(s.index, ""), None, None, {})
        ]
    )
    error = ""
    if not channels:
        error = "No channel is usable. Where only the labels are at fault, say what each channel is: "
        error += f"sleepmami diagnose {path.name} --write-montage montage.yaml"
    elif recording.duration_s < EPOCH_S:
        error = f"{recording.duration_s:g} s long, expected at least one epoch of {EPOCH_S} s."
    slots = {c.slot for c in channels}
    notes = said_together((c.derivation.slot, remark) for c in opened for remark in c.remarks)
    polarised = [c.signal for c in opened if c.derivation.modality.facts.voltage]
    turned = {
        s.index: named(s.label, s.index) for s in polarised if has_inverted_range(s.physical_range, s.digital_range)
    }
    if turned:
        labels = ", ".join(turned[index] for index in sorted(turned))
        notes += (f"The header turns {labels} over (physical minimum above the maximum): obeyed.",)
    return Diagnosis(
        file=path.name,
        usable=not error,
        error=error,
        duration_s=recording.duration_s,
        start_clock=recording.start_clock,
        channels=reports,
        missing=tuple(slot for slots_ in SLOTS.values() for slot in slots_ if slot not in slots),
        tasks={task.name: " or ".join(task.needs) if task.lacks(slots) else "" for task in TASKS},
        coverage={task.name: _coverage(channels, task) for task in TASKS},
        mains_hz=tuple(sorted({line for c in opened for line in c.mains})),
        polarity=check_polarity(channels),
        gaps_s=recording.gaps,
        notes=(*recording.notes, *notes),
        quality={c.slot: c.quality for c in channels},
        montage_yaml=write_montage(recording, chosen),
    )


def _coverage(channels: Sequence[Channel], task: Task) -> float:
    return max((_good_share(c) for c in channels if c.slot in task.slots), default=0.0)


def _good_share(channel: Channel) -> float:
    return float(np.mean(channel.quality == Quality.GOOD))


def _used(signal: Signal, channel: Channel, derivation: Derivation) -> ChannelReport:
    problems = {
        str(flag.name).lower(): float(np.mean((channel.quality & flag) != 0))
        for flag in Quality
        if (channel.quality & flag).any()
    }
    reason = channel.reason if derivation.label == signal.label else f"{channel.label}: {channel.reason}"
    rate_hz, slot, sure = channel.source_rate_hz, channel.slot, str(derivation.confidence)
    return ChannelReport(
        named(signal.label, signal.index), signal.unit, rate_hz, slot, reason, sure, _good_share(channel), problems
    )
