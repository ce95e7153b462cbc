"""Where a scoring lies on its recording."""

import datetime
from dataclasses import replace

from data_pipeline.annotations.marks import Marks
from data_pipeline.readers.recording import Annotation


def place(
    marks: Marks, recording_clock: str | None, recording_day: datetime.date | None, duration_s: float
) -> tuple[tuple[Annotation, ...], tuple[float | None, float | None], tuple[str, ...]]:
    """The annotations in seconds from the recording's first sample."""
    if marks.clock is None or recording_clock is None:
        return marks.annotations, marks.lights_s, ()
    begin = datetime.time.fromisoformat(recording_clock)
    shift = sum(
        (getattr(marks.clock, u) - getattr(begin, u)) * s
        for u, s in (("hour", 3600), ("minute", 60), ("second", 1), ("microsecond", 1e-6))
    )
    shift = (shift + 43200) % 86400 - 43200
    return tuple(replace(a, onset_s=round(a.onset_s + shift, 6)) for a in marks.annotations), marks.lights_s, ()
