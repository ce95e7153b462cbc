"""Event exports of RemLogic (`.txt`), as in the CAP Sleep Database; the Dreem headband's scoring has the same form.

Lines on the patient, then a header with "Time [hh:mm:ss]" and "Event", then a line for each event, tabs between:
"Sleep Stage", perhaps "Position", the clock time (22:30:00, also 22.30.00), the event, "Duration[s]", "Location".
Events are called SLEEP-S0 … S4, SLEEP-N1 … N3, SLEEP-REM, SLEEP-MT, SLEEP-UNSCORED, APNEA-OBSTRUCTIVE and so on; the
column "Sleep Stage" repeats the epoch's stage in each line, and counts only where no event names one. Phases of the
cyclic alternating pattern (MCAP-A1 …) are events, too, that nobody here looks for: they are not marks.
"""

import re
from pathlib import Path

from data_pipeline.annotations.cells import read_cells
from data_pipeline.annotations.columns import column_name
from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.table import rows_to_marks
from data_pipeline.night import RecordingError

_HEADER = re.compile(r"^(?=[^\n]*\bTime ?\[hh:mm:ss\])(?=[^\n]*\bEvent\b)", re.MULTILINE)
_STAGE_EVENT = re.compile(r"SLEEP-", re.IGNORECASE)
_CYCLIC = re.compile(r"MCAP\b", re.IGNORECASE)


def is_remlogic(text: str) -> bool:
    """Whether a text has the header of such an export."""
    return _HEADER.search(text[:10_000]) is not None


def read_remlogic(path: Path) -> Marks:
    """Stages and events, placed by the clock.

    Raises:
      RecordingError: a line without its time, or what `rows_to_marks` refuses.
    """
    header, rows = read_cells(path)
    names = [column_name(cell) for cell in header]
    if "event" not in names:
        raise RecordingError(path, "its header names no column 'Event'. Is it a whole export of RemLogic?")
    event, stage = names.index("event"), names.index("sleep_stage") if "sleep_stage" in names else None
    rows = [(where, row) for where, row in rows if len(row) <= event or not _CYCLIC.match(row[event].strip())]
    if stage is not None and any(len(row) > event and _STAGE_EVENT.match(row[event].strip()) for _, row in rows):
        header = [cell if place != stage else "repeated" for place, cell in enumerate(header)]
    width = max(event, *(names.index(n) for n in names if n.startswith(("time", "duration")))) + 1
    return rows_to_marks(path, header[:width], rows)
