"""Whether a file's data were changed on their way, as text is: every sample after the first change is then another.

A copy in "ASCII mode" (FTP, version control, mail) writes one kind of line end for another, and a program that takes
bytes for characters encodes them anew. Neither touches the header, which is text.
"""

import codecs
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_LOOKED_AT_BYTES = 32 << 20
"""Of the data, from their beginning: an hour and more of any recording."""
_FEWEST_PAIRS = 12
"""Pairs of bytes like CR LF that stand in the data where CR LF does not: by chance, 6 times in a million."""
_FEWEST_IF_AS_MANY = 2
"""Likewise of pairs where the file is shorter by about as many bytes: by chance, once in 7 files that were cut so near
to their end, which must be copied again, too."""
_FEWEST_BYTES = 50
"""Likewise of single bytes, and of line ends that all are of one kind."""
_CR, _LF = 0x0D, 0x0A
_LIKE_CR = (0x0B, 0x0C, 0x0E, 0x0F)
"""What is as frequent before an LF as a CR, whatever steps the recorder makes: even numbers and odd ones."""


def changed_in_transfer(path: Path, header_bytes: int, lost_bytes: int = 0) -> str | None:
    """How the data of a file whose size is not what its header says were changed; None where nothing shows it.

    >>> changed_in_transfer(Path("night.edf"), 256) is None
    True

    Args:
      lost_bytes: how much shorter the data are than the header says, where it says so. A copy that was stopped may lose
        any number, line ends that were replaced lose few.
    """
    with path.open("rb") as file:
        file.seek(header_bytes)
        data = np.fromfile(file, np.uint8, _LOOKED_AT_BYTES)
    single = np.bincount(data, minlength=256)
    before_lf = np.bincount(data[:-1][data[1:] == _LF], minlength=256)
    if not single[_CR] and np.delete(single, _CR).min() >= _FEWEST_BYTES:  # coarse data lack other bytes, too
        return "there is no CR byte in them, so each was taken out or replaced"
    like_cr = before_lf[_LIKE_CR,]
    # Of CR CR LF a pair is left. In a short file few are missed, but just as many bytes.
    usual = like_cr.mean()
    as_many = before_lf[_CR] * 8 < usual >= _FEWEST_IF_AS_MANY and 0 < lost_bytes <= 8 + 8 * usual
    if as_many or before_lf[_CR] * 16 < like_cr.min() >= _FEWEST_PAIRS:
        return "CR LF pairs are missing in them, so each was made an LF"
    if single[_LF] - (data[:1] == _LF).sum() == before_lf[_CR] >= _FEWEST_BYTES:
        return "a CR stands before every LF, so each LF was made a CR LF pair"
    if (data >= 0x80).sum() >= _FEWEST_BYTES and _is_utf8(data.tobytes()):
        return "they are UTF-8 text, so each byte from 128 was encoded anew"
    return None


def misplaced(records: Sequence[bytes], starts_s: Sequence[float | None]) -> int | None:
    """The first data record whose annotations begin with something else than its time stamp; None if there is none.

    Args:
      records: the bytes of the first annotation channel in each record.
      starts_s: the time stamp that each of these begins with, None where it does not. A record without anything, as
        some software writes them, is none of these.
    """
    return next((k for k, start_s in enumerate(starts_s) if start_s is None and records[k].strip(b"\0 ")), None)


def _is_utf8(data: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return True
