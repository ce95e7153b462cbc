"""What a run of preparation did, for a person to read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from textwrap import shorten

from data_pipeline.modalities import MODALITY_OF
from data_pipeline.night import EPOCH_S
from data_pipeline.shards.manifest import NightEntry

_REASONS = 5
"""Different reasons that the table shows for each kind of refusal, the commonest first."""
_NAMES = 5


class Refusal(StrEnum):
    """What kept a recording out; `Rejection.reason` says it in full."""

    RECORDING = "recording"  # it cannot be read, or nothing in it can be used
    SCORING = "scoring"  # a scoring of it cannot be read, or is of another recording
    CHANGED = "changed"  # a file of it changed while it was read
    GONE = "gone"  # a file of it is not there any more
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
      overlooked: names of files that look like scorings or tables and belong to no recording.
    """

    nights: tuple[NightEntry, ...]
    kept: int
    rejected: tuple[Rejection, ...]
    overlooked: tuple[str, ...] = ()

    def table(self) -> str:
        """A few lines for a person: what was accepted, how much of it is masked, what was refused and why."""
        epochs = sum(night.n_epochs for night in self.nights)
        staged = epochs - sum(night.stages.count("?") for night in self.nights)
        splits = Counter(night.split for night in self.nights)
        lines = [
            f"accepted  {len(self.nights)} nights ({self.kept} kept from before), "
            f"{epochs} epochs, {epochs * EPOCH_S / 3600:.1f} h, {staged} epochs staged",
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
        if self.overlooked:
            more = f" and {len(self.overlooked) - _NAMES} more" if len(self.overlooked) > _NAMES else ""
            lines.append(
                f"not used  {', '.join(self.overlooked[:_NAMES])}{more}: by their names, scorings and tables of no "
                "recording (docs/data.md, Any folder)"
            )
        return "\n".join(lines)


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
