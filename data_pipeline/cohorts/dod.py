"""Dreem Open Datasets: 25 healthy people (DOD-H) and 55 with sleep apnea (DOD-O), a night each, stages only.

How to get it: https://zenodo.org (search "Dreem Open Datasets"), open. `<id>.h5` holds the signals and a `hypnogram`
on which five scorers agreed best; folders called `dodh` and `dodo` (also `DOD-H`) say which set it is. The scorers'
own hypnograms, `scorer_1/<id>.json` and so on, are read with `generic` if they lie beside the recordings.

Needs `pip install 'sleepmami[hdf5]'`. EEG, two EOG, chin and ECG at 250 Hz; no breathing, no ages, no clock.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from data_pipeline.cohorts import Source
from data_pipeline.cohorts._names import named_recordings

_SET = re.compile(r"dod[-_ ]?([ho])", re.IGNORECASE)


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every `<id>.h5` among the files given and under the folders given.

    Raises:
      ValueError: an input that is not there or holds none.
    """
    sources = []
    for path, name in named_recordings(inputs, r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.h5", "<id>.h5"):
        folders = (match for folder in path.resolve().parents if (match := _SET.fullmatch(folder.name)))
        site = next((f"DOD-{match[1].upper()}" for match in folders), "DOD")
        sources.append(Source(name[1].lower(), name[1].lower(), site, path, scored=frozenset({"stages"})))
    return sources
