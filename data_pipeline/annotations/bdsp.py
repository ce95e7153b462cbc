"""Experts' annotations of the PhysioNet Challenge 2026: an EDF whose signals are scorings.

`stage_expert`, `resp_expert`, `arousal_expert` and `limb_expert`, each at a rate of its own, hold numbers whose meaning
stands in `readers.coded`. What the program CAISR wrote in the same form (`stage_caisr` …) is no expert's, and not read.
"""

from pathlib import Path

from data_pipeline.annotations.marks import Marks
from data_pipeline.night import RecordingError
from data_pipeline.readers.coded import BDSP, coded_marks
from data_pipeline.readers.edf import read_edf
from data_pipeline.readers.edf_header import labels_in
from data_pipeline.readers.recording import in_order

_BY = "_expert"


def is_bdsp_edf(path: Path) -> bool:
    """Whether an EDF names such a signal in its header."""
    names = {label.lower() for label in labels_in(path)}
    return any(f"{family}{_BY}".encode() in names for family in BDSP)


def families_in(path: Path) -> frozenset[str]:
    """What an expert scored in such a file: "stage", "resp", "arousal", "limb". Raises as `read_edf`."""
    return frozenset(_families(path))


def _families(path: Path) -> dict[str, int]:
    labels = {signal.label.lower(): signal.index for signal in read_edf(path).signals}
    return {family: labels[f"{family}{_BY}"] for family in BDSP if f"{family}{_BY}" in labels}


def read_bdsp_edf(path: Path) -> Marks:
    """Stages and events, from the first sample on.

    Raises:
      RecordingError: no such signal, a number that means nothing, or what `read_edf` refuses.
    """
    families, recording = _families(path), read_edf(path)
    if not families:
        raise RecordingError(path, f"none of its signals is an expert's scoring (stage{_BY}, resp{_BY} …).")
    found = []
    for family, index in families.items():
        rate_hz = float(recording.signals[index].rate_hz)
        found += coded_marks(path, recording.read(index), rate_hz, BDSP[family])
    return Marks(in_order(found))
