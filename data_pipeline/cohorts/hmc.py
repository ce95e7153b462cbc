"""HMC, Haaglanden Medisch Centrum: 151 nights of as many patients of a sleep centre (2018), stages only.

How to get it: `wget -r -N -c -np https://physionet.org/files/hmc-sleep-staging/1.1/` (open), then give the folder or
its `recordings`: `SN001.edf` with `SN001_sleepscoring.edf` (EDF+) and the same in `SN001_sleepscoring.txt`. The EDF+ is
read where it is there. Lights off and on are marked. F4, C4, O2, C3, chin, both EOG and ECG at 256 Hz; no breathing, no
events, no ages.
"""

from collections.abc import Sequence
from pathlib import Path

from data_pipeline.cohorts import Source
from data_pipeline.cohorts._names import existing, named_recordings


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every `SN<number>.edf` among the files given and under the folders given.

    Raises:
      ValueError: an input that is not there or holds none.
    """
    sources = []
    for path, name in named_recordings(inputs, r"(SN\d{3})\.edf", "SN001.edf"):
        scoring = existing(*(path.with_name(f"{path.stem}_sleepscoring.{kind}") for kind in ("edf", "txt")))[:1]
        night = name[1].upper()
        scored = frozenset({"stages"}) if scoring else None
        sources.append(Source(night, night, "HMC", path, scoring, scored=scored))
    return sources
