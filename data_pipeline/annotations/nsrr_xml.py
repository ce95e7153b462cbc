"""NSRR XML (`*-nsrr.xml`), as the National Sleep Research Resource publishes scorings.

The root is <PSGAnnotation>; each <ScoredEvent> has <EventType>, <EventConcept>, <Start> and <Duration>, in seconds
from the first sample. A concept is "NSRR name|name in the scoring software", such as "Hypopnea|Hypopnea" or
"Mixed apnea|APNEA-MIXED"; runs of one stage are one event. Concepts are listed in the mapping tables of
https://github.com/nsrr/edf-editor-translator; their meaning is in `terms`. Old exports have
terms of an ontology instead: "SRO:Stage34Sleep", "SDO:ObstructiveApneaFinding".
"""

import re
from itertools import pairwise
from pathlib import Path

from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.safe_xml import read_xml, span_of, text_of
from data_pipeline.annotations.terms import is_remark, plain, stage_of
from data_pipeline.readers.recording import Annotation, in_order

ROOT = "PSGAnnotation"
_ONTOLOGY_STAGES = {
    **{name: f"N{n}" for n in (1, 2, 3, 4) for name in (f"Stage{n}Sleep", f"NonRapidEyeMovementSleep-N{n}")},
    **dict.fromkeys(("WakeState", "Wake"), "W"),
    "Stage34Sleep": "N3",
    **dict.fromkeys(("RapidEyeMovementSleep", "RapidEyeMovement"), "REM"),
    **dict.fromkeys(("UnscoredEpoch", "ArtifactEpoch"), "Sleep stage ?"),
}
_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z]|[A-Z]{2,}$)")


def read_nsrr_xml(path: Path) -> Marks:
    """All scored events but notes, sorted by onset; stages are spelled so that `terms` knows them.

    A stage lasts until the next one, whatever its <Duration> says: stages fill the recording, unscored stretches
    are events too ("Unscored|9"), and in some MrOS files the durations are wrong where the starts are right.

    Raises:
      RecordingError: not such a file, or an event without a start.
    """
    stages, events = [], []
    for place, event in enumerate(read_xml(path, ROOT).iterfind("ScoredEvents/ScoredEvent"), start=1):
        concept = _concept(text_of(event, "EventConcept"))
        if plain(concept) == "Technician Notes":  # free text, in some exports without a start
            continue
        onset_s, duration_s = span_of(path, event, place)
        if stage_of(concept) is not None:
            stages.append(Annotation(onset_s, duration_s, concept))
        elif plain(text_of(event, "EventType")) == "Stages" and not is_remark(concept):
            stages.append(Annotation(onset_s, duration_s, f"Sleep stage {plain(concept)}"))
        else:
            events.append(Annotation(onset_s, duration_s, concept))
    stages = in_order(stages)
    tiled = [Annotation(a.onset_s, b.onset_s - a.onset_s, a.text) for a, b in pairwise(stages)]
    return Marks(in_order((*tiled, *stages[-1:], *events)))


def _concept(text: str) -> str:
    """The concept in words: "SRO:SpO2Desaturation" -> "SpO2 Desaturation", others as they are."""
    term = re.fullmatch(r"S[DR]O:(.+?)(Finding)?", text)
    if term is None:
        return text
    if text == "SRO:RespiratoryEventRelatedArousal":
        return "RERA"
    return _ONTOLOGY_STAGES.get(term[1]) or _WORD_STARTS.sub(" ", term[1])
