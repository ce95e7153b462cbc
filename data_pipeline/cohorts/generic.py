"""Any folder of recordings, scoring beside them by name, an optional `demographics.csv`.

`demographics.csv` sits in the same folder as the recordings. Its first column that names a night is
`night_id` (the file's name without its suffix) or `file` (the name with it); the others are optional:
`subject_id`, `site`, `cohort`, `age_years`, `sex` (F or M), `bmi`, `split` (train, val or test), `scored` (what the
scorer looked for: `stages` and names of `night.EventKind`, with blanks between; without it, a night without a single
apnea or hypopnea counts as never searched for them). An empty cell is unknown.
"""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from data_pipeline.annotations import recognised
from data_pipeline.cohorts import Source, recordings_under
from data_pipeline.night import AGE_YEARS, BMI, Demographics, EventKind
from data_pipeline.readers import SUFFIXES, is_recording
from data_pipeline.shards.manifest import SPLITS

_WHAT = (
    *("hypnogram", "hypno", "stages", "events", "annotations", "arousals", "respiratory", "spindles", "scoring"),
    *("sleepscoring", "sleep_annotations", "events_annotations"),
)
_BY_NAME = (".csv", ".tsv", ".json", ".xml", ".tal", ".arousal", ".st", ".xlsx", ".rml", ".annot", ".eannot", ".ids")
_BY_CONTENT = (".txt", ".sta", ".hyp", ".hypno", ".evt", ".scoring")
"""Suffixes that notes have, too: a file of the recording's own stem must be a scoring by what stands in it."""
SCORING_SUFFIXES = _BY_NAME
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
DEMOGRAPHICS = "demographics.csv"
_COLUMNS = {"night_id", "file", "subject_id", "site", "cohort", "age_years", "sex", "bmi", "split", "scored"}


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every recording among the files given and under the folders given.

    Scoring is a file beside the recording with the same stem and one of `SCORING_ENDINGS`, or, for Sleep-EDF,
    the `*-Hypnogram.edf` that shares the first six characters of a `*-PSG.edf`. An EDF+ that holds
    annotations only is never taken for a recording. A person is one night unless the table, or a name as BIDS has them
    (`sub-01_ses-02_task-sleep_eeg.edf`), says otherwise.

    Raises:
      ValueError: an input that is not there or holds no recording, or a damaged demographics table.
    """
    folders: dict[Path, list[Path]] = {}
    has_signals = lambda path: is_recording(path) and not _annotations_only(path)  # noqa: E731
    for path in recordings_under(inputs, has_signals, f"{', '.join(SUFFIXES)} with signals"):
        folders.setdefault(path.parent, []).append(path)
    sources = []
    for folder, mine in sorted(folders.items()):
        here: dict[str, list[Path]] = {}  # by name in lower case, and Sleep-EDF's by how it begins
        for path in sorted(path for path in folder.iterdir() if path.is_file()):
            name = path.name.lower()
            here.setdefault(name, []).append(path)
            if name.endswith(_SLEEP_EDF):
                here.setdefault(f"{name[:6]}*{_SLEEP_EDF}", []).append(path)
        table = _read_demographics(folder / DEMOGRAPHICS)
        if table and not set(table) & {key for path in mine for key in (path.stem, path.name)}:
            raise ValueError(
                f"{folder / DEMOGRAPHICS}: none of its {len(table)} nights is a recording beside it (first: "
                f"{next(iter(table))}, recording: {mine[0].name}); expected file names, suffix or not"
            )
        sources += [_source(path, here, table.get(path.name) or table.get(path.stem) or {}) for path in mine]
    return sources


def overlooked(inputs: Sequence[Path], sources: Sequence[Source]) -> list[Path]:
    """Files that look like scorings or demographics and belong to no recording: perhaps somebody meant to give them."""
    used = {path for source in sources for path in (source.recording, *source.scoring)}
    used |= {source.recording.parent / DEMOGRAPHICS for source in sources}
    here = (path for given in map(Path, inputs) if given.is_dir() for path in given.rglob("*"))
    kinds = {*SCORING_SUFFIXES, *SUFFIXES}
    return sorted(
        path
        for path in here
        if path not in used
        and path.suffix.lower() in kinds
        and path.is_file()
        and (path.suffix.lower() not in SUFFIXES or _annotations_only(path))
    )


def _source(recording: Path, here: dict[str, list[Path]], row: dict[str, str]) -> Source:
    night_id = re.sub(r"[^A-Za-z0-9._-]+", "_", recording.stem).lstrip("._-") or "night"
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
    return tuple(sorted(path for path in found if path != recording and path.name.lower() != DEMOGRAPHICS))


def _annotations_only(path: Path) -> bool:
    """Whether an EDF+ or BDF+ holds no signal: every label in its header is an annotations label.

    A header that cannot be read says nothing; the reader will refuse the file with its reason.
    """
    with path.open("rb") as file:
        header = file.read(256)
        digits = header[252:256].strip()
        labels = file.read(16 * int(digits)) if digits.isdigit() else b""
    names = {labels[start : start + 16].strip() for start in range(0, len(labels), 16)}
    return bool(names) and names <= {b"EDF Annotations", b"BDF Annotations"}


def _read_demographics(path: Path) -> dict[str, dict[str, str]]:
    """Rows by the recording they speak of, cells stripped; {} when there is no table."""
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _rows(path, csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a table in UTF-8 ({error}); save it as UTF-8 CSV") from error


# Messages name lines and columns, never what stands there: a shifted cell may hold a name or a birth date.
def _rows(path: Path, reader: csv.DictReader) -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = {}
    columns = set(reader.fieldnames or ())
    if not columns & {"night_id", "file"} or columns - _COLUMNS:
        raise ValueError(f"{path}: columns {sorted(columns)}; expected night_id or file, and any of {sorted(_COLUMNS)}")
    for number, cells in enumerate(reader, start=2):
        row = {key: (value or "").strip() for key, value in cells.items() if key is not None}
        if None in cells:
            raise ValueError(f"{path}, line {number}: more cells than columns")
        key = row.get("night_id") or row.get("file")
        if not key or key in table:
            raise ValueError(f"{path}, line {number}: night {key!r} is {'there twice' if key else 'not named'}")
        for column, expected in (("sex", ("F", "M")), ("split", SPLITS)):
            if row.get(column) and row[column] not in expected:
                raise ValueError(f"{path}, line {number}: column {column}: expected one of {expected}")
        for column, (lowest, highest) in (("age_years", AGE_YEARS), ("bmi", BMI)):
            if row.get(column) and not _is_number_within(row[column], lowest, highest):
                raise ValueError(f"{path}, line {number}: column {column}: expected a number {lowest}-{highest}")
        if unknown := set(row.get("scored", "").split()) - {"stages", *EventKind}:
            problem = f"{path}, line {number}: column scored: {len(unknown)} word(s) of it are unknown"
            raise ValueError(f"{problem}; expected 'stages' or {[str(kind) for kind in EventKind]}")
        table[key] = row
    return table


def _is_number_within(text: str, lowest: float, highest: float) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", text) is not None and lowest <= float(text) <= highest
