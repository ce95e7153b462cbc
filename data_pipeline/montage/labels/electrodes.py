"""Labels of head electrodes: "EEG C3-M2", "O1A2", "M1:E2", "EOG R", "Fz-(A1+A2)"."""

import re
from dataclasses import replace

from data_pipeline.modalities import Modality
from data_pipeline.montage.labels.label import Confidence, Label
from data_pipeline.montage.labels.vocabulary import NUMBER, Piece

EARS = ("M1", "M2")
EYES = ("E1", "E2")


def read_electrodes(pieces: list[Piece]) -> Label | None:
    """The reading of a label that is made of electrodes; None if this one is not."""
    reading = _points(pieces)
    if reading is None:
        return None
    points, confidence = reading
    points = [p for i, p in enumerate(points) if p not in EYES or p not in points[:i]]  # "E1 (LEOG)"
    if len(points) > 2 and points[-1] == "REF":
        points.pop()  # "M2:C3-Ref"
    ears = [p for p in points if p in EARS]
    heads = [p for p in points if p not in (*EARS, "REF")]
    if not heads:
        if len(ears) == 1:
            side = "LR"[int(ears[0][1]) - 1]
            return Label(Modality.EEG, "EEG", ears[0], side=side, reason=f"reference electrode {ears[0]}")
        return Label(Modality.EEG, "EEG", reason="mastoid against mastoid: no brain signal") if ears else None
    eyes = [p for p in heads if p in EYES]
    modality = Modality.EOG if heads[0] in EYES else Modality.EEG
    refused = Label(modality, str(modality), confidence=confidence)
    if points[0] in ears and len(points) != 2:
        return replace(refused, reason="which electrode is measured is not clear")
    if len(heads) > 2 or (len(heads) == 2 and ears):
        return replace(refused, reason="more than one derivation in one label")
    if eyes and modality is Modality.EEG:
        reason = f"{heads[0]} against an eye mixes EEG and EOG"
        return replace(refused, confidence=Confidence.GUESS, reason=reason)
    return _derivation(heads, ears, "REF" in points, -1.0 if points[0] in ears else 1.0, refused)


def _derivation(heads: list[str], ears: list[str], unnamed: bool, sign: float, base: Label) -> Label:
    site, other = heads[0], heads[1] if len(heads) == 2 else ""
    reference = "+".join(sorted(ears)) or other or ("REF" if unnamed else "")
    if ears == [opposite_mastoid(site)]:
        rank, how = 0, "against the opposite mastoid"
    elif len(ears) == 2:
        rank, how = 2, "against linked mastoids"
    elif ears:
        rank, how = 3, f"against {ears[0]}"
    elif other:
        rank, how = 4, f"against {other}"
    else:
        rank, how = 5, "against the recorder's reference"
    if sign < 0:
        how += ", sign turned"
    slots = _slots_of(site)
    if site not in slots:
        rank += 10
    why = f"{site} {how}" if site in slots else f"{site} is the nearest electrode left; {how}"
    side = ("R" if site[-1] in "02468" else "L") if site[-1].isdigit() else ""
    return replace(base, position=site, slots=slots, side=side, reference=reference, sign=sign, rank=rank, reason=why)


def _points(pieces: list[Piece]) -> tuple[list[str], Confidence] | None:
    """The electrodes that a label names, in order ("REF" for an unnamed one), and how sure that is."""
    meanings = [p.meaning for p in pieces]
    points: list[str] = []
    confidence = Confidence.CERTAIN
    used = -1  # the last piece that was read together with the one before it
    for i, piece in enumerate(pieces):
        if i <= used:
            continue
        after = pieces[i + 1] if i + 1 < len(pieces) else Piece("", "")
        match piece.meaning:
            case "SITE":
                points.append(piece.text)
            case "REF" | "M1" | "M2" | "E1" | "E2":
                points.append(piece.meaning)
            case "EEG" | "HORIZONTAL":
                pass
            case "EOG" | "EYE" if after.meaning in ("LEFT", "RIGHT"):
                points.append(_eye(after))
                used = i + 1
            case "EOG" | "EYE" if after.meaning == NUMBER and after.text in ("1", "2"):
                points.append(f"E{after.text}")  # by custom the left is the first
                confidence = Confidence.LIKELY
                used = i + 1
            case "EOG" | "EYE" if set(EYES) & set(meanings):
                pass  # "EOG E1-M2"
            case "LEFT" | "RIGHT" if after.meaning in ("EOG", "EYE"):
                points.append(_eye(piece))
                used = i + 1
            case "LEFT" | "RIGHT" if after.meaning in EARS and not points:
                points.append(_eye(piece))  # "Left-A2"
                confidence = Confidence.LIKELY
            case "NUMBER" if not points and piece.text in _ZERO and after.meaning in (*EARS, "REF"):
                points.append(_ZERO[piece.text])
            case "NUMBER" if points and (piece.text in "012" or points[-1] in EYES):
                if piece.text != "0":
                    confidence = Confidence.LIKELY  # "A22": the second channel of that name
            case _:
                return None  # another word, or "C3-4", which could be C3-C4
    if points == ["O2"] and "EEG" not in meanings:
        confidence = Confidence.LIKELY  # an oxygen sensor might be called so
    return (points, confidence) if set(points) - {"REF"} else None


_ZERO = {"01": "O1", "02": "O2"}  # a digit where a letter is meant, if a reference follows: "01-A2"


def _eye(side: Piece) -> str:
    return "E1" if side.meaning == "LEFT" else "E2"


def opposite_mastoid(site: str) -> str:
    """The mastoid that an electrode is recorded against: the other side's, M2 for the midline."""
    return "M1" if site[-1] in "02468" else "M2"


def _slots_of(site: str) -> tuple[str, ...]:
    """Slots an electrode may fill: its own, or those of its region, its own side first (right if midline)."""
    if site in Modality.EEG.facts.slots or site in EYES:
        return (site,)
    if re.match(r"FP|AF|F(Z|\d)|NZ", site):
        region = ("F3", "F4")
    elif re.match(r"FC|C(Z|\d)", site):
        region = ("C3", "C4")
    else:  # parietal, temporal and occipital
        region = ("O1", "O2")
    is_left = site[-1].isdigit() and site[-1] not in "02468"
    return region if is_left else region[::-1]
