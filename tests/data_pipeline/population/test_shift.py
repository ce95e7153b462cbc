"""Where two populations differ, and where only by chance."""

from dataclasses import replace

import numpy as np

from data_pipeline.night import Channel, Demographics
from data_pipeline.population.file import read_population
from data_pipeline.population.shift import compare, comparison_text
from tests.support.populations import matters, prepared, replaced


def test_the_same_kind_of_nights_does_not_differ(base, tmp_path):
    other = read_population(prepared(tmp_path, range(12, 24), change=lambda n: replace(
        n, demographics=replace(n.demographics, age_years=n.demographics.age_years - 12, bmi=n.demographics.bmi - 12)
    )))  # fmt: skip
    card = read_population(base)
    assert matters(card, other) == matters(card, card) == set()
    assert "nothing that was compared differs enough" in comparison_text(card, other, compare(card, other))


def test_each_kind_of_difference_is_found(base, tmp_path):
    def slow_wave(channel: Channel) -> np.ndarray:
        t = np.arange(channel.samples.size) / channel.rate_hz
        return (4 * channel.samples + 150 * np.sin(2 * np.pi * 2 * t)).astype(np.float32)

    def change(night):
        night = replaced("C3", samples=slow_wave, source_rate_hz=lambda c: 100.0)(night)
        night = replaced("SPO2", samples=lambda c: c.samples - 10, source_rate_hz=lambda c: 0.5)(night)
        night = replaced("E1", quality=lambda c: np.resize(np.uint8([0, 0, 0, 0, 0, 1, 1]), c.quality.size))(night)
        channels = tuple(c for c in night.channels if c.slot != "THORAX")
        return replace(night, channels=channels, demographics=Demographics(70.0 + len(night.night_id), "F", 26.0))

    card = read_population(base)
    other = read_population(prepared(tmp_path, range(12), change=change))
    expected = {
        "age (years)",
        "BMI (kg/m2)",
        "women",
        "nights with any RESP",
        "C3 recorded below 128 Hz",
        "C3 amplitude (uV)",
        "C3 delta, share of power",
        "C3 theta, share of power",
        "C3 alpha, share of power",
        "C3 sigma, share of power",
        "C3 beta, share of power",
        "E1 good seconds",
        "SPO2 level (%)",
    }
    assert matters(card, other) == expected
    text = comparison_text(card, other, compare(card, other))
    (women,) = [line.split() for line in text.splitlines() if line.startswith("women")]
    assert women == ["women", "50%", "100%", "+50", "points"]
    (rate,) = [line.split()[-4:] for line in text.splitlines() if line.startswith("C3 recorded")]
    assert rate == ["0%", "100%", "+100", "points"]
    assert any(line.startswith("alike: demographics 0 of 3") for line in text.splitlines())


def test_a_difference_that_chance_makes_does_not_count(base):
    card = read_population(base)
    older = replace(card.age_years, mean=card.age_years.mean + 0.6 * card.age_years.sd)
    few, many = (replace(card, age_years=replace(older, nights=n)) for n in (6, 6000))
    large = replace(card, age_years=replace(card.age_years, nights=6000))
    assert matters(large, few) == set() and matters(large, many) == {"age (years)"}


def test_a_sensor_that_half_of_one_side_lack_matters_and_one_that_fewer_lack_does_not(base):
    card = read_population(base)
    assert card.nights == card.modalities["RESP"] == 12
    few, many = (replace(card, modalities=card.modalities | {"RESP": n}) for n in (7, 5))
    assert matters(card, few) == set() and matters(card, many) == {"nights with any RESP"}
