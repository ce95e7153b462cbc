"""What a line reads from tokens, with fewer sensors and with faults."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipeline.modalities import SLOTS
from sleepmami_jax.evaluation.probes import FAULTS, SENSORS, EpochProbe, labels_of, measure_probes, rates
from sleepmami_jax.evaluation.table import metrics_table
from sleepmami_jax.scoring.prediction import Prediction
from sleepmami_jax.trust.shifts import SHIFTS
from tests.support.scored import MODEL, TASKS, scored_night
from tests.support.signals import night_of_noise


class Tokens:
    """A model without JAX: the first token of each modality is the spread of its first channel, epoch by epoch."""

    folder, thresholds = MODEL.folder, MODEL.thresholds

    def __init__(self):
        self.slots = {m: SLOTS[m] for m in ("EEG", "ECG", "RESP")}

    def listen(self, night):
        n = night.n_epochs
        tokens = {}
        for channel in night.channels:
            if channel.modality in self.slots and channel.modality not in tokens:
                spread = channel.samples.reshape(n, -1).std(axis=1)
                tokens[channel.modality] = (np.column_stack([spread, np.ones(n)]), np.ones(n, bool))
        there = np.full(n, bool(tokens))
        probs = {t.name: np.zeros((n * t.per_epoch, 5 if t.name == "stages" else 1 + len(t.events))) for t in TASKS}
        for array in probs.values():
            array[:, 0] = 1
        usable = {c.slot: there for c in night.channels if c.modality in tokens}
        return Prediction(TASKS, probs, np.zeros(3), there, usable), tokens


def without_belts(night):
    return replace(night, channels=tuple(channel for channel in night.channels if channel.slot != "THORAX"))


def test_rates_of_beats_and_breaths():
    night = night_of_noise(20, slots=("C4", "ECG", "THORAX"))
    told = rates(night)
    assert told["heart_per_min"] == pytest.approx(np.full(20, 60), abs=2)
    assert told["breathing_per_min"] == pytest.approx(np.full(20, 15), abs=1)
    night.channels[1].quality[:30] = 1
    assert np.isnan(rates(night)["heart_per_min"][0])
    assert np.isnan(rates(night_of_noise(20, slots=("C4",)))["heart_per_min"]).all()


def test_labels_of_an_epoch():
    night = scored_night(2)
    labels = labels_of(night, night.read())
    assert np.flatnonzero(labels["breathing"]).tolist() == [1, 2]  # 40 to 55 s, 70 to 85 s
    assert labels["stages"].tolist() == night.human_stages.tolist()
    unscored = SimpleNamespace(**vars(night.entry) | {"scored": ("stages",)})
    assert np.isnan(
        labels_of(SimpleNamespace(**vars(night) | {"entry": unscored}, human_stages=night.human_stages), night.read())[
            "arousal"
        ]
    ).all()


def test_a_line_finds_what_is_there_and_guesses_where_nothing_is():
    rng = np.random.default_rng(0)
    stages, x = rng.integers(0, 5, 400), rng.normal(size=(400, 8))
    x[:, :5] += 3 * np.eye(5)[stages]
    labels = {"stages": stages.astype(float), "arousal": (x[:, 6] > 1).astype(float), "heart_per_min": 60 + 5 * x[:, 7]}
    labels["breathing_per_min"] = rng.normal(15, 2, 400)
    probe = EpochProbe(x[:200], {name: y[:200] for name, y in labels.items()})
    others = {name: y[200:] for name, y in labels.items()}
    told = probe.measured(x[200:], others, np.repeat(np.arange(10), 20), [f"s{i}" for i in range(10)])
    assert told["stages_auroc"] > 0.95 and told["arousal_auroc"] > 0.9
    assert told["heart_per_min_mae"]["value"] < 0.1 < 3 < told["heart_per_min_mae_mean"]["value"]
    blind, mean = told["breathing_per_min_mae"], told["breathing_per_min_mae_mean"]
    assert blind["value"] == pytest.approx(mean["value"], rel=0.15)
    assert blind["interval"][0] < blind["value"] < blind["interval"][1]


def test_fewer_sensors_and_faults_on_nights_of_other_people():
    nights = [scored_night(place, n_epochs=20) for place in range(6)]
    nights[3] = replace(nights[3], read=lambda whole=nights[3].read: without_belts(whole()))
    rows = {row["condition"]: row for row in measure_probes(Tokens(), nights[:2], nights[2:], lambda *_: lambda: None)}
    assert list(rows) == [*SENSORS, *FAULTS[:4]]  # no SpO2, so nothing of it is stuck
    whole, belts = rows["all sensors"], rows["breathing only"]
    assert whole["heads"]["stages_kappa"]["value"] == 0
    assert "breathing_f1" in belts["heads"] and "arousal_f1" not in belts["heads"]  # arousals need an EEG
    assert whole["probes"]["stages_auroc"] > belts["probes"]["stages_auroc"]
    printed = metrics_table({"probes": list(rows.values())}, TASKS)
    assert re.search(r"all sensors +0\.00 ", printed) and re.search(r"guessing +– +– +– +0\.50", printed)
    assert rows[FAULTS[0]]["probes"]["stages_auroc"] != whole["probes"]["stages_auroc"]
    assert measure_probes(Tokens(), [], nights, lambda *_: lambda: None) == []


def test_the_faults_are_among_those_that_a_model_is_tested_with():
    assert set(FAULTS) <= {shift.name for shift in SHIFTS}
