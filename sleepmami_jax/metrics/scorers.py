"""Several people on one night: how far each agrees with the others, and what they say together.

As Guillot and others (IEEE TNSRE 2020) compared five scorers of the Dreem Open Datasets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_pipeline.night import STAGES, Event
from data_pipeline.runs import runs
from sleepmami_jax.metrics.events import seconds_of


def soft_agreement(votes: np.ndarray) -> np.ndarray:
    """(S,) how far each of S scorers agrees with the others on one night, 0..1; NaN for one who shares no epoch.

    In each epoch a scorer earns the number of others who said the same, as a share of how many agreed on the stage
    most of them said.

    >>> soft_agreement(np.array([[0, 2], [0, 2], [0, 3], [1, 3]])).tolist()
    [0.75, 0.75, 0.75, 0.25]

    Args:
      votes: (S, E) codes, -1 where a scorer said nothing.
    """
    said = np.asarray(votes)[..., None] == np.arange(len(STAGES))  # (S, E, stages)
    others = said.sum(axis=0) - said
    most = others.max(axis=-1)
    counts = (votes >= 0) & (most > 0)
    earned = np.where(counts, (others * said).sum(axis=-1) / np.maximum(most, 1), 0)
    with np.errstate(invalid="ignore"):
        return earned.sum(axis=1) / counts.sum(axis=1)


def consensus(votes: np.ndarray) -> np.ndarray:
    """(E,) what most of S scorers said in each epoch of one night, -1 where nobody said anything.

    Where stages have as many votes, it is the one that the scorer of the highest `soft_agreement` said of them.

    >>> consensus(np.array([[0, 2, -1], [0, 2, -1], [0, 3, -1], [1, 3, -1]])).tolist()
    [0, 2, -1]

    Args:
      votes: (S, E) codes, -1 where a scorer said nothing.
    """
    votes = np.asarray(votes)
    said = votes[..., None] == np.arange(len(STAGES))
    agreement = np.nan_to_num(soft_agreement(votes), nan=-1.0)
    rank = np.empty(len(votes))
    rank[np.argsort(-agreement, kind="stable")] = np.arange(len(votes))
    # Less than one vote in all, the best scorer's more than those of all after it.
    edge = (said * (0.25 ** (rank + 1))[:, None, None]).sum(axis=0)
    stages = (said.sum(axis=0) + edge).argmax(axis=-1)
    return np.where((votes >= 0).any(axis=0), stages, -1).astype(np.int8)


def majority_events(scorers: Sequence[Sequence[Event]], kind: str, duration_s: int) -> tuple[Event, ...]:
    """Runs of seconds that more than half of the scorers marked, as events of a kind; half of them is no majority.

    >>> majority_events([[Event("arousal", 2, 6)], [Event("arousal", 4, 6)]], "arousal", 20)[0].onset_s
    4.0
    """
    marked = np.zeros(duration_s, int)
    for events in scorers:
        own = np.zeros(duration_s, bool)
        for event in events:
            own[seconds_of(event)] = True
        marked += own
    return tuple(Event(kind, float(start), float(stop - start)) for start, stop in runs(2 * marked > len(scorers)))
