"""Event exports of Embla RemLogic in XML.

The root is <EventExport>; each <Event> has <Type> (SLEEP-S0, SLEEP-REM, APNEA-OBSTRUCTIVE …), <StartTime> and
<StopTime>, dates with clock times.
"""

from pathlib import Path

from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.safe_xml import local_name, named, read_xml
from data_pipeline.annotations.times import axis_of, length_s, moment_in
from data_pipeline.night import RecordingError
from data_pipeline.readers.recording import Annotation, in_order

ROOT = "EventExport"


def read_embla_xml(path: Path) -> Marks:
    """Stages and events, placed by date and clock.

    Raises:
      RecordingError: not such a file, an event without its times, or times more than a week apart.
    """
    starts, lengths, texts = [], [], []
    for place, event in enumerate(named(read_xml(path, ROOT), "Event"), start=1):
        cells = {local_name(child).lower(): (child.text or "").strip() for child in event}
        start, stop = moment_in(cells.get("starttime", "")), moment_in(cells.get("stoptime", ""))
        if start is None or not cells.get("type"):
            raise RecordingError(path, f"<Event> {place} has no <Type>, or no <StartTime> with a clock time.")
        length = None if stop is None else length_s(start, stop)
        if length is not None and length < 0:
            raise RecordingError(path, f"<Event> {place} ends before it begins.")
        starts.append(start)
        lengths.append(length)
        texts.append(cells["type"])
    if not starts:
        return Marks(())
    axis = axis_of(starts)
    if axis is None:
        raise RecordingError(path, "its events are more than a week apart, expected one night.")
    found = (Annotation(s, d, t) for s, d, t in zip(axis.seconds, lengths, texts, strict=True))
    return Marks(in_order(found), axis.clock, axis.day)
