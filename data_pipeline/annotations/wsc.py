"""Scorings of the Wisconsin Sleep Cohort: `.allscore.txt` of Grass Twin, `.stg.txt` of Grass Gamma.

`.allscore.txt` has a clock time, a tab and a text a line: `START RECORDING`; `STAGE - N2`, until the next stage; `NO
STAGE`, `MVT`; events as phrases (see `phrases`); `PAUSED` and `RECORDING RESUMED`, between which the EDF has no
samples; `LIGHTS OUT`, `LIGHTS ON`. Lines before the start are setup.

`.stg.txt` has the epoch's number from 1, the stage (0 W, 1-3, 4 S4, 5 REM, 6 movement, 7 not scored), and one that a
program gave; a header line may be missing. Events of Gamma (`.sco.txt`) count in scans and are not read.
"""

import re
from pathlib import Path

from data_pipeline.annotations.epochs import epoch_marks
from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.text import read_text
from data_pipeline.annotations.times import axis_of, moment_in
from data_pipeline.night import RecordingError
from data_pipeline.readers.recording import Annotation, in_order

_LINE = re.compile(r"\s*(\d{1,2}:\d{2}:\d{2}(?:\.\d+)?(?: ?[AP]M)?)\t+\s*(\S.*?)\s*", re.IGNORECASE)
_UNSCORED = frozenset({"NO STAGE", "MVT", "MT"})
_CODES = {"0": "W", "1": "N1", "2": "N2", "3": "N3", "4": "N3", "5": "REM", "6": "?", "7": "?"}


def is_allscore(text: str) -> bool:
    """Whether a text has lines as Twin writes them."""
    return re.search(r"^\s*\d{1,2}:\d{2}:\d{2}[^\t\n]*\t+\s*STAGE - ", text, re.MULTILINE) is not None


def read_allscore(path: Path) -> Marks:
    """Stages and events in seconds from the start of the recording, pauses left out.

    Raises:
      RecordingError: no START RECORDING or several, times in no order, or no line that is understood.
    """
    lines = [m for line in read_text(path).split("\n") if (m := _LINE.fullmatch(line))]
    begins = [place for place, line in enumerate(lines) if line[2].upper() == "START RECORDING"]
    if len(begins) != 1:
        raise RecordingError(path, f"{len(begins)} lines say START RECORDING, expected one: its times count from it.")
    lines = lines[begins[0] :]
    moments = [moment_in(line[1]) for line in lines]
    axis = axis_of(moments) if None not in moments else None
    if axis is None:
        raise RecordingError(path, "its times are in no order, or one is none.")
    found, lost_s, paused_s = [], 0.0, None
    zero_s = axis.seconds[0]
    for line, second in zip(lines, axis.seconds, strict=True):
        text = line[2].upper()
        if text.startswith("RECORDING RESUMED") and paused_s is not None:
            lost_s, paused_s = lost_s + second - paused_s, None
        elif text == "PAUSED" or text.startswith("RECORDING PAUSED"):
            paused_s = second if paused_s is None else paused_s
        elif paused_s is None:
            found.append(_mark(second - zero_s - lost_s, line[2]))
    return Marks(in_order(found), axis.clock if zero_s == 0 else None)


def _mark(onset_s: float, text: str) -> Annotation:
    if text.upper().startswith("STAGE - "):
        stage = text[8:].strip().upper()
        return Annotation(onset_s, None, f"Sleep stage {'?' if stage in _UNSCORED else stage}")
    return Annotation(onset_s, None, text)


def read_gamma_stages(path: Path) -> Marks:
    """One stage annotation of 30 s for each epoch.

    Raises:
      RecordingError: a line of another form, or epochs that are not numbered 1, 2, 3 …
    """
    names = []
    lines = [line.split() for line in read_text(path).split("\n") if line.strip()]
    for number, cells in enumerate(lines[1:] if lines and not lines[0][0].isdigit() else lines, start=1):
        if len(cells) < 2 or cells[0] != str(number) or cells[1] not in _CODES:
            raise RecordingError(path, f"epoch {number}: expected its number and a stage from 0 to 7.")
        names.append(_CODES[cells[1]])
    return epoch_marks(path, names)
