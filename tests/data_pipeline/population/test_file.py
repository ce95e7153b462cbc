"""The card on the disk."""

import json
from dataclasses import asdict

import pytest

from data_pipeline.from_json import from_json
from data_pipeline.population.card import Population, population_of
from data_pipeline.population.file import POPULATION, read_population, write_population
from data_pipeline.prepare.run import prepare
from tests.support.nights import load_random_night, write_recordings
from tests.support.populations import nights_of


def test_prepare_leaves_a_card_of_the_same_bytes(tmp_path):
    folder = write_recordings(tmp_path / "in", [1, 2, 3])
    prepare([folder], tmp_path / "one", load=load_random_night)
    prepare(sorted(folder.glob("*.edf"), reverse=True), tmp_path / "two", load=load_random_night)
    card = (tmp_path / "one" / POPULATION).read_bytes()
    assert card == (tmp_path / "two" / POPULATION).read_bytes()
    for damage in (
        lambda path: path.unlink(),
        lambda path: path.write_text("{}"),
        lambda path: path.write_text("["),
    ):
        damage(tmp_path / "one" / POPULATION)
        write_population(tmp_path / "one")
        assert card == (tmp_path / "one" / POPULATION).read_bytes()
    prepare([write_recordings(folder, [4])], tmp_path / "one", load=load_random_night)
    assert read_population(tmp_path / "one" / POPULATION).nights == 4


def test_a_card_that_holds_is_not_made_again(base):
    card = read_population(base)
    shards = {path: path.read_bytes() for path in base.glob("*.array_record")}
    try:
        for path in shards:
            path.unlink()
        assert write_population(base) == read_population(base) == card
        with pytest.raises(ValueError, match=r"shard .*n0\.array_record is missing"):
            population_of(nights_of(base))
    finally:
        for path, content in shards.items():
            path.write_bytes(content)


def test_a_card_goes_through_json(base):
    card = read_population(base)
    assert from_json(Population, json.loads(json.dumps(asdict(card)))) == card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: "[", "no population card is in it"),
        (lambda card: [card], "no population card is in it"),
        (lambda card: card | {"version": 9}, "expected sleepmami-population version"),
        (lambda card: card | {"population": {}}, "age_years: is missing"),
        (
            lambda card: card | {"population": card["population"] | {"nights": "12"}},
            "nights: expected a whole number, found '12'",
        ),
        (
            lambda card: card | {"population": card["population"] | {"sex": {"F": 1}}},
            "expected F, M and unknown",
        ),
        (
            lambda card: card | {"population": card["population"] | {"hours": 1e400}},
            "hours: expected a finite number, found inf",
        ),
        (
            lambda card: card | {"population": card["population"] | {"bmi": card["population"]["bmi"] | {"sd": None}}},
            "expected all of them or none",
        ),
    ],
)
def test_what_is_no_card_is_refused(base, tmp_path, change, message):
    value = change(json.loads((base / POPULATION).read_text()))
    path = tmp_path / "card.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    with pytest.raises(ValueError, match=message) as error:
        read_population(path)
    assert "card.json" in str(error.value)


def test_where_nothing_is_there_is_no_card(tmp_path):
    with pytest.raises(ValueError, match="nowhere: expected a folder of prepared nights"):
        read_population(tmp_path / "nowhere")
