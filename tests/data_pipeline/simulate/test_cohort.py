"""The same bytes from any number of workers, and nobody else's files."""

import csv

import pytest

from data_pipeline.night import RecordingError
from data_pipeline.simulate import simulate_cohort
from data_pipeline.simulate.cohort import person_of
from data_pipeline.whole_files import HALF
from tests.support.simulated import HOURS, digests, truth_of


def test_two_workers_write_the_same_bytes_as_one(cohort, tmp_path):
    out, _ = cohort
    simulate_cohort(tmp_path, 3, seed=4, hours=HOURS, workers=2)
    assert digests(tmp_path) == digests(out)


def test_seed_changes_the_night(cohort, tmp_path):
    out, paths = cohort
    other = simulate_cohort(tmp_path, 1, seed=5, hours=HOURS)
    assert digests(tmp_path)[other[0].name] != digests(out)[paths[0].name]


def test_a_cohort_continues_and_refuses_strangers(tmp_path):
    first = simulate_cohort(tmp_path, 1, site="b", seed=1, hours=(0.5, 0.5))[0]
    written = first.stat().st_mtime_ns
    halves = [tmp_path / f".sim-b-0001.edf.1{HALF}", tmp_path / "truth" / f".sim-b-0001.json.2{HALF}"]
    for half in halves:
        half.touch()  # as a run leaves them that is killed
    calls = []
    paths = simulate_cohort(tmp_path, 2, site="b", seed=1, hours=(0.5, 0.5), progress=lambda: calls.append(1))
    assert len(paths) == len(calls) == 2 and not any(half.exists() for half in halves)
    assert first.stat().st_mtime_ns == written
    with pytest.raises(RecordingError, match="choose another folder"):
        simulate_cohort(tmp_path, 2, site="b", seed=2, hours=(0.5, 0.5))
    with pytest.raises(RecordingError, match=r"not of this cohort.*sim-b-0001"):
        simulate_cohort(tmp_path, 1, site="b", seed=1, hours=(0.5, 0.5))
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    with pytest.raises(RecordingError, match="changed since it was made"):
        simulate_cohort(tmp_path, 2, site="b", seed=1, hours=(0.5, 0.5))


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"n_nights": 0}, "nights is 0"),
        ({"site": "c"}, "site"),
        ({"hours": (9, 6)}, "hours"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, field):
    with pytest.raises(ValueError, match=field):
        simulate_cohort(tmp_path, **({"n_nights": 1} | arguments))


def test_one_person_in_four_has_two_nights_of_one_site():
    for site in (None, "a"):
        requests = [{"seed": 0, "site": site or "ab"[i % 2], "index": i} for i in range(40)]
        people = [person_of(request) for request in requests]
        nights = {}
        for request, person in zip(requests, people, strict=True):
            nights.setdefault(person.subject_id, []).append((request["site"], person))
        assert len(nights) == 32
        assert sum(len(group) == 2 for group in nights.values()) == 8
        assert all(len(set(group)) == 1 for group in nights.values())  # same site, same traits


def test_demographics_name_every_night(cohort):
    out, paths = cohort
    with (out / "demographics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["night_id"] for row in rows] == [path.stem for path in paths]
    assert rows[2]["subject_id"] == rows[0]["subject_id"]
    for row, path in zip(rows, paths, strict=True):
        person = truth_of(out, path)["person"]
        assert [float(row["age_years"]), row["sex"], float(row["bmi"])] == [
            person["age_years"],
            person["sex"],
            person["bmi"],
        ]
