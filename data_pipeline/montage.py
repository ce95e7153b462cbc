"""Channel labels -> canonical slots, with the derivation and the reason for each.

Rules read the label without regard to case and separators. An electrode of the 10–20 system and its reference
are parsed; everything else is found in one table of words. A label that could be two things is refused:
a missing channel is masked, a wrong one misleads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from data_pipeline.night import SLOTS, Modality
from data_pipeline.readers.recording import Signal

MIN_RATE_HZ = {
    Modality.EEG: 50,
    Modality.EOG: 50,
    Modality.EMG: 50,
    Modality.ECG: 50,
    Modality.RESP: 4,
    Modality.SPO2: 0,
}
"""Below it nothing of the modality's band remains: a 1 Hz EMG is an envelope, not an EMG."""


@dataclass(frozen=True)
class Derivation:
    """How a slot is filled: the sum of weight * signal over `terms`.

    Attributes:
      slot, modality: the canonical channel.
      terms: (signal index, weight) pairs.
      label: "EEG C3-M2" as in the file, or "C3 - M2" when it is made from two channels.
      reason: for a person to read.
    """

    slot: str
    modality: Modality
    terms: tuple[tuple[int, float], ...]
    label: str
    reason: str


@dataclass(frozen=True)
class Unused:
    """A signal that fills no slot. `reason` says why, or whose reference it is."""

    index: int
    label: str
    reason: str


@dataclass(frozen=True)
class Montage:
    """`channels` in the order of `SLOTS`, `unused` in the order of the file; every signal is in one."""

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


# --- words -------------------------------------------------------------------------------------------------

_REFUSED = (
    (r"SNOR|PHONO|\bMIC\b|MICROPHONE|AUDIO|NASALSN", "snoring or sound"),
    (r"PLETH|PPG", "photoplethysmogram"),
    (r"CO2|CAPNO", "carbon dioxide"),
    (r"\bPULSE|PULSER|\bPR\b|\bH ?R(ATE)?\b|HEART ?RATE|\bBPM\b|\bPTT\b|\bRR\b", "pulse rate"),
    (r"\bPOS|GRAVITY|\b[XYZ] ?AXIS|ACTIV|ACCEL|ELEVATION|\bBODY", "body position or movement"),
    (r"ARMS?\b|FLEX|\bEXT(ENSOR)?(?=\b|\d)|\b[LR] ?ARM|DELT|\bFOOT|\bFEET", "other muscle"),
    (r"MASS?[AE]T|\bMASS?\b|TEMPORALIS|\bRIC\b|DIAPHRAGM|INTERCOSTAL", "other muscle"),
    (r"CPAP|C ?FLOW|MASK|EPAP|IPAP|LEAK|TIDAL|\bVT\b|\bPES\b", "ventilator or oesophageal pressure"),
    (r"XFLOW|X ?SUM|RIP ?SUM|SUM ?RIPS?", "computed from other channels"),
    (r"STAT(US)?\b|QUALITY|IMPED|\bOFF\b|BATT", "state of the device"),
    (r"TEMP|LIGHT|LUX|\bDC ?\d*$|\bAUX ?\d*$", "temperature, light or auxiliary input"),
    (r"MARK(ER)?|EVENT|TRIG|STIM|HYPNO|STADE|\bCLOCK", "marker or stored score"),
    (r"\bVEOG|EOG ?V|VERT", "vertical EOG, neither E1 nor E2"),
)  # fmt: skip
"""(pattern, what it is): refused before anything else is tried."""

_THERMISTOR, _PRESSURE = ("THERMISTOR",), ("NASAL_PRESSURE",)
_ANY_FLOW = ("THERMISTOR", "NASAL_PRESSURE")
_BELT, _SORT = r"(RIP |RESP |EFFORT )?", r"( RES| EFFORT| BELT)?"
_WORDS = (
    (r"S[PA]?[O0]2\b.*|S[PA][O0]2\d?|O2 ?SAT|OSAT|SATURATION|OXIMET(ER|RY)", ("SPO2",), 0, ""),
    (r"SENTEC ?SP[O0]2", ("SPO2",), 1, ""),
    (r"THERM\w*|(NASAL |ORAL |NASAL ORAL |RESP )THERM\w*", _THERMISTOR, 0, ""),
    (r"(RESP )?ORO ?NASAL( THERM\w*)?", _THERMISTOR, 0, ""),
    (r"AUX AC|TRACH THERM|NAF ?1?|RESP NASAL", _THERMISTOR, 1, ""),
    (r"NEW ?AIR|AIR ?FLOW( 0)?", _ANY_FLOW, 1, "sensor not stated, taken as thermal"),
    (r"FLOW", _ANY_FLOW, 2, "sensor not stated"),
    (r"N(ASAL)? ?P(RES|RESS|RESSURE)?|(NASAL )?CANNULA( ?FLOW)?|PTAF|P ?FLOW", _PRESSURE, 0, ""),
    (r"NASAL|NASAL ?AC|PRES|(NASAL ?)?PRESSURE FLOW|NASAL ?FLOW|NASAL BACKUP", _PRESSURE, 1, ""),
    (rf"{_BELT}(THO|THOR|THORA|THORAX|THORACIC|CHEST){_SORT}|RIB ?CAGE|VTH", ("THORAX",), 0, ""),
    (rf"{_BELT}(ABD|ABDO|ABDOM|ABDOMEN|ABDOMINAL){_SORT}|VAB", ("ABDOMEN",), 0, ""),
    (r"(ECG|EKG) ?(II)?", ("ECG",), 0, ""),
    (r"(ECG|EKG) ?(1|2|I|L|R|LEFT|RIGHT)", ("ECG",), 1, ""),
    (r"(ECG|EKG) ?\w* (ECG|EKG) ?\w*|(ECG|EKG) L R", ("ECG",), 0, "bipolar as recorded"),
    (r"(ECG|EKG) ?\w* (CZ|FPZ|REF)", ("ECG",), 2, "against a head electrode"),
    (r"(ECG|EKG) ?\w+( \w+)?", ("ECG",), 3, "lead not recognised"),
    (r"(EMG )?CHIN( EMG)?|(EMG )?(SUB)?MENTAL(IS)?", ("CHIN",), 0, ""),
    (r"(EMG )?CHIN ?\w{1,4} (EMG )?CHIN ?\w{1,4}", ("CHIN",), 0, "bipolar as recorded"),
    (r"[LR] CHIN [LR] CHIN", ("CHIN",), 0, "bipolar as recorded"),
    (r"(EMG )?CHIN ?\w|[LR] ?CHIN", ("CHIN",), 2, "one electrode against the recorder's reference"),
    (r"CHIN \w CZ", ("CHIN",), 3, "against a head electrode"),
    (r"EMG", ("CHIN",), 1, "muscle not stated, taken as chin"),
    (r"EMG ?1", ("CHIN",), 1, "first EMG, taken as chin"),
    (r"([LR]) ?LEG ?1 \1 ?LEG ?2", ("LEG_?",), 0, "bipolar as recorded"),
    (r"(EMG )?(LEG|(ANT(ERIOR)? )?TIB(IALIS|IAL)?|PLM)S? ?([LR]|LEFT|RIGHT)?( EMG)?", ("LEG_?",), 0, ""),
    (r"(EMG )?([LR]|LEFT|RIGHT) ?(LEG|TIB|TIBIALIS|AT)( ?EMG)?", ("LEG_?",), 0, ""),
    (r"([LR] ?)?LEG ?[12]+( ?[LR])?", ("LEG_?",), 1, ""),
    (r"EOG ?(H|HORIZONTAL|HOR)|HEOG|EOG", ("E1", "E2"), 4, "side not stated"),
)  # fmt: skip
"""(pattern of the whole label, slots, rank, remark). A blank is any separator; the side tells "LEG_?"."""

# --- electrodes --------------------------------------------------------------------------------------------

_ELECTRODE = r"(?:FP|AF|FC|FT|CP|TP|PO|F|C|T|P|O)(?:Z|\d{1,2})"
_LEFT_EYE = r"(?:E1|LOC|EOG ?L(?:EFT)?|L ?EOG|LEFT ?EYE|EOG ?1|LEFT(?= [AM][12]))"
_RIGHT_EYE = r"(?:E2|ROC|EOG ?R(?:IGHT)?(?:512)?|R ?EOG|RIGHT ?EYE|EOG ?2|RIGHT(?= [AM][12]))"
_MASTOID = r"(?:[AM][12])"
_POINT = re.compile(rf"{_LEFT_EYE}\b|{_RIGHT_EYE}\b|{_ELECTRODE}|{_MASTOID}|REF|LE|AVG?|X")
_GLUED = re.compile(rf"({_ELECTRODE}|E[12]|LOC|ROC|[AM][12])([AM][12]|REF)")
_SLOT_ELECTRODES = SLOTS[Modality.EEG]
_ZERO = {"01": "O1", "02": "O2"}  # a digit where a letter is meant: "01-A2"


def map_channels(signals: Sequence[Signal]) -> Montage:
    """Decides which signal, or difference of two, fills each canonical slot.

    Preference for an EEG or EOG slot: against the opposite mastoid as recorded; so derived from two channels;
    against linked or other references; its electrode alone; a neighbouring electrode in a free slot; a bare
    "EEG", taken as central. Every signal that is not taken is returned with the reason.
    """
    claims: list[_Claim] = []
    unused: dict[int, str] = {}
    points: dict[str, int] = {}  # electrodes recorded against a common reference
    texts = {s.index: _text(s.label) for s in signals}
    grid = _is_electrode_grid(list(texts.values()))
    for s in signals:
        text = texts[s.index]
        found = _refusal(s, text, grid) or _electrode(s, text, points) or _word(s, text, texts, points)
        if isinstance(found, _Claim):
            modality = _modality(found.slots[0])
            if s.rate_hz < MIN_RATE_HZ[modality]:
                found = (
                    f"{float(s.rate_hz):g} Hz is too slow for {modality}, at least {MIN_RATE_HZ[modality]} Hz"
                )
        if isinstance(found, _Claim):
            claims.append(found)
        elif found:
            unused[s.index] = found
    claims += _derived(signals, texts, points)
    channels = _assign(claims)
    filled = {c.terms[0][0] for c in channels}
    holders = {c.slot: c.label for c in channels}
    for claim in sorted(claims, key=lambda c: c.rank, reverse=True):
        held = ", ".join(f"{slot} is {holders[slot]}" for slot in claim.slots if slot in holders)
        unused[claim.terms[0][0]] = f"not needed: {held}"
    for name, index in points.items():
        if name in ("M1", "M2"):
            unused[index] = f"reference electrode {name}, no channel to derive with it"
    for index in {index for c in channels for index, _ in c.terms[1:]}:
        served = [c.slot for c in channels if index in dict(c.terms[1:])]
        unused[index] = f"used as the reference of {', '.join(served)}"
    rest = (s for s in signals if s.index not in filled)
    return Montage(channels, tuple(Unused(s.index, s.label, unused[s.index]) for s in rest))


def _modality(slot: str) -> Modality:
    return next(m for m, slots in SLOTS.items() if slot in slots)


def _text(label: str) -> str:
    """Upper case, separators as single blanks; "SpO2-0" -> "SPO2 0"."""
    text = re.sub(r"[^A-Z0-9+]+", " ", label.upper().replace("+", " ")).strip()
    text = re.sub(r"^(ECG|EKG|EMG|EOG|EEG) (?=\1)", "", text)  # "ECG ECG1"
    return " ".join(_ZERO.get(word, word) for word in text.split())


def _is_electrode_grid(texts: list[str]) -> bool:
    """A1…A16, B1…B16: caps and depth electrodes number their contacts so; "C3" is not C3 there."""
    return sum(bool(re.fullmatch(r"[BDGHI]\d{1,2}|[AM](?:[3-9]|\d\d)", t)) for t in texts) >= 4


def _refusal(s: Signal, text: str, grid: bool) -> str | None:
    if not s.is_calibrated:
        return "its digital or physical range has no width, so its scale is undefined"
    if grid and re.fullmatch(r"[A-I]\d{1,2}", text):
        return "a numbered electrode grid, not positions of the 10-20 system"
    if re.search(r"ABDO?\w*.*(CHEST|THOR)|(CHEST|THOR)\w*.*ABD", text):
        return "a sum or difference of the belts"
    for pattern, what in _REFUSED:
        if re.search(pattern, text):
            return f"{what}: not used by the model"
    return None


def _electrode(s: Signal, text: str, points: dict[str, int]) -> _Claim | str | None:
    """Reads "EEG C3-M2", "O1A2", "M1:E2", "C3"; None if the label is not made of electrodes."""
    # "EOG L" keeps its first word: the side alone says nothing.
    body = re.sub(r"^(EEG|EOG) (?!(L|R|LEFT|RIGHT)\b)(?=\S)", "", text)
    body = re.sub(r"\b([AM][12])2\b", r"\1", body)  # "A22": the second channel of that name
    if body == text.replace("EEG ", "") and (glued := _GLUED.fullmatch(body)):
        body = f"{glued[1]} {glued[2]}"
    body = body.replace("A1A2", "A1 A2").replace("M1M2", "M1 M2")
    rest = body
    names = []
    while match := _POINT.match(rest):
        names.append(_point_name(match[0]))
        rest = rest[match.end() :].lstrip()
        if rest and match.end() < len(body) and not body[: len(body) - len(rest)].endswith(" "):
            return None
    if rest or not names:
        return None
    ears = [n for n in names if n in ("M1", "M2")]
    heads = [n for n in names if n not in ("M1", "M2", "REF")]
    if not heads:
        if len(ears) == 1:
            points.setdefault(ears[0], s.index)
            return None if points[ears[0]] == s.index else f"a second {ears[0]}"
        return "mastoid against mastoid: no brain signal"
    sign = 1.0
    if names[0] in ears:
        if len(names) != 2:
            return "which electrode is measured is not clear"
        sign = -1.0
    if len(heads) > 2 or (len(heads) == 2 and ears):
        return "more than one derivation in one label"
    site, other = heads[0], heads[1] if len(heads) == 2 else None
    if other in ("E1", "E2") and site not in ("E1", "E2"):
        return f"{site} against an eye mixes EEG and EOG"
    opposite = "M1" if site in ("E2",) or (site[-1].isdigit() and int(site[-1]) % 2 == 0) else "M2"
    if ears == [opposite]:
        rank, how = 0, "against the opposite mastoid"
    elif len(ears) == 2:
        rank, how = 2, "against linked mastoids"
    elif ears:
        rank, how = 3, f"against {ears[0]}"
    elif other:
        rank, how = 4, f"against {other}"
    else:
        rank, how = 5, "against the recorder's reference"
        points.setdefault(site, s.index)
    if sign < 0:
        how += ", sign turned"
    slots = _slots_of(site)
    if site not in slots:
        rank += 10
        how = f"{site} is the nearest electrode left; {how}"
    return _Claim(slots, rank, ((s.index, sign),), s.label, f"{site} {how}" if site in slots else how)


def _point_name(text: str) -> str:
    if re.fullmatch(_LEFT_EYE, text) or text == "LEFT":
        return "E1"
    if re.fullmatch(_RIGHT_EYE, text) or text == "RIGHT":
        return "E2"
    if re.fullmatch(_MASTOID, text):
        return "M" + text[1]
    return text if re.fullmatch(_ELECTRODE, text) else "REF"


def _slots_of(site: str) -> tuple[str, ...]:
    """Slots an electrode may fill: its own, or those of its region, its own side first (right if midline)."""
    if site in _SLOT_ELECTRODES or site in ("E1", "E2"):
        return (site,)
    if re.match(r"FP|AF|F(Z|\d)", site):
        region = ("F3", "F4")
    elif re.match(r"FC|C", site):
        region = ("C3", "C4")
    else:  # parietal, temporal and occipital
        region = ("O1", "O2")
    is_left = site[-1].isdigit() and int(site[-1]) % 2 == 1
    return region if is_left else region[::-1]


_ISRUC = {"X1": "CHIN", "X2": "ECG", "X3": "LEG_L", "X4": "LEG_R"}
_ISRUC |= {"24": "CHIN", "25": "ECG", "26": "LEG_L", "27": "LEG_R"}


def _word(s: Signal, text: str, texts: dict[int, str], points: dict[str, int]) -> _Claim | str | None:
    terms = ((s.index, 1.0),)
    if s.index in points.values():
        return None  # a mastoid, waiting for the electrodes that it is the reference of
    others = set(texts.values())
    slot = _ISRUC.get(text.split(" ")[0])
    if slot and any(pair <= others for pair in ({"X1", "X2"}, {"24", "25"}, {"X1 24", "X2 25"})):
        return _Claim((slot,), 3, terms, s.label, "auxiliary input, used so in ISRUC montages")
    if text == "1 2" and "X AXIS" in others:
        return _Claim(
            ("CHIN",), 3, terms, s.label, "the chin channel of Nox montages, which carry X Axis too"
        )
    if {"EEG1", "EEG2", "EEG3"} <= others and text in ("EEG1", "EEG2", "EEG3"):
        slots, where = {
            "EEG1": (("F4", "F3"), "Fz-Cz"),
            "EEG2": (("O2", "O1"), "Cz-Oz"),
            "EEG3": (("C4",), "C4-M1"),
        }[text]
        return _Claim(slots, 12, terms, s.label, f"{where}, as in MESA's three EEG channels")
    if re.fullmatch(r"EEG ?(SEC|2)", text):
        return _Claim(("C3", "C4"), 20, terms, s.label, "second EEG, position not stated; taken as central")
    if re.fullmatch(r"EEG ?(CHANNEL|CH|LEAD)? ?\d*", text):
        return _Claim(("C4", "C3"), 20, terms, s.label, "position not stated; taken as central")
    for pattern, slots, rank, remark in _WORDS:
        if not re.fullmatch(pattern, text):
            continue
        if slots == _ANY_FLOW and re.search(r"H2O|PRES", f"{s.unit} {s.transducer}".upper()):
            slots, remark = _PRESSURE, "pressure by its unit or transducer"
        if slots == ("LEG_?",):
            slots, remark = _leg(text, remark)
        return _Claim(slots, rank, terms, s.label, remark or "named so")
    return f"label '{s.label}' is not known, or could mean several things"


def _leg(text: str, remark: str) -> tuple[tuple[str, ...], str]:
    if re.search(r"\bL\b|LEFT|\bL ?(LEG|TIB|AT)|LEGS?L", text):
        return ("LEG_L",), remark
    if re.search(r"\bR\b|RIGHT|\bR ?(LEG|TIB|AT)|LEGS?R", text):
        return ("LEG_R",), remark
    if re.search(r"2", text):
        return ("LEG_R",), "second leg channel, taken as right"
    return ("LEG_L", "LEG_R"), "side not stated"


_PAIRS = (
    (r"(EMG )?CHIN ?1", r"(EMG )?CHIN ?2", "CHIN"),
    (r"L ?CHIN|CHIN ?L", r"R ?CHIN|CHIN ?R", "CHIN"),
    (r"(ECG|EKG) ?(L|LEFT)", r"(ECG|EKG) ?(R|RIGHT)", "ECG"),
    (r"(ECG|EKG) ?1", r"(ECG|EKG) ?2", "ECG"),
    (r"L ?LEG 1|L ?LEG1", r"L ?LEG 2|L ?LEG2", "LEG_L"),
    (r"R ?LEG 1|R ?LEG1", r"R ?LEG 2|R ?LEG2", "LEG_R"),
)
"""Two electrodes whose difference is the signal."""


def _derived(signals: Sequence[Signal], texts: dict[int, str], points: dict[str, int]) -> list[_Claim]:
    by_index = {s.index: s for s in signals}
    claims = []

    def claim(first: int, second: int, slots: tuple[str, ...], rank: int, reason: str) -> None:
        a, b = by_index[first], by_index[second]
        fast_enough = a.rate_hz >= MIN_RATE_HZ[_modality(slots[0])]
        if a.rate_hz == b.rate_hz and fast_enough and a.is_calibrated and b.is_calibrated:
            label = f"{a.label} - {b.label}"
            claims.append(_Claim(slots, rank, ((first, 1.0), (second, -1.0)), label, reason))

    for site, index in points.items():
        if site in ("M1", "M2"):
            continue
        opposite = "M1" if site[-1] in "2468" else "M2"
        same = "M2" if opposite == "M1" else "M1"
        own = 0 if site in _slots_of(site) else 10
        if opposite in points:
            claim(
                index,
                points[opposite],
                _slots_of(site),
                own + 1,
                f"{site} derived against the opposite mastoid",
            )
        elif same in points:
            claim(
                index,
                points[same],
                _slots_of(site),
                own + 3,
                f"{site} derived against {same}, the mastoid there is",
            )
    pairs = _PAIRS
    if {"EMG1", "EMG2", "EMG3"} <= set(texts.values()):  # three chin electrodes; with two, EMG2 may be a leg
        pairs += (("EMG1", "EMG2", "CHIN"),)
    for first, second, slot in pairs:
        a = next((i for i, t in texts.items() if re.fullmatch(first, t)), None)
        b = next((i for i, t in texts.items() if re.fullmatch(second, t)), None)
        if a is not None and b is not None:
            claim(a, b, (slot,), 0, "difference of the two electrodes")
    return claims


def _assign(claims: list[_Claim]) -> tuple[Derivation, ...]:
    """Lowest rank first, the file's order on ties. A signal gives one channel, references may serve many."""
    taken: dict[str, Derivation] = {}
    spent: set[int] = set()
    for c in sorted(claims, key=lambda c: (c.rank, c.terms[0][0])):
        slot = next((slot for slot in c.slots if slot not in taken), None)
        if slot is None or c.terms[0][0] in spent:
            continue
        if len(c.terms) == 2 and c.terms[1][0] in spent:
            continue
        spent.add(c.terms[0][0])
        taken[slot] = Derivation(slot, _modality(slot), c.terms, c.label, c.reason)
    return tuple(taken[slot] for slots in SLOTS.values() for slot in slots if slot in taken)
