"""A laboratory's own montage, in YAML: which labels fill which slot, in which unit, which way up.

    reference: opposite            # or `linked`: electrodes against the mean of both mastoids, where both are there
    slots:
      C3: {terms: {C3: 1, M2: -1}, unit: uV, polarity: normal}
      CHIN: 1-2                    # short for {terms: {1-2: 1}}
      LEG_R: [Leg/R, Leg R, ~]     # the first that the recording has; ~ leaves the slot empty
    side: [PPG, POSITION]          # side channels, which no model sees: kept where their labels are there
    supine: [1]                    # which codes of POSITION mean supine: every recorder has its own

A slot takes the sum of weight * channel. Channels are named by label, never by place, so one file serves all
recordings of a laboratory; " #2" after a label is the second channel of that label. Slots that are not named are
mapped by their labels as ever. `sleepmami diagnose FILE --write-montage` writes a first version for review.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from data_pipeline.modalities import MODALITY_OF, SLOTS, Modality
from data_pipeline.montage.labels import Confidence, read_label
from data_pipeline.montage.mapping import Derivation, Montage, left_over, map_channels
from data_pipeline.nearest import suggestion
from data_pipeline.night import RecordingError
from data_pipeline.readers.recording import Recording, Signal, microvolts_per
from data_pipeline.shards.manifest import digest

_SIDE = tuple(modality for modality in Modality if modality.facts.is_side)
_MAX_BYTES = 100_000
_EMPTY = ("", "~", "null")
_UNITS = ("uV", "mV", "V", "nV", "%")


@dataclass(frozen=True)
class SlotRule:
    """One way to fill a slot: the sum of weight * channel.

    Attributes:
      terms: (label, weight) pairs.
      unit: what the channels are in, where the header is wrong or silent; "" believes the header.
      is_inverted: whether the sum is turned over.
    """

    terms: tuple[tuple[str, float], ...]
    unit: str = ""
    is_inverted: bool = False


@dataclass(frozen=True)
class MontageRules:
    """What a montage file says.

    Attributes:
      slots: (slot, alternatives) pairs; None among the alternatives leaves the slot empty.
      linked: whether other electrodes are derived against linked mastoids.
      side: side channels that are to be kept, too.
      supine: codes of the position channel that mean supine.
    """

    slots: tuple[tuple[str, tuple[SlotRule | None, ...]], ...] = ()
    linked: bool = False
    side: tuple[Modality, ...] = ()
    supine: tuple[float, ...] = ()

    def sha256(self) -> str:
        """Digest of the content: comments and layout do not count, nor does what asks for nothing.

        What is supine changes no channel, and does not count either.
        """
        content = asdict(self)
        return digest({name: content[name] for name in ("slots", "linked", *(("side",) if self.side else ()))})


def read_montage(path: Path) -> MontageRules:
    """Reads a montage file. Everything in it is taken as text: nothing is executed or guessed.

    >>> _ = Path("lab.yaml").write_text("slots: {CHIN: EMG 1}")
    >>> read_montage(Path("lab.yaml")).slots[0][0]
    'CHIN'

    Raises:
      ValueError: missing, too long, not YAML, or a name that is not known; the message names file and slot.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such montage file; `sleepmami diagnose NIGHT.edf --write-montage` makes one")
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes, expected a montage file of at most {_MAX_BYTES}")
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error.reason})") from error
    except (yaml.YAMLError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise ValueError(f"{path}{line}: not YAML: {getattr(error, 'problem', None) or 'nested too deep'}") from error
    top = _mapping(tree, ("reference", "slots", "side", "supine"), f"{path}")
    reference = top.get("reference", "opposite")
    if reference not in ("opposite", "linked"):
        raise ValueError(f"{path}: reference must be `opposite` or `linked`")
    slots = _mapping(top.get("slots", {}), tuple(MODALITY_OF), f"{path}: slots")
    rules = tuple((slot, _alternatives(value, f"{path}: {slot}")) for slot, value in slots.items())
    side = top.get("side", [])
    if not isinstance(side, list) or not set(map(str, side)) <= set(_SIDE):
        raise ValueError(f"{path}: side must be a list of any of {', '.join(_SIDE)}")
    kept = tuple(m for m in _SIDE if m in side)
    return MontageRules(rules, reference == "linked", kept, _codes(top.get("supine", []), kept, path))


def _codes(value: Any, side: Sequence[Modality], path: Path) -> tuple[float, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) and re.fullmatch(r"-?\d{1,6}", v) for v in value):
        raise ValueError(f"{path}: supine must be a list of whole numbers, the codes of POSITION that mean it")
    if value and Modality.POSITION not in side:
        raise ValueError(f"{path}: supine tells of POSITION, which `side` does not keep; write side: [POSITION]")
    return tuple(map(float, value))


class _Loader(yaml.BaseLoader):
    """Text, lists and mappings only ("No" and "24" are labels, not a truth value and a number); no key twice."""

    def construct_mapping(self, node, deep=False):
        for key, times in Counter(key.value for key, _ in node.value if isinstance(key.value, str)).items():
            if times > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _mapping(value: Any, known: Sequence[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected `name: value` lines, any of {', '.join(known)}")
    for key in value:
        if key not in known:
            raise ValueError(f"{where}: no such name {str(key)[:40]!r}{suggestion(str(key), known)}")
    return value


def _alternatives(value: Any, where: str) -> tuple[SlotRule | None, ...]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise ValueError(f"{where}: an empty list; write ~ to leave the slot empty")
    return tuple(_rule(v, where) for v in values)


def _rule(value: Any, where: str) -> SlotRule | None:
    if isinstance(value, str):
        return None if value in _EMPTY else SlotRule(((value, 1.0),))
    fields = _mapping(value, ("terms", "unit", "polarity"), where)
    terms = fields.get("terms")
    if not isinstance(terms, dict) or not terms or not all(isinstance(w, str) for w in terms.values()):
        raise ValueError(f"{where}: terms must be `label: weight` pairs, such as {{C3: 1, M2: -1}}")
    unit = fields.get("unit", "")
    if not isinstance(unit, str) or (unit and microvolts_per(unit) is None and unit != "%"):
        raise ValueError(f"{where}: unknown unit{suggestion(str(unit)[:20], _UNITS)}")
    polarity = fields.get("polarity", "normal")
    if polarity not in ("normal", "inverted"):
        raise ValueError(f"{where}: polarity must be `normal` or `inverted`")
    return SlotRule(
        tuple((label, _weight(weight, label, where)) for label, weight in terms.items()), unit, polarity == "inverted"
    )


def _weight(text: str, label: str, where: str) -> float:
    if not re.fullmatch(r"[+-]?(\d{1,4}(\.\d{0,6})?|\.\d{1,6})", text) or not float(text):
        raise ValueError(f"{where}: the weight of {label[:40]!r} must be a number other than 0, such as 1 or -0.5")
    return float(text)


def choose_channels(recording: Recording, rules: MontageRules | None) -> tuple[Recording, Montage]:
    """The montage of a recording: what the rules say, and for all other slots what the labels say.

    Returns:
      the recording, with the units that the rules give; its montage.
    Raises:
      RecordingError: a rule names a label that the recording does not have, or channels that cannot be added.
    """
    if rules is None:
        return recording, map_channels(recording.signals)
    units: dict[int, str] = {}
    given: dict[str, Derivation | None] = {}
    for slot, alternatives in rules.slots:
        rule, signals = _first_there(recording, slot, alternatives)
        given[slot] = _derivation(recording, slot, rule, signals) if rule else None
        for s in signals if rule and rule.unit else ():
            if units.setdefault(s.index, rule.unit) != rule.unit:
                problem = f"the montage file gives '{s.label}' two units; expected one everywhere"
                raise RecordingError(recording.path, problem)
    signals = tuple(replace(s, unit=units.get(s.index, s.unit)) for s in recording.signals)
    made = {d.slot: d for d in given.values() if d is not None}
    # A mastoid may be the reference of other channels too, wherever it stands in a rule.
    spent = {index for d in made.values() for index, _ in d.terms if not _is_mastoid(signals[index])}
    rest = [s for s in signals if s.index not in spent]
    automatic = map_channels(rest, linked=rules.linked, side=rules.side)
    unused = {u.index: u.reason for u in automatic.unused}
    for d in automatic.channels:
        if d.slot in given:
            unused[d.terms[0][0]] = f"not needed: the montage file decides what {d.slot} is"
        else:
            made[d.slot] = d
    channels = tuple(made[slot] for slot in MODALITY_OF if slot in made)
    return replace(recording, signals=signals), Montage(channels, left_over(signals, channels, unused))


def _is_mastoid(signal: Signal) -> bool:
    return read_label(signal.label).position in ("M1", "M2")


def _first_there(
    recording: Recording, slot: str, alternatives: tuple[SlotRule | None, ...]
) -> tuple[SlotRule | None, list[Signal]]:
    for rule in alternatives:
        if rule is None:
            return None, []
        signals = [_find(recording.signals, label) for label, _ in rule.terms]
        if None not in signals:
            return rule, signals
    lacking = next(label for label, _ in alternatives[0].terms if _find(recording.signals, label) is None)
    known = suggestion(lacking, list(label_names(recording.signals).values()))
    problem = f"the montage file fills {slot} with {lacking[:40]!r}, which this recording lacks{known}"
    advice = f"mend it, or give alternatives: [{lacking[:40]}, other label, ~]"
    raise RecordingError(recording.path, f"{problem}; {advice}")


def _derivation(recording: Recording, slot: str, rule: SlotRule, signals: list[Signal]) -> Derivation:
    modality = MODALITY_OF[slot]
    for s in signals:
        if not s.is_calibrated or s.rate_hz != signals[0].rate_hz or s.rate_hz < modality.facts.least_hz:
            problem = f"the montage file fills {slot} with '{s.label}' ({float(s.rate_hz):g} Hz)"
            expected = f"a channel with a scale, of at least {modality.facts.least_hz} Hz, all of one rate"
            raise RecordingError(recording.path, f"{problem}; expected {expected}")
    # What is measured stands first, whatever the order in the file.
    in_order = sorted(zip(signals, rule.terms, strict=True), key=lambda pair: _is_mastoid(pair[0]))
    signals, terms = [s for s, _ in in_order], tuple(term for _, term in in_order)
    rule = replace(rule, terms=terms)
    sign = -1.0 if rule.is_inverted else 1.0
    terms = tuple((s.index, sign * weight) for s, (_, weight) in zip(signals, rule.terms, strict=True))
    reason = "as the montage file says" + (", turned over" if rule.is_inverted else "")
    return Derivation(slot, modality, terms, _sum(signals, rule), reason, Confidence.CERTAIN)


def _sum(signals: list[Signal], rule: SlotRule) -> str:
    """ "C3 - M2", "C3 - 0.5 M1 - 0.5 M2"."""
    words = []
    for s, (_, weight) in zip(signals, rule.terms, strict=True):
        words += ["-" if weight < 0 else "+"] if words or weight < 0 else []
        words += [s.label] if abs(weight) == 1 else [f"{abs(weight):g} {s.label}"]
    return " ".join(words)


def label_names(signals: Sequence[Signal]) -> dict[int, str]:
    """Signal index -> its label, with " #2" for the second of that label, and so on."""
    seen: dict[str, int] = {}
    names = {}
    for s in signals:
        seen[s.label] = seen.get(s.label, 0) + 1
        names[s.index] = s.label if seen[s.label] == 1 else f"{s.label} #{seen[s.label]}"
    return names


def _find(signals: Sequence[Signal], name: str) -> Signal | None:
    """The signal of that name as written; else the only one whose name differs in case and separators alone."""
    names = label_names(signals)
    exact = [s for s in signals if names[s.index] == name]
    if exact:
        return exact[0]
    alike = [s for s in signals if _plain(names[s.index]) == _plain(name)]
    return alike[0] if len(alike) == 1 else None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name.casefold()).strip()


def write_montage(recording: Recording, montage: Montage) -> str:
    """The YAML of a recording's montage, each decision with its reason, for a person to review.

    >>> from data_pipeline.readers import open_recording
    >>> recording = open_recording(Path("night.edf"))
    >>> text = write_montage(recording, map_channels(recording.signals))
    """
    names = label_names(recording.signals)
    by_index = {s.index: s for s in recording.signals}
    lines = [
        "# Written by `sleepmami diagnose`, for review. It serves all recordings of a laboratory with these labels:",
        "#   sleepmami prepare RECORDINGS --montage THIS_FILE --out SHARDS",
        "# A slot is the sum of weight * channel; against linked mastoids: C3: {terms: {C3: 1, M1: -0.5, M2: -0.5}}.",
        "# `reference: linked` does so for all electrodes that are not named here, `opposite` takes the other side's.",
        "# A list is of alternatives, the first that a recording has: [Leg/R, Leg R, ~]; ~ leaves the slot empty.",
        "# A slot that is not named here is mapped by the labels. Polarity is `normal` or `inverted`.",
        f"# `side: [{', '.join(_SIDE)}]` keeps these as well, by their labels; no model looks at them by itself.",
        "reference: opposite",
        "slots:" if montage.channels else "slots: {}",
    ]
    for d in montage.channels:
        terms = ", ".join(f"{json.dumps(names[i])}: {weight:g}" for i, weight in d.terms)
        unit = by_index[d.terms[0][0]].unit
        known = microvolts_per(unit) is not None and d.modality.facts.voltage is not None
        unit = f", unit: {json.dumps(unit)}" if known else ""
        lines.append(f"  # {d.confidence}: {_comment(d.reason)}")
        lines.append(f"  {d.slot}: {{terms: {{{terms}}}{unit}, polarity: normal}}")
    filled = {d.slot for d in montage.channels}
    empty = [slot for slots in SLOTS.values() for slot in slots if slot not in filled]
    lines += [f"# Not found: {', '.join(empty)}"] if empty else []
    lines += ["# Channels that fill no slot:"] if montage.unused else []
    lines += [f"#   {json.dumps(names[u.index])}: {_comment(u.reason)}" for u in montage.unused]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
