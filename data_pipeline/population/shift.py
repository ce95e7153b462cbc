"""Where two populations differ enough to matter: nights a model was trained on against nights it is to be used on.

It compares what the cards say, group against group. No difference found is no proof that a model works there; a
difference found says where to look first.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.night import STAGES
from data_pipeline.population.card import APNEA_HYPOPNEA, ChannelPopulation, Population, Spread
from data_pipeline.population.spectrum import BANDS_HZ

STANDARDISED = 0.5
"""Difference of means over the pooled standard deviation. At half of one, 69 % of one group lie above the mean of the
other: the medium effect of Cohen (1988), which he calls visible to the naked eye."""
CHANCE = 2.0
"""Standard errors that a difference between people must exceed besides: small groups differ by chance."""
SHARE = 0.2
"""Difference in the share of women or of good seconds: one in five is another."""
PRESENCE = 0.5
"""Difference in the share of nights with a channel, or recorded slower than we store: most of one side have what most
of the other lack. Models are trained with channels left out at random, so less should not matter."""
BAND_RATIO = 2.0
"""Ratio of a band's share of power: 3 dB, by which a filter is down at its corner."""
AMPLITUDE_RATIO = 3.0
"""Ratio of amplitudes. Gain is normalised away night by night, so only what may be a wrong unit or another placement
counts: half a decade."""


@dataclass(frozen=True)
class Difference:
    """One comparison.

    Attributes:
      topic: "demographics", "montage", "rates", "quality", "amplitudes", "spectra", "stages" or "events".
      what: what is compared, e.g. "C4 delta, share of power".
      a, b: its value on both sides; None if unknown, or of too few people.
      size: b against a in the unit of `measure`; None if either is None.
      measure: "sd" (difference over the pooled standard deviation), "share" (difference) or "ratio".
      matters: whether it exceeds the measure's threshold above.
    """

    topic: str
    what: str
    a: float | None
    b: float | None
    size: float | None
    measure: str
    matters: bool


def compare(a: Population, b: Population) -> tuple[Difference, ...]:
    """Population `b`, where a model is to be used, against `a`, which it was trained on; in the order of the card.

    >>> from data_pipeline.population.file import read_population
    >>> [d.what for d in compare(read_population(Path("shards")), read_population(Path("shards"))) if d.matters]
    []
    """
    return tuple(_comparisons(a, b))


def comparison_text(a: Population, b: Population, differences: tuple[Difference, ...]) -> str:
    """A table of what matters, and by topic how much does not or could not be compared."""
    lines = [f"A: {a.nights} nights of {a.people} people; B: {b.nights} nights of {b.people} people"]
    rows = [(d.what, _value(d, d.a), _value(d, d.b), _size(d)) for d in differences if d.matters]
    if rows:
        rows = [("differs enough to matter", "A", "B", "B against A"), *rows]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        for what, *values in rows:
            cells = (value.rjust(width) for value, width in zip(values, widths[1:], strict=True))
            lines.append("  ".join((what.ljust(widths[0]), *cells)))
    else:
        lines.append("nothing that was compared differs enough to matter")
    compared = Counter(d.topic for d in differences if d.size is not None)
    alike = Counter(d.topic for d in differences if d.size is not None and not d.matters)
    lines.append(f"alike: {', '.join(f'{topic} {alike[topic]} of {n}' for topic, n in compared.items())}")
    unknown = Counter(d.topic for d in differences if d.size is None)
    if unknown:
        listed = ", ".join(f"{topic} {n}" for topic, n in unknown.items())
        lines.append(f"not compared, for A or B does not know it or knows too few people: {listed}")
    return "\n".join(lines)


def _comparisons(a: Population, b: Population) -> Iterator[Difference]:
    yield _means("demographics", "age (years)", a.age_years, b.age_years)
    yield _means("demographics", "BMI (kg/m2)", a.bmi, b.bmi)
    yield _women(a, b)
    for modality, slots in SLOTS.items():
        here, there = a.modalities.get(modality, 0), b.modalities.get(modality, 0)
        if not here and not there:
            continue
        yield _shares("montage", f"nights with any {modality}", _of(here, a.nights), _of(there, b.nights), PRESENCE)
        for slot in slots if here and there else ():
            if slot in a.channels or slot in b.channels:
                yield from _channel(slot, modality, a, b)
    for stage in STAGES:
        yield _means("stages", f"{stage}, share of the night", a.stages.get(stage), b.stages.get(stage))
    kinds = a.events_per_hour.keys() | b.events_per_hour.keys()
    for kind in sorted(kinds, key=lambda kind: (kind != APNEA_HYPOPNEA, kind)):
        what = f"{kind.replace('_', ' ')}, an hour of sleep"
        yield _means("events", what, a.events_per_hour.get(kind), b.events_per_hour.get(kind))


def _channel(slot: str, modality: Modality, a: Population, b: Population) -> Iterator[Difference]:
    x, y = a.channels.get(slot), b.channels.get(slot)
    here, there = _of(x.nights if x else 0, a.nights), _of(y.nights if y else 0, b.nights)
    yield _shares("montage", f"nights with {slot}", here, there, PRESENCE)
    if x is None or y is None:
        return
    facts = modality.facts
    if facts.voltage:  # breath and saturation are slower than any rate we take
        what = f"{slot} recorded below {facts.rate_hz} Hz"
        yield _shares("rates", what, _slow(x, modality), _slow(y, modality), PRESENCE)
    yield _shares("quality", f"{slot} good seconds", x.good_share.mean, y.good_share.mean, SHARE)
    if facts.is_value:
        yield _means("amplitudes", f"{slot} level ({facts.unit})", x.level, y.level)
    elif facts.unit:  # belts and flow sensors are not calibrated across laboratories
        what = f"{slot} amplitude ({facts.unit})"
        yield _ratio("amplitudes", what, x.amplitude.median, y.amplitude.median, AMPLITUDE_RATIO)
    for band in BANDS_HZ if x.band_share or y.band_share else ():
        what = f"{slot} {band}, share of power"
        yield _ratio("spectra", what, x.band_share.get(band), y.band_share.get(band), BAND_RATIO)


def _means(topic: str, what: str, a: Spread | None, b: Spread | None) -> Difference:
    mean_a, mean_b = a and a.mean, b and b.mean
    if mean_a is None or mean_b is None:
        return Difference(topic, what, mean_a, mean_b, None, "sd", False)
    # Cards give four digits: a spread below them is not known to be none.
    pooled = max(sqrt((a.sd**2 + b.sd**2) / 2), 1e-3 * max(abs(mean_a), abs(mean_b)))
    size = (mean_b - mean_a) / pooled if pooled else 0.0
    threshold = max(STANDARDISED, CHANCE * sqrt(1 / a.nights + 1 / b.nights))
    return Difference(topic, what, mean_a, mean_b, size, "sd", abs(size) > threshold)


def _women(a: Population, b: Population) -> Difference:
    (women_a, n_a), (women_b, n_b) = _women_among(a), _women_among(b)
    threshold = SHARE
    if n_a and n_b:
        both = (women_a + women_b) / (n_a + n_b)
        threshold = max(SHARE, CHANCE * sqrt(both * (1 - both) * (1 / n_a + 1 / n_b)))
    return _shares("demographics", "women", _of(women_a, n_a), _of(women_b, n_b), threshold)


def _women_among(p: Population) -> tuple[int, int]:
    """Nights of women, and nights of known sex; (0, 0) where they are withheld."""
    women, men = p.sex["F"], p.sex["M"]
    return (0, 0) if women is None or men is None else (women, women + men)


def _shares(topic: str, what: str, a: float | None, b: float | None, threshold: float) -> Difference:
    size = None if a is None or b is None else b - a
    return Difference(topic, what, a, b, size, "share", size is not None and abs(size) > threshold)


def _ratio(topic: str, what: str, a: float | None, b: float | None, threshold: float) -> Difference:
    size = b / a if a and b else None
    matters = size is not None and not 1 / threshold < size < threshold
    return Difference(topic, what, a, b, size, "ratio", matters)


def _of(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _slow(channel: ChannelPopulation, modality: Modality) -> float | None:
    """Share of nights whose file has a lower rate than ours: nothing above its Nyquist frequency is there."""
    slow = sum(n for rate, n in channel.source_rates_hz.items() if float(rate) < modality.facts.rate_hz)
    return _of(slow, channel.nights)


def _value(difference: Difference, value: float) -> str:
    if difference.measure == "share":
        return f"{value:.0%}"
    return f"{value:.3g}"


def _size(difference: Difference) -> str:
    match difference.measure:
        case "sd":
            return f"{difference.size:+.1f} SD"
        case "share":
            return f"{100 * difference.size:+.0f} points"
        case _:
            return f"x {difference.size:.2g}"
