"""What one channel label says by itself: the kind of signal, where it sits, its side and its reference.

A label that could be two things, or names a signal that nobody looks at, fills no slot and says why:
a missing channel is masked, a wrong one misleads. What the other channels of a recording add is `montage`'s.
"""

from data_pipeline.montage.labels.electrodes import read_electrodes
from data_pipeline.montage.labels.label import Confidence, Label
from data_pipeline.montage.labels.sensors import read_aside, read_sensor
from data_pipeline.montage.labels.vocabulary import cut


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
