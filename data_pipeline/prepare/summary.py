"""What a run of preparation did, for a person to read."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath
from textwrap import shorten

from data_pipeline.modalities import MODALITY_OF
from data_pipeline.night import BREATHING_EVENTS, EPOCH_S
from data_pipeline.shards.manifest import NightEntry

_REASONS = 5
"""Different reasons that the table shows for each kind of refusal, the commonest first."""
_NAMES = 20
_NOTES = 12
"""Kinds of notes that the table shows, the commonest first; of those about channels and of others each."""
_OF_CHANNELS = re.compile(r"'.*' is not used: |({slots})(, ({slots}))*: ".replace("{slots}", "|".join(MODALITY_OF)))
"""How notes begin that tell of a channel: of every recording there are some."""


class Refusal(StrEnum):
    """What kept a recording out; `Rejection.reason` says it in full."""

    RECORDING = "recording"  # it cannot be read, or nothing in it can be used
    SCORING = "scoring"  # a scoring of it cannot be read, or is of another recording
    CHANGED = "changed"  # a file of it changed while it was read
    GONE = "gone"  # a file of it is not there any more
    TWICE = "twice"  # the same recording is there under another name, or another night has its id
    PROCESS_DIED = "process died"
    OUR_ERROR = "our error"


@dataclass(frozen=True)
class Rejection:
    """A recording that was refused.

    Attributes:
      night_id: its night.
      file: its file's name. No folder is named: some are named after people.
      kind: what kept it out.
      culprit: the name of the file that is at fault, the recording or its scoring; "" when none is.
      problem: what is wrong, what was expected and what to do.
    """

    night_id: str
    file: str
    kind: Refusal
    culprit: str
    problem: str

    @property
    def reason(self) -> str:
        return f"{self.culprit}: {self.problem}" if self.culprit else self.problem

    def to_json(self) -> dict[str, str]:
        """Its line of `rejected.jsonl`."""
        return {"night_id": self.night_id, "file": self.file, "kind": self.kind, "reason": self.reason}


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
      nights: everything that is in the manifest now.
      kept: how many of them were there already.
      rejected: sorted by night.
      overlooked: names of files that are not used, those named like recordings first.
      remarks: a sentence each about tables of people and parts of nights.
    """

    nights: tuple[NightEntry, ...]
    kept: int
    rejected: tuple[Rejection, ...]
    overlooked: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def complaints(self) -> int:
        """What is to be seen to before all is as it was meant: refusals, remarks, files that are not used, and nights
        with a note about the recording or its scoring."""
        noted = sum(any(not _OF_CHANNELS.match(note) for note in night.notes) for night in self.nights)
        return len(self.rejected) + len(self.remarks) + len(self.overlooked) + noted

    def table(self) -> str:
        """A few lines for a person: what was accepted, how much of it is masked, what was refused and why."""
        epochs = sum(night.n_epochs for night in self.nights)
        staged = epochs - sum(night.stages.count("?") for night in self.nights)
        splits = Counter(night.split for night in self.nights)
        lines = [
            f"accepted  {len(self.nights)} nights ({self.kept} kept from before), "
            f"{epochs} epochs, {epochs * EPOCH_S / 3600:.1f} h, {staged} epochs staged",
            _scored(self.nights),
            f"split     train {splits['train']}, val {splits['val']}, test {splits['test']}",
        ]
        nights_with, epochs_with, good_epochs = Counter(), Counter(), Counter()
        for night in self.nights:
            for channel in night.channels:
                nights_with[channel.slot] += 1
                epochs_with[channel.slot] += night.n_epochs
                good_epochs[channel.slot] += night.n_epochs * channel.good_share
        for slot, modality in MODALITY_OF.items():
            if nights_with[slot]:
                masked = 1 - good_epochs[slot] / epochs_with[slot]
                lines.append(f"{modality:<5} {slot:<15} {nights_with[slot]:>5} nights, {masked:6.1%} masked")
        lines.append(f"rejected  {len(self.rejected)} recordings; each with its reason is in rejected.jsonl")
        for kind in Refusal:
            lines += _refusals(kind, [r for r in self.rejected if r.kind is kind])
        lines += _notes("notes", self.nights, of_channels=False) + _notes("channels", self.nights, of_channels=True)
        lines += [f"{'remarks' if k == 0 else '':<9} {remark}" for k, remark in enumerate(self.remarks[:_NAMES])]
        if len(self.remarks) > _NAMES:
            lines.append(f"{'':<9} and {len(self.remarks) - _NAMES} remarks more")
        if self.overlooked:
            others = Counter(PurePath(name).suffix.lower() or "no suffix" for name in self.overlooked[_NAMES:])
            kinds = ", ".join(f"{n} {kind}" for kind, n in others.most_common(_REASONS))
            more = f" and {others.total()} more ({kinds})" if others else ""
            named = ", ".join(self.overlooked[:_NAMES]) + more
            lines.append(f"not used  {len(self.overlooked)} files: {named} (docs/data.md, Any folder)")
        return "\n".join(lines)


def _scored(nights: Sequence[NightEntry]) -> str:
    """What scorers looked for, and in how many nights."""
    stages = sum("stages" in night.scored for night in nights)
    breathing = sum(bool(BREATHING_EVENTS & set(night.scored)) for night in nights)
    nothing = sum(not night.scored for night in nights)
    return f"scored    stages in {stages} nights, breathing events in {breathing}, nothing in {nothing}"


def _notes(title: str, nights: Sequence[NightEntry], *, of_channels: bool) -> list[str]:
    """Notes of the nights, those that differ only in numbers and names once, with how many nights have them."""
    alike: dict[str, dict[str, str]] = {}
    for night in nights:
        for note in night.notes:
            if (_OF_CHANNELS.match(note) is not None) is of_channels:
                kind = re.sub(r"\d[\d.]*", "#", re.sub(r"[^\s,]+\.\w{2,6}(?=: )", "", note))
                kind = kind if of_channels else re.sub(r"'[^']*'", "''", kind)
                alike.setdefault(kind, {}).setdefault(night.night_id, note)
    in_order = sorted(alike.values(), key=lambda noted: -len(noted))
    lines = [f"{title:<9} of each night are in manifest.jsonl, under notes"] if in_order else []
    for noted in in_order[:_NOTES]:
        night_id, note = next(iter(noted.items()))
        where = night_id if len(noted) == 1 else f"{len(noted)} nights, such as {night_id}"
        lines.append(f"    {where}: {shorten(note, 200, placeholder=' …')}")
    if len(in_order) > _NOTES:
        lines.append(f"    and {len(in_order) - _NOTES} other kinds")
    return lines


def _refusals(kind: Refusal, rejected: Sequence[Rejection]) -> list[str]:
    """The lines of one kind of refusal; those with the same problem share one."""
    if not rejected:
        return []
    alike: dict[str, list[Rejection]] = {}
    for rejection in rejected:
        alike.setdefault(rejection.problem, []).append(rejection)
    lines = [f"  {kind}: {len(rejected)}"]
    for problem, group in sorted(alike.items(), key=lambda item: -len(item[1]))[:_REASONS]:
        others = f" and {len(group) - 1} alike" if len(group) > 1 else ""
        lines.append(f"    {group[0].file}{others}: {shorten(problem, 160, placeholder=' …')}")
    if len(alike) > _REASONS:
        lines.append(f"    and {len(alike) - _REASONS} other reasons")
    return lines
