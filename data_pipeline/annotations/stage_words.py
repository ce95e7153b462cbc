"""The words and codes of a hypnogram -> stages: what a text of itself says, without the company of others.

R&K stage 4 is N3 (AASM manual 2007), movement time is not scored. Codes are those of EDF+ texts, NSRR and Profusion:
0 W, 1-3 N1-N3, 4 R&K stage 4, 5 REM, others not scored. Other codings are told apart in `codes`, before they come here.
"""

import re
from functools import lru_cache

from data_pipeline.annotations.languages import STAGES as IN_LANGUAGES
from data_pipeline.annotations.spelling import normal, translator
from data_pipeline.night import STAGES, UNKNOWN_STAGE

_W, _N1, _N2, _N3, _REM = range(len(STAGES))
LIGHT = "light sleep"
"""N1 or N2: which of them, the other words of the night must tell."""
_ENGLISH = translator(IN_LANGUAGES)
_NAMES = {"WAKE": _W, "REM": _REM, "DEEP": _N3, "MEDIUM": _N2, "LIGHT": LIGHT, "DROWSY": _N1, "NONE": UNKNOWN_STAGE}
_LETTERS = {"w": _W, "wa": _W, "v": _W, "r": _REM, "sp": _REM, "re": _REM, "?": UNKNOWN_STAGE, "u": UNKNOWN_STAGE}
_LETTERS |= {"m": UNKNOWN_STAGE}
"""What means a stage only where a stage is expected: V is veille, veglia, vigilia, valve; SP sommeil paradoxal."""
_LONGEST = 100
"""No name of a stage is longer."""
_NUMBERS = {0: _W, 1: _N1, 2: _N2, 3: _N3, 4: _N3, 34: _N3, 5: _REM}
_NOT_SCORED = (6, 7, 8, 9, 10)
_ALONE = {"w", "n 1", "n 2", "n 3", "n 4", "s 1", "s 2", "s 3", "s 4", "r"}
"""What means a stage also without a word before it. Bare digits do not: REM is 5, 4 or 1 by cohort."""
_SAID_OF_ANYTHING = """
deep medium superficial tief profond profundo profondo diep derin light licht leicht leger ligero leve leggero kevyt
hafif paradoxal paradosso
"""
_NEVER_ALONE = frozenset(_SAID_OF_ANYTHING.split())
"""What is a stage in a stage column, and may be said of anything elsewhere."""
_NOUN = re.compile(
    r"\s*(?:sleep\W*)?(?:stage|stadium|schlafstadium|stade|estadio|est[aá]gio|stadio|fase|etapa|evre|vaihe|stadie|faza|"
    r"slaapstadium|стадия|στάδιο|睡眠段階|ステージ)(?![^\W\d_])\s*[-:_]?\s*(.*)",
    re.IGNORECASE,
)


def stage_of(text: str) -> int | None:
    """Code of the stage that a text names, `UNKNOWN_STAGE` for "?" and movement time, None if none.

    >>> stage_of("Sleep stage R"), stage_of("N2"), stage_of("lights off")
    (4, 2, None)
    """
    meaning = _meaning(text, alone=not _says_stage(text))
    return None if meaning == LIGHT else meaning


def stage_of_column(value: str) -> int | None:
    """As `stage_of`, for a value of a stage column, where bare codes are allowed (0 W … 4 N3, 5 REM)."""
    meaning = UNKNOWN_STAGE if not value.strip() else _meaning(value, alone=False)
    return None if meaning == LIGHT else meaning


def is_light_sleep(text: str) -> bool:
    """Whether a text names light sleep, N1 or N2: `codes` and `scoring` ask what else the night has."""
    return _meaning(text, alone=not _says_stage(text)) == LIGHT


def stage_word(text: str) -> str | None:
    """What stands behind a word for "stage" at the beginning of a text, None where there is none.

    >>> stage_word("Sleep stage Blorp"), stage_word("Blorp")
    ('Blorp', None)
    """
    match = _NOUN.fullmatch(text)
    return match[1] if match else None


def _says_stage(text: str) -> bool:
    return stage_word(text) is not None or re.match(r"sleep\W|.*(?:단계|段階|期)\s*$", text, re.IGNORECASE) is not None


@lru_cache(maxsize=1 << 16)  # a night has a thousand marks and ten words
def _meaning(text: str, alone: bool) -> int | str | None:
    if len(text) > _LONGEST:
        return None
    if not alone and re.fullmatch(r"[\s.\-_*]+", stage_word(text) or text):
        return UNKNOWN_STAGE
    outer = re.sub(r"\([^()]*\)|\[[^\[\]]*\]", " ", text)  # a remark: "N2 (light)"; but "light (N1)" tells by it
    if normal(outer) and outer != text and (meaning := _meaning(outer, alone)) != LIGHT:
        return meaning
    if re.search(r"(^|\s)-[1-9](?:[.,]0*)?\s*$", text) and not re.search(r"[^\W\d_]\s+-\s+\d", text):
        return None if alone else UNKNOWN_STAGE  # -1, -2 and -3 are not scored wherever they are used
    text = re.sub(r"(?<![\d.,])(\d+)[.,]0*(?!\d)", r"\1", text)  # 2.0 of a column that had a gap
    words = re.sub(r"(?<=[^\W\d_])(?=\d)", " ", normal(text))
    tokens = [token for token in _ENGLISH(words).split() if token != "STAGE"]
    if alone and not (words == "movement time" or " ".join(tokens) in _ALONE or _is_name(words, tokens)):
        return None
    return _agreed(tokens)


def _is_name(words: str, tokens: list[str]) -> bool:
    """Whether these are names that are used for nothing else: "rem sleep", "nrem 2", "tiefschlaf"."""
    known = {"WAKE", "REM", "DEEP", "MEDIUM", "LIGHT", "NREM", "1", "2", "3", "4"}
    return bool(tokens) and not tokens[0].isdecimal() and known.issuperset(tokens) and words not in _NEVER_ALONE


def _agreed(tokens: list[str]) -> int | str | None:
    """The stage that all tokens name, None where one is not understood or two differ. A code beside a name is none."""
    named, bare, is_nrem, at = set(), set(), False, 0
    while at < len(tokens):
        token = tokens[at]
        following = tokens[at + 1] if at + 1 < len(tokens) else ""
        at += 1
        if token in ("n", "s", "NREM") and following.isdecimal():
            at += 1
            if int(following) > 4 or (int(following) == 0 and token != "s"):
                return None
            named.add(_NUMBERS[int(following)])
        elif token in ("n", "NREM"):
            is_nrem = True
        elif token == "LIGHT" and following in ("1", "2"):
            named.add(_NUMBERS[int(following)])
            at += 1
        elif token in _NAMES:
            named.add(_NAMES[token])
        elif token in _LETTERS:
            named.add(_LETTERS[token])
        elif token.isdecimal() and len(token) < 3:
            bare.add(UNKNOWN_STAGE if int(token) in _NOT_SCORED else _NUMBERS.get(int(token)))
        else:
            return None
    if LIGHT in named and named & {_N1, _N2}:
        named.discard(LIGHT)
    stages = named or bare
    if len(stages) != 1 or (is_nrem and not stages & {_N1, _N2, _N3, LIGHT}):
        return None
    return stages.pop()
