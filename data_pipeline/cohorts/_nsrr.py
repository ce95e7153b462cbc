"""What the cohorts of the National Sleep Research Resource (https://sleepdata.org) share: folders, tables, words.

An account, a signed data-use agreement and a token are needed; then, for the cohort `shhs`:

    gem install nsrr
    nsrr download shhs/datasets
    nsrr download shhs/polysomnography/edfs
    nsrr download shhs/polysomnography/annotations-events-nsrr
    nsrr download shhs/polysomnography/annotations-events-profusion

gives this folder, which `sleepmami prepare shhs --cohort shhs` takes as it is:

    shhs/datasets/shhs1-dataset-<version>.csv
    shhs/datasets/shhs-harmonized-dataset-<version>.csv
    shhs/polysomnography/edfs/shhs1/shhs1-200001.edf
    shhs/polysomnography/annotations-events-nsrr/shhs1/shhs1-200001-nsrr.xml
    shhs/polysomnography/annotations-events-profusion/shhs1/shhs1-200001-profusion.xml

The NSRR XML is read where it is there, else the Profusion XML; a night without either is a night without scoring.
Recordings that were copied elsewhere find their XML beside them, and the tables in `datasets` or beside them.

Scorers at the reading centre marked hypopneas by reduced flow alone; the published indices ask for desaturation or
arousal afterwards. Their rule is therefore "flow", and counting them is no AHI by rule 1A or 1B. "Unsure" was the
one free word of their software: a hypopnea with more than half of the flow lost, and no doubt about it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_pipeline.annotations.terms import Meaning
from data_pipeline.cohorts import Source, recordings_under
from data_pipeline.cohorts._tables import NOTHING, Row, Table, clean, read_table
from data_pipeline.night import EventKind

_FLOW = Meaning(EventKind.HYPOPNEA, "flow")
TERMS = {word: _FLOW for word in ("hypopnea", "obstructive hypopnea", "central hypopnea", "mixed hypopnea", "unsure")}
SLEEP_WAKE_ONLY = frozenset({"stages", EventKind.AROUSAL})
"""What is unusable when all sleep was written down as stage 2 and arousals were not scored."""


def harmonized(files: str, subject: str, only: tuple[str, str] | None = None) -> Table:
    """The table whose columns NSRR named alike for all cohorts. It says sleep/wake only where it knows."""
    return Table(
        files=files,
        subject=subject,
        age="nsrr_age",
        bmi="nsrr_bmi",
        sex="nsrr_sex",
        sexes={"male": "M", "female": "F", "not reported": None},
        limits={"nsrr_flag_spsw": {"sleep/wake only": SLEEP_WAKE_ONLY, "full scoring": NOTHING, "unknown": NOTHING}},
        only=only,
    )


@dataclass(frozen=True)
class Visit:
    """One visit of a cohort.

    Attributes:
      recording: pattern of the recordings' names without suffix, with the person's identifier as its group 1.
      table: who was recorded, and how it was scored. It must be there.
      harmonized: the same, in NSRR's own words; its values are preferred. It may be absent.
      unusable: what is wrong in every night of the visit.
    """

    recording: str
    table: Table
    harmonized: Table
    unusable: frozenset[str] = NOTHING


def find_visit_nights(
    inputs: Sequence[Path], slug: str, visits: Sequence[Visit], without_nsrr_xml: frozenset[str] = frozenset()
) -> list[Source]:
    """The nights of some visits under files and folders, as `find_nights` of a cohort returns them.

    Args:
      inputs: recordings, or folders in the layout above or any part of it.
      slug: the cohort's name; a person is "<slug>-<identifier>" at every visit.
      visits: the cohort's visits.
      without_nsrr_xml: nights whose NSRR XML was withdrawn: an old copy of it is not read.

    Raises:
      ValueError: an input that is not there or holds no recording of the cohort, or a table that is missing or
        cannot be understood.
    """
    names = " or ".join(visit.recording for visit in visits)
    recordings = recordings_under(
        inputs, lambda path: _match(path, visits) is not None, f"{names}, with suffix .edf, of {slug}"
    )
    sources: list[Source] = []
    tables: dict[tuple[Path, str], dict[str, Row]] = {}  # of a visit: several may share a file
    unused: dict[tuple[Path, str], int] = {}  # persons in tables that no recording has needed yet
    for path in recordings:
        match = _match(path, visits)
        visit = next(visit for visit in visits if visit.recording == match.re.pattern)
        folder = _datasets(path)
        table = folder / visit.table.files, visit.recording
        if table not in tables:
            tables[table] = _people(folder, visit)
            unused[table] = len(tables[table])
        if clean(match[1]) in tables[table]:
            unused.pop(table, None)
        row = tables[table].get(clean(match[1]), Row())
        night_id = path.stem.lower()
        kinds = ("profusion",) if night_id in without_nsrr_xml else ("nsrr", "profusion")
        sources.append(
            Source(
                night_id=night_id,
                subject_id=f"{slug}-{match[1].lower()}",
                site=row.site,
                recording=path,
                scoring=_scoring(path, kinds),
                demographics=row.demographics,
                terms=TERMS,
                unusable=visit.unusable | row.unusable,
            )
        )
    for (table, _), n in unused.items():
        raise ValueError(f"{table}: none of its {n} persons is among the recordings; is it another cohort's?")
    return sources


def _match(path: Path, visits: Sequence[Visit]) -> re.Match[str] | None:
    if path.suffix.lower() != ".edf":
        return None
    matches = (re.fullmatch(visit.recording, path.stem, re.IGNORECASE) for visit in visits)
    return next(filter(None, matches), None)


def _polysomnography(recording: Path) -> tuple[Path, Path]:
    """The folder that holds `edfs`, and the recording's place in it; the recording's own folder without one."""
    for folder in recording.absolute().parents:
        if folder.name == "edfs":
            return folder.parent, recording.absolute().parent.relative_to(folder)
    return recording.parent, Path()


def _scoring(recording: Path, kinds: Sequence[str]) -> tuple[Path, ...]:
    """The first there is, or none."""
    root, place = _polysomnography(recording)
    for kind in kinds:
        name = f"{recording.stem}-{kind}.xml"
        for path in (root / f"annotations-events-{kind}" / place / name, recording.with_name(name)):
            if path.is_file():
                return (path,)
    return ()


def _datasets(recording: Path) -> Path:
    root, _ = _polysomnography(recording)
    folders = (root.parent / "datasets", root / "datasets")
    return next((folder for folder in folders if folder.is_dir()), recording.parent)


def _people(folder: Path, visit: Visit) -> dict[str, Row]:
    people = read_table(folder, visit.table)
    if people is None:
        raise ValueError(
            f"{folder / visit.table.files}: no such table; without it nobody knows age and sex, nor which nights "
            "were scored as sleep and wake only. Download the cohort's `datasets` folder."
        )
    for subject, better in (read_table(folder, visit.harmonized) or {}).items():
        row = people.get(subject, Row())
        known = {name: value for name, value in vars(better.demographics).items() if value is not None}
        demographics = replace(row.demographics, **known)
        people[subject] = replace(row, demographics=demographics, unusable=row.unusable | better.unusable)
    return people
