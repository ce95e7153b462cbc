"""How many channel labels the mapper reads right, against answers made by hand.

    python benchmarks/mapper.py [tests/data_pipeline/montage/reference_labels.csv]

A table has the columns label, modality ("other" for what the model has no modality for) and position ("" where
the label does not say). Right is both right. Prints every label that is not, and the share a modality.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.montage.labels import Confidence, Label, read_label

REFERENCE = Path(__file__).parent.parent / "tests/data_pipeline/montage/reference_labels.csv"


@dataclass(frozen=True)
class Result:
    """One label: what is true, what was read."""

    label: str
    modality: str
    position: str
    read: Label

    @property
    def answer(self) -> tuple[str, str]:
        return str(self.read.modality or "other"), self.read.position

    @property
    def is_right(self) -> bool:
        return self.answer == (self.modality, self.position)

    @property
    def misleads(self) -> bool:
        """Of another modality than it is said to be, and said surely."""
        sure = self.read.confidence in (Confidence.CERTAIN, Confidence.LIKELY)
        return sure and self.answer[0] != self.modality


def measure(table: Path = REFERENCE) -> list[Result]:
    """Reads every label of a table."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [Result(r["label"], r["modality"], r["position"], read_label(r["label"])) for r in rows]


if __name__ == "__main__":
    results = measure(Path(sys.argv[1])) if len(sys.argv) > 1 else measure()
    for r in results:
        if not r.is_right:
            print(f"{r.label!r} is {r.modality} {r.position}, read as {r.answer}: {r.read.reason}")
    right = Counter(r.modality for r in results if r.is_right)
    for modality, n in Counter(r.modality for r in results).items():
        print(f"{modality:<6} {right[modality]:>4} of {n}")
    share = right.total() / len(results)
    print(f"{right.total()} of {len(results)} right ({share:.1%}), {sum(r.misleads for r in results)} misleading")
