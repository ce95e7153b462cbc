"""PhysioNet/Computing in Cardiology Challenge 2018, "You Snooze You Win": 994 scored nights of one laboratory.

Get it from https://physionet.org/content/challenge-2018/ (open, no agreement to sign), with its `age-sex.csv`:

    training/tr03-0005/tr03-0005.{hea,mat,arousal}    a folder a night
    test/te03-0001/te03-0001.{hea,mat}                989 nights without labels: good for pretraining only
    age-sex.csv                                       Record,Age,Sex

Recorded at Massachusetts General Hospital, all 13 signals at 200 Hz, SaO2 too: F3-M2, F4-M1, C3-M2, C4-M1, O1-M2,
O2-M1, one EOG (E1-M2), Chin1-Chin2, ABD, CHEST, AIRFLOW, SaO2, ECG. Height and weight are not given, so no BMI.

What was scored: stages, apneas by type, hypopneas and RERAs. There is no desaturation event. Arousals are marked only
where they do not end an apnea or a hypopnea: a second without one may hold one, so "arousal" is not among what counts
as scored, though the marks there are kept.
"""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from data_pipeline.cohorts import Source
from data_pipeline.cohorts._names import find_records
from data_pipeline.night import BREATHING_EVENTS, Demographics, EventKind

SCORED = frozenset({"stages", *BREATHING_EVENTS, EventKind.RERA})
_RECORD = re.compile(r"t[re]\d\d-\d{4}")
_TABLE = "age-sex.csv"


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every record `tr..-....` and `te..-....` among the files given and under the folders given.

    Raises:
      ValueError: an input that is not there or holds no record, or a damaged `age-sex.csv`.
    """
    people: dict[Path, dict[str, Demographics]] = {}
    sources = []
    for header in find_records(inputs, _RECORD):
        # The table lies at the top: two folders above the record, or nearer in a copy of a part.
        for folder in header.parents[:3]:
            if folder not in people:
                people[folder] = _read_people(folder / _TABLE)
        known = [people[folder][header.stem] for folder in header.parents[:3] if header.stem in people[folder]]
        scoring = header.with_suffix(".arousal")
        is_scored = scoring.is_file()
        sources.append(
            Source(
                night_id=header.stem,
                subject_id=header.stem,
                site="MGH",
                recording=header,
                scoring=(scoring,) if is_scored else (),
                demographics=known[0] if known else Demographics(),
                scored=SCORED if is_scored else None,
                dialect="wfdb",
            )
        )
    return sources


def _read_people(path: Path) -> dict[str, Demographics]:
    """Record -> age and sex; {} when there is no table."""
    if not path.is_file():
        return {}
    people = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, skipinitialspace=True)
        if not {"Record", "Age", "Sex"} <= set(rows.fieldnames or ()):
            raise ValueError(f"{path}: columns {rows.fieldnames}; expected Record, Age, Sex")
        for number, row in enumerate(rows, start=2):
            age, sex = (row["Age"] or "").strip(), (row["Sex"] or "").strip().upper()
            if not re.fullmatch(r"(\d{1,2}|1[0-2]\d)(\.\d+)?|", age) or sex not in ("F", "M", ""):
                raise ValueError(f"{path}, line {number}: columns Age and Sex: expected years, and F or M")
            record = (row["Record"] or "").strip()
            people[record] = Demographics(age_years=float(age) if age else None, sex=sex or None)
    return people
