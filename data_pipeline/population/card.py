"""The population card: whose nights a set of prepared nights holds, recorded how. Numbers of groups, never of a person.

A model works on nights like those it was trained on. The card is small enough to travel with a model, so that whoever
has recordings of their own can see where they differ (`population_shift`) without seeing the training nights.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_pipeline.modalities import SLOTS
from data_pipeline.night import EPOCH_S, STAGES, EventKind
from data_pipeline.population.spectrum import BANDS_HZ, band_powers, evenly
from data_pipeline.shards.manifest import ChannelEntry, NightEntry
from data_pipeline.shards.scale import IQR_OF_NORMAL
from data_pipeline.tasks import BREATHING

SMALLEST_CELL = 5
"""A number that tells of people is given only if at least so many stand behind it: fewer could be recognised in it.
Counts of nights, people, sites, cohorts and rates are given as they are; of the sexes, see `Population`."""
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
SPECTRUM_NIGHTS = 200
"""Spectra are those of at most so many nights, evenly spaced: a median of them is known to a tenth of the spread."""
APNEA_HYPOPNEA = "apnea_hypopnea"


@dataclass(frozen=True)
class Spread:
    """How a number is spread over people; one with several nights counts once, with their mean.

    Attributes:
      nights: nights in which it is known.
      mean, sd: None if fewer than `SMALLEST_CELL` people stand behind it.
      quantiles: at `QUANTILES`, each the mean of the `SMALLEST_CELL` people around it; None likewise.
    """

    nights: int
    mean: float | None = None
    sd: float | None = None
    quantiles: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        numbers = (self.mean, self.sd, self.quantiles)
        if None in numbers and numbers != (None, None, None):
            raise ValueError(f"mean, sd and quantiles {numbers}; expected all of them or none")
        if self.quantiles is not None and len(self.quantiles) != len(QUANTILES):
            raise ValueError(f"{len(self.quantiles)} quantiles; expected those at {QUANTILES}")
        if self.mean is not None and (self.nights < SMALLEST_CELL or self.sd < 0):
            raise ValueError(f"sd {self.sd} of {self.nights} nights; expected at least 0, of {SMALLEST_CELL}")

    @property
    def median(self) -> float | None:
        return None if self.quantiles is None else self.quantiles[QUANTILES.index(0.5)]


@dataclass(frozen=True)
class ChannelPopulation:
    """One slot over the nights that have it.

    Attributes:
      nights: how many have it.
      source_rates_hz: nights by rate in the file, e.g. {"256": 12}.
      good_share: share of good seconds, 0..1.
      amplitude: robust standard deviation (IQR / 1.349) in its modality's unit.
      level: median of the night, for SpO2 in %; None for signals that swing around 0.
      band_power: median over nights of the power in each of `spectrum.BANDS_HZ`, uV^2; {} where there is none.
      band_share: the same as a share of all bands, 0..1: does not depend on the amplifier's gain.
    """

    nights: int
    source_rates_hz: dict[str, int]
    good_share: Spread
    amplitude: Spread
    level: Spread | None
    band_power: dict[str, float]
    band_share: dict[str, float]

    def __post_init__(self) -> None:
        if wrong := [rate for rate in self.source_rates_hz if not re.fullmatch(r"[\d.e+-]+", rate)]:
            raise ValueError(f"source_rates_hz {wrong[0][:20]!r}; expected numbers")


@dataclass(frozen=True)
class Population:
    """A set of nights. Counts are nights unless they say people.

    Attributes:
      nights, people, hours: how much there is.
      cohorts, sites: nights of each; a night of an unknown site is under "".
      sex: nights under "F", "M" and "unknown"; F and M are None if either is of 1 to 4 people.
      age_years, bmi: of those nights in which they are known.
      scored: nights in which a scorer looked for it ("stages", event kinds).
      stages: share of each stage among the known epochs of a night.
      events_per_hour: events by kind in an hour of scored sleep, those in wake included; "apnea_hypopnea" is the
        sum of apneas and hypopneas.
      modalities: nights with any channel of it.
      channels: by slot.
    """

    nights: int
    people: int
    hours: float
    cohorts: dict[str, int]
    sites: dict[str, int]
    sex: dict[str, int | None]
    age_years: Spread
    bmi: Spread
    scored: dict[str, int]
    stages: dict[str, Spread]
    events_per_hour: dict[str, Spread]
    modalities: dict[str, int]
    channels: dict[str, ChannelPopulation]

    def __post_init__(self) -> None:
        if self.sex.keys() != {"F", "M", "unknown"}:
            raise ValueError(f"sex {sorted(self.sex)}; expected F, M and unknown")


def population_of(nights: Iterable[tuple[Path, NightEntry]]) -> Population:
    """The card of some nights, each with the folder that its shard lies in. The same nights give the same card.

    Reads the manifest's entries, and of the shards the epochs that spectra are taken of; one night is in memory at a
    time.

    Raises:
      ValueError: a shard is missing or damaged; it is named.
    """
    placed = list(nights)
    entries = [night for _, night in placed]
    channels = defaultdict(list)
    for night in entries:
        for channel in night.channels:
            if channel.normalisable():
                channels[channel.slot].append((person_of(night), channel))
    spectra = defaultdict(list)
    for place in evenly(len(placed), SPECTRUM_NIGHTS):
        for slot, power in band_powers(*placed[place]).items():
            spectra[slot].append((person_of(entries[place]), power))
    slots = [slot for names in SLOTS.values() for slot in names if slot in channels]
    return Population(
        nights=len(entries),
        people=len({person_of(night) for night in entries}),
        hours=round(sum(night.duration_s for night in entries) / 3600, 1),
        cohorts=_counts(night.cohort for night in entries),
        sites=_counts(night.site for night in entries),
        sex=_sexes(entries),
        age_years=spread_of([(person_of(n), n.demographics.age_years) for n in entries]),
        bmi=spread_of([(person_of(n), n.demographics.bmi) for n in entries]),
        scored=_counts(kind for night in entries for kind in night.scored),
        stages=_stages(entries),
        events_per_hour=_events(entries),
        modalities={str(m): n for m in SLOTS if (n := sum(any(c.modality is m for c in e.channels) for e in entries))},
        channels={slot: _channel(channels[slot], spectra[slot]) for slot in slots},
    )


def person_of(night: NightEntry) -> tuple[str, str]:
    """Who was recorded: cohort and id, for two cohorts may have one id."""
    return night.cohort, night.subject_id


def spread_of(values: Sequence[tuple[tuple[str, str], float | None]]) -> Spread:
    """The spread of (person, number) pairs; None is unknown.

    >>> spread_of([(("lab", str(n)), float(n)) for n in range(21)]).quantiles
    (2.0, 5.0, 10.0, 15.0, 18.0)
    """
    of_person = defaultdict(list)
    for person, number in values:
        if number is not None:
            of_person[person].append(number)
    n_nights, n_people = sum(map(len, of_person.values())), len(of_person)
    if n_people < SMALLEST_CELL:
        return Spread(n_nights)
    numbers = np.sort([np.mean(known) for known in of_person.values()])
    # A quantile of few people is one of them: a mean of those around it is not.
    around = np.lib.stride_tricks.sliding_window_view(numbers, SMALLEST_CELL).mean(axis=1)
    places = [round(q * (n_people - 1)) - SMALLEST_CELL // 2 for q in QUANTILES]
    quantiles = tuple(_rounded(q) for q in around[np.clip(places, 0, n_people - SMALLEST_CELL)])
    return Spread(n_nights, _rounded(numbers.mean()), _rounded(numbers.std(ddof=1)), quantiles)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _sexes(nights: Sequence[NightEntry]) -> dict[str, int | None]:
    people = Counter(sex for _, sex in {(person_of(n), n.demographics.sex) for n in nights})
    # Both are withheld if one is small: it would follow from the other and the number of nights.
    small = any(0 < people[sex] < SMALLEST_CELL for sex in ("F", "M"))
    count = Counter(night.demographics.sex for night in nights)
    return {"F": None if small else count["F"], "M": None if small else count["M"], "unknown": count[None]}


def _stages(nights: Sequence[NightEntry]) -> dict[str, Spread]:
    staged = [n for n in nights if "stages" in n.scored and n.stage_counts["?"] < n.n_epochs]
    shares = {
        stage: [(person_of(n), n.stage_counts[stage] / (n.n_epochs - n.stage_counts["?"])) for n in staged]
        for stage in STAGES
    }
    return {stage: spread_of(values) for stage, values in shares.items() if values}


def _events(nights: Sequence[NightEntry]) -> dict[str, Spread]:
    rates = defaultdict(list)
    for night in nights:
        asleep = sum(n for stage, n in night.stage_counts.items() if stage not in ("W", "?"))
        if "stages" not in night.scored or not asleep:
            continue
        kinds = {str(kind): {kind} for kind in EventKind if kind in night.scored}
        if BREATHING.was_scored(night.scored):
            kinds[APNEA_HYPOPNEA] = BREATHING.kinds
        for name, members in kinds.items():
            events = sum(night.event_counts.get(kind, 0) for kind in members)
            rates[name].append((person_of(night), events * 3600 / (asleep * EPOCH_S)))
    return {name: spread_of(rates[name]) for name in sorted(rates)}


def _channel(
    channels: Sequence[tuple[tuple[str, str], ChannelEntry]], spectra: Sequence[tuple[tuple[str, str], np.ndarray]]
) -> ChannelPopulation:
    enough = len({person for person, _ in spectra}) >= SMALLEST_CELL
    powers = np.array([power for _, power in spectra]) if enough else np.empty((0, len(BANDS_HZ)))
    shares = powers / powers.sum(axis=1, keepdims=True)
    is_level = channels[0][1].modality.facts.is_value
    return ChannelPopulation(
        nights=len(channels),
        source_rates_hz=_counts(f"{channel.source_rate_hz:g}" for _, channel in channels),
        good_share=spread_of([(person, channel.good_share) for person, channel in channels]),
        amplitude=spread_of([(person, channel.iqr / IQR_OF_NORMAL) for person, channel in channels]),
        level=spread_of([(person, channel.median) for person, channel in channels]) if is_level else None,
        band_power=_medians(powers),
        band_share=_medians(shares),
    )


def _medians(values: np.ndarray) -> dict[str, float]:
    """(nights, bands) -> median of each band; {} without nights."""
    if not len(values):
        return {}
    return {band: _rounded(m) for band, m in zip(BANDS_HZ, np.median(values, axis=0), strict=True)}


def population_text(p: Population) -> str:
    """The card for a person: some lines on whom and how, and a table of channels.

    >>> from data_pipeline.population.file import read_population
    >>> population_text(read_population(Path("shards"))).splitlines()[0]
    '1 nights of 1 people, 0.5 h'
    """
    spreads = {"age (years)": p.age_years, "BMI (kg/m2)": p.bmi}
    spreads |= {f"{stage}, share of the night": share for stage, share in p.stages.items()}
    spreads |= {f"{kind.replace('_', ' ')}, an hour of sleep": rate for kind, rate in p.events_per_hour.items()}
    if "SPO2" in p.channels and p.channels["SPO2"].level is not None:
        spreads["SpO2 level (%)"] = p.channels["SPO2"].level
    lines = [
        f"{p.nights} nights of {p.people} people, {p.hours:g} h",
        f"cohorts: {_listed(p.cohorts)}; sites: {_listed({site or 'unknown': n for site, n in p.sites.items()})}",
        f"sex: {_listed(p.sex)}",
        f"{'median (10th to 90th percentile)':<34}  nights",
        *(f"{name:<34}  {spread.nights:>6}  {_spread_text(spread)}" for name, spread in spreads.items()),
        f"{'channel':<15} {'nights':>6}  {'good':>5}  {'amplitude':>9}  {'  '.join(BANDS_HZ)}  rates (Hz)",
    ]
    for slot, channel in p.channels.items():
        shares = (_cell(channel.band_share.get(band), ".0%").rjust(len(band)) for band in BANDS_HZ)
        lines.append(
            f"{slot:<15} {channel.nights:>6}  {_cell(channel.good_share.median, '.0%'):>5}  "
            f"{_cell(channel.amplitude.median, '.3g'):>9}  {'  '.join(shares)}  "
            f"{', '.join(f'{n} x {rate}' for rate, n in channel.source_rates_hz.items())}"
        )
    return "\n".join(lines)


def _listed(counts: Mapping[str, int | None]) -> str:
    return ", ".join(f"{name} {'withheld' if n is None else n}" for name, n in counts.items()) or "none"


def _spread_text(spread: Spread) -> str:
    if spread.quantiles is None:
        return f"withheld, fewer than {SMALLEST_CELL} people"
    low, *_, high = spread.quantiles
    return f"{spread.median:.3g} ({low:.3g} to {high:.3g})"


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
