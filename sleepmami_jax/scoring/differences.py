"""Where a score and the scoring given differ, one place after the other, and how often it is wrong where it said so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from data_pipeline.night import EPOCH_S, STAGES, Event, Night
from data_pipeline.runs import runs_of_values
from data_pipeline.tasks import STAGES as STAGING
from data_pipeline.tasks import kind_title
from sleepmami_jax.scoring.prediction import Scores
from sleepmami_jax.tasks import rooms_of
from sleepmami_jax.trust.judge import UNSURE

RISK_CUTS = (0.0, 0.1, 0.25, UNSURE, 1.0)
"""Borders of the chances of being wrong that are told apart (our choice), the last one that of unsure epochs."""


@dataclass(frozen=True)
class Difference:
    """A place where the two say different things.

    Attributes:
      task: what they differ about, by name.
      words: what each says.
    """

    onset_s: float
    duration_s: float
    task: str
    words: str


def differences(scores: Scores, night: Night) -> tuple[Difference, ...]:
    """All places, in order of time: runs of epochs of another stage, events that only one of the two has.

    Events are compared as `comparison.agreement_with` compares them: those that count, matched one to one.
    """
    return tuple(sorted((*_of_stages(scores, night), *_of_events(scores, night)), key=lambda d: (d.onset_s, d.task)))


def calibration(scores: Scores, night: Night) -> list[tuple[float, float, int, float, float]]:
    """(from, to, epochs, mean chance said, share that was in fact wrong) of each span of risk that has epochs."""
    if scores.reliability is None or STAGING.name not in scores.agreement:
        return []
    risk, both = scores.reliability.epoch_risk, (scores.stages >= 0) & (night.scoring.stages >= 0)
    wrong = scores.stages != night.scoring.stages
    spans = []
    for low, high in pairwise(RISK_CUTS):
        inside = both & (risk >= low) & ((risk < high) | (high == RISK_CUTS[-1]))
        if inside.any():
            spans.append((low, high, int(inside.sum()), float(risk[inside].mean()), float(wrong[inside].mean())))
    return spans


def _of_stages(scores: Scores, night: Night) -> Iterator[Difference]:
    if STAGING.name not in scores.agreement:
        return
    ours, given = scores.stages.astype(int), night.scoring.stages.astype(int)
    differ = (ours != given) & (ours >= 0) & (given >= 0)
    pair = np.where(differ, len(STAGES) * given + ours, -1)
    for start, stop in runs_of_values(pair):
        if differ[start]:
            n = f"{stop - start} epochs" if stop - start > 1 else "1 epoch"
            words = f"{STAGES[given[start]]} in the scoring given, {STAGES[ours[start]]} by the model, {n}"
            yield Difference(start * EPOCH_S, (stop - start) * EPOCH_S, STAGING.name, words)


def _of_events(scores: Scores, night: Night) -> Iterator[Difference]:
    for room in rooms_of(scores.tasks):
        name = room.task.name
        if name not in scores.agreement:
            continue
        from sleepmami_jax.metrics.events import match  # scikit-learn takes long to import

        human_stages = night.scoring.stages if "stages" in night.scoring.scored else scores.stages
        given = room.counted(night.scoring.events, np.where(scores.monitored[name], human_stages, np.int8(-1)))
        ours = [event for event in scores.events if event.kind in room.task.kinds]
        matched = match(given, ours)
        found, true = {i for i, _ in matched}, {j for _, j in matched}
        yield from (_alone(e, name, "in the scoring given only") for i, e in enumerate(given) if i not in found)
        yield from (_alone(e, name, "by the model only") for j, e in enumerate(ours) if j not in true)


def _alone(event: Event, task: str, who: str) -> Difference:
    return Difference(event.onset_s, event.duration_s, task, f"{kind_title(event.kind)} {who}")
