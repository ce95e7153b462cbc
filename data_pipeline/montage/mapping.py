"""Which signal, or difference of signals, fills each canonical slot, and the reason for each decision.

`labels` says what one label means by itself, `company` what it means among the others. Here the recording is seen as
a whole: electrodes are referenced to the mastoids that were recorded with them, and the best of several is taken.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from data_pipeline.modalities import MODALITY_OF, Modality
from data_pipeline.montage.company import read_labels
from data_pipeline.montage.labels import Confidence, Label, shown
from data_pipeline.montage.labels.electrodes import opposite_mastoid
from data_pipeline.readers.recording import Signal


@dataclass(frozen=True)
class Derivation:
    """How a slot is filled: the sum of weight * signal over `terms`.

    Attributes:
      slot, modality: the canonical channel.
      terms: (signal index, weight) pairs.
      label: "EEG C3-M2" as in the file, or "C3 - M2" when it is made from two channels.
      reason: for a person to read.
      confidence: how sure it is that this is what the slot means.
    """

    slot: str
    modality: Modality
    terms: tuple[tuple[int, float], ...]
    label: str
    reason: str
    confidence: Confidence


@dataclass(frozen=True)
class Unused:
    """A signal that fills no slot.

    Attributes:
      index, label: which.
      reason: why, for a person to read.
      serves: the slots whose reference it is.
    """

    index: int
    label: str
    reason: str
    serves: tuple[str, ...] = ()


@dataclass(frozen=True)
class Montage:
    """`channels` in the order of `MODALITY_OF`, `unused` in the order of the file; every signal is in one."""

    channels: tuple[Derivation, ...]
    unused: tuple[Unused, ...]


@dataclass(frozen=True)
class _Claim:
    """A signal that asks for one of `slots`, the earlier the better. The lowest `rank` gets it."""

    slots: tuple[str, ...]
    rank: int
    terms: tuple[tuple[int, float], ...]
    label: str
    reason: str
    confidence: Confidence


def map_channels(signals: Sequence[Signal], *, linked: bool = False, side: Collection[Modality] = ()) -> Montage:
    """Decides which signal, or difference of some, fills each canonical slot.

    Preference for an EEG or EOG slot: against the opposite mastoid as recorded; so derived from two channels;
    against linked or other references; its electrode alone; a neighbouring electrode in a free slot; a bare
    "EEG", taken as central. Every signal that is not taken is returned with the reason.

    >>> from data_pipeline.readers import open_recording
    >>> montage = map_channels(open_recording(Path("night.edf")).signals)
    >>> montage.channels[0].slot, montage.channels[0].label
    ('F3', 'F3 - M2')

    Args:
      signals: all of a recording.
      linked: electrodes are derived against the mean of both mastoids where both are there.
      side: the side channels that are wanted.
    """
    labels = read_labels(signals)
    claims: list[_Claim] = []
    unused: dict[int, str] = {}
    points: dict[str, int] = {}  # electrodes recorded against a common reference
    for s in signals:
        label = labels[s.index]
        if not s.is_calibrated:
            unused[s.index] = "its digital or physical range has no width, so its scale is undefined"
        elif not label.slots or (label.modality.facts.is_side and label.modality not in side):
            unused[s.index] = label.reason
            if label.position in ("M1", "M2") and points.setdefault(label.position, s.index) != s.index:
                unused[s.index] = f"a second {label.position}"
        elif s.rate_hz < (least := label.modality.facts.least_hz):
            slow = f"{float(s.rate_hz):g} Hz is too slow for {label.modality}, at least {least} Hz"
            unused[s.index] = slow if s.rate_hz else "it has no samples"
        else:
            claims.append(_claim(s, label))
            if _is_electrode_alone(label):
                points.setdefault(label.position, s.index)
    claims += _referenced(signals, labels, points, linked) + _pairs(signals, labels)
    channels = _assign(claims)
    holders = {c.slot: shown(c.label) for c in channels}
    for claim in sorted(claims, key=lambda c: c.rank, reverse=True):
        held = ", ".join(f"{slot} is {holders[slot]}" for slot in claim.slots if slot in holders)
        unused[claim.terms[0][0]] = f"not needed: {held}"
    for name, index in points.items():
        if name in ("M1", "M2"):
            unused[index] = f"reference electrode {name}, no channel to derive with it"
    return Montage(channels, left_over(signals, channels, unused))


def by_reason(unused: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """(label, reason) pairs -> (labels, reason) pairs, each reason once; of many labels the first eight."""
    labels: dict[str, list[str]] = {}
    for label, reason in unused:
        labels.setdefault(reason, []).append(label)
    more = {reason: f" and {len(names) - 8} more" if len(names) > 8 else "" for reason, names in labels.items()}
    return [(", ".join(names[:8]) + more[reason], reason) for reason, names in labels.items()]


def left_over(
    signals: Iterable[Signal], channels: Sequence[Derivation], reasons: Mapping[int, str]
) -> tuple[Unused, ...]:
    """The signals that fill no slot: references of the channels, and all others with their `reasons`, by index."""
    filled = {c.terms[0][0] for c in channels}
    unused = []
    for s in signals:
        if s.index not in filled:
            serves = tuple(c.slot for c in channels if s.index in dict(c.terms[1:]))
            reason = f"used as the reference of {', '.join(serves)}" if serves else reasons[s.index]
            unused.append(Unused(s.index, s.label, reason, serves))
    return tuple(unused)


def _claim(s: Signal, label: Label) -> _Claim:
    is_neighbour = label.position and label.modality is Modality.EEG and label.position not in label.slots
    confidence = Confidence.LIKELY if is_neighbour else label.confidence
    return _Claim(label.slots, label.rank, ((s.index, label.sign),), s.label, label.reason, confidence)


def _is_electrode_alone(label: Label) -> bool:
    on_head = label.modality is not None and label.modality.facts.on_head
    return on_head and bool(label.position) and label.reference in ("", "REF")


def _referenced(
    signals: Sequence[Signal], labels: dict[int, Label], points: dict[str, int], linked: bool
) -> list[_Claim]:
    """Claims of electrodes against the mastoids that were recorded beside them."""
    by_index = {s.index: s for s in signals}
    claims = []
    for site, index in points.items():
        if site in ("M1", "M2"):
            continue
        opposite = opposite_mastoid(site)
        same = "M2" if opposite == "M1" else "M1"
        label = labels[index]
        rank = label.rank - 5  # that of an electrode alone, own or neighbour
        if linked and {"M1", "M2"} <= points.keys():
            a, b = points["M1"], points["M2"]
            terms = ((index, 1.0), (a, -0.5), (b, -0.5))
            name = f"{by_index[index].label} - ({by_index[a].label} + {by_index[b].label})/2"
            how = "derived against linked mastoids"
        elif opposite in points:
            terms = ((index, 1.0), (points[opposite], -1.0))
            name, how = _difference(by_index, terms), "derived against the opposite mastoid"
        elif same in points:
            terms = ((index, 1.0), (points[same], -1.0))
            name, how = _difference(by_index, terms), f"derived against {same}, the mastoid there is"
            rank += 2
        else:
            continue
        if len({by_index[i].rate_hz for i, _ in terms}) == 1:
            confidence = _claim(by_index[index], label).confidence
            claims.append(_Claim(label.slots, rank + 1, terms, name, f"{site} {how}", confidence))
    return claims


_TWO = (("1", "2"), ("L", "R"), ("A", "B"), ("+", "-"))


def _pairs(signals: Sequence[Signal], labels: dict[int, Label]) -> list[_Claim]:
    """Claims of two electrodes of one muscle, or of the heart: "Chin1" and "Chin2", "LLEG+" and "LLEG-"."""
    claims = []
    for slot in ("CHIN", "ECG", "LEG_L", "LEG_R"):
        least_hz = MODALITY_OF[slot].facts.least_hz
        electrodes: dict[str, Signal] = {}
        for s in signals:
            label = labels[s.index]
            if label.position == slot and label.electrode and s.is_calibrated and s.rate_hz >= least_hz:
                electrodes.setdefault(label.electrode, s)
        for first, second in _TWO:
            if {first, second} <= electrodes.keys() and (electrodes[first].rate_hz == electrodes[second].rate_hz):
                a, b = electrodes[first], electrodes[second]
                terms = ((a.index, 1.0), (b.index, -1.0))
                confidence = labels[a.index].confidence
                reason = "difference of the two electrodes"
                claims.append(_Claim((slot,), 0, terms, f"{a.label} - {b.label}", reason, confidence))
                break
    return claims


def _difference(by_index: dict[int, Signal], terms) -> str:
    return " - ".join(by_index[i].label for i, _ in terms)


def _assign(claims: list[_Claim]) -> tuple[Derivation, ...]:
    """Lowest rank first, the file's order on ties. A signal gives one channel, references may serve many."""
    taken: dict[str, Derivation] = {}
    spent: set[int] = set()
    for c in sorted(claims, key=lambda c: (c.rank, c.terms[0][0])):
        slot = next((slot for slot in c.slots if slot not in taken), None)
        if slot is None or any(index in spent for index, _ in c.terms):
            continue
        spent.add(c.terms[0][0])
        taken[slot] = Derivation(slot, MODALITY_OF[slot], c.terms, c.label, c.reason, c.confidence)
    return tuple(taken[slot] for slot in MODALITY_OF if slot in taken)
