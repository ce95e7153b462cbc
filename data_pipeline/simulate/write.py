"""A simulated night on disk: the EDF+, the scorer's annotations in the site's words, and the truth."""

import csv
import datetime
import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from edfio import Edf, EdfAnnotation, EdfSignal, Patient, Recording

from data_pipeline.night import EPOCH_S, STAGES
from data_pipeline.simulate.artefacts import Artefact
from data_pipeline.simulate.person import Person
from data_pipeline.simulate.sites import Site
from data_pipeline.simulate.timing import TrueEvent
from data_pipeline.whole_files import whole_file, write_whole

RECORD_S = 2
"""Seconds in a data record. A power of two: edfio compares durations computed from samples / record exactly, and
with 5 s some nights came out a rounding error short."""
FIRST_DAY = datetime.date(2019, 1, 7)


def scored_rows(stages: np.ndarray, events: list[TrueEvent], site: Site) -> list[tuple[float, float, str]]:
    """What the site's scorers wrote down: (onset_s, duration_s, word), sorted by onset."""
    rows = [(float(i * EPOCH_S), float(EPOCH_S), site.stage_words[stage]) for i, stage in enumerate(stages)]
    rows += [(e.onset_s, e.duration_s, site.event_words[e.kind]) for e in events if e.scored]
    rows += [(second, 0.0, word) for second, word in zip(site.lights_s or (), site.lights_words, strict=False)]
    rows += [(site.cpap_from_s, 0.0, "CPAP on")] if site.cpap_from_s is not None else []
    return sorted(rows)


def write_night(
    out: Path,
    night_id: str,
    request: dict,
    person: Person,
    stages: np.ndarray,
    events: list[TrueEvent],
    artefacts: list[Artefact],
    site: Site,
    signals: list[EdfSignal],
    start: datetime.time,
) -> Path:
    """Writes a night's files, each under a temporary name first; the truth comes last and completes it.

    Returns:
      The path of the EDF+ file.
    """
    rows = scored_rows(stages, events, site)
    path = out / f"{night_id}.edf"
    if site.embedded:
        patient, recording = Patient(), Recording()  # every field X, as an anonymised export has it
        annotations = [EdfAnnotation(*row) for row in rows]
    else:
        day = FIRST_DAY + datetime.timedelta(days=request["index"])
        patient = Patient(code=person.subject_id, sex=person.sex)
        recording = Recording(startdate=day, equipment_code="SIMULATOR")
        annotations = []
    header = {"patient": patient, "recording": recording, "starttime": start, "data_record_duration": RECORD_S}
    edf = Edf(signals, annotations=annotations, **header)
    with whole_file(path) as half:
        edf.write(half)
        digests = {path.name: file_sha256(half)}
    if not site.embedded:
        digests[f"{night_id}.csv"] = write_table(out / f"{night_id}.csv", ("onset_s", "duration_s", "event"), rows)
    truth = {
        "night_id": night_id,
        "request": request,
        "files": digests,
        "person": asdict(person),
        "stages": [STAGES[stage] for stage in stages],
        "events": [asdict(event) for event in events],
        "artefacts": [asdict(artefact) for artefact in artefacts],
        "site": {
            "name": site.name,
            "mains_hz": site.mains_hz,
            "leads": [asdict(lead) for lead in site.leads],
            "lights_s": site.lights_s,
            "cpap_from_s": site.cpap_from_s,
        },
    }
    write_text(out / "truth" / f"{night_id}.json", json.dumps(truth) + "\n")
    return path


def write_table(path: Path, header: tuple[str, ...], rows: list[tuple]) -> str:
    """Writes a CSV file and returns its SHA-256."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return write_text(path, text.getvalue())


def write_text(path: Path, text: str) -> str:
    """Writes UTF-8 text, whole or not at all, and returns its SHA-256."""
    write_whole(path, text)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
