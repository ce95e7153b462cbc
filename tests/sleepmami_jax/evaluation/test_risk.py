"""Outcomes of people: what is gained where there is something to know, and the command on prepared nights."""

from __future__ import annotations

import json

import numpy as np
import pytest

from data_pipeline.night import Demographics
from data_pipeline.prepare.run import prepare
from sleepmami_jax.cli import parse, run_command
from sleepmami_jax.evaluation.linear import RISK, Learnt
from sleepmami_jax.evaluation.people import Person, blocks_of
from sleepmami_jax.evaluation.risk import ALL, DEMOGRAPHICS, GUESS, VECTOR, Target, probe_people, risk_table
from sleepmami_jax.export.folder import ModelFolder, save_model
from tests.conftest import narrow_config, random_model
from tests.support.nights import load_random_night, write_recordings


@pytest.fixture(scope="module")
def people():
    """People whose risk is of their age and of the first number of their vector; the bank knows a little of that."""
    rng = np.random.default_rng(0)
    made = []
    for k in range(160):
        vector, age = rng.standard_normal(12), rng.uniform(30, 80)
        bank = {"rate": vector[0] + 2 * rng.standard_normal(), "odd": 1.0} if k % 3 else {"odd": 1.0}
        made.append(Person(f"p{k}", Demographics(age, "FM"[k % 2], None if k % 7 == 0 else 25.0 + k % 5), vector, bank))
    return made


def outcome(people, log_hazard, seed=1):
    rng = np.random.default_rng(seed)
    comes, seen = rng.exponential(np.exp(-np.array([log_hazard(p) for p in people]))), rng.uniform(0.2, 2, len(people))
    known = zip(np.minimum(comes, seen), comes <= seen, strict=True)
    return Target("risk", {p.subject_id: of for p, of in zip(people, known, strict=True)})


def of_night(person):
    return 0.03 * person.demographics.age_years - 1.5 + person.vector[0]


@pytest.fixture(scope="module")
def found(people):
    return probe_people(outcome(people, of_night), people[:100], people[100:])


def test_a_night_that_knows_more_gains_over_demographics_and_over_the_bank(found):
    arms, gains = found["arms"], found["gains"]
    assert arms[GUESS]["c"] == [0.5, 0.5, 0.5] and found["n_train"] == 100 and found["events_test"] > 10
    assert arms[ALL]["c"][0] > 0.7 > 0.68 > arms[DEMOGRAPHICS]["c"][0]
    for over, gain in gains[ALL].items():
        assert gain["c"][0] == pytest.approx(arms[ALL]["c"][0] - arms[over]["c"][0]) and gain["c"][1] > 0
    (horizon,) = set(arms[ALL]) - {"c"}
    assert horizon.startswith("auroc_at_") and arms[ALL][horizon][0] > 0.7
    assert VECTOR not in gains  # it has not what demographics have


def test_nothing_is_gained_where_there_is_nothing(people):
    old = probe_people(
        outcome(people, lambda p: 0.08 * p.demographics.age_years - 4), people[:100], people[100:], [1.0]
    )
    assert old["arms"][DEMOGRAPHICS]["c"][0] > 0.65
    assert old["gains"][ALL][DEMOGRAPHICS]["c"][0] == pytest.approx(
        0, abs=0.03
    )  # and the bank, and the vector, cost nothing
    assert set(old["arms"][ALL]) == {"c", "auroc_at_1"}


def test_numbers_and_yes_or_no(people):
    level = {p.subject_id: 10 + 3 * p.vector[0] for p in people}
    found = probe_people(Target("number", level), people[:100], people[100:])
    middle = np.median([level[p.subject_id] for p in people[:100]])
    guess = np.mean([abs(level[p.subject_id] - middle) for p in people[100:]])
    assert found["arms"][GUESS]["mae"][0] == pytest.approx(guess)
    assert found["arms"][VECTOR]["mae"][0] < 0.1 * guess and found["arms"][VECTOR]["r2"][0] > 0.98
    assert found["gains"][ALL][DEMOGRAPHICS]["mae"][0] > 0.8 * guess  # less error is more gain
    sick = probe_people(Target("yes or no", {s: float(v > 10) for s, v in level.items()}), people[:100], people[100:])
    assert sick["arms"][VECTOR]["auroc"][0] > 0.95 and sick["arms"][GUESS]["auroc"] == [0.5] * 3


def test_an_outcome_is_not_told_from_itself_and_few_events_say_nothing(people):
    ages = {p.subject_id: p.demographics.age_years for p in people}
    found = probe_people(Target("number", ages, without=0), people[:100], people[100:])
    assert found["arms"][DEMOGRAPHICS]["r2"][0] < 0.2
    rare = Target("risk", {p.subject_id: (1.0 + k, k < 4) for k, p in enumerate(people)})
    rare = probe_people(rare, people[:100], people[100:])
    assert rare["events_train"] == 4 and rare["events_test"] == 0 and "arms" not in rare
    assert "not measured: fewer than 5" in risk_table({"stroke": rare})


def test_penalties_are_chosen_block_after_block(people):
    target = outcome(people, of_night)
    y = np.array([target.known[p.subject_id] for p in people], float)
    blocks = blocks_of(people)
    first = Learnt(RISK, [blocks[DEMOGRAPHICS]], y, np.arange(len(y)))
    both = [blocks[DEMOGRAPHICS], blocks[VECTOR]]
    np.testing.assert_array_equal(
        Learnt(RISK, both, y, np.arange(len(y)), before=first)(both), Learnt(RISK, both, y, np.arange(len(y)))(both)
    )


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Sixteen nights of as many people, half of them to learn from."""
    folder = tmp_path_factory.mktemp("nights")
    write_recordings(folder / "recordings", range(16))
    rows = [f"n{i},n{i},{('train', 'test')[i % 2]},{30 + i},{'FM'[i % 2]}\n" for i in range(16)]
    head = "night_id,subject_id,split,age_years,sex\n"
    (folder / "recordings" / "demographics.csv").write_text(head + "".join(rows))
    prepare([folder / "recordings"], folder / "shards", load=load_random_night)
    return folder / "shards"


def test_the_command_on_prepared_nights(shards, tmp_path, capsys):
    config = narrow_config()
    save_model(ModelFolder(config, random_model(config, ())[1], (), {}, {"training": []}), tmp_path / "model")
    rows = [f"N{i:02d},{1 + i % 5},{int(i % 3 > 0)},{i * i}\n" for i in range(16)]
    (tmp_path / "t.csv").write_text("subject_id,death_time,death_event,walk\n" + "".join(rows) + "nobody,1,0,3\n")
    words = ["sleepmami", "probe", str(shards), "--model", str(tmp_path / "model"), "--table", str(tmp_path / "t.csv")]
    assert run_command(parse([*words, "--out", str(tmp_path / "probe.json")])) == 0
    said = capsys.readouterr().out
    assert "1 of 17 rows are nobody's: line 18" in said and "gain over demographics + engineered" in said
    told = json.loads((tmp_path / "probe.json").read_text())
    assert told["outcomes"].keys() == {"death", "walk", "age_years", "bmi"}
    assert told["outcomes"]["death"]["n_train"] == told["outcomes"]["walk"]["n_test"] == 8
    assert told["outcomes"]["walk"]["arms"][ALL]["mae"][0] > 0
    assert run_command(parse([*words, "--out", str(tmp_path / "probe.json"), "--split", "train"])) == 1
    assert "did not learn from" in capsys.readouterr().err
