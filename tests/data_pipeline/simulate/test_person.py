"""Age, sex and BMI shape a person as they do people."""

import numpy as np
import pytest

from data_pipeline.night import BREATHING_EVENTS, EventKind
from data_pipeline.simulate.head import ALPHA_DB
from data_pipeline.simulate.hypnogram import N2, N3, W
from data_pipeline.simulate.person import draw_person
from tests.support.simulated import count


def test_age_sex_and_bmi_shape_the_night(people):
    """Regression slopes over 200 persons against physiology's: sign and rough size."""
    design = np.array([[1, (p.age_years - 40) / 10, p.sex == "M", p.bmi - 25] for p, _, _ in people], float)

    def slopes(values):
        return np.linalg.lstsq(design, np.array(values), rcond=None)[0][1:]

    sleep_h = [np.count_nonzero(s != W) / 120 for _, s, _ in people]
    n3 = slopes([100 * np.mean(s[s != W] == N3) for _, s, _ in people])
    assert -3.5 < n3[0] < -0.7  # per decade
    assert -9 < n3[1] < -2  # men
    waso = slopes([np.count_nonzero(s[np.argmax(s != W) :] == W) / 2 for _, s, _ in people])
    assert 6 < waso[0] < 18  # Boulos 9.7 min per decade, and AHI's share
    arousals = slopes([count(e, {EventKind.AROUSAL}) / h for (_, _, e), h in zip(people, sleep_h, strict=True)])
    assert 1 < arousals[0] < 5  # Boulos 2.1
    nrem_min = [np.count_nonzero((s == N2) | (s == N3)) / 2 for _, s, _ in people]
    spindles = slopes([count(e, {EventKind.SPINDLE}) / m for (_, _, e), m in zip(people, nrem_min, strict=True)])
    assert -0.6 < spindles[0] < -0.1
    log_ahi = slopes(
        [np.log(0.5 + count(e, BREATHING_EVENTS) / h) for (_, _, e), h in zip(people, sleep_h, strict=True)]
    )
    assert 0.1 < log_ahi[0] < 0.6
    assert 0.3 < log_ahi[1] < 1.3
    assert 0.03 < log_ahi[2] < 0.14
    assert slopes([p.slow_wave_uv for p, _, _ in people])[0] < -5


def test_ahi_medians_are_near_hypnolaus():
    """Heinzer 2015: median 6.9 /h in women, 14.9 in men, 40–85 years; ours within 40 % over its age range."""
    ahi = {"F": [], "M": []}
    for index in range(1200):
        person = draw_person(np.random.default_rng([12, index]), "x", variety=0)
        if person.age_years >= 40:
            ahi[person.sex].append(person.ahi_per_h)
    assert np.median(ahi["F"]) == pytest.approx(6.9, rel=0.4)
    assert np.median(ahi["M"]) == pytest.approx(14.9, rel=0.4)


def test_varied_people_are_of_every_age_and_each_has_a_head():
    people = [draw_person(np.random.default_rng([13, index]), "x", variety=1.0) for index in range(400)]
    ages = np.array([person.age_years for person in people])
    assert ages.min() < 7 and ages.max() > 88
    assert 0.05 < np.mean(ages < 18) < 0.25
    slow = np.array([person.slow_wave_uv for person in people])
    n3 = np.array([person.n3_percent for person in people])
    assert np.median(slow[ages < 12]) > 1.5 * np.median(slow[(ages > 25) & (ages < 50)])
    assert np.median(n3[ages < 12]) > 1.2 * np.median(n3[(ages > 25) & (ages < 50)])
    alpha = np.array([person.head.alpha_db for person in people])
    assert 0.05 < np.mean(alpha == 0) < 0.16 and alpha.max() > 0.9 * ALPHA_DB[1]
    for trait, low, high in (("spindle_per_min", 2, 6), ("spindle_uv", 22, 52), ("k_complex_uv", 100, 220)):
        values = [getattr(person, trait) for person in people]
        assert np.percentile(values, 10) < low and np.percentile(values, 90) > high


def test_variety_between_is_between():
    def tilts(variety):
        people = [draw_person(np.random.default_rng([14, index]), "x", variety=variety) for index in range(100)]
        return np.std([person.head.tilt_db for person in people])

    assert 0.4 < tilts(0.5) / tilts(1.0) < 0.6
