"""Any folder of recordings, scoring beside them by name, an optional table of people.

The table (`demographics.csv`, see `_people`) sits in the same folder as the recordings or above them. A column names
the night: `night_id` (the file's name without its suffix), `file` (the name with it), or the person, `subject_id`; the
others are optional: `site`, `cohort`, `age_years`, `sex` (F or M), `bmi`, `split` (train, val or test), `scored` (what
the scorer looked for: `stages` and names of `night.EventKind`, with blanks between; without it, a night without a
single apnea or hypopnea counts as never searched for them). An empty cell is unknown.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data_pipeline.annotations import recognised
from data_pipeline.cohorts import Found, Source, recordings_under
from data_pipeline.cohorts._beside import left_beside
from data_pipeline.cohorts._ids import Id, unique_ids
from data_pipeline.cohorts._parts import can_be_joined, nights_of, person_of
from data_pipeline.cohorts._people import TABLES, Row, alike, read_people, table_in
from data_pipeline.night import Demographics
from data_pipeline.readers import SUFFIXES, is_recording
from data_pipeline.readers.edf_header import labels_in

_WHAT = (
    *("hypnogram", "hypno", "stages", "events", "annotations", "arousals", "respiratory", "spindles", "scoring"),
    *("sleepscoring", "sleep_annotations", "events_annotations"),
)
_BY_NAME = (".csv", ".tsv", ".json", ".xml", ".tal", ".arousal", ".st", ".xlsx", ".rml", ".annot", ".eannot", ".ids")
_BY_CONTENT = (".txt", ".sta", ".hyp", ".hypno", ".evt", ".scoring")
"""Suffixes that notes have, too: a file of the recording's own stem must be a scoring by what stands in it."""
_KINDS = ("csv", "tsv", "txt", "json", "tal", "edf", "xml", "xlsx", "rml", "annot", "eannot")
SCORING_ENDINGS = (
    *_BY_NAME,
    *_BY_CONTENT,
    *(f"{sep}{what}.{kind}" for sep in "_-" for what in _WHAT for kind in _KINDS),
    *(f"-{what}.{kind}" for what in ("nsrr", "profusion") for kind in ("xml", "annot", "eannot")),
)
"""What may follow a recording's stem in the name of its scoring, in lower case. An .edf must hold annotations only."""
_BIDS = re.compile(r"(sub-[a-z0-9]+)(_[a-z0-9]+-[a-z0-9]+)*_(eeg|ieeg|meg|psg)", re.IGNORECASE)
"""How BIDS calls a recording; its scoring has another last word: `sub-01_ses-01_task-sleep_events.tsv`."""
_SLEEP_EDF = "-hypnogram.edf"


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every recording among the files given and under the folders given.

    Scoring is a file beside the recording with the same stem and one of `SCORING_ENDINGS`, or, for Sleep-EDF,
    the `*-Hypnogram.edf` that shares the first six characters of a `*-PSG.edf`. An EDF+ that holds
    annotations only is never taken for a recording. A person is one night unless the table, or a name as BIDS has them
    (`sub-01_ses-02_task-sleep_eeg.edf`), says otherwise. Files that are parts of one night are one (`_parts`); of
    recordings of one name each is called by its folder, too.

    Raises:
      ValueError: an input that is not there or holds no recording.
    """
    return list(look(inputs).sources)


def look(inputs: Sequence[Path]) -> Found:
    """As `find_nights`, with what is wrong in tables, what was joined or could not be, and what is left beside them."""
    has_signals = lambda path: is_recording(path) and not _annotations_only(path)  # noqa: E731
    recordings = recordings_under(inputs, has_signals, f"{', '.join(SUFFIXES)} with signals")
    remarks: list[str] = []
    nights: list[tuple[str, tuple[Path, ...]]] = []
    persons: dict[Path, str] = {}  # of what cannot be joined, or by the recorder's rules
    here = _by_name(recordings)
    for name, paths in nights_of(recordings):
        scored = [path for path in paths if _scorings(path, here[path.parent])]
        if len(paths) > 1 and (scored or not can_be_joined(paths)):
            why = "each has a scoring of its own" if scored else "by their headers they do not follow each other"
            remarks.append(
                f"{name}: {len(paths)} files are parts of one night by name, but {why}: nights of one person"
            )
            nights += [(path.stem, (path,)) for path in paths]
            persons |= dict.fromkeys(paths, f"{paths[0].parent}/{name}")
        else:
            nights.append((name, paths))
        persons |= {path: person for path in paths if (person := person_of(path))}
    ids = unique_ids(nights, inputs)
    rows, tables = _rows(nights, ids, inputs, remarks)
    sources = []
    first_of: dict[str, str] = {}  # a person is called by their first night
    for name, paths in nights:
        first, row = paths[0], rows.get(paths[0], {})
        source = _source(first, here[first.parent], row)
        # Also "night.edf.csv", and of a night in parts what is named like the whole.
        names = {first.name, *(path.name for path in paths), f"{name}{first.suffix}", f"{first.name}.edf"}
        scoring = {path for called in names for path in _scorings(first.with_name(called), here[first.parent])}
        source = replace(source, scoring=tuple(sorted(scoring - set(paths))))
        subject_id = row.get("subject_id") or ("" if source.subject_id == source.night_id else source.subject_id)
        if not subject_id:
            person = persons.get(first) or ids[first].person
            subject_id = first_of.setdefault(person, ids[first].night_id) if person else ids[first].night_id
        subject_id = first_of.setdefault(f"named {alike(subject_id)}", subject_id)
        told = {"night_id": ids[first].night_id, "subject_id": subject_id, "parts": paths[1:]}
        sources.append(replace(source, **told))
    return Found(tuple(sources), tuple(remarks), left_beside(inputs, sources, tables))


def _by_name(recordings: Sequence[Path]) -> dict[Path, dict[str, list[Path]]]:
    """Folder -> its files by name in lower case, and Sleep-EDF's by how it begins."""
    folders: dict[Path, dict[str, list[Path]]] = {}
    for folder in dict.fromkeys(path.parent for path in recordings):
        here = folders.setdefault(folder, {})
        for path in sorted(path for path in folder.iterdir() if path.is_file()):
            name = path.name.lower()
            here.setdefault(name, []).append(path)
            if name.endswith(_SLEEP_EDF):
                here.setdefault(f"{name[:6]}*{_SLEEP_EDF}", []).append(path)
    return folders


def _rows(
    nights: Sequence[tuple[str, tuple[Path, ...]]], ids: Mapping[Path, Id], inputs: Sequence[Path], remarks: list[str]
) -> tuple[dict[Path, Row], list[Path]]:
    """Recording -> its row of the nearest table that has one, in its own folder or above; the tables."""
    roots = {Path(given) if Path(given).is_dir() else Path(given).parent for given in inputs}
    below: dict[Path, list[tuple[str, tuple[Path, ...]]]] = {}
    for night in nights:
        for folder in night[1][0].parents:
            below.setdefault(folder, []).append(night)
            if folder in roots:
                break
    rows: dict[Path, Row] = {}
    tables = []
    for folder in sorted(below, key=lambda folder: -len(folder.parts)):
        if (table := table_in(folder)) is None:
            continue
        tables.append(table)
        people = read_people(table)
        names = {}
        for name, paths in below[folder]:
            if paths[0] not in rows:
                inside = [path.relative_to(folder) for path in paths]
                written = [str(p) for path in inside for p in (path, path.with_suffix(""), path.name, path.stem)]
                person = [*inside[0].parts[:-1], *re.findall(r"^(?:sub-)?[^\W_]+", name)]
                names[paths[0]] = [*written, name, ids[paths[0]].night_id, "", *person]
        rows |= people.match(names) if people.rows else {}
        remarks += people.remarks
    return rows, tables


def _source(recording: Path, here: dict[str, list[Path]], row: dict[str, str]) -> Source:
    night_id = recording.stem
    bids = _BIDS.fullmatch(recording.stem)
    return Source(
        night_id=night_id,
        subject_id=row.get("subject_id") or (bids[1] if bids else night_id),
        site=row.get("site", ""),
        recording=recording,
        scoring=_scorings(recording, here),
        demographics=Demographics(
            age_years=float(row["age_years"]) if row.get("age_years") else None,
            sex=row.get("sex") or None,
            bmi=float(row["bmi"]) if row.get("bmi") else None,
        ),
        split=row.get("split") or None,
        scored=frozenset(row["scored"].split()) if row.get("scored") else None,
        cohort=row.get("cohort") or None,
    )


def _scorings(recording: Path, here: dict[str, list[Path]]) -> tuple[Path, ...]:
    """Looked up by name: to go through a folder of 20,000 recordings for each of them takes an hour."""
    stem = recording.stem.lower()
    stems = [stem, stem.rpartition("_")[0]] if _BIDS.fullmatch(stem) else [stem]
    found = {path for s in stems for ending in SCORING_ENDINGS for path in here.get(s + ending, ())}
    found = {p for p in found if p.suffix.lower() not in SUFFIXES or _annotations_only(p)}
    bare = {stem + suffix for stem in stems for suffix in _BY_CONTENT}
    found = {p for p in found if p.name.lower() not in bare or recognised(p)}
    if stems != [stem]:  # BIDS describes the columns of a table in a .json of its name
        found = {p for p in found if p.suffix.lower() != ".json"}
    if "-psg" in stem and len(stem) > 6:
        found |= set(here.get(f"{stem[:6]}*{_SLEEP_EDF}", ()))
    return tuple(sorted(path for path in found if path != recording and path.stem.lower() not in TABLES))


def _annotations_only(path: Path) -> bool:
    """Whether an EDF+ or BDF+ holds no signal: every label in its header is an annotations label.

    A header that cannot be read says nothing; the reader will refuse the file with its reason.
    """
    labels = labels_in(path)
    return bool(labels) and labels <= {b"EDF Annotations", b"BDF Annotations"}
