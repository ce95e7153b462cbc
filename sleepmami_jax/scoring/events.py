"""Probabilities per second -> events."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from data_pipeline.night import Event, EventKind
from data_pipeline.runs import runs
from sleepmami_jax.scoring.rules import AROUSAL_MAX_S, arousals_apart, breathing_rules


def breathing_probability(respiratory_probs: np.ndarray) -> np.ndarray:
    """P(event) of every second: (S, 3) over (none, hypopnea, apnea) -> (S,)."""
    return respiratory_probs[:, 1] + respiratory_probs[:, 2]


def breathing_events(respiratory_probs: np.ndarray, threshold: float) -> tuple[Event, ...]:
    """Apneas and hypopneas: runs of seconds where P(event) > `threshold`, by `rules.breathing_rules`.

    An event is the type whose mean probability over its seconds is larger; the model tells no obstructive
    from central apneas. Sleep is not asked for here: see `rules.counted_breathing`.

    Args:
      respiratory_probs: (S, 3) over (none, hypopnea, apnea).
      threshold: a probability.
    """
    marks = _marks(breathing_probability(respiratory_probs) > threshold, EventKind.HYPOPNEA)
    events = []
    for event in breathing_rules(marks):
        _, hypopnea, apnea = _mean_over(respiratory_probs, event)
        events.append(replace(event, kind=EventKind.APNEA if apnea > hypopnea else EventKind.HYPOPNEA))
    return tuple(events)


def arousals(arousal_probs: np.ndarray, threshold: float) -> tuple[Event, ...]:
    """Arousals: runs of seconds of (S,) probabilities above `threshold`, by `rules.arousals_apart`.

    One longer than an arousal can be is cut to where it is most probable; marks without probabilities
    (`rules.arousal_rules`) are cut to their beginning.
    """
    longest_s = int(AROUSAL_MAX_S)
    total = np.concatenate([[0.0], np.cumsum(arousal_probs, dtype=np.float64)])
    found = []
    for event in arousals_apart(_marks(arousal_probs > threshold, EventKind.AROUSAL)):
        if event.duration_s > longest_s:
            start, stop = round(event.onset_s), round(event.end_s)
            sums = total[start + longest_s : stop + 1] - total[start : stop + 1 - longest_s]
            event = replace(event, onset_s=float(start + sums.argmax()), duration_s=AROUSAL_MAX_S)
        found.append(event)
    return tuple(found)


def mean_probability(probs: np.ndarray, event: Event) -> float:
    """Mean over an event's seconds of (S,) probabilities."""
    return float(_mean_over(probs, event))


def _mean_over(probs: np.ndarray, event: Event) -> np.ndarray:
    return probs[round(event.onset_s) : round(event.end_s)].mean(axis=0, dtype=np.float64)


def _marks(mask: np.ndarray, kind: EventKind) -> list[Event]:
    return [Event(kind, float(start), float(stop - start)) for start, stop in runs(mask)]
