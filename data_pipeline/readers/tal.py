"""Time-stamped annotation lists, in which EDF+ writes when something was (section 2.2.2)."""

import re
from collections.abc import Sequence

from data_pipeline.readers.recording import Annotation

TAL = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?\x14(.*?)\x14?\x00", re.DOTALL)
"""Onset, duration, texts divided by 0x14."""
_FURTHEST_S = 1e9
"""Onsets and durations are cut off here, far outside any recording."""


def first_stamp_s(raw: bytes) -> float | None:
    """The onset in seconds with which an annotation channel begins; None where it begins otherwise."""
    stamp = TAL.match(raw)
    return None if stamp is None else _seconds(stamp[1])


def read_tals(channels: Sequence[bytes]) -> tuple[Annotation, ...]:
    """The annotations in the bytes of each annotation channel, sorted by onset from the first sample."""
    found: list[Annotation] = []
    offset_s = 0.0
    for channel, raw in enumerate(channels):
        for place, match in enumerate(TAL.finditer(raw)):
            onset_s, duration_s = _seconds(match[1]), match[2] and _seconds(match[2])
            if channel == 0 and place == 0 and not match[3]:
                # The first time stamp is the fraction of a second at which the first sample was taken.
                offset_s = onset_s
            found += [Annotation(onset_s, duration_s, _text(t)) for t in match[3].split(b"\x14") if t]
    shifted = (Annotation(round(a.onset_s - offset_s, 9), a.duration_s, a.text) for a in found)
    return tuple(sorted(shifted, key=lambda a: a.onset_s))


def _seconds(digits: bytes) -> float:
    return max(-_FURTHEST_S, min(float(digits), _FURTHEST_S))


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8").strip("\0 ")
    except UnicodeDecodeError:  # EDF+ demands UTF-8; older software writes Latin-1
        return raw.decode("latin-1").strip("\0 ")
