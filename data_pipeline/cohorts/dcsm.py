"""DCSM, Danish Center for Sleep Medicine: nights of patients, a folder each, stages only.

How to get it: https://erda.ku.dk, archive db553715ecbe1f3ac66c1dc569826eef (open); it holds

    tp<id>/psg.edf or psg.h5
    tp<id>/hypnogram.ids            lines of start, duration and stage (W, N1, N2, N3, REM) in seconds

The EDF is read where both are there. The folder's name is the night and the person. No ages and no events.
"""

from collections.abc import Sequence
from pathlib import Path

from data_pipeline.cohorts import Source
from data_pipeline.cohorts._names import existing, named_recordings


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every folder with a `psg.edf` or `psg.h5` under the folders given.

    Raises:
      ValueError: an input that is not there or holds none.
    """
    sources = []
    for path, name in named_recordings(inputs, r"psg\.(edf|h5)", "<person>/psg.edf or <person>/psg.h5"):
        if name[1].lower() == "h5" and path.with_name("psg.edf").is_file():
            continue
        night = path.resolve().parent.name
        scoring = existing(path.with_name("hypnogram.ids"))
        scored = frozenset({"stages"}) if scoring else None
        sources.append(Source(night, night, "DCSM", path, scoring, scored=scored, dialect="stage_list"))
    return sources
