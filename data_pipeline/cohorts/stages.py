"""STAGES, Stanford Technology Analytics and Genomics in Sleep: about 1,900 nights of twenty clinics.

How to get it: https://sleepdata.org/datasets/stages, as in `_nsrr`. `BOGN00001.edf` with `BOGN00001.csv` beside it:
"Start Time, Duration (seconds), Event" by the clock, stages (Wake, Stage1 … Stage3, REM, UnknownStage) among the
events. The first four letters are the site. Ages: `datasets/stages-harmonized-dataset-<version>.csv`, where it is.

In some files durations of stages are 0 or absurd: a stage then lasts until the next one, and the later mark counts.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_pipeline.cohorts import Source
from data_pipeline.cohorts._names import existing, named_recordings
from data_pipeline.cohorts._nsrr import harmonized
from data_pipeline.cohorts._tables import Row, clean, read_table

_TABLE = replace(harmonized("stages-harmonized-dataset-*.csv", "subject_code"), limits={})


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every `<site><number>.edf` among the files given and under the folders given.

    Raises:
      ValueError: an input that is not there or holds none, or a table that cannot be understood.
    """
    tables: dict[Path, dict[str, Row]] = {}
    sources = []
    for path, name in named_recordings(inputs, r"(([A-Z]{4})\d{5})(?:_\d+)?\.edf", "BOGN00001.edf"):
        folder = _datasets(path)
        if folder not in tables:
            tables[folder] = read_table(folder, _TABLE) or {}
        row = tables[folder].get(clean(name[1]), Row())
        sources.append(
            Source(
                night_id=path.stem.upper(),
                subject_id=name[1].upper(),
                site=name[2].upper(),
                recording=path,
                scoring=existing(path.with_suffix(".csv")),
                demographics=row.demographics,
                dialect="table",
            )
        )
    return sources


def _datasets(recording: Path) -> Path:
    """The folder `datasets` beside one of the recording's folders, else the recording's own."""
    folders = (folder / "datasets" for folder in recording.resolve().parents)
    return next((folder for folder in folders if folder.is_dir()), recording.parent)
