"""How the events of a task are decoded, counted and told; a task without a file of its own has what stands here.

From the head to the page: probabilities of every second -> marks where an event is more probable than a threshold ->
events of a permitted length -> those that count -> statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from data_pipeline.night import EPOCH_S, Event
from data_pipeline.runs import runs
from data_pipeline.tasks import Task
from sleepmami_jax.tasks.rules import (
    TOLERANCE_S,
    count_in_sleep,
    keep_apart,
    keep_by_duration,
    merge,
    per_hour,
    sleep_minutes,
)

Counted = Mapping[str, Sequence[Event]]
"""Name of a task -> its events that count, for the tasks that this night's sensors allow."""


@dataclass(frozen=True)
class Room:
    """What scoring, evaluation and the report need to know of a task of events.

    Attributes:
      task: its record.
      permitted: marks of it -> events of a permitted length, sorted, asleep or not.
      statistics: (`Counted`, stages (E,)) -> flat, finite numbers, words or None; keys end in their units.
      definitions: statistic -> how it and those after it are defined.
      rows: (statistic, words, unit) of the report's table; the first is its tile too.
      index: the statistic that nights are compared by, per hour.
      lead_s: seconds before an event that count as part of it when it is asked whether it touches sleep.
      disturbed_by: kinds of event of other tasks; an event within `margin_s` seconds of one of them does not count.
      severity: index -> its class, where there are classes.
      crowded: why the rules leave out an event of a permitted length, where they do: it is too near another.
      endless: seconds after which a stretch of marks is no such event but something else, and what becomes of it.
    """

    task: Task
    permitted: Callable[[Sequence[Event]], tuple[Event, ...]]
    statistics: Callable[[Counted, np.ndarray], dict[str, Any]]
    definitions: Mapping[str, str]
    rows: tuple[tuple[str, str, str], ...]
    index: str
    lead_s: float = 0.0
    disturbed_by: frozenset[str] = frozenset()
    margin_s: float = 0.0
    severity: Callable[[float], str] | None = None
    crowded: str = ""
    endless: tuple[float, str] | None = None

    @property
    def index_words(self) -> str:
        """What a reader calls the index."""
        return next(words for key, words, _ in self.rows if key == self.index)

    def counted(self, events: Sequence[Event], stages: np.ndarray) -> tuple[Event, ...]:
        """Of events of all tasks those of this one that count, by a hypnogram (E,): permitted, apart, in sleep."""
        own = self.permitted([e for e in events if e.kind in self.task.kinds])
        return count_in_sleep(self._alone(own, events), stages, self.lead_s)

    def _alone(self, events: Sequence[Event], others: Sequence[Event]) -> tuple[Event, ...]:
        return keep_apart(events, [e for e in others if e.kind in self.disturbed_by], self.margin_s)

    def rejected(
        self, marks: Sequence[Event], others: Sequence[Event], stages: np.ndarray
    ) -> tuple[tuple[Event, str], ...]:
        """Of the marks of this task those that `counted` leaves out, each with the reason, sorted by onset.

        Args:
          marks: of this task, as a head or a person made them.
          others: events of all tasks, of which some may disturb.
          stages: (E,) codes.
        """
        permitted = self.permitted(marks)
        alone = self._alone(permitted, others)
        counted = set(count_in_sleep(alone, stages, self.lead_s))
        onsets_s, ends_s = (np.array([getattr(e, name) for e in permitted]) for name in ("onset_s", "end_s"))
        next_one = {mark: np.searchsorted(ends_s, mark.onset_s, "right") for mark in merge(marks, self.task)}
        lost = [
            (mark, self._forbids(mark))
            for mark, place in next_one.items()
            if place == len(permitted) or onsets_s[place] >= mark.end_s
        ]
        near = f"within {self.margin_s:g} s of a breathing event" if self.margin_s else "part of a breathing event"
        lost += [(e, near) for e in permitted if e not in set(alone)]
        lost += [(e, asleep_or_why(e, stages)) for e in alone if e not in counted]
        return tuple(sorted(lost, key=lambda one: one[0].onset_s))

    def _forbids(self, mark: Event) -> str:
        if mark.duration_s < self.task.shortest_s - TOLERANCE_S:
            return f"shorter than {self.task.shortest_s:g} s"
        if self.task.longest_s is not None and mark.duration_s > self.task.longest_s + TOLERANCE_S:
            return f"longer than {self.task.longest_s:g} s"
        return self.crowded

    def marks(self, probs: np.ndarray, threshold: float) -> tuple[Event, ...]:
        """Runs of seconds where some class is more probable than `threshold`, each of its most probable class.

        Args:
          probs: (S * rate_hz, 1 + classes), the first column is none.
          threshold: a probability.
        """
        return self._classed(_marks(probs, threshold, self.task), probs)

    def decode(self, probs: np.ndarray, threshold: float) -> tuple[Event, ...]:
        """The events of a night: runs of seconds where some class is more probable than `threshold`, by `permitted`.

        An event is of the class whose mean probability over its seconds is largest. Arguments as of `marks`.
        """
        return self._classed(self.permitted(_marks(probs, threshold, self.task)), probs)

    def _classed(self, events: Sequence[Event], probs: np.ndarray) -> tuple[Event, ...]:
        if len(self.task.events) == 1:
            return tuple(events)
        classes = [int(mean_over(probs, event, self.task)[1:].argmax()) for event in events]
        return tuple(replace(event, kind=self.task.events[c][0]) for event, c in zip(events, classes, strict=True))


def _marks(probs: np.ndarray, threshold: float, task: Task) -> list[Event]:
    return [
        Event(task.events[0][0], start / task.rate_hz, (stop - start) / task.rate_hz)
        for start, stop in runs(event_probability(probs) > threshold)
    ]


def asleep_or_why(event: Event, stages: np.ndarray) -> str:
    """Why an event that touches no sleep of a hypnogram (E,) does not count."""
    code = int(stages[min(int(event.onset_s // EPOCH_S), len(stages) - 1)])
    return "in wake" if code == 0 else "where nothing was scored or its sensor was off"


def event_probability(probs: np.ndarray) -> np.ndarray:
    """(T, 1 + classes) -> (T,) probability of any class."""
    return probs[:, 1:].sum(axis=1)


def mean_probability(probs: np.ndarray, event: Event, task: Task) -> float:
    """Mean over the seconds of an event of `task`, or their parts, of `event_probability`."""
    return float(mean_over(event_probability(probs), event, task))


def mean_over(probs: np.ndarray, event: Event, task: Task) -> np.ndarray:
    """Mean of probabilities over the seconds of an event of `task`, or their parts."""
    first, stop = round(event.onset_s * task.rate_hz), round(event.end_s * task.rate_hz)
    return probs[first : max(stop, first + 1)].mean(axis=0, dtype=np.float64)


def permitted(task: Task, marks: Sequence[Event], whole_s: float = float("inf")) -> tuple[Event, ...]:
    """Marks of a task, joined as `merge` does, that are neither too short nor too long."""
    return keep_by_duration(merge(marks, task, whole_s), task.shortest_s, task.longest_s)


def own_room(task: Task) -> Room:
    """The room of a task that has no file: its events as marked, those in sleep, and how many there are an hour."""
    name, index, n, mean = task.name, *(f"{task.name}_{what}" for what in ("index_per_h", "events", "event_mean_s"))

    def statistics(counted: Counted, stages: np.ndarray) -> dict[str, Any]:
        events = counted[name]
        return {
            index: per_hour(len(events), sleep_minutes(stages)),
            n: len(events),
            mean: float(np.mean([e.duration_s for e in events])) if events else None,
        }

    longest = "" if task.longest_s is None else f" and at most {task.longest_s:g} s"
    definition = (
        f"{task.title} index: the {task.plural} listed, per hour of monitored sleep; one lasts at least "
        f"{task.shortest_s:g} s{longest}, marks up to {task.join_s:g} s apart are one, and some of it lies in sleep"
    )
    rows = ((index, f"{task.title} index", "/h"), (n, "Events", ""), (mean, "Mean duration", "s"))
    return Room(task, partial(permitted, task), statistics, {index: definition}, rows, index)
