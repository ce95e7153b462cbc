"""WFDB annotation files: PhysioNet 2018 `.arousal`, and `.st` of the MIT-BIH polysomnographic database (slpdb).

https://wfdb.io/spec/annotation-files.html (MIT format). What counts is the text of a mark:

- `.arousal`: a stage (`W N1 N2 N3 R`, `U` unknown), valid until the next one; or `(name` and `name)` where an event
  begins and ends;
- `.st`: a stage and the events of the 30 s that follow, as in `2 HA L`. Where in these 30 s an event lies is not
  written, so each gets all of them. Its word is written out, for "A" or "X" alone mean other things elsewhere.

Read here, not through the wfdb package: that one drops a mark at the very first sample, and never returns from a file
whose first note begins with "## " and is none of the two it knows.
"""

import re
import struct
from fractions import Fraction
from pathlib import Path

from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.text import read_bytes
from data_pipeline.night import EPOCH_S, RecordingError
from data_pipeline.readers.recording import Annotation, in_order
from data_pipeline.readers.wfdb import read_header

_SLPDB_SUFFIXES = (".st", ".st-")
SUFFIXES = (".arousal", *_SLPDB_SUFFIXES)
_SKIP, _NUMBER, _SUBTYPE, _CHANNEL, _TEXT = 59, 60, 61, 62, 63
_RESOLUTION = re.compile(r"## time resolution: (\d{1,9}(?:\.\d{1,9})?)$")

_SLPDB_STAGES = {"W": "W", "1": "N1", "2": "N2", "3": "N3", "4": "N3", "R": "REM", "MT": "?", "M": "?"}
_SLPDB_EVENTS = {
    "H": ("Hypopnea",),
    "HA": ("Hypopnea", "Arousal"),
    "OA": ("Obstructive apnea",),
    "X": ("Obstructive apnea", "Arousal"),
    "CA": ("Central apnea",),
    "CAA": ("Central apnea", "Arousal"),
    "L": ("Leg movement",),
    "LA": ("Leg movement", "Arousal"),
    "A": ("Arousal",),
}
"""The legend of slpdb. What is not in it, such as "LL", is kept as it is and counted as unknown."""


def read_wfdb(path: Path) -> Marks:
    """The texts of an annotation file as annotations, sorted by onset.

    Time is counted in frames of the record; their rate stands in the file itself or in the `.hea` beside it.

    Raises:
      RecordingError: the file is cut or damaged, or no rate is known.
    """
    marks = _marks(path)
    rate_hz = _rate_hz(path, marks)
    marks = [(k, text) for k, text in marks if not text.startswith("##")]
    if path.suffix.lower() in _SLPDB_SUFFIXES:
        # The first mark stands at sample 1 and means sample 0.
        found = [a for k, text in marks for a in _epoch(float(k / rate_hz) if k > 1 else 0.0, text.split())]
    else:
        found = _intervals([(float(k / rate_hz), text) for k, text in marks])
    return Marks(in_order(found))


def _intervals(marks: list[tuple[float, str]]) -> list[Annotation]:
    """Stages until the next one, and what lies between "(name" and "name)"; without its other half, a point."""
    found: list[Annotation] = []
    opened: dict[str, float] = {}
    for onset_s, text in marks:
        if text.startswith("("):
            if text[1:] in opened:
                found.append(Annotation(opened[text[1:]], None, text[1:]))
            opened[text[1:]] = onset_s
        elif text.endswith(")"):
            name = text[:-1]
            began_s = opened.pop(name, None)
            found.append(
                Annotation(onset_s, None, name) if began_s is None else Annotation(began_s, onset_s - began_s, name)
            )
        else:
            found.append(Annotation(onset_s, None, "Sleep stage ?" if text == "U" else text))
    return found + [Annotation(onset_s, None, name) for name, onset_s in opened.items()]


def _epoch(onset_s: float, words: list[str]) -> list[Annotation]:
    texts: list[str] = []
    for word in words:
        if word in _SLPDB_STAGES:
            texts.append(f"Sleep stage {_SLPDB_STAGES[word]}")
        else:
            texts += _SLPDB_EVENTS.get(word, (word,))
    return [Annotation(onset_s, EPOCH_S, text) for text in texts]


def _marks(path: Path) -> list[tuple[int, str]]:
    """(frame, text) of each annotation that has a text, in the file's order."""
    data = read_bytes(path)
    marks: list[tuple[int, str]] = []
    place, sample = 0, 0

    def word() -> int:
        nonlocal place
        if place + 2 > len(data):
            raise RecordingError(path, f"cut inside a mark, after {len(data)} bytes. Copy the file again.")
        place += 2
        return struct.unpack_from("<H", data, place - 2)[0]

    while place < len(data):
        code, value = divmod(word(), 1024)
        if code == value == 0:
            break
        if code == _SKIP:
            high, low = word(), word()
            sample += struct.unpack("<i", struct.pack("<HH", low, high))[0]
        elif code == _TEXT:
            text = data[place : place + value]
            place += value + value % 2
            if len(text) < value or not marks:
                raise RecordingError(path, "no WFDB annotation file, or cut inside a text. Copy it again.")
            marks[-1] = (sample, text.decode("latin-1").strip("\0 "))
        elif code not in (_NUMBER, _SUBTYPE, _CHANNEL):
            sample += value
            marks.append((sample, ""))
    if any(sample < 0 for sample, _ in marks):
        raise RecordingError(path, "a mark lies before the record begins. The file is damaged.")
    return [(sample, text) for sample, text in marks if text]


def _rate_hz(path: Path, marks: list[tuple[int, str]]) -> Fraction:
    stated = next((m for _, text in marks if (m := _RESOLUTION.match(text))), None)
    if stated and Fraction(stated[1]):
        return Fraction(stated[1])
    header = path.with_suffix(".hea")
    if not header.is_file():
        problem = f"counts in frames of a record, but there is no '{header.name}' beside it that says their rate."
        raise RecordingError(path, problem)
    return read_header(header).rate_hz
