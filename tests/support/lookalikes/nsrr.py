"""Files that look like those of SHHS, MESA and MrOS: labels, rates, units, folders, XML, tables. Nobody is in them.

Montages are those of https://sleepdata.org; signals are waves and noise, a few minutes long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

import edfio
import numpy as np

Event = tuple[str, str, float, float]
"""EventType, EventConcept, Start, Duration."""

# label -> (rate in Hz, unit)
SHHS1 = {
    "SaO2": (1, "%"),
    "H.R.": (1, "bpm"),
    "EEG(sec)": (125, "uV"),
    "ECG": (125, "mV"),
    "EMG": (125, "uV"),
    "EOG(L)": (50, "uV"),
    "EOG(R)": (50, "uV"),
    "EEG": (125, "uV"),
    "THOR RES": (10, ""),
    "ABDO RES": (10, ""),
    "POSITION": (1, ""),
    "LIGHT": (1, ""),
    "NEW AIR": (10, ""),
    "OX stat": (1, ""),
}
SHHS2 = {
    "SaO2": (1, "%"),
    "PR": (1, "bpm"),
    "EEG(sec)": (128, "uV"),
    "ECG": (256, "mV"),
    "EMG": (128, "uV"),
    "EOG(L)": (64, "uV"),
    "EOG(R)": (64, "uV"),
    "EEG": (128, "uV"),
    "AIRFLOW": (8, ""),
    "THOR RES": (8, ""),
    "ABDO RES": (8, ""),
    "POSITION": (1, ""),
    "LIGHT": (1, ""),
    "OX stat": (1, ""),
}
MESA = {
    "EKG": (256, "uV"),
    "EOG-L": (256, "uV"),
    "EOG-R": (256, "uV"),
    "EMG": (256, "uV"),
    "EEG1": (256, "uV"),
    "EEG2": (256, "uV"),
    "EEG3": (256, "uV"),
    "Pres": (32, ""),
    "Flow": (32, ""),
    "Snore": (32, ""),
    "Thor": (32, ""),
    "Abdo": (32, ""),
    "Leg": (32, ""),
    "Therm": (32, ""),
    "Pos": (32, ""),
    "EKG_Off": (1, ""),
    "EEG1_Off": (1, ""),
    "Pleth": (256, ""),
    "OxStatus": (1, ""),
    "SpO2": (1, "%"),
    "HR": (1, "bpm"),
    "DHR": (256, "bpm"),
}
_MROS_HEAD = ("C3", "C4", "L Chin", "R Chin")
MROS1 = {
    **dict.fromkeys((*_MROS_HEAD, "A1", "A2", "LOC", "ROC"), (256, "uV")),
    **dict.fromkeys(("ECG L", "ECG R"), (512, "mV")),
    **dict.fromkeys(("Leg L", "Leg R"), (64, "uV")),
    **dict.fromkeys(("Airflow", "Thoracic", "Abdominal", "SUM"), (16, "")),
    "Cannula Flow": (64, ""),
    "Position": (4, ""),
    "SAO2": (1, "%"),
    "HR": (1, "bpm"),
    "STAT": (1, ""),
}
MROS2 = {
    **dict.fromkeys((*_MROS_HEAD, "M1", "M2", "E1", "E2"), (256, "uV")),
    **dict.fromkeys(("ECG L", "ECG R"), (512, "mV")),
    **dict.fromkeys(("Leg L", "Leg R"), (64, "uV")),
    **dict.fromkeys(("Airflow", "Chest", "ABD", "SUM"), (32, "")),
    "Cannula Flow": (64, ""),
    "SpO2": (1, "%"),
    "HR": (1, "bpm"),
}

_STAGES = {
    0: "Wake|0",
    1: "Stage 1 sleep|1",
    2: "Stage 2 sleep|2",
    3: "Stage 3 sleep|3",
    4: "Stage 4 sleep|4",
    5: "REM sleep|5",
    6: "Movement|6",
    9: "Unscored|9",
    10: "Artifact|10",
}


def write_edf(path: Path, montage: Mapping[str, tuple[int, str]], seconds: int, seed: int = 0) -> Path:
    """A plain EDF of 1 s records with NSRR's dummy date; SpO2 is 96 %, belts breathe, the rest is noise."""
    rng = np.random.default_rng(seed)
    signals = []
    for label, (rate_hz, unit) in montage.items():
        t = np.arange(seconds * rate_hz) / rate_hz
        match unit:
            case "%":
                x, limits = np.full(t.shape, 96.0), (0.0, 100.0)
            case "bpm":
                x, limits = 60 + np.sin(t), (0.0, 250.0)
            case "":
                x, limits = np.sin(2 * np.pi * 0.25 * t) + 0.05 * rng.standard_normal(t.shape), (-3.0, 3.0)
            case _:
                scale = 1e-3 if unit == "mV" else 1.0
                x, limits = 20 * scale * rng.standard_normal(t.shape), (-250.0 * scale, 250.0 * scale)
        signals.append(
            edfio.EdfSignal(np.clip(x, *limits), rate_hz, label=label, physical_dimension=unit, physical_range=limits)
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    edf = edfio.Edf(
        signals,
        recording=edfio.Recording(startdate=date(1985, 1, 1)),
        starttime=time(22, 0),
        data_record_duration=1,
    )
    edf.write(path)
    return path


def nsrr_xml(codes: Sequence[int], events: Iterable[Event] = (), *, wrong_durations: bool = False) -> str:
    """NSRR XML of one stage code an epoch, in runs. With `wrong_durations`, as in some MrOS files, every stage but
    the last says 30 s."""
    length_s = 30 * len(codes)
    rows = [("", "Recording Start Time", 0.0, length_s)]
    epoch = 0
    for code, run in groupby(codes):
        n = len(list(run))
        is_last = epoch + n == len(codes)
        rows.append(("Stages|Stages", _STAGES[code], epoch * 30, 30 if wrong_durations and not is_last else n * 30))
        epoch += n
    rows += events
    body = "".join(
        f"<ScoredEvent>\n<EventType>{kind}</EventType>\n<EventConcept>{escape(concept)}</EventConcept>\n"
        f"<Start>{start}</Start>\n<Duration>{duration}</Duration>\n<SignalLocation>EMG</SignalLocation>\n"
        "</ScoredEvent>\n"
        for kind, concept, start, duration in rows
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n<PSGAnnotation>\n'
        "<SoftwareVersion>Compumedics</SoftwareVersion>\n<EpochLength>30</EpochLength>\n"
        f"<ScoredEvents>\n{body}</ScoredEvents>\n</PSGAnnotation>\n"
    )


def profusion_xml(codes: Sequence[int], events: Iterable[tuple[str, float, float]] = ()) -> str:
    """Profusion XML of one stage code an epoch and events (Name, Start, Duration), with its catalogue of events."""
    body = ""
    for name, start, duration in events:
        lowest = "<LowestSpO2>88</LowestSpO2><Desaturation>4</Desaturation>" if "desat" in name else ""
        body += (
            f"<ScoredEvent>{lowest}<Name>{name}</Name><Start>{start}</Start><Duration>{duration}</Duration>"
            "<Input>EMG</Input></ScoredEvent>\n"
        )
    stages = "".join(f"<SleepStage>{code}</SleepStage>" for code in codes)
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<!-- exported -->\n<CMPStudyConfig>\n'
        "<EpochLength>30</EpochLength>\n<ScoredEventSettings><ScoredEvent><Name>Central Apnea</Name>"
        "<Colour>255</Colour><Input>ABDO RES</Input></ScoredEvent></ScoredEventSettings>\n"
        f"<ScoredEvents>\n{body}</ScoredEvents>\n<SleepStages>{stages}</SleepStages>\n"
        "<Montage>routine</Montage></CMPStudyConfig>\n"
    )


def write_night(
    root: Path, stem: str, folder: str, montage: Mapping[str, tuple[int, str]], seconds: int = 180, **xml: str
) -> Path:
    """A recording in NSRR's folders under `root`; `nsrr=` and `profusion=` are the texts of its scorings."""
    for kind, text in xml.items():
        path = root / "polysomnography" / f"annotations-events-{kind}" / folder / f"{stem}-{kind}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="latin-1")
    path = root / "polysomnography" / "edfs" / folder / f"{stem}.edf"
    return write_edf(path, montage, seconds, seed=sum(stem.encode()))


def write_table(root: Path, name: str, rows: Sequence[Mapping[str, object]], encoding: str = "windows-1252") -> Path:
    """A table in `datasets`, with a last column of free text."""
    path = root / "datasets" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join([*rows[0], "remark"])]
    lines += [",".join([*map(str, row.values()), '"couldn’t sleep, naïve"']) for row in rows]
    path.write_bytes("\r\n".join([*lines, ""]).encode(encoding))
    return path
