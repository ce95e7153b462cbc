"""What the labels of a recording mean in each other's company, and by their units.

`labels` reads one label by itself. Here a word that many labels share is told from what they say, a number in a row of
numbers from an electrode, two poles from two channels, and a unit has its word: no heart is recorded in ohms.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from data_pipeline.modalities import MODALITY_OF, Modality
from data_pipeline.montage.labels import Confidence, Label, read_label
from data_pipeline.montage.labels.vocabulary import UNKNOWN, cut
from data_pipeline.readers.recording import Signal

_ISRUC = {"X1": "CHIN", "X2": "ECG", "X3": "LEG_L", "X4": "LEG_R"}
_ISRUC |= {"24": "CHIN", "25": "ECG", "26": "LEG_L", "27": "LEG_R"}
_THREE_EMG = {"EMG1", "EMG2", "EMG3"}  # with two, EMG2 may be a leg
_MESA = {"EEG1": (("F4", "F3"), "Fz-Cz"), "EEG2": (("O2", "O1"), "Cz-Oz"), "EEG3": (("C4",), "C4-M1")}


def read_labels(signals: Sequence[Signal]) -> dict[int, Label]:
    """Each signal's label, by index, with what only the company of the others, or its unit, tells."""
    names = _without_affix([s.label for s in signals])
    labels = {s.index: _read(s.label, name) for s, name in zip(signals, names, strict=True)}
    texts = {s.index: re.sub(r"[^A-Z0-9]+", " ", name.upper()).strip() for s, name in zip(signals, names, strict=True)}
    others = set(texts.values())
    rows = _numbered(texts.values())
    is_grid = _is_electrode_grid(texts.values())
    is_isruc = any(pair <= others for pair in ({"X1", "X2"}, {"24", "25"}, {"X1 24", "X2 25"}))
    poles = _poles(signals)
    for s in signals:
        label, text = labels[s.index], texts[s.index]
        if is_grid and re.fullmatch(r"[A-I]\d{1,2}", text):
            reason = "a numbered electrode grid, not positions of the 10-20 system"
            labels[s.index] = replace(label, slots=(), position="", reason=reason)
        elif (row := _NUMBERED.fullmatch(text)) and row["stem"] in rows:
            reason = "one of a net or grid of numbered electrodes: where it sits is not stated"
            labels[s.index] = Label(Modality.EEG, "EEG", confidence=Confidence.UNKNOWN, reason=reason)
        elif others >= _THREE_EMG and text in _THREE_EMG:
            chin = _as("CHIN", 2, "one of three chin electrodes by their number")
            labels[s.index] = replace(chin, electrode=text[-1])
        elif is_isruc and (slot := _ISRUC.get(text.split(" ")[0])):
            reason = "auxiliary input, used so in ISRUC montages"
            labels[s.index] = _as(slot, 3, reason)
        elif text == "1 2" and "X AXIS" in others:
            labels[s.index] = _as("CHIN", 3, "the chin channel of Nox montages, which carry X Axis too")
        elif set(_MESA) <= others and text in _MESA:
            slots, where = _MESA[text]
            reason = f"{where}, as in MESA's three EEG channels"
            labels[s.index] = replace(label, slots=slots, rank=12, confidence=Confidence.LIKELY, reason=reason)
        elif (pole := poles.get(s.index)) and label.position in _OF_TWO_POLES and not label.electrode:
            reason = f"the {'positive' if pole == '+' else 'negative'} of two electrodes"
            labels[s.index] = replace(label, electrode=pole, rank=max(label.rank, 1), reason=reason)
        labels[s.index] = _by_unit(s, labels[s.index])
    return labels


def _as(slot: str, rank: int, reason: str, confidence: Confidence = Confidence.LIKELY) -> Label:
    modality = MODALITY_OF[slot]
    return Label(modality, modality, slot, (slot,), rank=rank, confidence=confidence, reason=reason)


_FEWEST_ALIKE = 3  # labels that share a word before it is taken for the recorder's, not for what they say
_HEAD = re.compile(r"([^\W_]+)[\W_]+(?=[^\W_])")
_TAIL = re.compile(r"(?<=[^\W_])[\W_]+([^\W_]+(?:[\W_]+[^\W_]+)?)[\W_]*$")
_COUNT = re.compile(r"(\d{1,3})[\W_]+(?=[^\W\d_])")


def _without_affix(labels: Sequence[str]) -> list[str]:
    """The labels without a word that is not of the vocabulary and that stands before or after many of them.

    "PSG_F3", "PSG_C3" … are F3, C3 …; so are "01:F3", "02:C3" … where all are counted. Of several such words the one is
    taken whose labels say most without it, and none where two say as much: they may be two people.
    """
    counts = [_COUNT.match(label) for label in labels]
    if len(labels) >= _FEWEST_ALIKE and all(counts):
        numbers = [int(count[1]) for count in counts]
        if numbers in (list(range(len(labels))), list(range(1, len(labels) + 1))):
            return [label[count.end() :] for label, count in zip(labels, counts, strict=True)]
    cuts: dict[tuple[str, str], dict[int, str]] = {}
    for place, label in enumerate(labels):
        if head := _HEAD.match(label):
            cuts.setdefault(("before", head[1].casefold()), {})[place] = label[head.end() :]
        for tail in filter(None, (_TAIL.search(label), re.search(r"(?<=[^\W_])[\W_]+([^\W_]+)[\W_]*$", label))):
            cuts.setdefault(("after", tail[1].casefold()), {})[place] = label[: tail.start()]
    gains = {
        affix: sum(bool(read_label(rest).slots) - bool(read_label(labels[k]).slots) for k, rest in mine.items())
        for affix, mine in cuts.items()
        if len(mine) >= _FEWEST_ALIKE and all(piece.meaning == UNKNOWN for piece in cut(affix[1]))
    }
    best, gain = max(gains.items(), key=lambda item: item[1], default=(None, 0))
    rivals = (gains[affix] for affix in gains if cuts[affix].keys().isdisjoint(cuts[best]))
    mine = cuts[best] if gain > max([1, *rivals]) else {}
    return [mine.get(place, label) for place, label in enumerate(labels)]


def _read(label: str, name: str) -> Label:
    """The reading of a label whose own words are `name`."""
    read = read_label(name)
    if name == label or not read.slots or read.confidence is Confidence.GUESS:
        return read
    return replace(read, confidence=Confidence.LIKELY)  # a word of it is not understood


_NUMBERED = re.compile(
    r"(?:(?:EEG|EGI|HCGSN) )?(?P<stem>[A-Z]{1,4}) ?0*(?P<number>\d{1,3})(?: (?:V?REF|CZ|AVG?|G2|E\d+))?"
)
_HIGHEST = {"E": 2, "M": 2, "A": 2, "O": 2, "FP": 2, "EEG": 3}
_HIGHEST |= dict.fromkeys(("F", "FC", "FT", "C", "CP", "TP", "T", "P", "PO", "AF"), 10)
"""Highest number that the names of electrodes have with these letters."""
_FEWEST_BEYOND = 4


def _numbered(texts) -> set[str]:
    """Letters with which electrodes are numbered beyond what has a name: "E" among E1..E128, "EEG" among EEG1..EEG506.

    Such a net's E1 is no eye, and the first two of 500 are no C3 and C4.
    """
    numbers: dict[str, set[int]] = {}
    for row in filter(None, map(_NUMBERED.fullmatch, texts)):
        numbers.setdefault(row["stem"], set()).add(int(row["number"]))
    beyond = {stem: sum(n > _HIGHEST.get(stem, 10**3) for n in ns) for stem, ns in numbers.items()}
    return {stem for stem, n in beyond.items() if n >= _FEWEST_BEYOND or (stem == "EEG" and n)}


def _is_electrode_grid(texts) -> bool:
    """A1…A16, B1…B16: caps and depth electrodes number their contacts so; "C3" is not C3 there."""
    return sum(bool(re.fullmatch(r"[BDGHI]\d{1,2}|[AM](?:[3-9]|\d\d)", t)) for t in texts) >= 4


_OF_TWO_POLES = ("CHIN", "ECG", "LEG_L", "LEG_R")


def _poles(signals: Sequence[Signal]) -> dict[int, str]:
    """Signal index -> "+" or "-", where both are there: "LLEG+" and "LLEG-", "Chin (+)" and "Chin (-)"."""
    found: dict[tuple[str, str], int] = {}
    for s in signals:
        if pole := re.fullmatch(r"(.*\w)[\s_]*\(?([+\-\u2212\u2013])\)?", s.label):
            found.setdefault((pole[1].casefold(), "+" if pole[2] == "+" else "-"), s.index)
    return {index: pole for (base, pole), index in found.items() if (base, "-" if pole == "+" else "+") in found}


_UNITS = {
    "impedance": "[km]?(ohms?|\u03c9)",
    "rate": r"bpm|brpm|(beats|breaths|1)?/min|min-1|rpm",
    "temperature": r"\u00b0 ?[cf]|deg ?[cf]|degree[s_ ]*[cf]\w*|celsius|fahrenheit|kelvin",
    "pressure": r"(cm|mm) ?h2o|mm ?hg|[hkm]?pa|m?bar|psi|torr",
    "flow": r"m?l(itre|iter|tr)?s?( ?/ ?| ?per ?)(s|sec|m|min)|lpm|[lm]l?/s|m?l\.?s-1",
    "light or sound": r"lux|lx|db(\(?a\)?)?",
    "acceleration": r"m?g|m/s(2|\^2|\u00b2)",
}
"""What is measured -> units that say so, whatever their case."""


_OXIMETERS = re.compile("masimo|nonin|nellcor|novametrix|sentec|fing", re.IGNORECASE)


def _by_unit(s: Signal, label: Label) -> Label:
    """The label, unless the unit says that it is another kind of signal."""
    unit = s.unit.strip().casefold()
    if label.position == "O2" and label.reference in ("", "REF"):
        is_slow = s.rate_hz < Modality.EEG.facts.least_hz
        if unit == "%" or (is_slow and _OXIMETERS.search(s.label)):
            return _as("SPO2", 1, f"oxygen by its {'unit' if unit == '%' else 'device'}")
    if not label.slots or not unit:
        return label
    what = next((what for what, units in _UNITS.items() if re.fullmatch(units, unit)), None)
    is_flow = label.modality is Modality.RESP and "THERMISTOR" in label.slots
    if is_flow and what == "flow":
        return _as("NASAL_PRESSURE", 2, "flow by its unit, so of a mask or a tube, no thermistor", Confidence.GUESS)
    if len(label.slots) == 2 and label.modality is Modality.RESP and _says_pressure(s):
        return _as("NASAL_PRESSURE", 1, "pressure by its unit or transducer")
    if what is None or what not in _impossible(label):
        return label
    reason = f"{label.modality} by its label, but its unit is of {what}"
    return replace(label, slots=(), position="", confidence=Confidence.GUESS, reason=reason)


def _impossible(label: Label) -> Mapping[str, str] | tuple[str, ...]:
    if label.modality is Modality.RESP:  # belts by impedance, thermistors in degrees, cannulas in cmH2O
        return ("rate", "light or sound")
    return _UNITS if label.modality.facts.voltage or label.modality is Modality.SPO2 else ()


def _says_pressure(s: Signal) -> bool:
    return re.search(r"H2O|PRES", f"{s.unit} {s.transducer}".upper()) is not None
