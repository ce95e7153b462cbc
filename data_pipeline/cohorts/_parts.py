"""Files that are parts of one night: a recorder that closes a file in the night, or a file for each kind of signal."""

import datetime
import re
from collections.abc import Sequence
from pathlib import Path

from data_pipeline.night import RecordingError
from data_pipeline.readers.edf_header import is_edf
from data_pipeline.readers.joined import start_and_length

_WORDS = "part|pt|prt|seg|segment|teil|tl|partie|parte|deel|del|piece|chunk|split|section|file"
_PART = re.compile(
    rf"(?P<base>.*?[^\W_])[\W_]*(?:\[(?P<a>\d{{1,3}})\]|[\W_](?:{_WORDS})[\W_]*(?P<b>\d{{1,3}}|[a-d])\)?"
    r"|[\W_](?P<c>\d{1,3})[\s_]?(?:of|von|de|di|/)[\s_]?\d{1,3}\)?)",
    re.IGNORECASE,
)
""" "00000001-000001[001]", "night1_part2", "night1 (2 of 3)". A bare number is none: it may be a person's."""
_RESMED = re.compile(r"(?P<day>\d{8})_(?P<time>\d{6})_[A-Z]{3}", re.IGNORECASE)
"""A session of a ResMed device: when it began, and which of its signals."""
_LONGEST_S = 86400
_ROUNDING_S = 2
"""Headers tell the second at which a part begins."""


def nights_of(recordings: Sequence[Path]) -> list[tuple[str, tuple[Path, ...]]]:
    """(name, files) of each night; most are one file and called as it is. Parts stand in the order of time."""
    groups: dict[tuple[Path, str, str], list[tuple[int, Path]]] = {}
    nights: list[tuple[str, tuple[Path, ...]]] = []
    for path in recordings:
        if read := _read(path):
            base, number = read
            groups.setdefault((path.parent, base.casefold(), path.suffix.lower()), []).append((number, path))
        else:
            nights.append((path.stem, (path,)))
    for (_, _, _), parts in groups.items():
        paths = tuple(path for _, path in sorted(parts))
        base, _ = _read(paths[0])
        nights.append((base if len(paths) > 1 else paths[0].stem, paths))
    return sorted(nights, key=lambda night: night[1])


def person_of(path: Path) -> str | None:
    """What is common to the files of one person by the recorder's own rules; None where it has none.

    The card of a ResMed device is one person's: its sessions lie in folders of a day, or all in one.
    """
    if _RESMED.fullmatch(path.stem):
        is_day = re.fullmatch(r"\d{8}", path.parent.name) is not None
        return f"{path.parent.parent if is_day else path.parent}/resmed"
    return None


def _read(path: Path) -> tuple[str, int] | None:
    """The night that a file is a part of, and its place in it."""
    if session := _RESMED.fullmatch(path.stem):
        try:
            began = datetime.datetime.strptime(session["day"] + session["time"], "%Y%m%d%H%M%S")
        except ValueError:
            return None
        night = began - datetime.timedelta(hours=12)  # a night is called by the day on which it began
        return f"{night:%Y%m%d}", int((began - night.replace(hour=0, minute=0, second=0)).total_seconds())
    part = _PART.fullmatch(path.stem)
    if part is None:
        return None
    which = next(filter(None, (part["a"], part["b"], part["c"])))
    return part["base"], int(which) if which.isdigit() else "abcd".index(which.lower())


def can_be_joined(parts: Sequence[Path]) -> bool:
    """Whether the headers say that the parts follow each other, or lie beside each other with other signals, in a day.

    Dates may have been taken away: what begins before the one before it ended began a day later.
    """
    ends: dict[str, float] = {}  # by label
    origin = before = None
    for path in parts:
        try:
            known = start_and_length(path) if is_edf(path) else None
        except (RecordingError, OSError):
            known = None
        if known is None:
            return False
        start, length_s, labels = known
        origin = start if origin is None else origin
        start_s = (start - origin).total_seconds()
        latest_s = max((ends.get(label, 0.0) for label in labels), default=0.0)
        if start_s < latest_s - _ROUNDING_S and start.date() == before:
            start_s += 86400
        if start_s < latest_s - _ROUNDING_S or start_s < 0 or start_s + length_s > _LONGEST_S:
            return False
        ends |= dict.fromkeys(labels, start_s + length_s)
        before = start.date()
    return True
