"""The scorer's words -> stages and event kinds. The one place where a term gets its meaning.

Spellings come from EDF+ standard texts (https://www.edfplus.info/specs/edftexts.html), Sleep-EDF, HMC, UCDDB
and the NSRR vocabulary. R&K stage 4 is N3 (AASM manual 2007). An unknown word is counted, not guessed.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from data_pipeline.night import STAGES, UNKNOWN_STAGE, EventKind


@dataclass(frozen=True)
class Meaning:
    """What a word means where a cohort uses it in its own way; see `Event` for both."""

    kind: EventKind | str
    rule: str = ""


def own_terms(kinds: Collection[str]) -> dict[str, Meaning]:
    """The words that mean kinds of event of somebody's own: their names, with blanks or underscores."""
    return {word: Meaning(kind) for kind in kinds for word in (kind, kind.replace("_", " "))}


_W, _N1, _N2, _N3, _REM = range(len(STAGES))

_STAGES = {
    **dict.fromkeys(("w", "wake", "awake", "wakefulness", "s0", "0"), _W),
    **dict.fromkeys(("n1", "s1", "1", "nrem1"), _N1),
    **dict.fromkeys(("n2", "s2", "2", "nrem2"), _N2),
    **dict.fromkeys(("n3", "s3", "n4", "s4", "3", "4", "nrem3", "nrem4"), _N3),
    # 5 is REM in the EDF+ texts, NSRR and Profusion; a code 4 is R&K stage 4 there, never REM.
    **dict.fromkeys(("r", "rem", "5"), _REM),
    **dict.fromkeys(("?", "u", "unknown", "unscored", "unstaged", "mt", "m", "6", "9", "10", "-1"), UNKNOWN_STAGE),
    **dict.fromkeys(("movement", "movement time", "no stage", "not scored", "artifact"), UNKNOWN_STAGE),
}
"""What may follow "Sleep stage" or stand in a stage column."""
_ALONE = {"w", "wake", "awake", "n1", "n2", "n3", "n4", "s1", "s2", "s3", "s4", "r", "rem", "movement time"}
"""What means a stage also without a word before it. Bare digits do not: REM is 5, 4 or 1 by cohort."""

_APNEA, _LIMB = EventKind.APNEA, EventKind.LIMB_MOVEMENT
_HEADS = {
    **dict.fromkeys(("apnea", "apneas", "ap", "apn", "apnoe"), _APNEA),
    **dict.fromkeys(("osa", "oa", "obsapnea"), EventKind.OBSTRUCTIVE_APNEA),
    **dict.fromkeys(("csa", "ca"), EventKind.CENTRAL_APNEA),
    **dict.fromkeys(("msa", "ma"), EventKind.MIXED_APNEA),
    **dict.fromkeys(("hypopnea", "hypopneas", "hyp", "hypo", "hypop", "hypopnoe"), EventKind.HYPOPNEA),
    **dict.fromkeys(("rera", "reras"), EventKind.RERA),
    **dict.fromkeys(("desaturation", "desaturations", "desat", "desats"), EventKind.DESATURATION),
    **dict.fromkeys(("arousal", "arousals", "microarousal", "microarousals"), EventKind.AROUSAL),
    **dict.fromkeys(("plm", "plms", "lm", "lms", "plml", "plmr", "lml", "lmr"), _LIMB),
    **dict.fromkeys(("spindle", "spindles"), EventKind.SPINDLE),
    **dict.fromkeys(("kcomplex", "kcomplexes", "kc"), EventKind.K_COMPLEX),
    **dict.fromkeys(("artifact", "artifacts"), EventKind.ARTIFACT),
}
"""The word that names an event. A text is an event only if all its other words are qualifiers: a technician's
remark ("says he has apnea at home") is none."""

_NAMES = {
    "resp_obstructiveapnea": EventKind.OBSTRUCTIVE_APNEA,
    "resp_centralapnea": EventKind.CENTRAL_APNEA,
    "resp_mixedapnea": EventKind.MIXED_APNEA,
    **dict.fromkeys(("arousal_plm", "arousal_snore", "arousal_noise", "arousal_bruxism"), EventKind.AROUSAL),
}
"""Names of PhysioNet 2018 that the rules below would not read, or not rightly."""

_TYPES = {
    **dict.fromkeys(("obstructive", "obst", "obstr", "obs", "o"), EventKind.OBSTRUCTIVE_APNEA),
    **dict.fromkeys(("central", "cent", "cen", "c"), EventKind.CENTRAL_APNEA),
    **dict.fromkeys(("mixed", "mix", "m"), EventKind.MIXED_APNEA),
}
_QUALIFYING = """
left right l r bilateral isolated periodic unspecified unclassified unsure respiratory resp event events related effort
spontaneous spont asda adsa aro res micro cortical eeg emg ecg signal sleep spo2 sao2 o2 oxygen oxyhemoglobin relative
limb leg movement movements plm lm chin external standard scored auto manual fast slow by with and due to resulting from
associated s sec hemoglobin oximetry lower during internal snore snoring
"""
_QUALIFIERS = frozenset(_QUALIFYING.split())
_PHRASES = (
    (re.compile(r"\brespiratory effort related arousal\b"), "rera"),
    (re.compile(r"\b(periodic )?(limb|leg) movements?\b"), "lm"),
    (re.compile(r"\bmicro arousal\b"), "arousal"),
    (re.compile(r"\bk complex(es)?\b"), "kcomplex"),
)
_CAUSE = re.compile(r"\b(with|due to|resulting from|associated|related to|and|by)\b|\(|,|;| - ")
"""What follows describes the event and does not name it: "Arousal (PLM)", "Hypopnea with arousal"."""
_REMARK = re.compile(
    r"lights?\b|recording (start|end|stop)|(start|end|stop|begin\w*) (of )?(recording|analysis|sleep|time in bed)|"
    r"(body )?position|supine|prone|(left|right|back|upright)$|snor|calibration|impedance"
)


def _words(text: str) -> str:
    text = text.lower().replace("apnoea", "apnea").replace("pnoea", "pnea").replace("artefact", "artifact")
    text = re.sub(r"[^a-z0-9?]+", " ", text).strip()
    for pattern, word in _PHRASES:
        text = pattern.sub(word, text)
    return text


def plain(text: str) -> str:
    """The term itself: without an "@@channel" suffix (EDF+ texts) and without "|original name" (NSRR)."""
    return text.split("@@")[0].split("|")[0].strip()


def stage_of(text: str) -> int | None:
    """Code of the stage that a text names, `UNKNOWN_STAGE` for "?" and movement time, None if none.

    >>> stage_of("Sleep stage R"), stage_of("N2"), stage_of("lights off")
    (4, 2, None)
    """
    words = _words(plain(text)).removesuffix(" sleep")
    match = re.fullmatch(r"(?:sleep )?stage (.+)|sleep (.+)", words)
    if match:
        return _STAGES.get((match[1] or match[2]).removeprefix("stage "))
    return _STAGES[words] if words in _ALONE else None


def stage_of_column(value: str) -> int | None:
    """As `stage_of`, for a value of a stage column, where bare codes are allowed (0 W … 4 N3, 5 REM)."""
    value = value.strip()
    return UNKNOWN_STAGE if value in ("-1", "") else _STAGES.get(_words(value), stage_of(value))


def kind_of(text: str) -> EventKind | None:
    """The kind of event that a text names, or None.

    >>> str(kind_of("Obstructive Apnea"))
    'obstructive_apnea'
    """
    text = plain(text)
    if text.lower() in _NAMES:
        return _NAMES[text.lower()]
    words = _words(text).split()
    if not all(w in _HEADS or w in _TYPES or w in _QUALIFIERS or w.isdigit() for w in words):
        return None
    naming = _words(_CAUSE.split(text.lower().strip())[0]).split()
    heads = [_HEADS[w] for w in naming if w in _HEADS] or [_HEADS[w] for w in words if w in _HEADS]
    if not heads:
        return None
    # "AROUSAL-APNEA" is an arousal, "arousal_rera" a RERA.
    kind = next((k for k in (EventKind.RERA, EventKind.AROUSAL) if k in heads), heads[-1])
    types = {_TYPES[w] for w in words if w in _TYPES}
    return types.pop() if kind is _APNEA and len(types) == 1 else kind


def is_remark(text: str) -> bool:
    """Whether it is a usual mark that is neither stage nor event: lights, starts and ends, positions."""
    return _REMARK.match(_words(plain(text))) is not None
