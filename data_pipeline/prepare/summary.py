"""What a run of preparation did, for a person to read."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from textwrap import shorten

from data_pipeline.modalities import MODALITY_OF
from data_pipeline.night import EPOCH_S
from data_pipeline.shards.manifest import NightEntry

_REASONS = 20
"""Kinds of refusal that the table shows, the commonest first."""


_NAMES = 5


@dataclass(frozen=True)
class Rejection:
    """A recording that was refused: its night, its file's name without folder, and why."""

    night_id: str
    file: str
    reason: str


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
        alike: dict[str, list[Rejection]] = {}
        for rejection in self.rejected:
            reason = rejection.reason.removeprefix(f"{rejection.file}: ")
            alike.setdefault(re.sub(r"'[^']*'|\d+", "#", reason), []).append(rejection)
        for group in sorted(alike.values(), key=len, reverse=True)[:_REASONS]:
            reason = group[0].reason.removeprefix(f"{group[0].file}: ")
            others = f" and {len(group) - 1} alike" if len(group) > 1 else ""
            lines.append(f"  {group[0].file}{others}: {shorten(reason, 160, placeholder=' …')}")
        if len(alike) > _REASONS:
            lines.append(f"  and {len(alike) - _REASONS} other reasons")
        if self.overlooked:
            more = f" and {len(self.overlooked) - _NAMES} more" if len(self.overlooked) > _NAMES else ""
            lines.append(
                f"not used  {', '.join(self.overlooked[:_NAMES])}{more}: by their names, scorings and tables of no "
                "recording (docs/data.md, Any folder)"
            )
        return "\n".join(lines)
