"""Tables of persons, as cohorts publish them: each has its own columns and codes."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_pipeline.night import AGE_YEARS, BMI, Demographics

NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Table:
    """Where a table of a cohort keeps what we need; names of columns in lower case.

    Attributes:
      files: pattern of its name in the folder `datasets`.
      subject: column of the person's identifier.
      age, bmi: columns of years (ages above 89 are 90 in all these cohorts) and kg/m2.
      sex: column of the sex, `sexes` what its values mean.
      site: column of the site ("" when there is none), `sites` what its values mean.
      limits: column -> its values -> what is unusable in nights with this value.
      only: (column, value) of the rows to be read; None is all.
      may_lack: columns that need not be there: what they say is unknown then.
      missing: values that mean "unknown", beside an empty cell, "." and "NA".
    """

    files: str
    subject: str
    age: str
    bmi: str
    sex: str
    sexes: Mapping[str, str | None]
    site: str = ""
    sites: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, Mapping[str, frozenset[str]]] = field(default_factory=dict)
    only: tuple[str, str] | None = None
    may_lack: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Row:
    """What a table says of a person."""

    demographics: Demographics = Demographics()  # noqa: RUF009  (frozen)
    site: str = ""
    unusable: frozenset[str] = frozenset()


def read_table(folder: Path, table: Table) -> dict[str, Row] | None:
    """Rows by person; None when there is no such table.

    Raises:
      ValueError: two versions of it, a column or cell that is missing, a person's second row, or a value that is
        not understood. It names the table, line and column, and never the value: in a shifted row it could be a
        date of birth.
    """
    paths = sorted(folder.glob(table.files))
    if not paths:
        return None
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        raise ValueError(f"{folder}: {len(paths)} versions of a table, {names}; keep one")
    (path,) = paths
    people: dict[str, Row] = {}
    # Windows-1252, for free text that we do not read; Latin-1 reads the rest alike and never fails.
    with path.open(encoding="latin-1", newline="") as file:
        reader = csv.reader(file)
        try:
            header = [name.strip().lower() for name in next(reader, [""])]
            header[0] = header[0].removeprefix("\xef\xbb\xbf")  # the byte order mark of UTF-8
            columns = _columns(path, table, header)
            for row in filter(None, reader):
                where = f"{path}, line {reader.line_num}"
                if len(row) != len(header):
                    raise ValueError(f"{where}: {len(row)} cells, expected {len(header)}")
                cells = {name: clean(row[place], table.missing) for name, place in columns.items()}
                if table.only is not None and cells[table.only[0]] != table.only[1]:
                    continue
                if cells[table.subject] in people:
                    raise ValueError(f"{where}: a second row of one person")
                people[cells[table.subject]] = _row(cells, table, where)
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}; expected a CSV table") from error
    return people


def _columns(path: Path, table: Table, header: Sequence[str]) -> dict[str, int]:
    """Name of each column that we need -> its place."""
    needed = {table.subject, table.age, table.bmi, table.sex, *table.limits}
    needed |= {column for column in (table.site, table.only and table.only[0]) if column}
    if lacking := needed - table.may_lack - set(header):
        raise ValueError(f"{path}: no column {', '.join(sorted(lacking))}; expected a table as NSRR publishes it")
    return {name: header.index(name) for name in needed & set(header)}


def clean(cell: str, missing: frozenset[str] = frozenset()) -> str:
    """A cell as it is compared: "" when unknown, "1" for "01" and "1.0", words in lower case.

    It makes identifiers alike, too: tables write "1" and "AA0001" where files write "0001" and "aa0001".
    """
    cell = cell.strip()
    if cell in {".", "NA"} | missing:
        return ""
    number = re.fullmatch(r"0*(\d+)(\.0*)?", cell)
    return number[1] if number else cell.lower()


def _row(cells: Mapping[str, str], table: Table, where: str) -> Row:
    def number(column: str, limits: tuple[float, float]) -> float | None:
        (lowest, highest), cell = limits, cells.get(column)
        if not cell:
            return None
        if not re.fullmatch(r"\d+(\.\d+)?", cell) or not lowest < float(cell) <= highest:
            raise ValueError(f"{where}: column {column}: expected a number above {lowest}, up to {highest}")
        return float(cell)

    def meaning(column: str, meanings: Mapping[str, Any]) -> Any:
        code = cells.get(column, "")
        if code and code not in meanings:
            raise ValueError(f"{where}: column {column}: expected one of {', '.join(meanings)}")
        return meanings.get(code)

    limits = (meaning(column, meanings) for column, meanings in table.limits.items())
    return Row(
        Demographics(
            age_years=number(table.age, AGE_YEARS), sex=meaning(table.sex, table.sexes), bmi=number(table.bmi, BMI)
        ),
        meaning(table.site, table.sites) or "",
        frozenset().union(*filter(None, limits)),
    )
