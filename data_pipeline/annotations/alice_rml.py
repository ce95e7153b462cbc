"""Scorings of Philips Alice Sleepware and Sleepware G3, and of Somnolyzer (`.rml`, XML).

The root is <PatientStudy>. `Acquisition/Sessions/Session/RecordingStart` is the clock, from which all starts count in
seconds. `ScoringData/Events` has <Event Family Type Start Duration>; `StagingData/UserStaging` the stages by a scorer,
`MachineStaging` those by the program, read where no scorer staged. A stage lasts until the next one, the last until
the end of the session.
"""

import math
import re
from itertools import pairwise
from pathlib import Path
from xml.etree.ElementTree import Element

from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.safe_xml import local_name, named, read_xml
from data_pipeline.annotations.times import clock_of, moment_in
from data_pipeline.night import EPOCH_S, RecordingError
from data_pipeline.readers.recording import Annotation, in_order

ROOT = "PatientStudy"
_STAGES = {"wake": "W", "nonrem1": "N1", "nonrem2": "N2", "nonrem3": "N3", "nonrem4": "N3", "rem": "REM"}
_UNKNOWN = frozenset({"notscored", "unscored", "unknown", "movement"})
_TERMS = {"relativedesaturation": "Desaturation", "absolutedesaturation": "Desaturation"}
_NO_MARKS = frozenset({"channelfail", "timeadjustment", "userevent", "oximetryartifact"})
"""What the recorder and the technician note: no events of sleep, and the last free text."""
_WORD_STARTS = re.compile(r"(?<=[a-z])(?=[A-Z])")


def read_alice_rml(path: Path) -> Marks:
    """Stages and events, sorted by onset; "ObstructiveApnea" becomes "Obstructive Apnea".

    Raises:
      RecordingError: not such a file, several sessions, or an event without start or duration.
    """
    study = read_xml(path, ROOT)
    sessions = list(named(study, "Session"))
    if len(sessions) > 1:
        raise RecordingError(path, f"it scores {len(sessions)} sessions at once. Export one scoring a recording.")
    begin = moment_in(_first(sessions, "RecordingStart"))
    session_s = _first(sessions, "Duration")
    found = []
    for place, event in enumerate(named(study, "Event"), start=1):
        word = event.get("Type", "").strip()
        if word.lower() not in _NO_MARKS:
            start_s, length = (_number(path, event, place, name) for name in ("Start", "Duration"))
            found.append(Annotation(start_s, length, word))
    stages = _stages(path, study)
    last_s = float(session_s) if re.fullmatch(r"\d+(\.\d+)?", session_s) else math.inf
    ends = [*(start_s for start_s, _ in stages[1:]), last_s]
    for (start_s, word), end_s in zip(stages, ends, strict=True):
        length = end_s - start_s if math.isfinite(end_s) and end_s > start_s else float(EPOCH_S)
        found.append(Annotation(start_s, length, f"Sleep stage {word}"))
    spelled = in_order(Annotation(a.onset_s, a.duration_s, _term(a.text)) for a in found)
    return Marks(spelled, clock_of(begin.second), begin.day) if begin else Marks(spelled)


def _stages(path: Path, study: Element) -> list[tuple[float, str]]:
    """(start, stage) by the scorer, else by the program."""
    for by in ("UserStaging", "MachineStaging"):
        blocks = [block for staging in named(study, by) for block in staging if list(named(block, "Stage"))]
        if len(blocks) > 1:
            raise RecordingError(path, f"{len(blocks)} stagings in <{by}>. Export one.")
        stages = [
            (_number(path, stage, place, "Start"), _stage(stage.get("Type", "")))
            for block in blocks
            for place, stage in enumerate(named(block, "Stage"), start=1)
        ]
        if stages:
            if any(b < a for (a, _), (b, _) in pairwise(stages)):
                raise RecordingError(path, f"the stages in <{by}> are in no order. Export it again.")
            return stages
    return []


def _stage(word: str) -> str:
    key = word.strip().lower()
    return "?" if key in _UNKNOWN else _STAGES.get(key, word.strip())


def _term(text: str) -> str:
    return _TERMS.get(text.lower()) or _WORD_STARTS.sub(" ", text)


def _first(sessions: list[Element], name: str) -> str:
    return next((e.text or "" for session in sessions for e in named(session, name)), "").strip()


def _number(path: Path, element: Element, place: int, name: str) -> float:
    text = element.get(name, "").strip()
    if not re.fullmatch(r"-?\d+(\.\d+)?", text) or (name == "Duration" and text.startswith("-")):
        raise RecordingError(path, f"<{local_name(element)}> {place} has no {name} in seconds.")
    return float(text)
