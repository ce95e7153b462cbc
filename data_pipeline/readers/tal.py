"""Time-stamped annotation lists, in which EDF+ writes when something was (section 2.2.2)."""

import re
from collections.abc import Iterable
from pathlib import Path

from data_pipeline.night import RecordingError
from data_pipeline.readers.recording import MOST_ANNOTATIONS, Annotation, in_order

TAL = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?\x14(.*?)\x14?\x00", re.DOTALL)
"""Onset, duration, texts divided by 0x14."""
_FURTHEST_S = 1e9
"""Onsets and durations are cut off here, far outside any recording."""
_LONGEST_TEXT = 1000
"""Characters of a text that are kept: no term is so long."""


def first_stamp_s(raw: bytes) -> float | None:
    """The onset in seconds with which an annotation channel begins; None where it begins otherwise."""
    stamp = TAL.match(raw)
    return None if stamp is None else _seconds(stamp[1])


def read_tals(path: Path, channels: Iterable[Iterable[bytes]]) -> tuple[Annotation, ...]:
    """The annotations in each annotation channel of a file, sorted by onset from the first sample.

    Args:
      channels: of each its bytes, in pieces that end where a list does.
    Raises:
      RecordingError: more of them than any scorer makes.
    """
    found: list[Annotation] = []
    offset_s = 0.0
    for channel, pieces in enumerate(channels):
        is_first = channel == 0
        for match in (match for raw in pieces for match in TAL.finditer(raw)):
            onset_s, duration_s = _seconds(match[1]), match[2] and _seconds(match[2])
            if is_first and not match[3]:
                # The first time stamp is the fraction of a second at which the first sample was taken.
                offset_s = onset_s
            is_first = False
            texts = match[3].split(b"\x14", MOST_ANNOTATIONS) if match[3] else ()
            found += [Annotation(onset_s, duration_s, _text(t)) for t in texts if t]
            if len(found) > MOST_ANNOTATIONS:
                problem = f"more than {MOST_ANNOTATIONS} annotations, expected those of a night"
                raise RecordingError(path, f"{problem}. Its annotation channel is damaged: export it again.")
    return in_order(Annotation(round(a.onset_s - offset_s, 9), a.duration_s, a.text) for a in found)


def _seconds(digits: bytes) -> float:
    return max(-_FURTHEST_S, min(float(digits), _FURTHEST_S))


def _text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:  # EDF+ demands UTF-8; older software writes Latin-1
        text = raw.decode("latin-1")
    return text[:_LONGEST_TEXT].strip("\0 ")
