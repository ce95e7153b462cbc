"""The table of simulated against real, and both of its sides on short nights."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.modalities import Modality
from data_pipeline.night import EPOCH_S, Channel, Quality
from experiments.simulated_gap import (
    DERIVATIONS,
    band_statistics,
    made_people,
    made_person,
    real_people,
    rows,
    text,
    usable_epochs,
)

REAL = os.environ.get("SLEEPMAMI_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="SLEEPMAMI_REAL_DATA names no folder of real recordings")
REQUEST = {"seed": 0, "site": "b", "index": 1, "hours": [0.6, 0.6], "variety": 0.0}


def group(*values: float) -> dict:
    return {"central EEG": [{("RMS, uV", "N2"): value} for value in values]}


def test_a_row_is_marked_where_the_median_of_people_lies_outside_the_simulated_range():
    made = group(*range(101))
    for value, mark in ((4.0, "people below"), (6.0, ""), (94.0, ""), (96.0, "people above")):
        (row,) = rows(made, group(value - 50, value, value + 50))
        assert (row.mark, row.made, row.real[0], row.n) == (mark, (50, 5, 95), value, (101, 3))


def test_the_last_line_counts_the_marks_and_what_one_side_lacks_is_no_row():
    made, real = group(1, 2, 3), group(9)
    made["central EEG"][0]["RMS, uV", "REM"] = 1.0
    made["Pz-Oz"] = [{("delta, dB", "W"): 1.0}]
    real["Pz-Oz"] = [{("delta, dB", "W"): 1.0}]
    lines = text(rows(made, real), "heading").splitlines()
    assert lines[0] == "heading"
    assert lines[-1].endswith("central EEG 1 of 1, Pz-Oz 0 of 1; 1 of 2 in all")
    assert [line.endswith("people above") for line in lines if line.startswith(("RMS", "delta"))] == [True, False]


def test_an_epoch_with_a_bad_second_does_not_count():
    quality = np.zeros(3 * EPOCH_S + 7, np.uint8)
    quality[EPOCH_S] = Quality.FLAT
    channel = Channel("C4", Modality.EEG, np.zeros(len(quality) * 128, np.float32), quality, "C4", "", 128.0)
    assert usable_epochs(channel).tolist() == [True, False, True]


def test_a_simulated_person_has_the_same_statistics_every_time_and_others_have_others():
    person = made_person(REQUEST)
    assert person.keys() == {"central EEG", *DERIVATIONS}
    assert all(np.isfinite(value) for statistics in person.values() for value in statistics.values())
    assert ("RMS, uV", "N2") in person["central EEG"] and ("delta, dB", "N2") in person["Pz-Oz"]
    assert person["Fpz-Cz"]["delta, dB", "N2"] != person["Pz-Oz"]["delta, dB", "N2"]
    assert made_person(REQUEST) == person
    assert made_person(REQUEST | {"index": 5}) != person


def test_people_are_simulated_in_parallel_a_night_each():
    made = made_people(3, variety=0.0, hours=(0.6, 0.6))
    assert len(made["central EEG"]) == 3
    assert made["central EEG"][1] == made_person(REQUEST)["central EEG"]  # night 1, laboratory b
    assert len({person["RMS, uV", "N2"] for person in made["central EEG"]}) == 3


def test_levels_of_bands_are_told_over_those_of_the_same_person_in_n2():
    stages = np.repeat(np.array([2, 3, 4], np.int8), 20)
    powers = {"delta": np.repeat([10.0, 17.0, 8.0], 20) + np.tile([0.5, -0.5], 30)}
    found = band_statistics(powers, stages, np.ones(60, bool))
    level = {key: value for key, value in found.items() if key[0].endswith(", dB") and "SD" not in key[0]}
    assert level == {("delta, dB", "N2"): 10, ("delta over N2, dB", "N3"): 7, ("delta over N2, dB", "REM"): -2}
    assert found["delta, SD over epochs, dB", "N3"] == 0.5
    assert found["delta, lag-1 correlation", "N3"] == pytest.approx(-1)
    few = band_statistics(powers, stages, (stages != 3) | (np.cumsum(stages == 3) < 6))
    assert {stage for _, stage in few} == {"N2", "REM"}


@needs_real
def test_people_are_four_and_five_and_look_like_sleep():
    people = real_people(Path(REAL))
    assert {name: len(group) for name, group in people.items()} == {"central EEG": 4, "Fpz-Cz": 5, "Pz-Oz": 5}
    for person in (*people["central EEG"], *people["Fpz-Cz"], *people["Pz-Oz"]):
        assert all(np.isfinite(value) for value in person.values())
    deeper = [p["delta over N2, dB", "N3"] for name in ("Fpz-Cz", "Pz-Oz") for p in people[name]]
    assert all(3 < db < 12 for db in deeper)
    assert all(10 < p["delta, dB", "N2"] < 22 for p in people["central EEG"])
    spindles = [p["spindle over local sigma, dB", "any"] for p in people["central EEG"][:3]]
    assert all(4 < level < 14 for level in spindles)
    assert ("spindle over local sigma, dB", "any") not in people["central EEG"][3]
