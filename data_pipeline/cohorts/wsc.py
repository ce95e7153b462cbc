"""WSC, the Wisconsin Sleep Cohort: 2,570 nights in the laboratory of 1,123 people, up to five visits each (2000-15).

How to get it: `_nsrr`; its folder is flat: `polysomnography/wsc-visit1-10119-nsrr.edf` with `….allscore.txt` (recorded
with Grass Twin) or `….stg.txt` (Gamma), see `annotations.wsc`; table `wsc-dataset-<version>.csv` in `datasets`. For
academic, non-commercial research on sleep only.

- Sex is M or F; rows are of a person's visit.
- Events of Gamma nights (`.sco.txt`) count in scans and are not read: these nights are scored for stages only.
- A hypopnea there is a visible loss of flow with 4 % desaturation; the words of its scorers are many, and those that
  `annotations.terms` does not know leave their family unscored.

Source: data dictionary 0.8.0 and documentation of WSC, https://sleepdata.org/datasets/wsc.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_pipeline.cohorts import Source
from data_pipeline.cohorts._names import existing
from data_pipeline.cohorts._nsrr import Visit, find_visit_nights
from data_pipeline.cohorts._tables import Table

_VISITS = tuple(
    Visit(
        recording=rf"wsc-visit{number}-(\d+)-nsrr",
        table=(
            table := Table(
                files="wsc-dataset-[0-9]*.csv",
                subject="wsc_id",
                age="age",
                bmi="bmi",
                sex="sex",
                sexes={"m": "M", "f": "F"},
                only=("wsc_vst", str(number)),
            )
        ),
        harmonized=replace(table, files="no harmonized table is needed"),
    )
    for number in range(1, 6)
)


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every WSC recording among the files and under the folders given, see `_nsrr.find_visit_nights`."""
    return [_source(source) for source in find_visit_nights(inputs, "wsc", _VISITS)]


def _source(source: Source) -> Source:
    twin, gamma = (existing(source.recording.with_suffix(f".{kind}.txt")) for kind in ("allscore", "stg"))
    return replace(
        source,
        scoring=twin or gamma,
        scored=frozenset({"stages"}) if gamma and not twin else None,
        dialect="allscore" if twin else "wsc_stages",
        terms={},
    )
