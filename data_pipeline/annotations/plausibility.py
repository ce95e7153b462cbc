"""What a hypnogram says of itself that no night does: a mapping of words that went wrong, or another night's file."""

from collections.abc import Iterator
from itertools import groupby, pairwise

import numpy as np

from data_pipeline.night import EPOCH_S, STAGES

_W, _N1, _N2, _N3, _REM = range(len(STAGES))
LONG_EPOCHS = 3600 // EPOCH_S
"""Shorter scorings are excerpts and may hold anything."""
MOST_CHANGES = 0.5
MOST_REM = 0.5
FEWEST_CHANGES = 8
"""All assumed: adults change stage in a tenth of their epochs, and sleep a fifth of the night in REM."""


def oddities(stages: np.ndarray) -> Iterator[str]:
    """A sentence for each thing that makes a hypnogram (n_epochs,), -1 unknown, hard to believe."""
    known = stages[stages >= 0]
    changes = [(a, b) for (a, _), (b, _) in pairwise((int(k), list(g)) for k, g in groupby(known))]
    at_rem = [a if b == _REM else b for a, b in changes if _REM in (a, b)]
    if len(at_rem) >= FEWEST_CHANGES and at_rem.count(_N3) > len(at_rem) / 2:
        yield f"REM stands next to N3 in {at_rem.count(_N3)} of its {len(at_rem)} changes: are the stages' names right?"
    if len(known) < LONG_EPOCHS:
        return
    asleep = known[known > 0]
    if len(np.unique(known)) == 1:
        yield f"All {len(known)} epochs that are scored are {STAGES[known[0]]}: is it the scoring of this recording?"
        return
    if len(changes) > MOST_CHANGES * len(known):
        yield f"The stage changes {len(changes)} times in {len(known)} epochs: are they in the order of time?"
    if len(asleep) >= LONG_EPOCHS and (asleep == _REM).mean() > MOST_REM:
        yield f"{100 * (asleep == _REM).mean():.0f} % of the sleep is REM: are the stages' names right?"
    if len(asleep) >= 2 * LONG_EPOCHS and not (asleep == _N2).any():
        yield f"There is no N2 in {len(asleep) * EPOCH_S // 60} min of sleep: are the stages' names right?"
