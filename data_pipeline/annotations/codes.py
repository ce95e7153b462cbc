"""Numbers of a stage column -> stages: which coding they are of is told by what would make a possible night.

0 W, 1-3 N1-N3, 4 R&K stage 4, 5 REM is what EDF+ texts, NSRR and Profusion write; Dreem, YASA and Visbrain write REM
as 4; others count from 1, or backwards. The numbers alone rarely tell, the order of stages does: from REM people wake
or go to N1 and N2, from stage 4 to stage 3. What stays in doubt is asked for, never guessed.
"""

import math
import re
from collections.abc import Sequence
from itertools import pairwise

W, S1, S2, S3, S4, REM = range(6)
_NAMES = ("W", "N1", "N2", "N3", "N3", "REM")
_NEXT = (
    # of W, S1, S2, S3, S4, REM
    (0.000, 0.750, 0.150, 0.015, 0.005, 0.080),
    (0.280, 0.000, 0.600, 0.015, 0.005, 0.100),
    (0.250, 0.200, 0.000, 0.350, 0.020, 0.180),
    (0.080, 0.050, 0.500, 0.000, 0.350, 0.020),
    (0.080, 0.050, 0.100, 0.750, 0.000, 0.020),
    (0.400, 0.300, 0.270, 0.020, 0.010, 0.000),
)
"""Where a stage goes when it ends: rows W, S1, S2, S3, S4, REM. Assumed, round numbers of adults' nights."""
_USUAL, REM_IS_4 = "0 W, 1-3 N1-N3, 4 R&K stage 4, 5 REM", "0 W, 1-3 N1-N3, 4 REM"
CODINGS = {
    _USUAL: {0: W, 1: S1, 2: S2, 3: S3, 4: S4, 5: REM},
    REM_IS_4: {0: W, 1: S1, 2: S2, 3: S3, 4: REM},
    "1 W, 2-4 N1-N3, 5 REM": {1: W, 2: S1, 3: S2, 4: S3, 5: REM},  # MNE's example
    "5 W, 4 REM, 3-1 N1-N3": {5: W, 4: REM, 3: S1, 2: S2, 1: S3},  # CAISR, PhysioNet Challenge 2026
    "5 W, 4 REM, 3-0 stages 1-4": {5: W, 4: REM, 3: S1, 2: S2, 1: S3, 0: S4},  # DREAMS
    "0 W, 1 REM, 2-5 stages 1-4": {0: W, 1: REM, 2: S1, 3: S2, 4: S3, 5: S4},  # UCDDB
}
"""Codings that are in use, by how a person would say them."""
_UNSCORED = frozenset((-3, -2, -1, 6, 7, 8, 9, 10))
SURE_NATS = 7.0
"""A coding must be a thousand times as likely as the next (assumed)."""
LONG_EPOCHS = 480
"""Of nights of so many epochs, 4 h, one in a hundred has no REM; one in ten does not begin with wake (assumed)."""
WAKE_SHARE = 0.05
"""A night without a code for wake, in which one "not scored" takes more than this, may hold wake by that code."""


class UnclearCodes(ValueError):
    """Numbers of which nobody can tell which stage is meant; the message asks."""


def stage_names(values: Sequence[str]) -> dict[str, str]:
    """What each value of a stage column names, given the whole column in the order of time.

    >>> stage_names(["0.0", "1", "2", "REM"])
    {'0.0': 'W', '1': 'N1', '2': 'N2', 'REM': 'REM'}

    Returns:
      value -> the stage's name, "?" where not scored, the value itself where it is no number.
    Raises:
      UnclearCodes: the numbers may mean different stages.
    """
    codes = {value: _code(value) for value in dict.fromkeys(values)}
    numbers = [codes[value] for value in values if codes[value] is not None]
    coding = CODINGS[_USUAL] if len(numbers) < len(values) / 2 else CODINGS[coding_of(numbers)]
    return {value: value if code is None else _name(code, coding, value) for value, code in codes.items()}


def coding_of(codes: Sequence[int]) -> str:
    """Which of the `CODINGS` a night's codes are of, in the order of time; the usual one where nothing speaks against.

    Raises:
      UnclearCodes: another coding makes a more possible night, or REM and stage 4 cannot be told apart.
    """
    used = set(codes) - _UNSCORED
    if not used & set(range(6)):
        return _USUAL
    unscored = max((codes.count(code) for code in set(codes) & _UNSCORED), default=0)
    if 0 not in used and used >= {1, 2} and unscored > WAKE_SHARE * len(codes) and 5 in used:
        code = max(set(codes) & _UNSCORED, key=codes.count)
        raise UnclearCodes(f"there is no stage code 0, and {code} may be wake or not scored. {_ADVICE}")
    likely = {coding: _likelihood(codes, CODINGS[coding]) for coding in CODINGS if used <= CODINGS[coding].keys()}
    ranked = sorted(likely, key=likely.get, reverse=True)
    if not ranked:
        return _USUAL
    lead = likely[ranked[0]] - likely[ranked[1]] if len(ranked) > 1 else math.inf
    no_wake = 0 not in used and used >= {1, 2, 3, 4, 5}
    if ranked[0] in (_USUAL, REM_IS_4) and not no_wake and lead >= SURE_NATS:
        return ranked[0]
    if 4 in used and 5 not in used:
        raise UnclearCodes(f"stage code 4 without any 5 may be REM or R&K stage 4. {_ADVICE}")
    if no_wake:
        raise UnclearCodes(f"stage codes 1 to 5 without any 0: it is not clear which is wake. {_ADVICE}")
    if _USUAL not in likely or likely[ranked[0]] - likely[_USUAL] >= SURE_NATS:
        problem = f"read as {_USUAL}, the stage codes make no possible night; they look like {ranked[0]}"
        raise UnclearCodes(f"{problem}. {_ADVICE}")
    return _USUAL


_ADVICE = "Write names (W, N1, N2, N3, REM)."


def _likelihood(codes: Sequence[int], coding: dict[int, int]) -> float:
    """Log-likelihood in nats of the changes of stage, given that there are changes; and of how the night begins."""
    stages = [coding[code] for code in codes if code in coding]
    changes = sum(math.log(_NEXT[a][b]) for a, b in pairwise(stages) if a != b)
    odd = (stages[0] != W) + 2 * (len(stages) > LONG_EPOCHS and REM not in stages)
    return changes + odd * math.log(0.1)


def _code(value: str) -> int | None:
    """A code as an int: "2", "2.0" and "2,0" are one, -1 and -1.0 too; None for a word."""
    match = re.fullmatch(r"\s*([+-]?\d{1,3})(?:[.,]0*)?\s*", value)
    return int(match[1]) if match else None


def _name(code: int, coding: dict[int, int], value: str) -> str:
    if code in coding:
        return _NAMES[coding[code]]
    return "?" if code in _UNSCORED else value
