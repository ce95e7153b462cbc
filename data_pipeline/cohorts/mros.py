"""MrOS Sleep, older men: 2,907 nights at home (2003-05) and 1,026 second ones (2009-12).

How to get it, and its folders: `_nsrr`. Recordings are `mros-visit1-aa0001.edf` and `mros-visit2-aa0001.edf`, the
same person; tables `mros-visit1-dataset-<version>.csv`, `mros-visit2-dataset-<version>.csv` and, for the first visit
only, `mros-visit1-harmonized-<version>.csv`.

- Sex is 1 female, 2 male, and all are men. The sites were not released. Letters in numeric columns mean missing.
- EEG, EOG, chin and ECG are recorded against Fpz: the mastoids (A1, A2 or M1, M2) are subtracted here.
- "Hypopnea" means 30-50 % less flow, "Unsure" more than 50 %.
- Scored as sleep and wake only: `poprstag`.
- Visit 1: no scoring of aa2159, aa2180 and aa4156 can be trusted, nor the stages of the men in `_WRONG_STAGES`; of
  a dozen more only the stages were kept, which shows in their files. The NSRR XML of aa1510, aa1876 and aa3545 was
  withdrawn, since it belonged to other recordings; their EDF and Profusion XML are right since March 2025.
- Visit 2: leg movements cannot be used, neither signal nor scoring, for a fault of the amplifier.

Source: data dictionary 0.6.0 and documentation of MrOS, https://sleepdata.org/datasets/mros.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_pipeline.cohorts import Source
from data_pipeline.cohorts._nsrr import SLEEP_WAKE_ONLY, Visit, find_visit_nights, harmonized
from data_pipeline.cohorts._tables import NOTHING, Table
from data_pipeline.night import EventKind


def _visit(number: int, age: str, may_lack: frozenset[str], unusable: frozenset[str]) -> Visit:
    return Visit(
        recording=rf"mros-visit{number}-(aa\d{{4}})",
        table=Table(
            files=f"mros-visit{number}-dataset-*.csv",
            subject="nsrrid",
            age=age,
            bmi="hwbmi",
            sex="gender",
            sexes={"1": "F", "2": "M"},
            limits={"poprstag": {"0": NOTHING, "1": SLEEP_WAKE_ONLY, "8": NOTHING}},
            may_lack=may_lack,
            missing=frozenset("ADKM"),
        ),
        harmonized=harmonized(f"mros-visit{number}-harmonized-*.csv", "nsrrid"),
        unusable=unusable,
    )


_VISITS = (
    _visit(1, "vsage1", NOTHING, NOTHING),
    # Its table is known from the dictionary only, which does not say of these two at which visit they were asked.
    _visit(2, "vs2age1", frozenset({"hwbmi", "poprstag"}), frozenset({"LEG_L", "LEG_R", EventKind.LIMB_MOVEMENT})),
)


def _first(*subjects: str) -> frozenset[str]:
    return frozenset(f"mros-visit1-{subject}" for subject in subjects)


_WRONG_STAGES = _first("aa2033", "aa3905", "aa4225", "aa4398", "aa4928", "aa5622", "aa5660", "aa5781")
_WRONG_SCORING = _first("aa2159", "aa2180", "aa4156")
_WITHDRAWN_NSRR_XML = _first("aa1510", "aa1876", "aa3545")


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every MrOS recording among the files and under the folders given, see `_nsrr.find_visit_nights`."""
    return [
        replace(
            source,
            scoring=() if source.night_id in _WRONG_SCORING else source.scoring,
            unusable=source.unusable | ({"stages"} if source.night_id in _WRONG_STAGES else set()),
        )
        for source in find_visit_nights(inputs, "mros", _VISITS, _WITHDRAWN_NSRR_XML)
    ]
