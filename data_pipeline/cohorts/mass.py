"""MASS, Montreal Archive of Sleep Studies: 200 nights of as many people, five subsets, stages.

How to get it: http://ceams-carsm.ca/mass/, with the agreement of an ethics board for the signals. EDF+ files

    SS1/01-01-0001 PSG.edf       signals; a folder a subset, or all in one
    SS1/01-01-0001 Base.edf      stages

Subsets 1 and 3 are staged by AASM in 30 s, 2, 4 and 5 by R&K in 20 s: an epoch of ours then gets the stage that fills
most of it. Spindles, K complexes and other marks that some subsets have (`01-02-0001 Spindles_E1.edf`) lie on some of
the epochs only and are not read. No ages here: they are in tables of each subset.
"""

from collections.abc import Sequence
from pathlib import Path

from data_pipeline.cohorts import Source
from data_pipeline.cohorts._names import existing, named_recordings


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every `<number> PSG.edf` among the files given and under the folders given.

    Raises:
      ValueError: an input that is not there or holds none.
    """
    sources = []
    for path, name in named_recordings(inputs, r"((\d\d)-(\d\d)-\d{4}) PSG\.edf", "01-01-0001 PSG.edf"):
        scoring = existing(path.with_name(f"{name[1]} Base.edf"))
        scored = frozenset({"stages"}) if scoring else None
        sources.append(Source(name[1], name[1], f"SS{int(name[3])}", path, scoring, scored=scored, dialect="edfplus"))
    return sources
