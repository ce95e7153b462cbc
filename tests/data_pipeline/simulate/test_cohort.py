"""The same bytes from any number of workers, and nobody else's files."""

import csv

import numpy as np
import pytest
from edfio import read_edf

from data_pipeline.night import RecordingError
from data_pipeline.simulate import simulate_cohort
from data_pipeline.simulate.cohort import person_of
from data_pipeline.whole_files import HALF
from tests.support.simulated import HOURS, digests, truth_of


def test_two_workers_write_the_same_bytes_as_one(cohort, tmp_path):
    out, _ = cohort
    simulate_cohort(tmp_path, 3, seed=4, hours=HOURS, workers=2, variety=0)
    assert digests(tmp_path) == digests(out)


PLAIN = {
    "a": {
        "EEG F3-M2": [1684, -63, -241, -333, 617, -684],
        "EEG O2-M1": [-2473, 712, 212, 348, 290, -1583],
        "EOG E1-M2": [132, -89, -1, 64, -242, -223],
        "EMG Chin": [-806, 27, -1751, -745, 2753, -728],
        "EMG RAT": [73, 37, -358, 471, 42, -385],
        "ECG": [-658, 425, -797, -410, -722, -492],
        "NPress": [-687, -649, 423, -295, -1236, 2261],
        "Abdo": [-319, 1437, -2229, 1335, 1894, 2749],
        "SpO2": [950, 940, 950, 940, 950, 0],
    },
    "b": {
        "F3": [-293, -117, 181, -415, 85, 186],
        "O2": [50, -203, 47, 122, 68, -156],
        "LOC": [-248, -23, 183, -283, 111, 115],
        "Chin1": [124, -146, 73, -174, 54, -158],
        "LEG/R": [170, 20, -10, -13, 53, 74],
        "EKG": [-268, 2712, -204, -256, 27, -310],
        "Nasal Pressure": [909, -7, 1861, 2350, -348, -1044],
        "ABD": [2170, 1117, 363, -383, -1344, -119],
        "SaO2": [980, 970, 970, 960, 970, 970],
    },
}
"""Six samples of each lead, 1/12, 3/12 … 11/12 of the way, of the nights of seed 3 before there was `variety`."""


@pytest.mark.parametrize("site", PLAIN)
def test_without_variety_a_seed_makes_the_night_it_always_made(site, tmp_path):
    (path,) = simulate_cohort(tmp_path, 1, site=site, seed=3, hours=(0.5, 0.5), variety=0)
    signals = {signal.label: signal.digital for signal in read_edf(path).signals}
    for label, values in PLAIN[site].items():
        samples = signals[label]
        # Another draw changes every sample; another processor's order of summing moves some by a digit.
        assert np.allclose(samples[len(samples) // 12 :: len(samples) // 6], values, rtol=0, atol=1), label


def test_seed_changes_the_night(cohort, tmp_path):
    out, paths = cohort
    other = simulate_cohort(tmp_path, 1, seed=5, hours=HOURS, variety=0)
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
        ({"variety": 1.1}, "variety is 1.1; expected 0"),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, field):
    with pytest.raises(ValueError, match=field):
        simulate_cohort(tmp_path, **({"n_nights": 1} | arguments))


def test_one_person_in_four_has_two_nights_of_one_site():
    for site in (None, "a"):
        requests = [{"seed": 0, "site": site or "ab"[i % 2], "index": i, "variety": 0.0} for i in range(40)]
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
