"""UCDDB, St. Vincent's University Hospital / University College Dublin: 25 nights of as many people with apnea.

How to get it: `wget -r -N -c -np https://physionet.org/files/ucddb/1.0.0/` (open). `ucddb002.rec` is an EDF,
`ucddb002_stage.txt` the stages (in numbers of its own: REM is 1), `ucddb002_respevt.txt` apneas and hypopneas by the
clock; both are known by their names, see `annotations.ucddb`. `ucddb002_lifecard.edf`, a Holter ECG with a clock of
its own, is not read, nor ages in `SubjectDetails.xls`. Arousals are columns of the respiratory events only: not read.
"""

from collections.abc import Sequence
from pathlib import Path

from data_pipeline.cohorts import Source
from data_pipeline.cohorts._names import existing, named_recordings
from data_pipeline.night import BREATHING_EVENTS


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every `ucddb<number>.rec` (also `.edf`) among the files given and under the folders given.

    Raises:
      ValueError: an input that is not there or holds none.
    """
    sources = []
    for path, name in named_recordings(inputs, r"(ucddb\d{3})\.(rec|edf)", "ucddb002.rec"):
        stages, events = (existing(path.with_name(f"{path.stem}_{what}.txt")) for what in ("stage", "respevt"))
        scored = frozenset({"stages"} if stages else ()) | (BREATHING_EVENTS if events else frozenset())
        night = name[1].lower()
        sources.append(Source(night, night, "UCD", path, (*stages, *events), scored=scored or None))
    return sources
