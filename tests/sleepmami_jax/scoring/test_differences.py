"""Where a score and the scoring given differ, and how often it is wrong where it says so."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from data_pipeline.night import EPOCH_S
from sleepmami_jax.scoring.differences import calibration, differences
from sleepmami_jax.scoring.parts import parts
from sleepmami_jax.scoring.score import summarise
from tests.sleepmami_jax.scoring.test_report import CARD, THRESHOLDS, judged, make_night, with_probs


@pytest.fixture(scope="module")
def pair():
    """The stages of the model are those given, but for three epochs of N3 given as REM and N1."""
    night, prediction = make_night(300)
    prediction = with_probs(prediction, stages=np.eye(5, dtype=np.float32)[night.scoring.stages])
    stages = prediction.stages.copy()
    stages[100:102], stages[102] = 4, 1
    night = replace(night, scoring=replace(night.scoring, stages=stages))
    reliability = judged(prediction, {"stages": 0.2}, unsure=(101, 102, 110, 111))
    return night, summarise(night, prediction, THRESHOLDS, CARD, reliability)


def test_runs_of_another_stage_and_events_of_one_side(pair):
    night, scores = pair
    found = differences(scores, night)
    staged = [(d.onset_s, d.duration_s, d.words) for d in found if d.task == "stages"]
    assert staged == [
        (100 * EPOCH_S, 60, "REM in the scoring given, N3 by the model, 2 epochs"),
        (102 * EPOCH_S, 30, "N1 in the scoring given, N3 by the model, 1 epoch"),
    ]
    for task in ("breathing", "arousal"):
        a, own = scores.agreement[task], [d for d in found if d.task == task]
        assert sum("given only" in d.words for d in own) == a["n_reference"] - a["n_matched"]
        assert sum("by the model only" in d.words for d in own) == a["n_predicted"] - a["n_matched"]
    assert [d.onset_s for d in found] == sorted(d.onset_s for d in found)


def test_what_is_said_to_be_unsure_is_counted_apart(pair):
    night, scores = pair
    rows = calibration(scores, night)
    assert [(low, n) for low, _, n, _, _ in rows] == [(0.1, 296), (0.5, 4)]
    (_, _, _, said, wrong), (_, _, _, said_unsure, wrong_unsure) = rows
    assert (said, said_unsure) == pytest.approx((0.1, 0.7), abs=1e-3)
    assert (wrong, wrong_unsure) == pytest.approx((1 / 296, 2 / 4))
    assert calibration(replace(scores, reliability=None), night) == []


def test_thirds_hold_the_night_and_its_events(pair):
    night, scores = pair
    thirds = [part for part in parts(scores, night) if "third" in part.words]
    assert (thirds[0].first, thirds[-1].stop) == (0, 300)
    assert all(a.stop == b.first for a, b in pairwise(thirds))
    minutes = np.array([part.minutes for part in thirds]).sum(axis=0)
    assert minutes[1:].sum() == scores.statistics["tst_min"]
    unsure = scores.reliability.unsure
    hours = [(~unsure & (scores.stages > 0))[part.first : part.stop].sum() / 120 for part in thirds]
    counted = sum(part.indices["AHI"] * h for part, h in zip(thirds, hours, strict=True))
    total = scores.statistics["ahi_per_h"] * scores.statistics["breathing_monitored_min"] / 60
    assert counted == pytest.approx(total, abs=2)  # an event that begins before sleep is of no third
    assert parts(replace(scores, stages=np.zeros_like(scores.stages)), night) == ()
    lit = replace(night, scoring=replace(night.scoring, lights_s=(600.0, 3 * 2400.0)))
    first, second, last = (part for part in parts(scores, lit) if "third" in part.words)
    assert (first.first, first.stop, second.stop, last.stop) == (20, 94, 167, 240)
