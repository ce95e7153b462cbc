"""ISRUC-Sleep (Khalighi et al. 2016): 100 patients, 8 patients with two nights each, 10 healthy people.

How to get it: https://sleeptight.isr.uc.pt, open; unpack the archives of a subgroup into a folder whose name says
which it is (`subgroupI`, `Subgroup_2`, `SG3`), and give that folder or one above it:

    subgroupI/<person>/<n>.rec               subgroups I and III
    subgroupII/<person>/<session>/<n>.rec    two sessions of a person

`.rec` is EDF. `<n>_1.txt` and `<n>_2.txt` beside it are the stages of two scorers (`annotations.isruc`): where both
name a stage the first has the word, and a note counts the epochs in which they differ. The events in the `.xlsx`
beside them are not read, for their spelling is not documented: a night counts as scored for stages only.

Age and sex: save `Details_subgroup_I_Submission.xlsx` (II, III) as CSV under the same name, in the subgroup's folder
or the one above. Columns `Subject`, `Age` and `Sex` are used, and no other. There is no BMI.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_pipeline.annotations.table import column_name
from data_pipeline.annotations.text import read_text
from data_pipeline.cohorts import Source, generic
from data_pipeline.night import Demographics, RecordingError

_SUBGROUP = re.compile(r"(?:sub[-_ ]?group|sg|isruc[-_ ]?s(?:g|ub[-_ ]?group)?)[-_ ]?(I{1,3}|[123])", re.IGNORECASE)
_GROUPS = ("I", "II", "III")
_COLUMNS = ("subject", "age", "sex")


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every recording among the files given and under the folders given.

    Raises:
      ValueError: nothing found, a recording outside the layout above, or a damaged details table.
    """
    tables: dict[tuple[Path, str], dict[int, Demographics]] = {}
    return [_source(source, tables) for source in generic.find_nights(inputs)]


def _source(source: Source, tables: dict[tuple[Path, str], dict[int, Demographics]]) -> Source:
    recording = source.recording
    folder, group, person, session = _place(recording)
    if (folder, group) not in tables:
        tables[folder, group] = _details(folder, group)
    subject_id = f"isruc{_GROUPS.index(group) + 1}-{person:03d}"
    scorings = (recording.with_name(f"{recording.stem}_{scorer}.txt") for scorer in (1, 2))
    scoring = tuple(path for path in scorings if path.is_file())
    return replace(
        source,
        night_id=f"{subject_id}-{session}" if session else subject_id,
        subject_id=subject_id,
        site=f"subgroup{group}",
        scoring=scoring,
        demographics=tables[folder, group].get(person, Demographics()),
        scored=frozenset({"stages"}) if scoring else None,
        dialect="isruc",
    )


def _place(recording: Path) -> tuple[Path, str, int, int | None]:
    """The subgroup's folder, the subgroup, the person and the session that a recording's path names."""
    path = recording.resolve()
    folder = next((folder for folder in path.parents if _SUBGROUP.fullmatch(folder.name)), None)
    if folder is not None:
        name = _SUBGROUP.fullmatch(folder.name)[1].upper()
        group = _GROUPS[int(name) - 1] if name.isdigit() else name
        numbers = path.relative_to(folder).parts[:-1]
        if len(numbers) == (2 if group == "II" else 1) and all(number.isdecimal() for number in numbers):
            person, *session = map(int, numbers)
            return folder, group, person, session[0] if session else None
    raise ValueError(
        f"{recording}: not where ISRUC's recordings are; expected subgroupI/<person>/<n>.rec, "
        "subgroupII/<person>/<session>/<n>.rec or subgroupIII/<person>/<n>.rec"
    )


def _details(folder: Path, group: str) -> dict[int, Demographics]:
    """Person -> age and sex; {} when there is no table. Of two rows of a person (two sessions) the first counts."""
    name = f"Details_subgroup_{group}_Submission"
    tables = [parent / f"{name}.csv" for parent in (folder, folder.parent)]
    path = next((table for table in tables if table.is_file()), None)
    if path is None:
        for sheet in (table.with_suffix(".xlsx") for table in tables):
            if sheet.is_file():
                raise ValueError(f"{sheet}: save it as {name}.csv beside it, or move it away to do without ages")
        return {}
    try:
        text = read_text(path)
    except RecordingError as error:
        raise ValueError(str(error)) from error
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=max("\t;,", key=text.count))
    columns: list[int] | None = None
    people: dict[int, Demographics] = {}
    for number, row in enumerate(lines, start=1):
        heads = [column_name(cell).split("_")[0] for cell in row]
        if columns is None:  # titles may stand above the header
            columns = [heads.index(head) for head in _COLUMNS] if set(_COLUMNS) <= set(heads) else None
            continue
        subject, age, sex = (row[k].strip() if k < len(row) else "" for k in columns)
        if not re.fullmatch(r"\d{1,3}(\.0)?", subject):
            continue  # an empty line, a second session's, or a mean below the table
        # What stands there is not repeated: in a table whose columns slipped it may be a name.
        if not re.fullmatch(r"(\d{1,3}(\.\d+)?)?", age):
            raise ValueError(f"{path}, line {number}: column Age is not understood; expected years")
        if sex.upper() not in ("F", "M", ""):
            raise ValueError(f"{path}, line {number}: column Sex is not understood; expected F or M")
        person = Demographics(float(age) if age else None, sex.upper() or None)
        people.setdefault(int(float(subject)), person)
    if not people:
        raise ValueError(f"{path}: no person in it; expected a header with {', '.join(_COLUMNS)} and rows below it")
    return people
