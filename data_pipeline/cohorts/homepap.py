"""HomePAP: nights of patients with suspected apnea, in the laboratory (full or split with CPAP) and at home (2008-10).

How to get it, and its folders: `_nsrr`. Recordings are `homepap-lab-full-1600001.edf`, `homepap-lab-split-…` and
`homepap-home-…`, in folders `lab/full`, `lab/split` and `home`; table `homepap-baseline-dataset-<version>.csv`.

- Sex is 0 female, 1 male. The sites were not released.
- Nights at home have no EEG: no stages there. In split nights the second half is under CPAP.
- By which rule hypopneas were scored is not said night by night: they keep none.

Source: data dictionary 0.2.0 of HomePAP, https://sleepdata.org/datasets/homepap.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_pipeline.cohorts import Source
from data_pipeline.cohorts._nsrr import Visit, find_visit_nights, harmonized
from data_pipeline.cohorts._tables import Table

_TABLE = Table(
    files="homepap-baseline-dataset-*.csv",
    subject="nsrrid",
    age="age",
    bmi="bmi",
    sex="gender",
    sexes={"0": "F", "1": "M"},
)
_HARMONIZED = replace(harmonized("homepap-baseline-harmonized-dataset-*.csv", "nsrrid"), limits={})
_VISITS = tuple(Visit(rf"homepap-{kind}-(\d{{7}})", _TABLE, _HARMONIZED) for kind in ("lab-full", "lab-split", "home"))


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every HomePAP recording among the files and under the folders given, see `_nsrr.find_visit_nights`."""
    return [replace(source, terms={}) for source in find_visit_nights(inputs, "homepap", _VISITS)]
