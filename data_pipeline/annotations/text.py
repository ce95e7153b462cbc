"""The text of a small scoring file. A scorer's night is some kilobytes; a file from outside may be anything."""

import codecs
import re
from pathlib import Path

from data_pipeline.night import RecordingError

LARGEST_BYTES = 16 * 2**20
"""A mark a second for a whole day is 5 MB as text."""
_MARKS = (  # the four bytes of UTF-32 begin with the two of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


def read_bytes(path: Path) -> bytes:
    """The whole file.

    Raises:
      RecordingError: it is larger than `LARGEST_BYTES`.
    """
    with path.open("rb") as file:
        raw = file.read(LARGEST_BYTES + 1)
    if len(raw) > LARGEST_BYTES:
        problem = f"larger than {LARGEST_BYTES >> 20} MB, expected the scoring of one night. Split it."
        raise RecordingError(path, problem)
    return raw


def read_text(path: Path) -> str:
    """The whole file as text, without a byte order mark, lines ended by "\\n".

    UTF-16 is known by its byte order mark or its zeros; what is not UTF-8 is Windows-1252, in which Western
    scoring software writes.

    Raises:
      RecordingError: too large, or no text.
    """
    raw = read_bytes(path)
    text = decoded(raw)
    if text is None:
        raise RecordingError(path, "not text (neither UTF-8 nor UTF-16 nor Windows-1252). Save it as UTF-8.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def decoded(raw: bytes) -> str | None:
    """Bytes as text without a byte order mark; None where they are no text."""
    mark, name = next(((m, n) for m, n in _MARKS if raw.startswith(m)), (b"", ""))
    names = [name] if name else [_wide(raw)] if b"\0" in raw[:4096] else ["utf-8", "cp1252"]
    for encoding in filter(None, names):
        try:
            text = raw[len(mark) :].decode(encoding)
        except UnicodeDecodeError:
            continue
        return None if _NO_TEXT.search(text) else text
    return None


def _wide(raw: bytes) -> str:
    """The byte order of UTF-16 without a mark: of Western text every second byte is 0."""
    even, odd = raw[:4096:2].count(0), raw[1:4096:2].count(0)
    return "utf-16-le" if odd > 4 * even else "utf-16-be" if even > 4 * odd else ""
