"""NSRR XML (`*-nsrr.xml`), as the National Sleep Research Resource publishes scorings.

The root is <PSGAnnotation>; each <ScoredEvent> has <EventType>, <EventConcept>, <Start> and <Duration>, in seconds
from the first sample. A concept is "NSRR name|name in the scoring software", such as "Hypopnea|Hypopnea" or
"Mixed apnea|APNEA-MIXED"; runs of one stage are one event. Concepts are listed in the mapping tables of
https://github.com/nsrr/edf-editor-translator; their meaning is in `terms`.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from data_pipeline.annotations.safe_xml import read_xml, span_of, text_of
from data_pipeline.annotations.terms import is_remark, plain, stage_of
from data_pipeline.readers.recording import Annotation

ROOT = "PSGAnnotation"
_ONTOLOGY = {
    "SDO:WakeState": "W",
    "SDO:NonRapidEyeMovementSleep-N1": "N1",
    "SDO:NonRapidEyeMovementSleep-N2": "N2",
    "SDO:NonRapidEyeMovementSleep-N3": "N3",
    "SDO:NonRapidEyeMovementSleep-N4": "N4",
    "SDO:RapidEyeMovementSleep": "REM",
    "SRO:Wake": "W",
    "SRO:Stage1Sleep": "N1",
    "SRO:Stage2Sleep": "N2",
    "SRO:Stage3Sleep": "N3",
    "SRO:Stage4Sleep": "N4",
    "SRO:Stage34Sleep": "N3",
    "SRO:RapidEyeMovement": "REM",
}
"""Concepts of old exports that name stages by the terms of an ontology."""


def read_nsrr_xml(path: Path) -> tuple[Annotation, ...]:
    """All scored events, sorted by onset; stages are spelled "Sleep stage <name>".

    A stage lasts until the next one, whatever its <Duration> says: stages fill the recording, unscored stretches
    are events too ("Unscored|9"), and in some MrOS files the durations are wrong where the starts are right.

    Raises:
      RecordingError: not such a file, or an event without a start.
    """
    stages, events = [], []
    for place, event in enumerate(read_xml(path, ROOT).iterfind("ScoredEvents/ScoredEvent"), start=1):
        onset_s, duration_s = span_of(path, event, place)
        concept = text_of(event, "EventConcept")
        name = plain(concept)
        name = _ONTOLOGY.get(name, name)
        in_stages = plain(text_of(event, "EventType")) == "Stages" and not is_remark(name)
        if in_stages or stage_of(name) is not None:
            stages.append(Annotation(onset_s, duration_s, f"Sleep stage {name}"))
        else:
            events.append(Annotation(onset_s, duration_s, concept))
    stages.sort(key=lambda a: a.onset_s)
    tiled = [Annotation(a.onset_s, b.onset_s - a.onset_s, a.text) for a, b in pairwise(stages)]
    return tuple(sorted((*tiled, *stages[-1:], *events), key=lambda a: a.onset_s))
