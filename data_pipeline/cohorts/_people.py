"""The table of people beside recordings: who was recorded, as laboratories write it, and what cannot be read of it.

A cell that cannot be understood is unknown, a row that matches no recording is named by its line: neither costs more
than itself. Remarks name lines and columns, never what stands there: a shifted cell may hold a name or a birth date.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_pipeline.annotations.text import read_text
from data_pipeline.night import AGE_YEARS, BMI, EventKind, RecordingError
from data_pipeline.shards.manifest import SPLITS

TABLES = ("demographics", "participants")
"""Names of the table, without suffix; the second is that of BIDS."""
_SUFFIXES = (".csv", ".tsv", ".txt")
_COLUMNS = {
    "night_id": "night_id night recording record recording_id record_id study_id file_id id",
    "file": "file filename file_name path edf edf_file",
    "subject_id": "subject_id subject person person_id participant_id participant patient_id pid subj subjectid",
    "site": "site center centre lab laboratory",
    "cohort": "cohort dataset",
    "age_years": "age_years age age_y age_yrs ageyears alter edad eta idade",
    "sex": "sex gender geschlecht sexe sexo sesso",
    "bmi": "bmi body_mass_index bmi_kg_m2",
    "split": "split partition",
    "scored": "scored",
}
"""What we keep: names of its column, as `alike` spells them without the zeros; the first that a table has counts."""
_SEXES = {"F": "f female w woman weiblich frau femme feminin femenino mujer femminile feminino"}
_SEXES |= {"M": "m male man mannlich mann homme masculin masculino hombre maschile"}
_UNKNOWN = {"", "na", "n/a", "nan", "none", "null", ".", "-", "--", "?", "unknown", "missing"}
_NAMED = 5
"""Lines or files that a remark names."""
Row = Mapping[str, str]


@dataclass
class People:
    """One table.

    Attributes:
      path: its file.
      rows: (line, cells that are understood) of each row.
      remarks: what is wrong with it.
    """

    path: Path
    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def match(self, names: Mapping[Path, Sequence[str]]) -> dict[Path, Row]:
        """Recordings -> their row. A row may name a recording as it is written or alike, or the person.

        Args:
          names: what each recording may be called, the best first; the last, after "", are what its person may be.
        """
        found: dict[Path, Row] = {}
        waiting = self.rows
        for by in (_as_written, _alike, _as_person):
            called: dict[str, list[Path]] = {}
            for recording, its in names.items():
                for name in dict.fromkeys(by(its)):
                    called.setdefault(name, []).append(recording)
            left = []
            for line, cells in waiting:
                keys = [cells.get("night_id") or cells.get("file") or ""]
                if by is _as_person:
                    keys.append(cells.get("subject_id", ""))
                spelled = [key if by is _as_written else alike(key) for key in keys if key]
                theirs = next((called[key] for key in spelled if key in called), [])
                theirs = [path for path in theirs if path not in found]
                if not theirs or (len(theirs) > 1 and by is not _as_person):
                    left.append((line, cells))
                    continue
                found |= dict.fromkeys(theirs, cells)
            waiting = left
        if waiting:
            n, lines = len(waiting), ", ".join(str(line) for line, _ in waiting[:_NAMED])
            more = f" and {n - _NAMED} more" if n > _NAMED else ""
            problem = f"{n} of {len(self.rows)} rows match no recording, or one that has a row"
            self.remarks.append(f"{self.path.name}: {problem}: line {lines}{more}")
        if lacking := sorted(path.name for path in names if path not in found):
            more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
            named = ", ".join(lacking[:_NAMED]) + more
            self.remarks.append(f"{self.path.name}: no row of {len(lacking)} of {len(names)} recordings: {named}")
        return found


def _as_written(names: Sequence[str]) -> list[str]:
    return list(names[: names.index("")])


def _alike(names: Sequence[str]) -> list[str]:
    return [alike(name) for name in names[: names.index("")]]


def _as_person(names: Sequence[str]) -> list[str]:
    return [alike(name) for name in names[names.index("") + 1 :]]


def alike(name: str) -> str:
    """A name as it is compared: without regard to case, accents' encoding, separators and leading zeros.

    >>> alike("Night 01") == alike("night_1"), alike("n1") == alike("n10")
    (True, False)
    """
    plain = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\W_]+", "_", plain).strip("_"))


def table_in(folder: Path) -> Path | None:
    """The table of people in a folder, the first by name."""
    names = {f"{name}{suffix}" for name in TABLES for suffix in _SUFFIXES}
    tables = sorted(path for path in folder.iterdir() if path.name.lower() in names and path.is_file())
    return tables[0] if tables else None


def read_people(path: Path) -> People:
    """Reads a table with a header row, divided by commas, semicolons or tabs. What is wrong is in its remarks."""
    people = People(path)
    try:
        text = read_text(path)
        first = text.partition("\n")[0]
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max("\t;,", key=first.count))
        header, rows = next(reader, []), [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except RecordingError as error:
        people.remarks.append(f"{path.name}: not used: {error.problem}")
        return people
    except csv.Error:
        people.remarks.append(f"{path.name}: not used: no table with a header row")
        return people
    spelled = [re.sub(r"[\W_]+", "_", name.strip().casefold()).strip("_") for name in header]
    places = {}
    for name, aliases in _COLUMNS.items():
        if there := [spelled.index(alias) for alias in aliases.split() if alias in spelled]:
            places[name] = there[0]
    if not places.keys() & {"night_id", "file", "subject_id"}:
        people.remarks.append(f"{path.name}: not used: no column night_id, file or subject_id in its first line")
        return people
    # Its name is not said: without a header row it is a person's.
    if n := len(header) - len(places):
        people.remarks.append(f"{path.name}: {n} column(s) are not used; known are {', '.join(_COLUMNS)}")
    for line, row in rows:
        people.rows.append((line, _cells(people, line, row, places, len(header))))
    _one_split(people)
    return people


def _cells(people: People, line: int, row: Sequence[str], places: Mapping[str, int], n: int) -> dict[str, str]:
    """What is understood of a row, in our own spelling."""
    if len(row) > n and any(cell.strip() for cell in row[n:]):
        people.remarks.append(
            f"{people.path.name}, line {line}: more cells than columns; of this row only names are used"
        )
        places = {name: place for name, place in places.items() if name in ("night_id", "file", "subject_id")}
    cells = {name: row[place].strip() for name, place in places.items() if place < len(row)}
    for name, cell in list(cells.items()):
        if cell.casefold() in _UNKNOWN:
            cells[name] = ""
        elif name in ("age_years", "bmi"):
            limits = AGE_YEARS if name == "age_years" else BMI
            cells[name] = _number(cell, *limits) or _bad(people, line, name, f"a number {limits[0]}-{limits[1]}")
        elif name == "sex":
            plain = unicodedata.normalize("NFKD", cell.casefold()).encode("ascii", "ignore").decode()
            sex = next((sex for sex, words in _SEXES.items() if plain in words.split()), "")
            cells[name] = sex or _bad(people, line, name, "F or M")
        elif name == "split" and cell not in SPLITS:
            cells[name] = _bad(people, line, name, f"one of {', '.join(SPLITS)}")
        elif name == "scored" and set(cell.split()) - {"stages", *EventKind}:
            cells[name] = _bad(people, line, name, "'stages' and kinds of event, with blanks between")
    return cells


def _bad(people: People, line: int, column: str, expected: str) -> str:
    people.remarks.append(f"{people.path.name}, line {line}: column {column}: expected {expected}; taken as unknown")
    return ""


def _number(cell: str, lowest: float, highest: float) -> str:
    number = cell.replace(",", ".")
    is_good = re.fullmatch(r"\d+(\.\d*)?", number) and lowest <= float(number) <= highest
    return number if is_good else ""


def _one_split(people: People) -> None:
    """A person is in one split: of one whose rows name several, none counts."""
    splits: dict[str, set[str]] = {}
    for _, cells in people.rows:
        if cells.get("subject_id") and cells.get("split"):
            splits.setdefault(alike(cells["subject_id"]), set()).add(cells["split"])
    for line, cells in people.rows:
        if len(splits.get(alike(cells.get("subject_id", "")), ())) > 1:
            cells["split"] = _bad(people, line, "split", "one split for all nights of a person")
