"""Metrics against cases worked out by hand, matching against its own laws."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.modalities import SLOTS
from data_pipeline.night import EPOCH_S, Event, EventKind
from data_pipeline.prepare.run import prepare
from sleepmami_jax.cli import parse, run_command
from sleepmami_jax.config import DataConfig, DataSource, Finetuning
from sleepmami_jax.evaluation.baselines import (
    event_baselines,
    majority_metrics,
    majority_stage,
    median_index_mae,
)
from sleepmami_jax.evaluation.evaluate import evaluate, measure
from sleepmami_jax.evaluation.linear import binary_probe, is_man, number_probe
from sleepmami_jax.evaluation.measures import measure_tasks
from sleepmami_jax.evaluation.nights import predict_nights
from sleepmami_jax.evaluation.sensors import channels_of
from sleepmami_jax.export.folder import ModelFolder, save_model
from sleepmami_jax.pretrained import Pretrained
from sleepmami_jax.run.progress import bars
from sleepmami_jax.tasks import rooms_of
from tests.conftest import random_model, shallow_config
from tests.support.nights import load_random_night, write_recordings


def event(onset_s, duration_s):
    return Event(EventKind.HYPOPNEA, float(onset_s), float(duration_s))


# Night vectors


def people(n, seed=0):
    rng = np.random.default_rng(seed)
    ages = rng.uniform(20, 80, n)
    sexes = rng.choice(["F", "M"], n)
    vectors = rng.normal(size=(n, 6))
    vectors[:, 0] += 0.2 * ages
    vectors[:, 1] += 2.5 * (sexes == "M")
    return vectors, ages.tolist(), sexes.tolist(), [f"s{i // 2}" for i in range(n)]


def test_probes_beat_guessing_when_there_is_something_to_know():
    vectors, ages, sexes, subjects = people(80)
    ages[3] = sexes[4] = None
    found = number_probe(vectors[:60], ages[:60], subjects[:60], vectors[60:], ages[60:])
    assert (found["n_train"], found["n_test"]) == (59, 20)
    assert found["mae"] < 0.6 * found["mae_median"]
    men = [is_man(sex) for sex in sexes]
    assert binary_probe(vectors[:60], men[:60], subjects[:60], vectors[60:], men[60:])["auroc"] > 0.8


def test_probes_fall_back_to_guessing_on_noise():
    _, ages, _, subjects = people(80)
    noise = np.random.default_rng(1).normal(size=(80, 200))
    found = number_probe(noise[:60], ages[:60], subjects[:60], noise[60:], ages[60:])
    assert found["mae"] == pytest.approx(found["mae_median"], rel=0.15)


def test_median_baseline_by_hand():
    vectors = np.eye(5)
    found = number_probe(vectors[:4], [10, 20, 30, 60], list("abcd"), vectors[4:], [35])
    assert found["mae_median"] == 10


def test_probes_say_none_when_they_cannot_be_fitted():
    vectors, ages, _, subjects = people(8)
    assert number_probe(vectors[:4], ages[:4], ["a", "a", "b", "b"], vectors[4:], ages[4:])["mae"] is None
    assert binary_probe(vectors[:4], [False] * 4, list("abcd"), vectors[4:], [False, True] * 2)["auroc"] is None
    assert binary_probe(vectors[:4], [False, True] * 2, list("abcd"), vectors[4:], [False] * 4)["auroc"] is None
    with pytest.raises(ValueError, match="one of each a night"):
        number_probe(vectors, ages[:4], subjects, vectors, ages)


# Baselines


def test_majority_stage_comes_from_training_nights():
    train = [np.array([2, 2, 0, -1, -1, -1])]
    assert majority_stage(train) == 2
    m = majority_metrics(train, [np.array([0, 0, 0, 2])])
    assert m["stage"] == "N2" and m["accuracy"] == 0.25 and m["kappa"] == 0
    with pytest.raises(ValueError, match="no training epoch"):
        majority_stage([np.array([-1])])


def test_event_baselines_by_hand():
    """One 20-s event every 40 s of sleep: filling it end to end matches each, with as many false ones."""
    stages = np.full(40, 2, np.int8)
    events = [event(s, 20) for s in range(0, 1200, 40)]
    found = event_baselines([events], [stages], [events], [stages])
    assert found["f1_everything"] == pytest.approx(2 * 30 / (30 + 60))
    assert 0 < found["f1_random"] < 1 and found["f1_best"] == max(found["f1_everything"], found["f1_random"])
    assert found == event_baselines([events], [stages], [events], [stages])
    assert event_baselines([[]], [stages], [events], [stages])["f1_best"] is None
    assert event_baselines([events], [stages], [[]], [stages])["f1_best"] is None


def test_median_index():
    assert median_index_mae([1, 5, 100], [4, 8]) == 2 and median_index_mae([], [1]) is None


# A model on prepared nights


@pytest.fixture(scope="module")
def scorer():
    """A tiny model with thresholds that events pass."""
    config = shallow_config()
    card = {"training": [], "thresholds": {}}
    thresholds = {"breathing": 0.1, "arousal": 0.1}
    return Pretrained(ModelFolder(config, random_model(config)[1], Finetuning().tasks, thresholds, card))


def load_some(hidden, recording, scoring=(), **facts):
    """A random night without some of its channels; the other channels do not depend on it."""
    night = load_random_night(recording, scoring, **facts)
    return replace(night, channels=tuple(c for c in night.channels if c.slot not in hidden))


def prepared(folder: Path, hidden=()) -> Path:
    """Four nights: two to learn from, two to test on."""
    write_recordings(folder / "recordings", range(4))
    people = [f"n{i},n{i},{('train', 'test')[i % 2]}\n" for i in range(4)]
    (folder / "recordings" / "demographics.csv").write_text("night_id,subject_id,split\n" + "".join(people))
    prepare([folder / "recordings"], folder / "shards", load=partial(load_some, hidden))
    return folder / "shards"


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    return prepared(tmp_path_factory.mktemp("whole"))


def predicted(scorer, shards, embeddings, only=()):
    data = DataConfig(shards=(DataSource(str(shards)),), split="test")
    return [n.prediction for n in predict_nights(scorer, data, embeddings, bars(quiet=True), only)]


def test_a_hidden_channel_is_one_that_was_never_recorded(scorer, shards, tmp_path):
    """Also when the whole night's tokens are kept in the same place."""
    whole = predicted(scorer, shards, tmp_path / "embeddings")
    only = channels_of(["C4", "RESP"], scorer.slots)
    hidden = predicted(scorer, shards, tmp_path / "embeddings", only)
    slots = {slot for names in SLOTS.values() for slot in names}
    without = predicted(scorer, prepared(tmp_path, slots - set(only)), tmp_path / "other")
    assert len(whole) == len(hidden) == len(without) == 2
    for a, b, c in zip(hidden, without, whole, strict=True):
        np.testing.assert_array_equal(a.stage_probs, b.stage_probs)
        np.testing.assert_array_equal(a.probs["breathing"], b.probs["breathing"])
        np.testing.assert_array_equal(a.night_vector, b.night_vector)
        assert a.missing == b.missing == ("EOG", "EMG", "ECG", "SPO2") and c.missing == ()
        assert abs(a.stage_probs - c.stage_probs).max() > 1e-3
    again = predicted(scorer, shards, tmp_path / "embeddings")
    np.testing.assert_array_equal(again[0].stage_probs, whole[0].stage_probs)


def test_both_sides_are_compared_where_the_sensors_were(scorer, shards, tmp_path):
    data = DataConfig(shards=(DataSource(str(shards)),), split="test")
    night = next(predict_nights(scorer, data, tmp_path, bars(quiet=True)))
    room = next(room for room in rooms_of(scorer.folder.tasks) if room.task.name == "breathing")
    n_epochs = len(night.prediction.scorable)
    there = np.arange(n_epochs) >= n_epochs // 2
    usable = night.prediction.usable | {slot: there for slot in night.prediction.usable if slot in room.task.slots}
    half = replace(night, prediction=replace(night.prediction, usable=usable))
    human, ours = (half.reference(room), half.predicted(room, scorer.thresholds))
    assert all(e.end_s > n_epochs // 2 * EPOCH_S for e in (*human, *ours))
    assert not human and len(night.reference(room)) == 1
    (whole,) = night.predicted(room, scorer.thresholds)
    assert sum(e.duration_s for e in ours) < whole.duration_s
    first = measure_tasks(scorer, [half])["breathing"]["index"], measure_tasks(scorer, [night])["breathing"]["index"]
    assert first[0] != first[1]


def test_names_of_channels(scorer):
    assert channels_of(["RESP", "C4"], scorer.slots) == ("C4", "THORAX", "ABDOMEN")
    assert channels_of(list(SLOTS), scorer.slots) == tuple(s for names in scorer.slots.values() for s in names)
    with pytest.raises(ValueError, match="'spo' is no channel that this model looks at; did you mean 'SPO2'"):
        channels_of(["C4", "spo"], scorer.slots)
    with pytest.raises(ValueError, match="'O2' is no channel that this model looks at"):
        channels_of(["O2"], scorer.slots)  # one of the six of SLOTS, but this model has two


def test_evaluation_says_which_channels(scorer, shards, tmp_path):
    options = {"split": "test", "embeddings": tmp_path, "progress": bars(quiet=True)}
    some = evaluate(scorer, (str(shards),), only=["SPO2", "C4"], **options)
    assert some["channels"] == ["C4", "SPO2"] and some["n_nights"] == 2
    # An oximeter alone tells breathing, and no arousal.
    oximeter = evaluate(scorer, (str(shards),), only=["SPO2"], **options)
    assert "breathing" in oximeter and "arousal" not in oximeter and "arousal" in some


def test_measure_is_evaluate_without_the_training_nights(scorer, shards, tmp_path):
    whole = evaluate(scorer, (str(shards),), split="test", embeddings=tmp_path, progress=bars(quiet=True))
    assert whole["channels"] == [slot for names in scorer.slots.values() for slot in names]
    save_model(scorer.folder, tmp_path / "model")
    flat = measure(tmp_path / "model", [shards], embeddings=tmp_path / "embeddings")
    assert flat["stages_kappa"] == whole["stages"]["kappa"]
    assert flat["stages_macro_f1"] == whole["stages"]["macro_f1"]
    assert flat["breathing_f1"] == whole["breathing"]["f1"]
    assert flat["breathing_index_mae"] == whole["breathing"]["index"]["mae_per_h"]
    assert flat["arousal_recall"] == whole["arousal"]["recall"]
    kept = [path.stem for path in (tmp_path / "embeddings").rglob("*.safetensors")]
    assert sorted(kept) == ["n1", "n3"]
    some = measure(scorer, [shards], embeddings=tmp_path / "embeddings", only=["EEG"])
    assert "breathing_f1" not in some and some["stages_accuracy"] is not None


def test_the_command_leaves_numbers_and_a_page(scorer, shards, tmp_path, capsys):
    save_model(scorer.folder, tmp_path / "model")
    command = ["sleepmami", "evaluate", str(shards), "--model", str(tmp_path / "model"), "--out"]
    assert run_command(parse([*command, str(tmp_path / "out" / "m.json")])) == 0
    metrics, page = json.loads((tmp_path / "out" / "m.json").read_text()), (tmp_path / "out" / "m.html").read_text()
    assert metrics["stages"]["per_night"]["kappa"] and metrics["subgroups"]
    assert page.startswith("<!DOCTYPE html>") and "Groups of people" in page
    assert "People on other nights" in capsys.readouterr().out
    assert run_command(parse([*command, str(tmp_path / "m.html")])) == 1
    assert "m.html: expected the JSON file" in capsys.readouterr().err
