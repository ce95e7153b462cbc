"""What a reader of scorings gives: marks, and what the file says of its own clock."""

import datetime
from dataclasses import dataclass

from data_pipeline.readers.recording import Annotation


@dataclass(frozen=True)
class Marks:
    """The marks of one scoring file.

    Attributes:
      annotations: sorted by onset; seconds count from the file's own zero.
      clock: time of day of that zero, None where the file counts from the recording's first sample.
      day: calendar day of that zero where the file says it; used to place the scoring, never shown or kept.
      lights_s: lights off and lights on in the same seconds, None for what the file does not say.
    """

    annotations: tuple[Annotation, ...]
    clock: datetime.time | None = None
    day: datetime.date | None = None
    lights_s: tuple[float | None, float | None] = (None, None)
