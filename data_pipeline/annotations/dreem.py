"""Hypnograms of the Dreem Open Datasets: a JSON list, one whole number for each 30 s from the first sample.

-1 not scored, 0 W, 1 N1, 2 N2, 3 N3, 4 REM (https://github.com/Dreem-Organization/dreem-learning-evaluation). Other
cohorts write REM as 5 and R&K stage 4 as 4, so a list with any other number is refused, not guessed.
"""

from pathlib import Path

from data_pipeline.annotations.epochs import epoch_marks
from data_pipeline.annotations.json_table import read_json_list
from data_pipeline.annotations.marks import Marks
from data_pipeline.night import RecordingError
from data_pipeline.readers.coded import DREEM

_NAMES = {code: text.removeprefix("Sleep stage ") for code, text in DREEM.items()}


def read_dreem(path: Path) -> Marks:
    """One stage annotation of 30 s for each number.

    Raises:
      RecordingError: not a JSON list, or a value that is none of -1, 0 … 4 (its place is named), or more than a week.
    """
    codes = read_json_list(path)
    for place, code in enumerate(codes):
        if type(code) is not int or code not in _NAMES:
            shown = str(code)[:20] if isinstance(code, int | float) else f"a {type(code).__name__}"
            problem = f"epoch {place}: {shown} is no stage of a Dreem hypnogram"
            expected = "expected -1, 0, 1, 2, 3 or 4 (REM). For another coding write a table with stage names."
            raise RecordingError(path, f"{problem}, {expected}")
    return epoch_marks(path, [_NAMES[code] for code in codes])
