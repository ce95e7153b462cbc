"""A task of somebody's own, declared in an experiment file alone: from a column of a scoring to the report."""

import csv
import json

import edfio
import numpy as np
import pytest

from data_pipeline.shards.manifest import read_manifest
from data_pipeline.tasks import BREATHING, STAGES
from sleepmami_jax.cli import parse, run_command
from sleepmami_jax.export.folder import ModelFolder, load_model, save_model
from tests.conftest import random_model, shallow_config

EXPERIMENT = """
from data_pipeline.tasks import Task
from sleepmami_jax.config import DataConfig, DataSource, Experiment, Finetuning
from tests.conftest import shallow_config

SNORE = Task("snore", events=("snoring",), needs=("RESP",), shortest_s=2, join_s=1)


def get_config():
    return Experiment(
        name="snore",
        objective=Finetuning(batch=4, epochs=4, tasks=("stages", SNORE)),
        data=DataConfig(shards=(DataSource("shards"),), scored=True),
        model=shallow_config(),
        steps=2,
        save_every=2,
    )
"""
NIGHTS = {"a": "train", "b": "train", "c": "val", "d": "test"}
MINUTES = 4


def write_night(folder, name, seed):
    """EEG and a belt; a technician's table, a row a second half of a minute, with a column of snoring."""
    rng = np.random.default_rng(seed)
    seconds = 60 * MINUTES
    signals = [
        edfio.EdfSignal(rng.normal(0, 30, seconds * rate), rate, label=label, physical_dimension=unit)
        for label, rate, unit in (("C4-M1", 128, "uV"), ("Thorax", 32, ""))
    ]
    edfio.Edf(signals).write(folder / f"{name}.edf")
    with (folder / f"{name}.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["onset_s", "duration_s", "stage", "snoring"])
        for onset_s in range(0, seconds, 15):
            table.writerow([onset_s, 15, "N2" if onset_s < 120 else "REM", int(rng.random() < 0.5)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "recordings").mkdir()
    for seed, name in enumerate(NIGHTS):
        write_night(folder / "recordings", name, seed)
    people = "".join(f"{name},{split}\n" for name, split in NIGHTS.items())
    (folder / "recordings" / "demographics.csv").write_text("night_id,split\n" + people)
    (folder / "snore.py").write_text(EXPERIMENT)
    return folder


def sleepmami(*words) -> int:
    return run_command(parse(["sleepmami", *map(str, words)]))


def test_from_a_column_to_the_report(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    command = ("prepare", "recordings", "--out", "shards", "--workers", "1", "--config", "snore.py")
    assert sleepmami(*command) == 0
    nights = read_manifest(folder / "shards").nights
    assert all("snoring" in night.scored and night.event_counts["snoring"] > 3 for night in nights)
    assert sleepmami("finetune", "--config", "snore.py", "--workdir", "run") == 0
    losses = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 2 and all(step["snore"] > 0 and step["stages"] > 0 for step in losses)
    described = json.loads((folder / "run" / "model" / "config.json").read_text())
    assert [task["name"] for task in described["tasks"]] == ["stages", "snore"]
    assert described["thresholds"].keys() == {"snore"}
    capsys.readouterr()
    assert sleepmami("evaluate", "shards", "--model", "run/model", "--out", "metrics.json") == 0
    assert "Snore events, F1" in capsys.readouterr().out
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["snore"]["n_reference"] > 3 and "breathing" not in metrics
    night = folder / "recordings" / "d.edf"
    assert sleepmami("score", night, "--model", "run/model", "--out", "score") == 0
    summary = json.loads((folder / "score" / "summary.json").read_text())
    assert "snore_index_per_h" in summary and "ahi_per_h" not in summary
    assert "Snore" in (folder / "score" / "report.html").read_text()


ADDED = (
    EXPERIMENT
    + """

from dataclasses import replace

adds = get_config
get_config = lambda: replace(adds(), init="known", objective=replace(
    adds().objective, tasks=("stages", "breathing", SNORE), only_new=True, judged=0))
"""
)


def test_it_joins_a_model_that_goes_on_saying_the_same_of_the_rest(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    params = {n: v for n, v in random_model(shallow_config())[1].items() if not n.startswith("heads/arousal")}
    known = ModelFolder(shallow_config(), params, (STAGES, BREATHING), {"breathing": 0.37})
    save_model(known, "known")
    (folder / "added.py").write_text(ADDED)
    command = ("prepare", "recordings", "--out", "shards", "--workers", "1", "--config", "snore.py")
    assert (folder / "shards").exists() or sleepmami(*command) == 0
    assert sleepmami("finetune", "--config", "added.py", "--workdir", "added") == 0
    model = load_model("added/model")
    assert {n for n in model.params if not np.array_equal(model.params[n], known.params.get(n))} == {
        "heads/snore/bias", "heads/snore/kernel",
    }  # fmt: skip
    assert model.thresholds["breathing"] == 0.37 and model.thresholds.keys() == {"breathing", "snore"}
    (folder / "added.py").write_text(ADDED.replace('"breathing", SNORE', '"breathing"'))
    assert sleepmami("finetune", "--config", "added.py", "--workdir", "nothing") == 1
    assert "has all these tasks; name a new one" in capsys.readouterr().err


def test_without_the_experiment_its_words_are_not_kept(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert sleepmami("prepare", "recordings", "--out", "plain", "--workers", "1") == 0
    assert all("snoring" not in night.scored for night in read_manifest(folder / "plain").nights)
    header = (folder / "plain" / "manifest.jsonl").read_text().splitlines()[0]
    assert "kinds" not in json.loads(header)["config"]  # folders made before stay as they are
