"""The same figures of groups of people: by age, sex, weight, how ill they are, and where they were recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from data_pipeline.tasks import BREATHING
from sleepmami_jax.evaluation.measures import Compared
from sleepmami_jax.evaluation.nights import ScoredNight
from sleepmami_jax.metrics.people import FEWEST_PEOPLE, intervals, known
from sleepmami_jax.tasks.breathing import SEVERITIES, severity

AGE_CUTS = (18, 40, 60)
"""Children, and three of about equal length of adult life (our choice)."""
BMI_CUTS = (18.5, 25, 30)
"""Underweight, normal, overweight, obese (WHO 2000)."""


def subgroups(compared: Mapping[str, Compared], nights: Sequence[ScoredNight]) -> list[dict[str, Any]]:
    """A row a group: `factor`, `group`, `n_people`, `n_nights`, and `figures` of it.

    `figures` has of each task one pooled figure [value, lower, upper], kappa of stages and F1 of events, and of events
    the mean error of their index. It is empty for a group of fewer than `FEWEST_PEOPLE`: nobody is a group.
    Severity is by the AHI of the people's own scoring; a night of which something is not known is in no group of it.
    """
    members: dict[tuple[int, int, str, str], set[int]] = {}
    for night, ahi in zip(nights, _ahi(compared, nights), strict=True):
        for group in _groups_of(night, ahi):
            members.setdefault(group, set()).add(id(night))
    rows = []
    for group, inside in sorted(members.items()):
        people = {n.entry.subject_id for n in nights if id(n) in inside}
        enough = len(people) >= FEWEST_PEOPLE
        figures = {k: v for name, task in compared.items() for k, v in _figures(name, task, inside)} if enough else {}
        facts = {"factor": group[2], "group": group[3], "n_people": len(people), "n_nights": len(inside)}
        rows.append(facts | {"figures": figures})
    return rows


def _figures(name: str, task: Compared, inside: set[int]) -> Iterator[tuple[str, list[float | None]]]:
    places = [i for i, night in enumerate(task.nights) if id(night) in inside]
    if not places:
        return
    wanted = "kappa" if task.room is None else "f1"
    rows, people = task.rows[places], [task.people[i] for i in places]
    value = known(task.figures(rows.sum(axis=0))[wanted])
    yield f"{name}_{wanted}", [value, *_limits(intervals(rows, people, task.figures).get(wanted))]
    if task.room is not None:
        human, ours = (np.array([side[i] for i in places], float) for side in task.indices[task.room.index])
        error = np.abs(ours - human)  # None became NaN
        rows = np.column_stack([np.nan_to_num(error), np.isfinite(error)])
        sides = intervals(rows, people, lambda sums: {"mae": sums[..., 0] / sums[..., 1]})
        mean = float(np.nanmean(error)) if np.isfinite(error).any() else None
        yield f"{name}_index_mae", [mean, *_limits(sides.get("mae"))]


def _limits(interval: list[float] | None) -> list[float | None]:
    return [None, None] if interval is None else interval


def _groups_of(night: ScoredNight, ahi_per_h: float | None) -> Iterator[tuple[int, int, str, str]]:
    """(place of the factor, place of the group, factor, group), by which they are sorted."""
    person = night.entry.demographics
    if person.age_years is not None:
        yield (0, *_between("age", person.age_years, AGE_CUTS))
    if person.sex is not None:
        yield 1, 0, "sex", {"F": "women", "M": "men"}[person.sex]
    if person.bmi is not None:
        yield (2, *_between("BMI", person.bmi, BMI_CUTS))
    if ahi_per_h is not None:
        name = severity(ahi_per_h)
        yield 3, SEVERITIES.index(name), "apnea", name
    yield 4, 0, "site", night.entry.site


def _between(factor: str, value: float, cuts: Sequence[float]) -> tuple[int, str, str]:
    place = int(np.searchsorted(cuts, value, side="right"))
    inner = [f"{low:g} to {high:g}" for low, high in pairwise(cuts)]
    return place, factor, (f"below {cuts[0]:g}", *inner, f"{cuts[-1]:g} and more")[place]


def _ahi(compared: Mapping[str, Compared], nights: Sequence[ScoredNight]) -> list[float | None]:
    task = compared.get(BREATHING.name)
    human = {} if task is None else dict(zip(map(id, task.nights), task.indices[task.room.index][0], strict=True))
    return [human.get(id(night)) for night in nights]
