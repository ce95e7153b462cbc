"""MESA Sleep, the Multi-Ethnic Study of Atherosclerosis: 2,056 nights at home (2010-13), one a person.

How to get it, and its folders: `_nsrr`. Recordings are `mesa-sleep-0001.edf`; tables
`mesa-sleep-dataset-<version>.csv` and `mesa-sleep-harmonized-dataset-<version>.csv`, where person 0001 is 1.

- Sex is 0 female, 1 male. Sites are the six field centres of `site5c`.
- EEG1, EEG2, EEG3 are Fz-Cz, Cz-Oz and C4-M1; EOG is against Fpz. Traces "…_Off" are impedances.
- "Hypopnea" means 30-50 % less flow, "Unsure" more than 50 %.
- Scored as sleep and wake only: `slewake5`.
- The scorings of 1738 and 6476 were damaged: their sleep time is not that of the tables. They count as not scored.

Source: data dictionary 0.7.0 and documentation of MESA, https://sleepdata.org/datasets/mesa.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_pipeline.cohorts import Source
from data_pipeline.cohorts._nsrr import SLEEP_WAKE_ONLY, Visit, find_visit_nights, harmonized
from data_pipeline.cohorts._tables import NOTHING, Table

_VISIT = Visit(
    recording=r"mesa-sleep-(\d{4})",
    table=Table(
        files="mesa-sleep-dataset-*.csv",
        subject="mesaid",
        age="sleepage5c",
        bmi="bmi5c",
        sex="gender1",
        sexes={"0": "F", "1": "M"},
        site="site5c",
        sites={"3": "WFU", "4": "COL", "5": "JHU", "6": "MN", "7": "NWU", "8": "UCLA"},
        limits={"slewake5": {"0": NOTHING, "1": SLEEP_WAKE_ONLY, "8": NOTHING}},
    ),
    harmonized=harmonized("mesa-sleep-harmonized-dataset-*.csv", "mesaid"),
)
_DAMAGED_SCORING = frozenset({"mesa-sleep-1738", "mesa-sleep-6476"})


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every MESA recording among the files and under the folders given, see `_nsrr.find_visit_nights`."""
    sources = find_visit_nights(inputs, "mesa", [_VISIT])
    return [replace(s, scoring=()) if s.night_id in _DAMAGED_SCORING else s for s in sources]
