"""CFS, the Cleveland Family Study, visit 5: 735 nights in the laboratory (2001-06), of whole families.

How to get it, and its folders: `_nsrr`. Recordings are `cfs-visit5-800002.edf`; tables
`cfs-visit5-dataset-<version>.csv` and `cfs-visit5-harmonized-dataset-<version>.csv`. For non-commercial use only.

- Sex is `male`, 0 or 1. There is one site. Children from 6 years on took part.
- EEG, EOG, chin and ECG are recorded against Fpz: the mastoids are subtracted here.
- Scored as sleep and wake only: `slewake`. What "Unsure" means is not documented, so it is no event here.
- Relatives are other persons: a family may lie in two splits. An adapter of your own may set `split`.

Source: data dictionary 0.7.0 and documentation of CFS, https://sleepdata.org/datasets/cfs.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_pipeline.cohorts import Source
from data_pipeline.cohorts._nsrr import SLEEP_WAKE_ONLY, TERMS, Visit, find_visit_nights, harmonized
from data_pipeline.cohorts._tables import NOTHING, Table

_VISIT = Visit(
    recording=r"cfs-visit5-(\d{6})",
    table=Table(
        files="cfs-visit5-dataset-*.csv",
        subject="nsrrid",
        age="age",
        bmi="bmi",
        sex="male",
        sexes={"0": "F", "1": "M"},
        limits={"slewake": {"0": NOTHING, "1": SLEEP_WAKE_ONLY}},
    ),
    harmonized=harmonized("cfs-visit5-harmonized-dataset-*.csv", "nsrrid"),
)
_TERMS = {word: meaning for word, meaning in TERMS.items() if word != "unsure"}


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every CFS recording among the files and under the folders given, see `_nsrr.find_visit_nights`."""
    return [replace(source, terms=_TERMS) for source in find_visit_nights(inputs, "cfs", [_VISIT])]
