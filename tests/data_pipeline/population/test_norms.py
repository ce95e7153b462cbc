"""Norms by sex and age: who is in them, and where a number lies."""

from dataclasses import asdict
from types import SimpleNamespace

import pytest

from data_pipeline.from_json import from_json
from data_pipeline.night import Demographics
from data_pipeline.population.card import Spread
from data_pipeline.population.norms import FEWEST_PEOPLE, Norm, norm_for, norms_of, percentile


def night(person, age_years=45.0, sex="F", cohort="here"):
    return SimpleNamespace(cohort=cohort, subject_id=str(person), demographics=Demographics(age_years, sex))


def test_only_groups_of_enough_people_have_a_norm_and_it_survives_a_file():
    women = [(night(n, 40.0 + n / 2), {"tst_min": 300.0 + n, "rem_latency_min": None}) for n in range(20)]
    men = [(night(n, sex="M"), {"tst_min": 1.0}) for n in range(FEWEST_PEOPLE - 1)]
    again = [(night(0, sex="M"), {"tst_min": 9.0})] * 5  # the same man
    nobody = [(night(n, sex=None), {"tst_min": 1.0}) for n in range(30)]
    (norm,) = norms = norms_of([*women, *men, *again, *nobody])
    assert str(norm) == "20 women of 40 to 49 years"
    assert norm.spreads.keys() == {"tst_min"}  # nobody had REM
    assert norm.spreads["tst_min"].quantiles == (302.0, 305.0, 310.0, 314.0, 317.0)
    assert from_json(tuple[Norm, ...], [asdict(norm)]) == norms


def test_a_person_is_compared_with_their_own_sex_and_age_alone():
    norms = norms_of(
        (night(f"{age}{sex}{n}", age, sex), {"tst_min": float(n)})
        for age in (49.9, 50.0)
        for sex in "FM"
        for n in range(20)
    )
    assert [(n.sex, n.from_years, n.to_years) for n in norms] == [
        ("F", 40, 50), ("F", 50, 60), ("M", 40, 50), ("M", 50, 60),
    ]  # fmt: skip
    assert norm_for(norms, Demographics(49.9, "M")) is norms[2]
    assert norm_for(norms, Demographics(50, "F")) is norms[1]
    for person in (Demographics(60, "F"), Demographics(50), Demographics(None, "F")):
        assert norm_for(norms, person) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (299.9, "below P10"),
        (300, "P10"),
        (312.5, "P14"),
        (380, "P50"),
        (450, "P81"),
        (500, "P90"),
        (501, "above P90"),
    ],
)
def test_a_number_lies_between_quantiles(value, words):
    assert percentile(Spread(40, 380.0, 50.0, (300.0, 350.0, 380.0, 420.0, 500.0)), value) == words


def test_where_many_have_the_same_it_lies_in_their_middle():
    assert percentile(Spread(40, 0.5, 1.0, (0.0, 0.0, 0.0, 1.0, 4.0)), 0.0) == "P30"


def test_what_is_withheld_is_refused():
    with pytest.raises(ValueError, match="withheld"):
        percentile(Spread(3), 1.0)


def test_a_norm_of_too_few_is_refused():
    with pytest.raises(ValueError, match="at least 20"):
        Norm("F", 40, 50, 3, {})
