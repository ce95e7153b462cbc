"""The card is true of the nights, and silent about persons."""

import numpy as np
import pytest

from data_pipeline.population.card import APNEA_HYPOPNEA, Population, population_text
from data_pipeline.population.file import POPULATION, read_population
from data_pipeline.population.shift import compare, comparison_text
from data_pipeline.shards.manifest import read_manifest
from tests.support.populations import SLOTS, matters, prepared


def test_the_card_says_what_the_nights_are(base):
    card = read_population(base)
    entries = read_manifest(base).nights
    assert (card.nights, card.people, card.cohorts, card.sites) == (12, 12, {"generic": 12}, {"here": 12})
    assert card.hours == round(12 * 97 / 3600, 1)
    assert card.sex == {"F": 6, "M": 6, "unknown": 0} and card.modalities == dict.fromkeys(
        ("EEG", "EOG", "RESP", "SPO2"), 12
    )
    assert (card.age_years.mean, card.age_years.median, card.age_years.nights) == (46.0, 46.5, 12)
    assert card.age_years.sd == pytest.approx(np.std(np.arange(12), ddof=1), rel=1e-3)
    assert card.age_years.quantiles == (42.5, 43.5, 46.5, 48.5, 49.5)  # means of five neighbours
    assert card.bmi.nights == 11
    assert (card.stages["N2"].mean, card.stages["W"].mean, card.stages["N3"].mean) == (0.5, 0.25, 0.0)
    per_hour = [
        sum(n for kind, n in e.event_counts.items() if kind != "arousal") * 120 / sum(map(e.stages.count, "1234"))
        for e in entries
    ]
    assert card.events_per_hour[APNEA_HYPOPNEA].mean == pytest.approx(np.mean(per_hour), rel=1e-3)
    assert list(card.channels) == list(SLOTS)
    c3 = card.channels["C3"]
    assert (c3.nights, c3.source_rates_hz) == (12, {"256": 12})
    assert c3.amplitude.median == pytest.approx(20, rel=0.02) and c3.level is None
    assert sum(c3.band_share.values()) == pytest.approx(1, abs=0.02)
    assert c3.band_power["beta"] == pytest.approx(400 / 64 * 14, rel=0.1)  # white noise of 20 uV, 14 Hz of 64
    assert 85 < card.channels["SPO2"].level.median < 100 and card.channels["THORAX"].band_share == {}


def test_too_few_people_are_not_told_of(tmp_path):
    def numbers(card: Population) -> list:
        spreads = [card.age_years, card.bmi, *card.stages.values(), *card.events_per_hour.values()]
        spreads += [s for c in card.channels.values() for s in (c.amplitude, c.good_share, c.level) if s]
        bands = [c.band_power or c.band_share for c in card.channels.values()]
        return [*(s.mean or s.sd or s.quantiles for s in spreads), *(band or None for band in bands)]

    four = read_population(prepared(tmp_path / "four", range(4)))
    one = read_population(prepared(tmp_path / "one", range(8), subject="anna"))
    for card, people in ((four, 4), (one, 1)):
        assert card.people == people and set(numbers(card)) == {None}
        assert card.sex == {"F": None, "M": None, "unknown": 0}
        assert card.channels["C3"].nights == card.nights  # how it was recorded is no secret
        assert "withheld" in population_text(card)
    assert matters(four, four) == set() and "not compared" in comparison_text(four, four, compare(four, four))
    five = read_population(prepared(tmp_path / "five", range(5)))
    assert set(five.age_years.quantiles) == {five.age_years.mean}  # no single person's age
    assert five.bmi.median is None and five.sex["F"] is None


def test_no_night_or_person_is_named(base):
    text = (base / POPULATION).read_text()
    for night in read_manifest(base).nights:
        assert f'"{night.night_id}' not in text and f'"{night.subject_id}' not in text
