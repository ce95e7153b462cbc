"""Bodies differ as people do."""

import numpy as np
import pytest

from data_pipeline.simulate.constitution import PLAIN, draw_constitution
from data_pipeline.simulate.person import draw_person


@pytest.fixture(scope="module")
def varied():
    return [draw_person(np.random.default_rng([41, index]), "x", variety=1) for index in range(500)]


def test_without_variety_a_body_is_plain():
    assert draw_person(np.random.default_rng(0), "x", variety=0).constitution == PLAIN


@pytest.mark.parametrize(
    ("trait", "low", "high"),
    [
        ("ahi_per_h", 0.5, 60),
        ("heart_bpm", 52, 88),
        ("breaths_per_min", 11.5, 19),
        ("spo2_percent", 93.5, 98.5),
        ("circulation_s", 11, 24),
        ("plm_per_h", 0, 30),
    ],
)
def test_traits_reach_as_far_as_people(varied, trait, low, high):
    values = [getattr(person, trait) for person in varied]
    assert np.percentile(values, 5) <= low and np.percentile(values, 95) >= high


def test_traits_stay_within_life(varied):
    for person in varied:
        assert 40 <= person.heart_bpm <= 110 and 8 <= person.breaths_per_min <= 32
        assert 88 <= person.spo2_percent <= 99 and 0 <= person.ahi_per_h <= 100


def test_a_tenth_at_least_has_no_apnea_and_some_are_ill(varied):
    assert 0.1 < np.mean([person.ahi_per_h < 2 for person in varied]) < 0.5
    assert 0.05 < np.mean([person.ahi_per_h > 40 for person in varied]) < 0.3
    own = [person.constitution for person in varied]
    for has in ("fibrillates", "is_periodic", "ectopic_per_h", "mouth_share", "snore_share"):
        assert 0.005 < np.mean([bool(getattr(body, has)) for body in own]) < 0.7, has
    largest = [max(body.ecg_waves, key=lambda wave: abs(wave[2]))[2] for body in own]
    assert 0.1 < np.mean(np.array(largest) < 0) < 0.4  # a deep S and hardly an R


def test_children_breathe_faster():
    adult = draw_person(np.random.default_rng(3), "x", variety=0)
    child = type(adult)(**(vars(adult) | {"age_years": 5.0}))
    drawn = [
        [draw_constitution(np.random.default_rng(seed), person, 1.0) for seed in range(100)]
        for person in (adult, child)
    ]
    for trait, more in (("breaths_per_min", 5), ("heart_bpm", 15)):
        plain, young = (np.mean([body[trait] for body in bodies]) for bodies in drawn)
        assert young > plain + more
