"""Sleep-EDF Database Expanded: 153 nights at home of 78 healthy people, 44 in hospital of 22 (Kemp et al. 2000).

How to get it: `wget -r -N -c -np https://physionet.org/files/sleep-edfx/1.0.0/` (8 GB, open), then give the folder or
its `sleep-cassette` and `sleep-telemetry`. `SC4ssN*-PSG.edf` and `ST7ssN*-PSG.edf` are recordings of person `ss`,
night `N`; `*-Hypnogram.edf` with the same first six characters is the scoring, its eighth character is the scorer.

- Age and sex come from the patient field of the recording, "X F X Female_33yr". The two .xls tables say the same and
  are not read; beware that they code sex the other way round from each other. There is no BMI, and no events.
- Hypnograms of the cassette nights run to 24 h: what lies past the recording is dropped, with a note.
- Stages are R&K: 4 is N3, movement time and "?" are unknown.
- Cassette nights have no EMG and no airflow that can be used: both are 1 Hz envelopes. Neither has ECG or SpO2.
- Telemetry nights: one of the two is after temazepam; which one is only in the .xls table.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_pipeline.cohorts import Source, generic
from data_pipeline.night import Demographics

_NAME = re.compile(r"(S[CT]\d{3})\d[A-Z]\w-PSG.*\.edf", re.IGNORECASE)
_SITES = {"SC": "cassette", "ST": "telemetry"}
_PATIENT = re.compile(rb"\S+ ([MF]) \S+ (Fem|M)ale_(\d{1,3})yr *")


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """The `*-PSG.edf` among the files given and under the folders given, each with its hypnogram.

    Raises:
      ValueError: nothing found, or an EDF that is not named as one of Sleep-EDF.
    """
    return [_source(source) for source in generic.find_nights(inputs)]


def _source(source: Source) -> Source:
    name = _NAME.fullmatch(source.recording.name)
    if name is None:
        problem = f"{source.recording}: not named as a night of Sleep-EDF, expected SC4ssN…-PSG.edf or ST7ssN…-PSG.edf"
        raise ValueError(f"{problem}; use the cohort `generic` for other recordings")
    person = name[1].upper()
    return replace(
        source,
        night_id=source.recording.name[:6].upper(),
        subject_id=person,
        site=_SITES[person[:2]],
        demographics=_demographics(source.recording),
        scored=frozenset({"stages"}) if source.scoring else None,
    )


def _demographics(recording: Path) -> Demographics:
    """Age and sex in the header's patient field, and nothing else of it; unknown where it is written otherwise."""
    with recording.open("rb") as file:
        field = file.read(88)[8:]
    patient = _PATIENT.fullmatch(field)
    if patient is None or patient[1] != patient[2][:1]:
        return Demographics()
    return Demographics(age_years=float(patient[3]), sex=patient[1].decode())
