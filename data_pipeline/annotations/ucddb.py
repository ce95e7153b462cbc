"""Scorings of the St. Vincent's University Hospital / UCD database (`ucddb002_stage.txt`, `ucddb002_respevt.txt`).

Stages: a whole number a line for each 30 s: 0 W, 1 REM, 2 S1, 3 S2, 4 S3, 5 S4; 6 artifact, 7 indeterminate, 8 not
staged. Respiratory events: lines of a title, then a line an event with its clock time, its type (`APNEA-O`, `HYP-C`,
B for both), perhaps `PB` or `CS` (periodic breathing, Cheyne-Stokes), its duration in whole seconds, and more that is
not read. https://physionet.org/content/ucddb/
"""

import re
from pathlib import Path

from data_pipeline.annotations.epochs import epoch_marks
from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.text import read_text
from data_pipeline.annotations.times import axis_of, moment_in
from data_pipeline.night import RecordingError
from data_pipeline.readers.recording import Annotation, in_order

_STAGES = {0: "W", 1: "REM", 2: "N1", 3: "N2", 4: "N3", 5: "N3", 6: "?", 7: "?", 8: "?"}
_EVENT = re.compile(r"\s*(\d{1,2}:\d{2}:\d{2})\b(.*)")
_TYPES = {"O": "Obstructive", "C": "Central", "M": "Mixed", "B": ""}
_KINDS = {"APNEA": "apnea", "HYP": "hypopnea"}


def read_ucddb_stages(path: Path) -> Marks:
    """One stage annotation of 30 s for each line.

    Raises:
      RecordingError: a line is none of the codes above.
    """
    lines = [line.strip() for line in read_text(path).rstrip().split("\n")]
    for number, line in enumerate(lines, start=1):
        if not re.fullmatch(r"[0-8]", line, re.ASCII):
            raise RecordingError(path, f"line {number}: no stage code of UCDDB, expected 0 … 8.")
    return epoch_marks(path, [_STAGES[int(line)] for line in lines])


def read_ucddb_events(path: Path) -> Marks:
    """Apneas and hypopneas, placed by the clock.

    Raises:
      RecordingError: a line with a time and without a type or a duration, or times in no order.
    """
    moments, lengths, texts = [], [], []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if (match := _EVENT.match(line)) is None:
            continue
        words = match[2].split()
        kind = next((m for w in words if (m := re.fullmatch(r"(APNEA|HYP)-([OCMB])", w.upper()))), None)
        length = next((float(w) for w in words if re.fullmatch(r"\d{1,4}(\.\d+)?", w, re.ASCII)), None)
        if kind is None and {"PB", "CS"} & {w.upper() for w in words}:
            continue  # a stretch of periodic breathing by itself: nobody here looks for it
        if kind is None or length is None:
            raise RecordingError(path, f"line {number}: no type (APNEA-O, HYP-C …) or no duration.")
        moments.append(moment_in(match[1]))
        lengths.append(length)
        texts.append(f"{_TYPES[kind[2]]} {_KINDS[kind[1]]}".strip())
    if not moments:
        return Marks(())
    axis = axis_of(moments)
    if axis is None:
        raise RecordingError(path, "its times are in no order: nobody can say where the night begins.")
    found = (Annotation(s, d, t) for s, d, t in zip(axis.seconds, lengths, texts, strict=True))
    return Marks(in_order(found), axis.clock)
