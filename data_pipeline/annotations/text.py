"""The text of a small scoring file. A scorer's night is some kilobytes; a file from outside may be anything."""

from pathlib import Path

from data_pipeline.night import RecordingError

LARGEST_BYTES = 16 * 2**20
"""A mark a second for a whole day is 5 MB as text."""


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

    Raises:
      RecordingError: too large, or not UTF-8.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordingError(path, f"not text in UTF-8 ({error}). Save it as UTF-8.") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
