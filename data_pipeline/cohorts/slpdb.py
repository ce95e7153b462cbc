"""MIT-BIH Polysomnographic Database: 18 records of 16 men, for testing rather than for training.

Get it from https://physionet.org/content/slpdb/ (open), as it is: `slp01a.{hea,dat,st}` and so on. 250 Hz; one
EEG, ECG and blood pressure in all, most have one respiration signal, five EOG and chin EMG, five others SO2.

`.st` holds stages and events by 30 s. Where within them an event lies is not written, so only the stages count as
scored; the events are kept and counted. Records a and b of one number are one person. Age and sex come from the header.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from data_pipeline.cohorts import Source
from data_pipeline.cohorts._names import find_records
from data_pipeline.night import Demographics, RecordingError
from data_pipeline.readers.wfdb import read_header

_PERSON = re.compile(r"(\d{1,3}|x) (M|F|x)\b")


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every record `slp...` among the files given and under the folders given.

    Raises:
      ValueError: an input that is not there or holds no record.
    """
    return [
        Source(
            night_id=header.stem,
            subject_id=re.sub("[ab]$", "", header.stem),
            site="MIT-BIH",
            recording=header,
            scoring=(scoring,) if (scoring := header.with_suffix(".st")).is_file() else (),
            demographics=_demographics(header),
            scored=frozenset({"stages"}) if scoring.is_file() else None,
            dialect="wfdb",
        )
        for header in find_records(inputs, re.compile(r"slp\d\d[abx]?"))
    ]


def _demographics(header: Path) -> Demographics:
    """From the comment "age sex weight reference"; what is not there is unknown."""
    try:
        comments = read_header(header).comments
    except RecordingError:
        return Demographics()  # the night will be refused by its reader, with the reason
    person = next((m for text in comments if (m := _PERSON.match(text))), None)
    if person is None:
        return Demographics()
    age, sex = person.groups()
    return Demographics(None if age == "x" else float(age), None if sex == "x" else sex)
