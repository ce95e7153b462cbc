"""Exports of Somnomedics DOMINO (`.txt`): a sleep profile, or the events of one kind.

Lines "Signal ID: SchlafProfil\\\\profil", "Start Time: 1/1/1985 10:30:00 PM", "Unit: s", "Signal Type: Discret",
"Events list: …", "Rate: 30 s"; an empty line; then for a profile ("Discret") `22:30:00,000; Wake`, a line an epoch, and
for events ("Impuls") `22:31:05,000-22:31:17,000; 12;Hypopnea`. "A", "Artifact" and "Movement" are no stage. Curves
("Analog") hold no marks and are refused.
"""

import re
from pathlib import Path

from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.terms import stage_of_column
from data_pipeline.annotations.text import read_text
from data_pipeline.annotations.times import axis_of, length_s, moment_in, number_in
from data_pipeline.night import RecordingError
from data_pipeline.readers.recording import Annotation, in_order

_BEGIN = re.compile(r"\s*Signal ID:", re.IGNORECASE)
_UNKNOWN = frozenset({"a", "artifact", "artefakt", "movement", "bewegung", "-", ""})
_RATE = re.compile(r"(\d+(?:[.,]\d+)?)\s*(ms|s|sec)?", re.ASCII)


def is_domino(text: str) -> bool:
    """Whether a text begins as such an export."""
    return _BEGIN.match(text) is not None


def read_domino(path: Path) -> Marks:
    """Stages, or events, placed by the clock.

    Raises:
      RecordingError: a curve, a line that is none of the two forms, or times in no order.
    """
    head, _, body = read_text(path).partition("\n\n")
    facts = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in head.split("\n"))}
    kind = facts.get("signal type", "").lower()
    if not kind.startswith(("discret", "impuls")):
        raise RecordingError(path, "a DOMINO export of a curve, expected a sleep profile or events.")
    listed = facts.get("events list", "").split(",")
    is_profile = kind.startswith("discret") and any(stage_of_column(word) is not None for word in listed if word)
    if kind.startswith("discret") and not is_profile:
        raise RecordingError(path, "a DOMINO export of states that are no stages, expected a sleep profile or events.")
    moments, lengths, texts = [], [], []
    for number, line in enumerate(body.split("\n"), start=head.count("\n") + 3):
        if not line.strip():
            continue
        when, *cells = (cell.strip() for cell in line.split(";"))
        start, *stop = (moment_in(part) for part in when.split("-"))
        if start is None or None in stop or not cells or len(stop) == is_profile:
            expected = "22:30:00,000; Wake" if is_profile else "22:31:05,000-22:31:17,000; 12;Hypopnea"
            raise RecordingError(path, f"line {number}: not as DOMINO writes it, expected '{expected}'.")
        moments.append(start)
        lengths.append(length_s(start, stop[0]) if stop else _rate_s(path, facts.get("rate", "")))
        texts.append(_stage(cells[0]) if is_profile else cells[1] if len(cells) > 1 else cells[0])
    axis = axis_of(moments)
    if moments and axis is None:
        raise RecordingError(path, "the times are in no order: nobody can say where the night begins.")
    if axis is None:
        return Marks(())
    found = [Annotation(s, d, t) for s, d, t in zip(axis.seconds, lengths, texts, strict=True)]
    begin = moment_in(facts.get("start time", ""))
    day = begin.day if begin is not None else None
    if day is not None and moments[0].second < begin.second:
        day = None  # the first line is of the day after: nobody needs the date so much
    return Marks(in_order(found), axis.clock, day)


def _stage(word: str) -> str:
    return "Sleep stage ?" if word.lower() in _UNKNOWN else f"Sleep stage {word}"


def _rate_s(path: Path, text: str) -> float:
    match = _RATE.fullmatch(text)
    seconds = number_in(match[1]) * (1e-3 if match[2] == "ms" else 1) if match else 0
    if not seconds:
        raise RecordingError(path, "its line 'Rate:' does not say how long an epoch is, expected 'Rate: 30 s'.")
    return seconds
