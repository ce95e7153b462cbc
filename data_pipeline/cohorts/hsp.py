"""HSP, the Human Sleep Project of the Brain Data Science Platform: clinical nights of several hospitals.

How to get it: https://bdsp.io/content/hsp/, account and agreement needed. Folders are BIDS:

    S0001/sub-S0001111189359/ses-1/eeg/sub-S0001111189359_ses-1_task-psg_eeg.edf
    …_task-psg_annotations.csv                                epoch, time, duration, event; by the clock
    …_task-psg_sleep_annotations.csv, …_events_annotations.csv     other hospitals: stages by epoch; events
    bdsp_psg_master_<date>.csv                                ages and sexes, beside or above all of it

The first five signs after "sub-" are the site. Stages "L" (lights on) and "X" count as not scored.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_pipeline.cohorts import Source, generic
from data_pipeline.cohorts._bdsp import Night, read_people, table_above
from data_pipeline.cohorts._tables import clean
from data_pipeline.night import Demographics

_NAME = re.compile(r"(sub-([A-Z]\d{4})\d+)_ses-(\w+?)_task-psg.*", re.IGNORECASE)


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every recording among the files given and under the folders given.

    Raises:
      ValueError: nothing found, a recording that is not named as above, or a table without its columns.
    """
    tables: dict[Path | None, dict[Night, Demographics]] = {None: {}}
    sources = []
    for source in generic.find_nights(inputs):
        name = _NAME.fullmatch(source.recording.stem)
        if name is None:
            problem = f"{source.recording}: not named as a night of HSP, expected sub-S0001…_ses-1_task-psg_eeg.edf"
            raise ValueError(f"{problem}; use the cohort `generic` for other recordings")
        table = table_above(source.recording, "bdsp_psg_master*.csv")
        if table not in tables:
            tables[table] = read_people(table)
        person = tables[table].get((name[1].lower(), clean(name[3])), Demographics())
        sources.append(replace(source, subject_id=name[1], site=name[2].upper(), demographics=person))
    return sources
