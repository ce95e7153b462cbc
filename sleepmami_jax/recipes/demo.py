"""Everything, once, small: simulate -> prepare -> pretrain micro and macro -> fine-tune -> evaluate -> score.

    sleepmami demo --out demo

Five to six minutes on two CPU cores. All nights are simulated: the numbers say that the parts work together and
learn, and nothing about people. Test nights are of subjects that no training step saw.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_pipeline.lock import alone_in
from data_pipeline.night import EPOCH_S
from data_pipeline.prepare.run import PrepareConfig, prepare
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.simulate import simulate_cohort
from data_pipeline.whole_files import write_whole
from sleepmami_jax import load
from sleepmami_jax.config import DataConfig, DataSource, Experiment, MacroPretraining
from sleepmami_jax.evaluation.evaluate import evaluate
from sleepmami_jax.evaluation.measures import measure_tasks
from sleepmami_jax.evaluation.nights import predict_nights
from sleepmami_jax.evaluation.table import metrics_table
from sleepmami_jax.export.folder import WEIGHTS, load_model, save_model
from sleepmami_jax.recipes import finetune_tiny, macro_tiny, micro_tiny
from sleepmami_jax.run.progress import bars, counted
from sleepmami_jax.training.finetune import finetune
from sleepmami_jax.training.loop import train

NIGHTS, HOURS, SEED = 28, (4.8, 5.0), 0
STEPS = ".steps.json"
"""In the folder until all is done: what was asked for, and the seconds that each finished step took."""
SHARES = PrepareConfig(val_share=0.1, test_share=0.3)


def run(
    out: Path, nights: int = NIGHTS, hours: tuple[float, float] = HOURS, overrides: Sequence = ()
) -> dict[str, Any]:
    """The demonstration; returns and writes `out/metrics.json`. One that was stopped goes on at the step it was at.

    Args:
      out: a new or empty folder, or one in which the same demonstration was stopped. Leaves `metrics.json`, `model/`,
        `score/`, `shards/`, `runs/` and one recording.
      nights, hours: how many nights to simulate, and between which lengths.
      overrides: functions Experiment -> Experiment applied to every training run, for smaller trials.

    Raises:
      ValueError: `out` holds something else already, or another demonstration is at work there.
    """
    asked = {"nights": nights, "hours": list(hours)}
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and _stopped(out, asked) is None)):
        raise ValueError(f"{out} is not an empty folder; choose a new one for the demonstration")
    with alone_in(out):
        return _run(out, asked, overrides)


def _run(out: Path, asked: dict[str, Any], overrides: Sequence) -> dict[str, Any]:
    """`run`, in a folder that is its own."""
    nights, hours = asked["nights"], asked["hours"]
    seconds: dict[str, float] = _stopped(out, asked) or {}
    timed = partial(_timed, out, asked, seconds)
    workers = os.cpu_count() or 1

    def experiment(module, init: str | None) -> Experiment:
        config = module.get_config()
        data = replace(config.data, shards=(DataSource(str(out / "shards")),))
        if data.embeddings:
            data = replace(data, embeddings=str(out / "embeddings"))
        config = replace(config, data=data, init=str(out / "runs" / init / "model") if init else None)
        if isinstance(config.objective, MacroPretraining):
            longest = math.ceil(hours[1] * 3600 / EPOCH_S)
            config = replace(config, objective=replace(config.objective, night_epochs=longest))
        for change in overrides:
            config = change(config)
        return config

    if "simulate" not in seconds:
        with timed("simulate"), tqdm(total=nights, desc="simulate", unit="night") as bar:
            simulate_cohort(
                out / "recordings", nights, seed=SEED, workers=workers, hours=tuple(hours), progress=bar.update
            )
    if "prepare" not in seconds:
        with timed("prepare"), counted("prepare") as progress:
            prepare([out / "recordings"], out / "shards", workers=workers, config=SHARES, progress=progress)
    recording = _keep_one(out)
    if "pretrain micro" not in seconds:
        with timed("pretrain micro"):
            train(experiment(micro_tiny, None), out / "runs" / "micro")
    if "pretrain macro" not in seconds:
        with timed("pretrain macro"):
            train(experiment(macro_tiny, "micro"), out / "runs" / "macro")
    if "fine-tune" not in seconds:
        with timed("fine-tune"):
            finetune(experiment(finetune_tiny, "macro"), out / "runs" / "finetune")
            save_model(load_model(out / "runs" / "finetune" / "model"), out / "model")
    with timed("evaluate"):
        how = {"split": "test", "embeddings": out / "embeddings", "progress": bars(quiet=False)}
        metrics = evaluate(load(out / "model"), (str(out / "shards"),), **how)
        if WEIGHTS.is_dir():
            _add_bundled(metrics, out)
    with timed("score one night"):
        load(out / "model").score(recording, out=out / "score")
    shutil.rmtree(out / "embeddings", ignore_errors=True)
    metrics["seconds"] = seconds
    write_whole(out / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    (out / STEPS).unlink()
    print(table(metrics, out))
    return metrics


@contextmanager
def _timed(out: Path, asked: dict[str, Any], seconds: dict[str, float], step: str):
    """Notes how long a step took, once it is done: the next call goes on after it."""
    write_whole(out / STEPS, json.dumps({"asked": asked, "seconds": seconds}) + "\n")
    begun = time.perf_counter()
    yield
    seconds[step] = round(time.perf_counter() - begun, 1)
    write_whole(out / STEPS, json.dumps({"asked": asked, "seconds": seconds}) + "\n")


def _stopped(out: Path, asked: dict[str, Any]) -> dict[str, float] | None:
    """The steps that a demonstration did here before it was stopped, if it is the one that is asked for."""
    try:
        told = json.loads((out / STEPS).read_text())
        return told["seconds"] if told["asked"] == asked else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep_one(out: Path) -> Path:
    """Remove the recordings, some 100 MB each, except one of a test subject to score; returns that one."""
    manifest = read_manifest(out / "shards")
    kept = next(n.night_id for n in manifest.nights if n.split == "test")
    for path in (out / "recordings").glob("*.edf"):
        if path.stem != kept:
            path.unlink()
    return out / "recordings" / f"{kept}.edf"


def _add_bundled(metrics: dict[str, Any], out: Path) -> None:
    """Put what the model in the package reaches on the same test nights among each task's baselines."""
    model = load()
    data = DataConfig(shards=(DataSource(str(out / "shards")),), split="test")
    nights = list(predict_nights(model, data, out / "embeddings", bars(quiet=False)))
    for task, reached in measure_tasks(model, nights).items():
        if task in metrics:
            measured = {"accuracy", "macro_f1", "kappa", "f1", "precision", "recall", "index_mae"} & reached.keys()
            metrics[task]["baselines"]["bundled"] = {key: reached[key] for key in sorted(measured)}


def table(metrics: dict[str, Any], out: Path) -> str:
    """The result as a person reads it."""
    lines = [
        "",
        f"{metrics['n_nights']} simulated test nights of {metrics['n_subjects']} subjects never seen, "
        f"after {finetune_tiny.get_config().data.nights} scored nights",
        metrics_table(metrics, finetune_tiny.get_config().tasks),
        "",
        *(f"{step:44}{spent:>10.0f} s" for step, spent in metrics["seconds"].items()),
        f"{'in all':44}{sum(metrics['seconds'].values()):>10.0f} s",
        "",
        f"report: {out}/score/report.html   model: {out}/model   numbers: {out}/metrics.json",
        "Simulated nights only. Research use only: not a medical device, not for diagnosis or treatment.",
    ]
    return "\n".join(lines)
