"""Annotations of Wonambi (XML).

The root is <annotations>; <dataset> names the recording's <start_time>, from which all seconds count. Each <rater> has
<stages> with <epoch>: <epoch_start>, <epoch_end>, <stage> (Wake, NREM1, NREM2, NREM3, REM, Movement, Artefact,
Unknown, Undefined), and <events> with <event> or <event_type type="…"> around them: <event_start>, <event_end>.
<bookmarks> are free text and not read.
"""

from pathlib import Path
from xml.etree.ElementTree import Element

from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.safe_xml import named, read_xml, seconds_of, text_of
from data_pipeline.annotations.times import clock_of, moment_in
from data_pipeline.night import RecordingError
from data_pipeline.readers.recording import Annotation, in_order

ROOT = "annotations"
_STAGES = {"wake": "W", "nrem1": "N1", "nrem2": "N2", "nrem3": "N3", "rem": "REM"}
_UNKNOWN = frozenset({"movement", "artefact", "artifact", "unknown", "undefined", ""})


def read_wonambi_xml(path: Path) -> Marks:
    """Stages and events of the one rater, sorted by onset.

    Raises:
      RecordingError: not such a file, several raters, or a mark without its seconds.
    """
    root = read_xml(path, ROOT)
    raters = [rater for rater in named(root, "rater") if list(named(rater, "epoch")) or list(named(rater, "event"))]
    if len(raters) > 1:
        raise RecordingError(path, f"{len(raters)} raters scored in it. Save a copy with one of them.")
    found = [_stage(path, epoch, k) for rater in raters for k, epoch in enumerate(named(rater, "epoch"), start=1)]
    for events in (events for rater in raters for events in named(rater, "events")):
        for parent in events.iter():
            for place, event in enumerate(parent.findall("event"), start=1):
                text = event.get("type") or text_of(event, "event_name") or parent.get("type") or ""
                found.append(_span(path, event, place, "event", text))
    begin = next((moment_in((e.text or "").strip()) for e in named(root, "start_time")), None)
    return Marks(in_order(found), clock_of(begin.second), begin.day) if begin else Marks(in_order(found))


def _stage(path: Path, epoch: Element, place: int) -> Annotation:
    word = text_of(epoch, "stage")
    stage = "?" if word.lower() in _UNKNOWN else _STAGES.get(word.lower(), word)
    return _span(path, epoch, place, "epoch", f"Sleep stage {stage}")


def _span(path: Path, element: Element, place: int, kind: str, text: str) -> Annotation:
    start_s = seconds_of(path, element, f"{kind}_start", place)
    length_s = seconds_of(path, element, f"{kind}_end", place) - start_s
    if length_s < 0:
        raise RecordingError(path, f"<{kind}> {place} ends before it begins.")
    return Annotation(start_s, length_s, text)
