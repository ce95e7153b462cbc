"""Hypnograms of ISRUC-Sleep (`<n>_1.txt`, `<n>_2.txt`): one whole number a line for each 30 s.

0 W, 1 N1, 2 N2, 3 N3, 5 REM; anything else is unknown (cohort's own coding, Khalighi et al. 2016). The file ends in
blank lines. The published extracts (`.mat`) leave out the last 30 epochs of it, the recordings (`.rec`) do not: what
lies past the end of the recording is dropped and counted where the scoring is made, and nothing else.

The events of the cohort's xlsx files are not read: how they are spelled is not documented.
"""

from pathlib import Path

from data_pipeline.annotations.epochs import epoch_marks
from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.text import read_text
from data_pipeline.night import RecordingError

_NAMES = {0: "W", 1: "N1", 2: "N2", 3: "N3", 5: "REM"}


def read_isruc(path: Path) -> Marks:
    """One stage annotation of 30 s for each line; a code without a meaning is `Sleep stage ?`.

    Raises:
      RecordingError: a line is not a whole number, or a blank line is followed by more scoring, or more than a week.
    """
    lines = [line.strip() for line in read_text(path).rstrip().split("\n")]
    for number, line in enumerate(lines, start=1):
        # A blank line in the middle would shift every epoch after it, or stand for one: nobody can tell.
        if not line.removeprefix("-").isdecimal() or len(line) > 4:
            problem = f"line {number}: no stage code, expected one (0, 1, 2, 3 or 5) a line."
            raise RecordingError(path, problem)
    return epoch_marks(path, [_NAMES.get(int(line), "?") for line in lines])
