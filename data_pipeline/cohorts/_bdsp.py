"""What the cohorts of the Brain Data Science Platform (https://bdsp.io) share: names as in BIDS, and a table of nights.

The table has a row a night: `BidsFolder` (sub-S0001…), `SessionID`, an age (`AgeAtVisit` or `Age`), a sex (`SexDSC` or
`Sex`: Male, Female, M, F) and perhaps `BMI`. No other column is read.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from data_pipeline.cohorts._tables import clean
from data_pipeline.night import AGE_YEARS, BMI, Demographics

Night = tuple[str, str]
"""(sub-…, session), in lower case."""
_AGES, _SEXES = ("ageatvisit", "age"), ("sexdsc", "sex")
_SEX = {"m": "M", "male": "M", "f": "F", "female": "F"}


def read_people(path: Path) -> dict[Night, Demographics]:
    """What the table says of each night; {} where there is no table.

    Raises:
      ValueError: no such columns. A cell that is no age, sex or BMI is unknown: people type much into these.
    """
    if not path.is_file():
        return {}
    people: dict[Night, Demographics] = {}
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file)
        header = [name.strip().lower() for name in next(reader, [])]
        if not {"bidsfolder", "sessionid"} <= set(header):
            raise ValueError(f"{path}: no columns BidsFolder and SessionID; expected the table that BDSP publishes")
        for row in reader:
            cells = dict(zip(header, map(clean, row), strict=False))
            night = (cells.get("bidsfolder", ""), cells.get("sessionid", ""))
            people[night] = Demographics(
                age_years=_number(cells, _AGES, AGE_YEARS),
                sex=next((_SEX[cells[name]] for name in _SEXES if cells.get(name) in _SEX), None),
                bmi=_number(cells, ("bmi",), BMI),
            )
    return people


def _number(cells: dict[str, str], names: Sequence[str], limits: tuple[float, float]) -> float | None:
    for name in names:
        try:
            value = float(cells.get(name, ""))
        except ValueError:
            continue
        if limits[0] < value <= limits[1]:
            return round(value, 2)
    return None


def table_above(recording: Path, pattern: str) -> Path | None:
    """The last table of a name beside a recording or in a folder above it; None where there is none."""
    for folder in recording.resolve().parents[:8]:
        if found := sorted(folder.glob(pattern)):
            return found[-1]
    return None
