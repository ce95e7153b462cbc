"""What one channel label says by itself: the kind of signal, where it sits, its side and its reference.

A label that could be two things, or names a signal that nobody looks at, fills no slot and says why:
a missing channel is masked, a wrong one misleads. What the other channels of a recording add is `montage`'s.
"""

import re
import unicodedata
from functools import lru_cache

from data_pipeline.montage.labels.electrodes import read_electrodes
from data_pipeline.montage.labels.label import Confidence, Label
from data_pipeline.montage.labels.sensors import read_aside, read_sensor
from data_pipeline.montage.labels.vocabulary import UNKNOWN, cut


def read_label(label: str) -> Label:
    """Reads one label, whatever its case, separators, or "EEG " before the name of another kind of signal.

    >>> label = read_label("EEG C3-A2")
    >>> label.slots, label.reference
    (('C3',), 'M2')
    """
    pieces = cut(label)
    read = read_electrodes(pieces) or read_aside(pieces) or read_sensor(pieces)
    if read is not None:
        return read
    reason = "label not known, or it could mean several things"
    return Label(None, "unknown", confidence=Confidence.UNKNOWN, reason=reason)


@lru_cache(maxsize=4096)  # asked for with every stretch of a channel
def shown(label: str) -> str:
    """A label as it may be kept and shown: its words of the vocabulary; a dot for each other one, perhaps a name's.

    A few letters with a number of up to three digits name a channel ("X9", "EEG506"), and may be shown too.

    >>> shown("SpO2 (Doe)"), shown("Nonin SN998877"), shown("C3 - M2")
    ('SpO2 (…)', 'Nonin …', 'C3 - M2')
    """
    if len(label) <= _LONGEST and label.isascii() and _is_known(label):
        return label
    words = re.split(r"([^\W_]+)", label[:_LONGEST])
    return re.sub(r"…(\W+…)+", "…", "".join(w if k % 2 == 0 or _is_known(w) else "…" for k, w in enumerate(words)))


def named(label: str, index: int) -> str:
    """A channel by its label, or by its place where that has no word that may be shown."""
    kept = shown(label)
    return kept if re.search(r"\w", kept) else f"channel {index + 1}"


_LONGEST = 60
_NAMES_A_CHANNEL = re.compile(r"[a-z]{0,4}\d{1,3}|\d{1,3}[a-z]{1,2}|[abc]|i{1,3}|av[rlf]", re.IGNORECASE)


def _is_known(text: str) -> bool:
    """Whether each word is of the vocabulary and no number is longer than a channel's."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    if len(plain) < len(text) or re.search(r"\d{4}", plain):  # letters of another script mean something, too
        return False
    if _NAMES_A_CHANNEL.fullmatch(plain):
        return True
    return all(p.meaning != UNKNOWN or (plain.isalnum() and len(p.text) < len(plain)) for p in cut(plain))
