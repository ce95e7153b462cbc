"""SHHS, the Sleep Heart Health Study: 5,793 nights at home (1995-98) and 2,651 second ones (2001-03).

How to get it, and its folders: `_nsrr`. Recordings are `shhs1-200001.edf` and `shhs2-200001.edf`, the same person;
tables `shhs1-dataset-<version>.csv`, `shhs2-dataset-<version>.csv`, `shhs-harmonized-dataset-<version>.csv`.

- Sex is 1 male, 2 female. The sites were not released.
- EEG and EOG are derived in the recorder: "EEG" is C4-A1, "EEG(sec)" C3-A2. Rates differ by unit and visit.
- There was no nasal cannula: where "AIRFLOW" and "NEW AIR" both are there, they are two thermistors, and neither
  may stand for nasal pressure.
- Scored as sleep and wake only: `staging5` at visit 1, `slewake` at visit 2 (the harmonised flag knows visit 1 only).
  `staging3` is wake, NREM and REM: its stages are unusable too, its arousals are not.
- Desaturations in the XML may be absent or displaced, since a change of the scoring software, and are not used:
  derive them from SaO2.

Source: data dictionary 0.21.0 and documentation of SHHS, https://sleepdata.org/datasets/shhs.
"""

from collections.abc import Sequence
from pathlib import Path

from data_pipeline.cohorts import Source
from data_pipeline.cohorts._nsrr import SLEEP_WAKE_ONLY, Visit, find_visit_nights, harmonized
from data_pipeline.cohorts._tables import NOTHING, Table
from data_pipeline.night import EventKind


def _visit(number: int, limits: dict[str, frozenset[str]]) -> Visit:
    return Visit(
        recording=rf"shhs{number}-(\d{{6}})",
        table=Table(
            files=f"shhs{number}-dataset-*.csv",
            subject="nsrrid",
            age=f"age_s{number}",
            bmi=f"bmi_s{number}",
            sex="gender",
            sexes={"1": "M", "2": "F"},
            limits={column: {"0": NOTHING, "1": what} for column, what in limits.items()},
        ),
        harmonized=harmonized("shhs-harmonized-dataset-*.csv", "nsrrid", ("visitnumber", str(number))),
        unusable=frozenset({EventKind.DESATURATION, "NASAL_PRESSURE"}),
    )


_VISITS = (
    _visit(1, {"staging5": SLEEP_WAKE_ONLY, "staging3": frozenset({"stages"})}),
    _visit(2, {"slewake": SLEEP_WAKE_ONLY}),
)


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every SHHS recording among the files and under the folders given, see `_nsrr.find_visit_nights`."""
    return find_visit_nights(inputs, "shhs", _VISITS)
