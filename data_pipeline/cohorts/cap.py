"""CAP Sleep Database, Parma: 108 nights, 16 of healthy people and 92 of patients.

How to get it: `wget -r -N -c -np https://physionet.org/files/capslpdb/1.0.0/` (open). `n1.edf` with `n1.txt`, an event
export of RemLogic (`annotations.remlogic`); letters are the diagnosis: `n` none, `brux`, `ins`, `narco`, `nfle`
(nocturnal frontal lobe epilepsy), `plm`, `rbd`, `sdb`. Stages are R&K. Phases of the cyclic alternating pattern, for
which the data base was made, are no kind of event here; `n1.edf.st` holds the same and is not read. Ages stand in
`gender-age.xlsx`, whose columns name no files: not read.
"""

from collections.abc import Sequence
from pathlib import Path

from data_pipeline.cohorts import Source
from data_pipeline.cohorts._names import existing, named_recordings


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every recording named as above among the files given and under the folders given; each is a person.

    Raises:
      ValueError: an input that is not there or holds none.
    """
    found = named_recordings(inputs, r"((?:n|brux|ins|narco|nfle|plm|rbd|sdb)\d{1,2})\.edf", "n1.edf, brux1.edf …")
    return [
        Source(name[1].lower(), name[1].lower(), "Parma", path, existing(path.with_suffix(".txt")), dialect="remlogic")
        for path, name in found
    ]
