"""KISS, the Korea Image Sleep Study: a hospital's own EDF recordings, for the public item has none.

What is public (https://aihub.or.kr, dataSetSn=210; Jeong et al., Sleep 2023, zsad242) is a data base of pictures: each
30 s epoch drawn as a PNG. Signals cannot be got back from pictures, so this adapter does not read it. It reads the EDF
recordings that the pictures were drawn from, for those who have them: at the hospitals, under their own rules.

Give a folder of EDF files as in `cohorts.generic`: the scoring beside each by name, and a `demographics.csv` with
`night_id`, `subject_id`, `site` (the hospital), `age_years`, `sex`, `bmi`. File names become night ids: take names
and patient numbers out of them first. Without a table, nothing is known of a person, and each night is a person.

Two sets of channel labels are known from the programme that draws the pictures, and both are understood
(`montage`): Embla's (`Left-A2`, `EKG`, `Thorax`, `SpO2`) and Nox's (`E1-M2`, `1-2` for the chin, `Chest`,
`Saturation`). Not known, and so not assumed: how the hospitals write stages and events, sampling rates, how many
recordings there are, and the terms of use.

KVSS, named beside KISS among SleepMaMi's data sets, is not published: there is no adapter for it. `generic` reads such
recordings as it reads any others.
"""

from collections.abc import Sequence
from pathlib import Path

from data_pipeline.cohorts import Source, generic
from data_pipeline.readers import SUFFIXES


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """As `generic.find_nights`.

    Raises:
      ValueError: a folder of pictures without recordings, or what `generic.find_nights` refuses.
    """
    for given in map(Path, inputs):
        if given.is_dir() and not _any(given, SUFFIXES) and _any(given, (".png",)):
            raise ValueError(
                f"{given}: pictures and no recordings. The public KISS data base holds pictures of epochs, from which "
                "signals cannot be got back; expected the hospitals' EDF recordings"
            )
    return generic.find_nights(inputs)


def _any(folder: Path, suffixes: tuple[str, ...]) -> bool:
    return any(path.suffix.lower() in suffixes for path in folder.rglob("*"))
