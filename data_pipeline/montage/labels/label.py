"""What the reading of a channel label says."""

from dataclasses import dataclass
from enum import StrEnum

from data_pipeline.modalities import Modality


class Confidence(StrEnum):
    """How sure a reading is. Levels and not decimals: nothing was counted that could make a probability."""

    CERTAIN = "certain"  # the label says it in the field's own words
    LIKELY = "likely"  # one usual reading; something is left unsaid
    GUESS = "guess"  # the kind is plain, the place or the sensor is custom
    UNKNOWN = "unknown"  # no reading


@dataclass(frozen=True)
class Label:
    """The reading of one label.

    Attributes:
      modality: the kind of signal, None for one that has no record ("other") or that is not known.
      kind: what it is, in words: "EEG", "snoring or sound", "unknown".
      position: where: an electrode in capitals ("C3", "FP1", "M2" for a mastoid or ear, "E1" for the left eye), or
        "CHIN", "LEG", "LEG_L", "ECG", "THERMISTOR" …; "" when the label does not say.
      slots: canonical slots that it may fill, the best first; () for none.
      side: "L", "R" or "".
      reference: "M2", "M1+M2" for linked, "CZ", "REF" for an unnamed one; "" when not stated.
      sign: -1.0 when the label names the reference first.
      electrode: which one of several at that position: "1", "L", "A"; "" for the only one, or a pair.
      rank: how good it is for its slots, the lower the better.
      confidence: how sure the reading is.
      reason: for a person to read.
    """

    modality: Modality | None
    kind: str
    position: str = ""
    slots: tuple[str, ...] = ()
    side: str = ""
    reference: str = ""
    sign: float = 1.0
    electrode: str = ""
    rank: int = 0
    confidence: Confidence = Confidence.CERTAIN
    reason: str = ""
