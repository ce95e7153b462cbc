"""The night in parts: sleep and events of each third of the time in bed, and of each cycle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_pipeline.night import EPOCH_S, STAGES, Night
from sleepmami_jax.scoring.prediction import Scores
from sleepmami_jax.tasks import rooms_of
from sleepmami_jax.tasks.indices import PART_MIN
from sleepmami_jax.tasks.rules import per_hour, sleep_minutes
from sleepmami_jax.tasks.stages import in_bed, sleep_cycles

RULE = (
    "thirds are of the time in bed, which is the recording where lights are not marked; cycles as under Sleep cycles, "
    "and what lies between them or after the last is in none; an event is of the part in which it begins, and its "
    f"index is per hour of monitored sleep there, not given below {PART_MIN:g} min of it"
)


@dataclass(frozen=True)
class Part:
    """A part of a night.

    Attributes:
      words: which.
      first, stop: its epochs, half-open.
      minutes: of each stage, over `STAGES`.
      indices: title of an index -> events per hour, None where there is too little sleep.
    """

    words: str
    first: int
    stop: int
    minutes: tuple[float, ...]
    indices: dict[str, float | None]


def parts(scores: Scores, night: Night) -> tuple[Part, ...]:
    """Thirds of the time in bed, then cycles; none of a night without sleep."""
    if not (scores.stages > 0).any():
        return ()
    bed = in_bed(np.arange(len(scores.stages)), night.lights_s)
    borders = [int(bed[0]) + -(-len(bed) * k // 3) for k in range(4)]
    spans = [(f"{word} third", *borders[k : k + 2]) for k, word in enumerate(("First", "Second", "Last"))]
    cycles = sleep_cycles(scores.stages[bed])
    spans += [(f"Cycle {k}", bed[0] + first, bed[0] + stop) for k, (first, stop) in enumerate(cycles, start=1)]
    return tuple(_part(scores, words, int(first), int(stop)) for words, first, stop in spans)


def _part(scores: Scores, words: str, first: int, stop: int) -> Part:
    own = scores.stages[first:stop]
    minutes = tuple(float((own == code).sum() * EPOCH_S / 60) for code in range(len(STAGES)))
    unsure = np.zeros(len(scores.stages), bool) if scores.reliability is None else scores.reliability.unsure
    indices = {}
    for room in rooms_of(scores.tasks):
        if room.task.name in scores.unavailable:
            continue
        heard = scores.monitored[room.task.name] & ~unsure
        slept_min = sleep_minutes(np.where(heard[first:stop], own, -1))
        epochs = [int(e.onset_s // EPOCH_S) for e in scores.events if e.kind in room.task.kinds]
        n = sum(first <= epoch < stop and bool(heard[epoch]) for epoch in epochs)
        indices[room.index_words] = per_hour(n, slept_min) if slept_min >= PART_MIN else None
    return Part(words, first, stop, minutes, indices)
