"""Labels of everything but head electrodes: muscles, heart, breathing, saturation, side channels, and what is not used.

A label that could be two things fills no slot and says why.
"""

from data_pipeline.modalities import MODALITY_OF, Modality
from data_pipeline.montage.labels.electrodes import EARS, EYES
from data_pipeline.montage.labels.label import Confidence, Label
from data_pipeline.montage.labels.vocabulary import NUMBER, SITE, UNKNOWN, Piece

_ASIDE = (
    ("STATE", None, "state of the device"),
    ("MARKER", None, "marker or stored score"),
    ("CO2", None, "carbon dioxide"),
    ("SNORE", Modality.SNORE, "snoring or sound"),
    ("PLETH", Modality.PPG, "photoplethysmogram"),
    ("MOVEMENT", None, "body movement or its acceleration"),
    ("POSITION", Modality.POSITION, "body position"),
    ("PULSE", None, "pulse rate"),
    ("RATE", None, "computed number"),
    ("PAP", None, "ventilator or mask"),
    ("GROUND", None, "ground electrode"),
    ("OESOPHAGUS", None, "oesophageal pressure"),
    ("LIGHT", None, "temperature or light"),
    ("SUM", Modality.RESP, "computed from other channels"),
    ("TEMP", None, "temperature"),
    ("MUSCLE", Modality.EMG, "other muscle"),
)
"""(meaning, modality, what it is): a label with such a word fills the slot of a side channel or none; the first that
is found is what it is."""
_OF_OTHERS = {"THORAX", "ABDOMEN", "RIP", "EFFORT", "RESP", "RATE", "SUM"}  # a belt is a plethysmograph, too


def read_aside(pieces: list[Piece]) -> Label | None:
    """The reading of a label with a word of `_ASIDE`: a side channel or what is not used; None without such a word."""
    meanings = {p.meaning for p in pieces}
    for meaning, modality, kind in _ASIDE:
        if meaning not in meanings:
            continue
        confidence = _confidence(pieces)
        side = "L" if "LEFT" in meanings else "R" if "RIGHT" in meanings else ""
        if meaning == "MUSCLE" and meanings & {"THORAX", "ABDOMEN", "RESP", "FLOW", "NASAL", "ORAL", "ECG"}:
            modality = None  # "Ext Flow"
        if (meaning == "TEMP" and side) or (meaning == "PULSE" and "SPO2" in meanings):
            confidence = Confidence.GUESS  # the temporal muscle, the saturation
        if meaning == "MUSCLE" and any(p.text == "EXT" for p in pieces) and "EMG" not in meanings:
            confidence = Confidence.GUESS  # extensor, or an external input
        if modality is not None and modality.facts.is_side:
            if not meanings & _OF_OTHERS:
                (slot,) = modality.facts.slots
                return Label(modality, kind, slot, (slot,), confidence=confidence, reason=kind)
            modality = None
        return Label(modality, kind, side=side, confidence=confidence, reason=kind)
    if meanings <= {"AUX", NUMBER} and "AUX" in meanings:
        return Label(None, "auxiliary input", reason="auxiliary input: what is plugged in is not stated")
    return None


def _confidence(pieces: list[Piece]) -> Confidence:
    """A word that is not understood makes a reading likely and no more."""
    unknown = any(p.meaning == UNKNOWN for p in pieces)
    return Confidence.LIKELY if unknown else Confidence.CERTAIN


_SENSORS = {name: {name} for name in ("CHIN", "LEG", "ECG", "SPO2", "THORAX", "ABDOMEN")}
_SENSORS |= {
    "SPO2": {"SPO2", "OXIMETER"},
    "FLOW": {"FLOW", "THERMAL", "PRESSURE", "NASAL", "ORAL", "CANNULA", "TRACH"},
}
"""Sensors -> the meanings that tell of them."""


def read_sensor(pieces: list[Piece]) -> Label | None:
    """The reading of a muscle, the heart, breathing or saturation; None where it is none, or could be two."""
    meanings = {p.meaning for p in pieces}
    has = meanings.__contains__
    plain = _confidence(pieces)
    numbers = [p.text for p in pieces if p.meaning == NUMBER]
    groups = [sensor for sensor, telling in _SENSORS.items() if telling & meanings]
    if groups == ["ECG", "THORAX"]:
        groups = ["ECG"]  # a chest lead
    if groups == ["THORAX", "ABDOMEN"]:
        reason = "a sum or difference of the belts"
        return Label(Modality.RESP, "respiratory effort", confidence=plain, reason=reason)
    if {"CHIN", "LEG"} == set(groups):
        return Label(Modality.EMG, "EMG", confidence=plain, reason="two muscles in one label")
    mixed = has("EMG") and set(groups) - {"CHIN", "LEG"}
    if {"RIP", "FLOW"} <= meanings:
        return Label(Modality.RESP, "computed from other channels", reason="flow computed from the belts")
    if meanings & {SITE, *EARS, *EYES} and not meanings & {"CHIN", "ECG", "EMG", "EEG"}:
        return None  # "O2 Flow"
    if len(groups) > 1 or mixed or (has("EOG") and (groups or has("EMG"))):
        return None
    match groups:
        case ["CHIN"]:
            return _chin(pieces, numbers, plain)
        case ["LEG"]:
            return _leg(pieces, numbers, plain)
        case ["ECG"]:
            return _ecg(pieces, numbers)
        case ["SPO2"]:
            sure = plain if has("SPO2") else Confidence.LIKELY
            again = bool(set(numbers) - {"0"}) or any(p.text == "SENTEC" for p in pieces)
            return _filled("SPO2", int(again), sure, "named so")
        case ["THORAX"] | ["ABDOMEN"]:
            return _filled(groups[0], 0, plain, "named so")
        case ["FLOW"]:
            return _flow(pieces, plain)
    if has("EMG"):
        return _emg(meanings, numbers)
    if has("EOG"):
        return _eog(meanings, numbers, plain)
    if has("AUX") and has("AC"):
        return _filled("THERMISTOR", 1, Confidence.LIKELY, "auxiliary AC input, the thermistor in MESA")
    if has("EEG"):
        return _eeg(meanings, numbers)
    if meanings & {"EFFORT", "RESP", "RIP"} and not has(UNKNOWN):
        reason = "breathing, the sensor and its place are not stated"
        return Label(Modality.RESP, "breathing", confidence=Confidence.LIKELY, reason=reason)
    return None


def _filled(slot: str, rank: int, confidence: Confidence, reason: str, **more) -> Label:
    modality = MODALITY_OF[slot]
    more = {"position": slot, "slots": (slot,)} | more
    return Label(modality, str(modality), rank=rank, confidence=confidence, reason=reason, **more)


def _side(meanings: set[str]) -> str:
    sides = meanings & {"LEFT", "RIGHT"}
    return {"LEFT": "L", "RIGHT": "R"}[sides.pop()] if len(sides) == 1 else ""


def _chin(pieces: list[Piece], numbers: list[str], confidence: Confidence) -> Label:
    meanings = {p.meaning for p in pieces}
    side = _side(meanings)
    if sum(p.meaning == "CHIN" for p in pieces) > 1 or len(numbers) > 1:
        return _filled("CHIN", 0, confidence, "bipolar as recorded")
    if SITE in meanings:
        site = next(p.text for p in pieces if p.meaning == SITE)
        return _filled("CHIN", 3, Confidence.LIKELY, "against a head electrode", side=side, reference=site)
    unknown = [p.text for p in pieces if p.meaning == UNKNOWN]
    single = next((n for n in numbers if n != "0"), "") or side or ("C" if "CENTRE" in meanings else "")
    if single or unknown:
        reason = "one electrode against the recorder's reference"
        return _filled("CHIN", 2, confidence, reason, side=side, electrode=single or unknown[0])
    return _filled("CHIN", 0, confidence, "named so")


def _leg(pieces: list[Piece], numbers: list[str], confidence: Confidence) -> Label:
    meanings = {p.meaning for p in pieces}
    side = _side(meanings)
    legs = sum(p.meaning == "LEG" for p in pieces)
    if side:
        if len(numbers) > 1 or legs > 1:
            return _filled(f"LEG_{side}", 0, confidence, "bipolar as recorded", side=side)
        electrode = next((n for n in numbers if n != "0"), "")
        rank = int(bool(electrode))
        return _filled(f"LEG_{side}", rank, confidence, "named so", side=side, electrode=electrode)
    if meanings >= {"LEFT", "RIGHT"}:
        reason = "left leg against right leg, or both in one"
        return _filled("LEG_L", 1, Confidence.GUESS, reason, position="LEG", slots=("LEG_L", "LEG_R"))
    if numbers and numbers[0].startswith("2"):
        reason = "second leg channel, taken as right"
        return _filled("LEG_R", 1, Confidence.GUESS, reason, position="LEG")
    slots = ("LEG_L", "LEG_R")
    return _filled("LEG_L", int(bool(numbers)), Confidence.GUESS, "side not stated", position="LEG", slots=slots)


def _ecg(pieces: list[Piece], numbers: list[str]) -> Label:
    meanings = {p.meaning for p in pieces}
    side = _side(meanings)
    leads = [p.text for p in pieces if p.meaning == UNKNOWN]
    certain = Confidence.CERTAIN
    if sum(p.meaning == "ECG" for p in pieces) > 1 or meanings >= {"LEFT", "RIGHT"} or len(numbers) > 1:
        return _filled("ECG", 0, certain, "bipolar as recorded")
    if meanings & {SITE, "REF"}:
        reference = next((p.text for p in pieces if p.meaning == SITE), "REF")
        return _filled("ECG", 2, certain, "against a head electrode", side=side, reference=reference)
    if leads and not leads[0].startswith("I"):
        return _filled("ECG", 3, Confidence.LIKELY, "lead not recognised")
    electrode = "" if leads else next((n for n in numbers if n != "0"), "") or side
    rank = int(bool(electrode) or leads[:1] not in ([], ["II"]))
    return _filled("ECG", rank, certain, "named so", side=side, electrode=electrode)


def _flow(pieces: list[Piece], confidence: Confidence) -> Label | None:
    has = {p.meaning for p in pieces}.__contains__
    likely, guess = Confidence.LIKELY, Confidence.GUESS
    if has("THERMAL") and any(p.text.startswith("NEWA") for p in pieces):
        return _filled("THERMISTOR", 1, likely, "the later thermistor of SHHS")
    if has("THERMAL"):
        sure = likely if has("TRACH") or any(p.text == "NAF" for p in pieces) else confidence
        return _filled("THERMISTOR", int(has("TRACH")), sure, "named so")
    if has("ORAL"):
        if has("PRESSURE") or has("CANNULA"):
            return _filled("NASAL_PRESSURE", 1, likely, "pressure at nose and mouth")
        sure = confidence if has("NASAL") else likely
        return _filled("THERMISTOR", int(not has("NASAL")), sure, "at nose and mouth, so thermal")
    if has("CANNULA") or (has("PRESSURE") and (has("NASAL") or has("FLOW"))):
        return _filled("NASAL_PRESSURE", 0 if has("NASAL") or has("CANNULA") else 1, confidence, "named so")
    if has("NASAL"):
        if has("RESP"):
            return _filled("THERMISTOR", 1, guess, "nasal, sensor not stated, taken as thermal")
        sure = likely if has("FLOW") or has("AC") or has("BACKUP") else guess
        return _filled("NASAL_PRESSURE", 1, sure, "nasal, sensor not stated, taken as the cannula's pressure")
    if has("FLOW"):
        slots = ("THERMISTOR", "NASAL_PRESSURE")
        return _filled("THERMISTOR", 2, guess, "sensor not stated, taken as thermal", slots=slots)
    if has("PRESSURE"):
        reason = "pressure of the nose, the mask or the oesophagus: not stated"
        return Label(Modality.RESP, "pressure", confidence=guess, reason=reason)
    return None


def _emg(meanings: set[str], numbers: list[str]) -> Label:
    if numbers in ([], ["0"], ["1"]) and meanings <= {"EMG", "EEG", "REF", NUMBER}:
        which = "first EMG" if numbers == ["1"] else "muscle not stated"
        return _filled("CHIN", 1, Confidence.GUESS, f"{which}, taken as chin")
    if len(numbers) == 2 and meanings <= {"EMG", "EEG", NUMBER}:  # "EMG1-EMG2"
        return _filled("CHIN", 1, Confidence.GUESS, "two EMG electrodes, taken as chin")
    return Label(Modality.EMG, "EMG", side=_side(meanings), reason="EMG, muscle not stated")


def _eog(meanings: set[str], numbers: list[str], confidence: Confidence) -> Label:
    if "VERTICAL" in meanings:
        return Label(Modality.EOG, "EOG", confidence=confidence, reason="vertical EOG, neither E1 nor E2")
    if UNKNOWN in meanings or set(numbers) - {"0"}:
        return Label(Modality.EOG, "EOG", confidence=confidence, reason="EOG, side not stated")
    return _filled("E1", 4, Confidence.GUESS, "side not stated", position="", slots=("E1", "E2"))


def _eeg(meanings: set[str], numbers: list[str]) -> Label:
    if meanings - {"EEG", NUMBER, "SECOND", "LEFT", "RIGHT", "REF", ""}:
        return Label(Modality.EEG, "EEG", confidence=Confidence.LIKELY, reason="EEG, position not understood")
    second = "SECOND" in meanings or numbers[:1] == ["2"] or "LEFT" in meanings
    slots = ("C3", "C4") if second else ("C4", "C3")
    which = "second EEG, " if "SECOND" in meanings or numbers[:1] == ["2"] else ""
    reason = f"{which}position not stated; taken as central"
    side = _side(meanings)
    return Label(Modality.EEG, "EEG", "", slots, side, rank=20, confidence=Confidence.GUESS, reason=reason)
