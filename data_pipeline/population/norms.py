"""Norms: how a number of the night is spread over people of one sex and about one age.

They are of those whom a model learned from, as scorers scored them; often patients, and no reference values of healthy
people. Simulated people are nobody's norm. Like the population card they travel with a model, and tell of no person.
"""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from data_pipeline.night import AGE_YEARS, Demographics
from data_pipeline.population.card import QUANTILES, Spread, person_of, spread_of
from data_pipeline.shards.manifest import NightEntry

BORDERS_YEARS = (AGE_YEARS[0], 6, 13, 18, 30, 40, 50, 60, 70, 80, AGE_YEARS[1] + 1)
"""Ages are these and up to the next: those of school and youth, then decades (our choice)."""
FEWEST_PEOPLE = 20
"""Of fewer, the tenth percentile is one person or two (our choice)."""
PEOPLE = {"F": ("girls", "women"), "M": ("boys", "men")}
ADULT_YEARS = 18
"""Whom the words call a woman or a man."""


@dataclass(frozen=True)
class Norm:
    """People of one sex, of `from_years` to less than `to_years`.

    Attributes:
      people: how many.
      spreads: by statistic of the night, where `FEWEST_PEOPLE` or more have it.
    """

    sex: str
    from_years: int
    to_years: int
    people: int
    spreads: dict[str, Spread]

    def __post_init__(self) -> None:
        if self.sex not in PEOPLE or not self.from_years < self.to_years or self.people < FEWEST_PEOPLE:
            raise ValueError(
                f"norm of {self.people} people {self.sex!r} of {self.from_years} to {self.to_years} years; "
                f"expected F or M, years that rise, and at least {FEWEST_PEOPLE}"
            )

    def __str__(self) -> str:
        who = PEOPLE[self.sex][self.from_years >= ADULT_YEARS]
        return f"{self.people} {who} of {self.from_years} to {self.to_years - 1} years"


def norms_of(nights: Iterable[tuple[NightEntry, Mapping[str, float | None]]]) -> tuple[Norm, ...]:
    """Of nights and their statistics, None where one does not exist; a person with several nights counts once.

    Nights of people whose age or sex is unknown are left out.
    """
    people, values = defaultdict(set), defaultdict(lambda: defaultdict(list))
    for night, statistics in nights:
        if (band := _band(night.demographics)) is not None:
            people[band].add(person_of(night))
            for name, value in statistics.items():
                values[band][name].append((person_of(night), value))
    norms = []
    for band in sorted(band for band, known in people.items() if len(known) >= FEWEST_PEOPLE):
        known = {name: spread_of(pairs) for name, pairs in values[band].items() if _people(pairs) >= FEWEST_PEOPLE}
        sex, place = band
        norms.append(Norm(sex, BORDERS_YEARS[place], BORDERS_YEARS[place + 1], len(people[band]), known))
    return tuple(norms)


def _people(pairs: Sequence[tuple[tuple[str, str], float | None]]) -> int:
    return len({person for person, value in pairs if value is not None})


def _band(person: Demographics) -> tuple[str, int] | None:
    """Sex, and place of the age among `BORDERS_YEARS`."""
    if person.sex is None or person.age_years is None:
        return None
    return person.sex, bisect(BORDERS_YEARS, person.age_years) - 1


def norm_for(norms: Sequence[Norm], person: Demographics) -> Norm | None:
    """The norm of people like this one; None where there is none, or the age or sex is unknown."""
    if (band := _band(person)) is None:
        return None
    sex, place = band
    return next((norm for norm in norms if (norm.sex, norm.from_years) == (sex, BORDERS_YEARS[place])), None)


def percentile(spread: Spread, value: float) -> str:
    """Where a number lies among those of a spread: "P38" where 38 of a hundred people have less, by a straight line
    between the two known quantiles around it.

    >>> of_sleep = Spread(40, 380.0, 50.0, (300.0, 350.0, 380.0, 420.0, 460.0))
    >>> percentile(of_sleep, 365.0), percentile(of_sleep, 380.0), percentile(of_sleep, 100.0)
    ('P38', 'P50', 'below P10')

    Raises:
      ValueError: the spread is withheld.
    """
    if spread.quantiles is None:
        raise ValueError("the spread is withheld: fewer people stand behind it than may be told of")
    known = [round(100 * q) for q in QUANTILES]
    if value < spread.quantiles[0]:
        return f"below P{known[0]}"
    if value > spread.quantiles[-1]:
        return f"above P{known[-1]}"
    # Where several quantiles are one number, such as no apnea at all, it lies in the middle of them.
    low = next(i for i, q in enumerate(spread.quantiles) if q >= value)
    high = max(i for i, q in enumerate(spread.quantiles) if q <= value)
    if low <= high:
        return f"P{round((known[low] + known[high]) / 2)}"
    below, above = spread.quantiles[high], spread.quantiles[low]
    share = (value - below) / (above - below)
    return f"P{round(known[high] + share * (known[low] - known[high]))}"
