"""The measures of a model on people: on invented opinions, and on the recordings where they are to be had."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.night import EPOCH_S, Event, EventKind
from data_pipeline.tasks import AROUSAL, STAGES, Task
from experiments import people
from experiments.people import Opinion, look, measure_spindles, measure_stages, model_opinion, run, stage_row, table
from experiments.real_nights import EegNight, read_dreams
from sleepmami_jax.config import Finetuning, ModalityConfig
from sleepmami_jax.export.folder import ModelFolder
from sleepmami_jax.models.sleepmami import create
from sleepmami_jax.pretrained import Pretrained
from sleepmami_jax.scoring.prediction import Prediction
from sleepmami_jax.scoring.score import summarise
from tests.conftest import shallow_config
from tests.support.nights import random_night

REAL = os.environ.get("SLEEPMAMI_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="SLEEPMAMI_REAL_DATA names no folder of real recordings")
SPINDLE = Task("spindle", events=(EventKind.SPINDLE,), needs=("EEG",), shortest_s=0.5)


def spindle(onset_s: float) -> Event:
    return Event(EventKind.SPINDLE, onset_s, 1.0)


def recording(name: str, stages: list[int], experts: dict[str, list[Event]]) -> EegNight:
    night = random_night(0, len(stages), ["C4"], scored=False)
    return EegNight(name, night, np.array(stages, np.int8), experts)


def opinion(stages: list[int], confidence: float = 0.9, spindles: list[Event] | None = None) -> Opinion:
    return Opinion(np.array(stages, np.int8), np.full(len(stages), confidence), spindles)


def test_what_confidence_is_worth_is_told_of_the_epochs_that_both_staged():
    stages = np.array([0, 0, 1, 2, 2, -1], np.int8)
    said = Opinion(np.array([0, 0, 3, 2, -1, 3], np.int8), np.array([0.9, 0.5, 0.8, 0.7, 1.0, 1.0]))
    row = stage_row([stages], [said])
    assert (row["n_epochs"], row["n_scored"]) == (4, 5)
    assert row["accuracy"] == 0.75
    assert row["confidence"] == pytest.approx(0.725)
    assert (row["sure"], row["sure_accuracy"]) == (0.5, 0.5)
    assert row["macro_f1"] == pytest.approx((1 + 0 + 1) / 3)  # not over N3, which people do not have
    assert stage_row([stages], [replace(said, confidence=np.full(6, 0.79))])["sure_accuracy"] is None


def test_each_excerpt_is_measured_alone_too_and_the_commonest_stage_is_its_own():
    nights = [recording("excerpt 1", [0, 2, 2], {}), recording("excerpt 2", [3, 3, 2], {})]
    night = recording("ucddb018", [4, 4, 0], {})
    said = [opinion([0, 2, 2]), opinion([2, 2, 2]), opinion([4, 4, 4])]
    measured = measure_stages([*nights, night], {"model": said})
    accuracy = {tested: {m: row["accuracy"] for m, row in rows.items()} for tested, rows in measured.items()}
    assert accuracy == {
        "ucddb018": {"model": pytest.approx(2 / 3), "commonest stage": pytest.approx(2 / 3)},
        "DREAMS, all four": {"model": pytest.approx(4 / 6), "commonest stage": 0.5},
        "DREAMS, excerpt 1": {"model": 1.0, "commonest stage": pytest.approx(2 / 3)},
        "DREAMS, excerpt 2": {"model": pytest.approx(1 / 3), "commonest stage": pytest.approx(2 / 3)},
    }
    assert measured["ucddb018"]["commonest stage"]["confidence"] is None


def test_a_model_that_looks_for_no_spindles_has_no_f1_of_them():
    marks = {"expert 1": [spindle(10), spindle(20)], "expert 2": [spindle(10.3), spindle(1500)]}
    nights = [recording("excerpt 1", [2] * 4, marks)]
    said = {
        "model": [opinion([2] * 4)],
        "YASA": [opinion([2] * 4, spindles=[spindle(10.5), spindle(40), spindle(1500.5)])],
    }
    measured = measure_spindles(nights, said)
    f1 = {expert: {m: row and row["f1"] for m, row in rows.items()} for expert, rows in measured.items()}
    assert f1 == {  # expert 1 looked at 1000 s
        "expert 1": {"model": None, "YASA": 0.5, "the other expert": pytest.approx(2 / 3)},
        "expert 2": {"model": None, "YASA": 0.8},
    }


@pytest.mark.parametrize("trained", [True, False])
def test_the_spindles_of_a_model_are_those_of_its_scores_where_it_has_the_task(trained):
    night = random_night(1, 4, ["C4"], scored=False)
    stage_probs = np.tile(np.array([0, 0.1, 0.7, 0.2, 0], np.float32), (4, 1))
    tasks = (STAGES, AROUSAL, SPINDLE) if trained else (STAGES, AROUSAL)
    seconds = np.zeros(4 * EPOCH_S, np.float32)
    seconds[[17, 50]] = 0.9
    arousal = np.zeros(4 * EPOCH_S, np.float32)
    arousal[80:86] = 0.9
    probs = {"stages": stage_probs}
    probs |= {name: np.stack([1 - p, p], 1) for name, p in (("arousal", arousal), ("spindle", seconds))}
    probs = {task.name: probs[task.name] for task in tasks}
    prediction = Prediction(tasks, probs, np.zeros(4, np.float32), np.ones(4, bool), {"C4": np.ones(4, bool)})
    scores = summarise(night, prediction, {"arousal": 0.5, "spindle": 0.5}, {})
    assert EventKind.AROUSAL in {event.kind for event in scores.events}
    said = model_opinion(scores)
    assert said.stages.tolist() == [2] * 4
    assert said.confidence == pytest.approx([0.7] * 4)
    assert (said.spindles and [e.onset_s for e in said.spindles]) == ([17, 50] if trained else None)


@pytest.fixture
def scorer() -> Pretrained:
    """Random weights, with a head for spindles."""
    shallow = shallow_config()
    config = replace(shallow, modalities=replace(shallow.modalities, EEG=ModalityConfig(("C3", "C4", "F4"), token_s=3)))
    tasks = (*Finetuning().tasks, SPINDLE)
    thresholds = {task.name: 0.5 for task in tasks if task.events}
    return Pretrained(ModelFolder(config, create(config, 0, tasks=tasks)[1], tasks, thresholds))


@needs_real
def test_a_model_is_measured_on_people(scorer, monkeypatch):
    monkeypatch.setattr(people, "has_yasa", lambda: False)
    monkeypatch.setattr(people, "read_ucddb", lambda psg: replace(read_dreams(psg)[0], name="ucddb018", spindles={}))
    result = run(scorer, Path(REAL), Path(REAL) / "sleep_edf_crop")
    assert result["marks"] == {"expert 1": 161, "expert 2": 236}
    assert [rows["model"]["n_scored"] for rows in result["stages"].values()] == [43, 170, 43, 48, 33, 46]
    assert result["spindles"]["expert 1"]["the other expert"]["f1"] == pytest.approx(0.58, abs=0.005)
    assert result["spindles"]["expert 1"]["model"]["n_reference"] == 161
    assert result["awake"]["epochs"] == 10
    assert result["breathing"] == "no breathing sensor (RESP) and no oximeter (SPO2)"
    (seen,) = result["looked_at"]  # the hypnogram beside it has no signal
    assert (seen["file"], seen["epochs"]) == ("SC4001E0-PSG_first5min.edf", 10)
    assert sum(seen["shares"].values()) == pytest.approx(1, abs=0.01)
    assert json.loads(json.dumps(result)) == result
    said = table(result)
    assert "not trained for spindles" not in said
    result["spindles"]["expert 1"]["model"] = None
    assert "model                         not trained for spindles" in table(result)


def test_a_look_passes_over_what_cannot_be_scored(scorer, tmp_path):
    (tmp_path / "broken.edf").write_bytes(b"0" * 300)
    assert look(scorer, tmp_path) == []
