"""The whole path, small, from simulation to score; and what the commands say of bad input."""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from data_pipeline.shards.manifest import MANIFEST, read_manifest, write_manifest
from sleepmami_jax.cli import parse, run_command
from sleepmami_jax.config import Finetuning, MacroPretraining
from sleepmami_jax.recipes import demo as demo_recipe
from sleepmami_jax.recipes.demo import run, table
from tests.conftest import shallow_config

SIX = {"report.html", "stages.csv", "events.csv", "rejected.csv", "summary.json", "annotations.edf"}
REAL = os.environ.get("SLEEPMAMI_REAL_DATA")


def _smaller(experiment):
    batch = {MacroPretraining: 4, Finetuning: 4}.get(type(experiment.objective), 8)
    objective = replace(experiment.objective, batch=batch)
    return replace(experiment, model=shallow_config(), objective=objective, steps=6, save_every=6)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """The demonstration on thirteen half-hour nights with a tiny model."""
    out = tmp_path_factory.mktemp("demonstration") / "demo"
    run(out, nights=13, hours=(0.5, 0.6), overrides=[_smaller])
    return out


def test_a_demonstration_that_was_stopped_goes_on_at_its_step(tmp_path, monkeypatch):
    done = []

    def stops(name):
        def step(*args, **options):
            done.append(name)
            if name == "train" or done.count(name) == 1:
                raise KeyboardInterrupt

        return step

    for name in ("simulate_cohort", "prepare", "train"):
        monkeypatch.setattr(demo_recipe, name, stops(name))
    monkeypatch.setattr(demo_recipe, "_keep_one", lambda out: out)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "demo")
    assert done == ["simulate_cohort"] * 2 + ["prepare"] * 2 + ["train"] * 2
    with pytest.raises(ValueError, match="is not an empty folder"):
        run(tmp_path / "demo", nights=3)  # another demonstration


def sleepmami(*words) -> int:
    return run_command(parse(["sleepmami", *map(str, words)]))


def test_demo_leaves_what_it_says(demo):
    assert {"metrics.json", "model", "score"} <= {p.name for p in demo.iterdir()}
    assert {p.name for p in (demo / "model").iterdir()} == {"README.md", "config.json", "model.safetensors"}
    assert {p.name for p in (demo / "score").iterdir()} == SIX


def test_metrics_have_every_number_beside_a_baseline(demo):
    metrics = json.loads((demo / "metrics.json").read_text())
    assert {"accuracy", "macro_f1", "kappa", "n_epochs"} <= metrics["stages"].keys()
    assert {"f1", "precision", "recall", "index_mae"} <= metrics["breathing"].keys()
    assert {"f1", "precision", "recall"} <= metrics["arousal"].keys()
    assert {"age_mae", "age_mae_median_baseline"} <= metrics["night"].keys()
    for task in ("stages", "breathing", "arousal"):
        assert "bundled" in metrics[task]["baselines"]
    assert "majority" in metrics["stages"]["baselines"]
    assert sum(metrics["seconds"].values()) > 0
    assert "simulated test nights" in table(metrics, demo)


def test_splits_are_by_subject(demo):
    lines = (demo / "shards" / "manifest.jsonl").read_text().splitlines()[1:]
    splits: dict[str, set[str]] = {}
    for night in map(json.loads, lines):
        splits.setdefault(night["subject_id"], set()).add(night["split"])
    assert all(len(s) == 1 for s in splits.values()) and len(set.union(*splits.values())) == 3


def test_reports_say_that_the_model_saw_simulated_nights_only(demo):
    assert "simulated nights only" in (demo / "score" / "report.html").read_text()
    assert "simulated nights only" in (demo / "score" / "summary.json").read_text()


def test_scoring_from_the_command_line_and_from_python_agree(demo, tmp_path):
    import sleepmami_jax

    night = next((demo / "recordings").glob("*.edf"))
    assert sleepmami("score", night, "--model", demo / "model", "--out", tmp_path / "a") == 0
    sleepmami_jax.score(night, demo / "model", out=tmp_path / "b")
    for name in SIX:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_scoring_follows_a_montage_file(demo, tmp_path, capsys):
    night = next((demo / "recordings").glob("*.edf"))
    montage = tmp_path / "montage.yaml"
    montage.write_text("slots: {SPO2: ~}")
    command = ("score", night, "--model", demo / "model", "--out", tmp_path / "a")
    assert sleepmami(*command, "--montage", montage) == 0
    assert "SPO2" in json.loads((tmp_path / "a" / "summary.json").read_text())["missing_modalities"]
    montage.write_text("slots: {SPO: ~}")
    assert sleepmami(*command, "--montage", montage) == 1
    assert "did you mean 'SPO2'" in capsys.readouterr().err


def test_a_test_set_of_its_own_is_evaluated_without_baselines(demo, tmp_path):
    shards = tmp_path / "shards"
    shutil.copytree(demo / "shards", shards)
    manifest = read_manifest(shards)
    test = tuple(night for night in manifest.nights if night.split == "test")
    write_manifest(shards / MANIFEST, replace(manifest, nights=test))
    assert sleepmami("evaluate", "--model", demo / "model", shards, "--out", tmp_path / "m.json") == 0
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["n_nights"] == len(test) and metrics["stages"]["baselines"] == {}
    assert metrics["breathing"]["baselines"] == {} and metrics["night"]["age_mae"] is None


def test_evaluate_and_embed_and_export(demo, tmp_path):
    shards, model = demo / "shards", demo / "model"
    assert sleepmami("evaluate", "--model", model, shards, "--split", "val", "--out", tmp_path / "m.json") == 0
    assert math.isfinite(json.loads((tmp_path / "m.json").read_text())["stages"]["accuracy"])
    assert sleepmami("embed", "--model", model, shards, "--out", tmp_path / "embedded") == 0
    assert len(list((tmp_path / "embedded").rglob("*.safetensors"))) == 14  # a night each, and their vectors
    assert sleepmami("export", "--run", demo / "runs" / "finetune", "--out", tmp_path / "model") == 0
    name = "model.safetensors"
    assert (tmp_path / "model" / name).read_bytes() == (model / name).read_bytes()


@pytest.mark.skipif(not REAL, reason="SLEEPMAMI_REAL_DATA names no folder of real recordings")
@pytest.mark.parametrize(
    ("recording", "scoring", "missing"),
    [
        ("ucddb018/ucddb018_eeg.edf", ["ucddb018/hypnogram.csv"], {"EOG", "EMG", "ECG", "RESP", "SPO2"}),
        ("dreams_spindles/excerpt3_full.edf", ["dreams_spindles/excerpt3_hypnogram.csv"], set()),
        (
            "sleep_edf_crop/SC4001E0-PSG_first5min.edf",
            ["sleep_edf_crop/SC4001EC-Hypnogram.edf"],
            {"ECG", "SPO2"},
        ),
    ],
)
def test_real_recordings_are_scored(demo, tmp_path, recording, scoring, missing):
    files = [Path(REAL) / name for name in scoring]
    words = [
        "score",
        Path(REAL) / recording,
        "--model",
        demo / "model",
        "--out",
        tmp_path / "out",
        "--scoring",
        *files,
    ]
    assert sleepmami(*words) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == SIX
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert missing <= set(summary["missing_modalities"])
    assert "simulated nights only" in (tmp_path / "out" / "report.html").read_text()
    assert "agreement" in json.dumps(summary)


def _fails(capsys, *words) -> str:
    assert sleepmami(*words) != 0
    text = capsys.readouterr().err
    assert "Traceback" not in text and 0 < len(text.splitlines()) <= 24
    return text


def test_bad_recordings_are_refused(demo, tmp_path, capsys):
    empty, noise = tmp_path / "empty.edf", tmp_path / "noise.edf"
    empty.write_bytes(b"")
    noise.write_bytes(os.urandom(5000))
    for path in (empty, noise, tmp_path / "absent.edf"):
        assert path.name in _fails(capsys, "score", path, "--model", demo / "model", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_several_recordings_do_not_share_a_scoring(demo, tmp_path, capsys):
    words = ("--model", demo / "model", "--out", tmp_path / "out")
    assert "one at a time" in _fails(capsys, "score", "a.edf", "b.edf", *words, "--scoring", "a.csv")


def test_bad_configurations_and_models_are_refused(demo, tmp_path, capsys):
    run_in = ("--workdir", tmp_path / "run")
    assert "did you mean micro_tiny?" in _fails(capsys, "pretrain", "--config", "micro_tinny", *run_in)
    text = _fails(capsys, "pretrain", "--config", "micro_tiny", *run_in, "--set", "objective.bach=3")
    assert "objective.bach: no such field; did you mean 'batch'?" in text
    assert not (tmp_path / "run").exists()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_bytes((demo / "model" / "config.json").read_bytes())
    night = next((demo / "recordings").glob("*.edf"))
    text = _fails(capsys, "score", night, "--model", tmp_path / "model", "--out", tmp_path / "out")
    assert "model.safetensors is missing" in text and not (tmp_path / "out").exists()
    text = _fails(capsys, "score", night, "--model", demo / "runs/macro/model", "--out", tmp_path / "out")
    assert "fine-tuned" in text


def test_a_missing_or_damaged_shard_is_named(demo, tmp_path, capsys):
    shards = tmp_path / "shards"
    shutil.copytree(demo / "shards", shards)
    assert sleepmami("verify", shards) == 0
    shard = sorted(shards.glob("*.array_record"))[0]
    shard.write_bytes(shard.read_bytes()[:5000])
    assert sleepmami("verify", shards) == 1
    assert shard.name in capsys.readouterr().out
    shard.unlink()
    assert sleepmami("verify", shards) == 1
    words = (
        "pretrain",
        "--config",
        "micro_tiny",
        "--workdir",
        tmp_path / "run",
        "--set",
    )
    sets = (f'data.shards=[{{"folder": "{shards}"}}]', "steps=40")
    assert shard.name in _fails(capsys, *words, *sets)
