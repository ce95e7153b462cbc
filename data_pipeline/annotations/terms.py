"""The scorer's words -> event kinds, and which family an unknown word may be of. The one place where a term gets its
meaning; stages have their words in `stage_words`, other languages theirs in `languages`.

Spellings come from EDF+ standard texts (https://www.edfplus.info/specs/edftexts.html), Sleep-EDF, HMC, UCDDB and the
NSRR vocabulary. A word is put into English first; the rules are for English alone. An unknown word is counted, not
guessed.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from data_pipeline.annotations.languages import EVENTS as IN_LANGUAGES
from data_pipeline.annotations.spelling import normal, translator
from data_pipeline.annotations.stage_words import stage_of as _stage_of
from data_pipeline.annotations.stage_words import stage_of_column
from data_pipeline.night import BREATHING_EVENTS, EventKind

__all__ = ["FAMILIES", "Meaning", "families_of", "is_other", "is_remark", "is_vocabulary", "kind_of", "own_terms"]
__all__ += ["plain", "stage_of", "stage_of_column", "words_of"]


@dataclass(frozen=True)
class Meaning:
    """What a word means where a cohort uses it in its own way; see `Event` for both."""

    kind: EventKind | str
    rule: str = ""


def own_terms(kinds: Collection[str]) -> dict[str, Meaning]:
    """The words that mean kinds of event of somebody's own: their names, with blanks or underscores."""
    return {word: Meaning(kind) for kind in kinds for word in (kind, kind.replace("_", " "))}


_APNEA, _LIMB = EventKind.APNEA, EventKind.LIMB_MOVEMENT
_HEADS = {
    **dict.fromkeys(("apnea", "ap", "apn"), _APNEA),
    **dict.fromkeys(("osa", "oa"), EventKind.OBSTRUCTIVE_APNEA),
    **dict.fromkeys(("csa", "ca"), EventKind.CENTRAL_APNEA),
    **dict.fromkeys(("msa", "ma"), EventKind.MIXED_APNEA),
    **dict.fromkeys(("hypopnea", "hyp", "hypo", "hypop"), EventKind.HYPOPNEA),
    **dict.fromkeys(("rera", "reras"), EventKind.RERA),
    **dict.fromkeys(("desaturation", "desaturations", "desat", "desats"), EventKind.DESATURATION),
    **dict.fromkeys(("arousal", "arous", "aro"), EventKind.AROUSAL),
    **dict.fromkeys(("plm", "plms", "plmw", "lm", "lms", "plml", "plmr", "lml", "lmr"), _LIMB),
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
    **dict.fromkeys(("central", "cent", "cen", "c", "zentr"), EventKind.CENTRAL_APNEA),
    **dict.fromkeys(("mixed", "mix", "m"), EventKind.MIXED_APNEA),
}
_QUALIFYING = """
left right l r bilateral isolated periodic unspecified unclassified unsure respiratory resp event events related effort
spontaneous spont asda adsa res w pct micro cortical eeg emg ecg signal sleep spo2 sao2 o2 oxygen oxyhemoglobin relative
limb leg movement movements plm lm chin external standard scored auto manual fast slow by with and due to resulting from
associated s sec hemoglobin oximetry absolute lower during internal snore snoring a e type of de des d in saturation
drop rem nrem wake aasm rule 1a 1b
"""
_QUALIFIERS = frozenset(_QUALIFYING.split())
_ENGLISH = translator(IN_LANGUAGES)
_PHRASES = (
    (re.compile(r"\b(respiratory effort related arousal|resp(iratory)? related arousal|reras)\b"), "rera"),
    (re.compile(r"\b(periodic )?(limb|leg) movements?( left| right)?( of sleep| in sleep| syndrome)?\b"), "lm"),
    (re.compile(r"^a (?=(obstructive|central|mixed)\b)"), "apnea "),  # "A. Obstructive" of Noxturnal
    (re.compile(r"^h (?=(obstructive|central|mixed)\b)"), "hypopnea "),
    (re.compile(r"\bmovement (periodic )?(des? |of )?leg\b"), "lm"),
    (re.compile(r"\b(spo2|sao2|o2|oxygen)( saturation)? drop\b"), "desaturation"),
    (re.compile(r"\bmicro arousal\b"), "arousal"),
)
_BREAK = re.compile(r"\(|,|;| - |\bw/")
_CAUSE = re.compile(r"\b(with|due to|resulting from|associated|related to|and|by)\b")
"""What follows describes the event and does not name it: "Arousal (PLM)", "Hypopnea with arousal"."""
_REMARK = re.compile(
    r"lights\b|light (change|signal)|recording (start|end|stop)|"
    r"(start|end|stop|begin\w*) (of )?(recording|analysis|sleep|time in bed|(c|bi)?pap|titration)|"
    r"(c|bi)?pap\b|titration|split night|"
    r"(body )?position|supine|prone|(left|right|back|upright)$|snor|calibration|impedance"
)

_FURTHER = """
breathing cheyne stokes snore bradycardia tachycardia stage light deep quiet active awakening awakenings limitation flow
hypoventilation bruxism cardiac rhythm body position marker comment user analysis start stop end
"""
_SHOWN = frozenset(_FURTHER.split())
"""Further words that stand in messages as they are."""

_LONGEST_TEXT = 200
"""No term is longer; a cell may hold a book."""

FAMILIES: dict[str, tuple[frozenset[EventKind], re.Pattern[str]]] = {
    "breathing events": (
        BREATHING_EVENTS | {EventKind.RERA},
        re.compile(
            r"apn|\bresp\b|pno[eiy]|pnea|hypop|hipop|ipopn|[oa]bstr|ostrut|obturac|central|zentr|sentral|santral|\bmixed|"
            r"gemisch|respir|\batem|atmung|breath|bezdech|oddech|ademh|andning|hengity|solunum|\brera|πνοι|αποφρ|"
            r"дыха|пноэ|呼吸|호흡"
        ),
    ),
    "arousals": (
        frozenset({EventKind.AROUSAL}),
        re.compile(
            r"arous|\bars|\baro|weckr|aufwach|eveil|reveil|awaken|despert|risvegl|ontwa[ak]|havaht|herat|wybudz|wzbudz|"
            r"αφυπν|пробужд|активац|覚醒|觉醒|각성"
        ),
    ),
    "limb movements": (
        frozenset({_LIMB}),
        re.compile(
            r"plm|\blms?\b|limb|\blegs?\b|\bbein|jambe|piern|\bpernas?\b|\bgamb|\bart[oi]\b|\bbeen|"
            r"\bben(bev|ror)|extremi|tibial|\bjal(ka|an|ko)|konczyn|\bnogi?\b|bacak|ποδι|\bног|конечн|肢|腿|足|다리|사지|"
            r"m[iy]oclon"
        ),
    ),
    "desaturations": (
        frozenset({EventKind.DESATURATION}),
        re.compile(
            r"desat|dessat|entsat|entsaet|sattigung|saettigung|spo2|sao2|\bo2\b|oxim|oxym|oxyg|oxig|ossig|sauerst|"
            r"zuurst|tlen|κορεσμ|сатур|酸素|氧|산소"
        ),
    ),
    "spindles": (frozenset({EventKind.SPINDLE}), re.compile(r"spind|fuseau|\bhuso|\bfus[io]\b|веретен|紡錘|纺锤|방추")),
    "K complexes": (frozenset({EventKind.K_COMPLEX}), re.compile(r"\bk ?komp|\bk ?comp|comp[a-z]+ k\b|\bkc")),
}
"""Family -> its kinds, which are scored together, and what a word holds that may be of it."""
_OTHER = re.compile(
    r"cheyne|stokes|\bcsr\b|periodic breath|periodische atmung|hypoventil|flow limit|tachyp|bradyp|kardi|ataxic|"
    r"paradoxical breath|eupnea|normal breath|deep breath|cardia|systol|arrhythm|rhythm|ectop|bruxi|teeth|catathren|"
    r"seizure|spike|epilep|\beyes?\b|blink|saccad|swallow|yawn|cough|talk|moan|groan|position|supine|prone|"
    r"lage\b|decubit|dorsal|ventral|\blateral|snor|mcap|calib|biocal|impedance|disconnect|replac|"
    r"adjust|titrat|supplement|restless|(body|gross) movement|^movements?$|"
    r"\b(probe|sensor|belt|electrode|cannula|mask|leak|off|fix|fixed|check|channel|lead|leads|loose|poor|bad|c?pap|bipap|"
    r"peep|patient|pt|tech|technician|nurse|liters?|lpm|baseline|mean|nadir|rate|hold|heart|pulse|hr|ecg|ekg|pvc|"
    r"body|marker|comment|note|video|bathroom|toilet|wc|montage|filter|gain|delta|alpha|battery|"
    r"m?cap|slow|theta|sawtooth|sharp|vertex|noise|bed|door|phone|turn|turns|sitting|standing|walking|activity|upright|"
    r"phasic|tonic|rswa|rbd|ptt|rr|mchg|gap|invalid|autonomic|excursions?)\b"
)
"""What is of no family although it may sound so: patterns of breathing that are no event, other events, and remarks."""
_OF_SEVERAL = re.compile(r"\b(series|sequence|cluster|index)\b")
"""What speaks of several events at once, and marks none."""


def words_of(text: str) -> str:
    """A text in English words, as the rules compare it; of a long one the beginning."""
    return _english(plain(text))


@lru_cache(maxsize=1 << 16)  # a mark a second for some hours
def _english(text: str) -> str:
    words = re.sub(r"(?<=[^\W\d_]{4})(?=\d)", " ", normal(text[:_LONGEST_TEXT]))  # hypopnea30, but SpO2
    words = _ENGLISH(re.sub(r"(?<=\d)pct\b", " pct", words.replace("pnoea", "pnea")))
    for pattern, word in _PHRASES:
        words = pattern.sub(word, words)
    return words


def plain(text: str) -> str:
    """The term itself: without an "@@channel" suffix (EDF+ texts) and without "|original name" (NSRR)."""
    return text.split("@@")[0].split("|")[0].strip()


def stage_of(text: str) -> int | None:
    """As `stage_words.stage_of`, of the term itself."""
    return _stage_of(plain(text))


def kind_of(text: str) -> EventKind | None:
    """The kind of event that a text names, or None.

    >>> str(kind_of("Obstructive Apnea")), str(kind_of("Hypopnoe"))
    ('obstructive_apnea', 'hypopnea')
    """
    text = plain(text)
    if text.lower() in _NAMES:
        return _NAMES[text.lower()]
    words = _english(text).split() if len(text) <= _LONGEST_TEXT else []
    if not all(w in _HEADS or w in _TYPES or w in _QUALIFIERS or w.isdigit() for w in words):
        return None
    naming = _naming(text).split()
    heads = [_HEADS[w] for w in naming if w in _HEADS] or [_HEADS[w] for w in words if w in _HEADS]
    if not heads:
        return None
    # "AROUSAL-APNEA" is an arousal, "arousal_rera" a RERA.
    kind = next((k for k in (EventKind.RERA, EventKind.AROUSAL) if k in heads), heads[-1])
    types = {_TYPES[w] for w in words if w in _TYPES}
    return types.pop() if kind is _APNEA and len(types) == 1 else kind


def _naming(text: str) -> str:
    """In English the part of a text that names the event, without what caused it or came with it."""
    first = _english(_BREAK.split(text, maxsplit=1)[0])
    return _CAUSE.split(first, maxsplit=1)[0].strip() or _english(text)


def families_of(text: str) -> frozenset[str]:
    """The `FAMILIES` that a text which `kind_of` does not know may be of, by parts of its words.

    >>> sorted(families_of("Apnö, zentral?")), sorted(families_of("Cheyne-Stokes respiration"))
    (['breathing events'], [])
    """
    words = _english(plain(text))
    if is_other(text):
        return frozenset()
    texts = (_naming(plain(text)), words)
    found = (frozenset(name for name, (_, part) in FAMILIES.items() if part.search(w)) for w in texts)
    return next((names for names in found if names), frozenset())


def is_other(text: str) -> bool:
    """Whether a text is known to name nothing of the `FAMILIES`: tachycardia, Cheyne-Stokes breathing, a loose belt.

    One that names an event besides ("apnea, patient supine") is not.
    """
    words = _english(plain(text))
    is_named = any(word in _HEADS for word in words.split())
    return _OF_SEVERAL.search(words) is not None or (_OTHER.search(words) is not None and not is_named)


def is_vocabulary(text: str) -> bool:
    """Whether a text is made of words that are of no person: of scoring, in any language, and numbers below 100."""
    return all(
        len(w) == 1 or w in _HEADS or w in _TYPES or w in _QUALIFIERS or w in _SHOWN or (w.isdigit() and len(w) < 3)
        for w in _english(plain(text)).split()
    )


def is_remark(text: str) -> bool:
    """Whether it is a usual mark that is neither stage nor event: lights, starts and ends, positions."""
    return _REMARK.match(_english(plain(text))) is not None
