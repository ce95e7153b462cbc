"""Time-stamped annotation lists of EDF+ (section 2.2.2) in a file of their own, without an EDF header.

`+<onset>[0x15<duration>]0x14<text>0x14[<text>0x14 …]0x00`, one after the other, as they stand in the annotation
channel of an EDF+ file; bytes of zero between them are padding.
"""

from pathlib import Path

from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.text import read_bytes
from data_pipeline.night import RecordingError
from data_pipeline.readers.tal import TAL, read_tals


def read_tal(path: Path) -> Marks:
    """All annotations of the file, sorted by onset; an empty first one sets the time of the first sample.

    Raises:
      RecordingError: something in it is not an annotation list; the byte is named.
    """
    raw = read_bytes(path)
    start = 0
    for piece in raw.split(b"\0"):
        if piece and not TAL.fullmatch(piece + b"\0"):
            problem = f"byte {start}: not a time-stamped annotation list, expected +onset, 0x14, texts and 0x00"
            raise RecordingError(path, f"{problem}. Export the annotations again, as EDF+ or as a CSV table.")
        start += len(piece) + 1
    return Marks(read_tals(path, [[raw + b"\0"]]))
