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
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_pipeline.night import EPOCH_S
from data_pipeline.prepare.run import PrepareConfig, prepare
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.simulate import simulate_cohort
from sleepmami_jax import load
from sleepmami_jax.config import DataConfig, DataSource, Experiment, MacroPretraining
from sleepmami_jax.evaluation.evaluate import evaluate, measure_tasks, predict_nights
from sleepmami_jax.evaluation.table import metrics_table
from sleepmami_jax.export.folder import WEIGHTS, load_model, save_model
from sleepmami_jax.recipes import finetune_tiny, macro_tiny, micro_tiny
from sleepmami_jax.run.progress import bars, counted
from sleepmami_jax.training.finetune import finetune
from sleepmami_jax.training.loop import train

NIGHTS, HOURS, SEED = 28, (4.8, 5.0), 0
SHARES = PrepareConfig(val_share=0.1, test_share=0.3)


def run(
    out: Path, nights: int = NIGHTS, hours: tuple[float, float] = HOURS, overrides: Sequence = ()
) -> dict[str, Any]:
    """The demonstration; returns and writes `out/metrics.json`.

    Args:
      out: a new or empty folder. Leaves `metrics.json`, `model/`, `score/`, `shards/`, `runs/` and one recording.
      nights, hours: how many nights to simulate, and between which lengths.
      overrides: functions Experiment -> Experiment applied to every training run, for smaller trials.

    Raises:
      ValueError: `out` holds something already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not an empty folder; choose a new one for the demonstration")
    out.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
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

    with _timed(seconds, "simulate"), tqdm(total=nights, desc="simulate", unit="night") as bar:
        simulate_cohort(out / "recordings", nights, seed=SEED, workers=workers, hours=hours, progress=bar.update)
    with _timed(seconds, "prepare"), counted("prepare") as progress:
        prepare([out / "recordings"], out / "shards", workers=workers, config=SHARES, progress=progress)
    recording = _keep_one(out)
    with _timed(seconds, "pretrain micro"):
        train(experiment(micro_tiny, None), out / "runs" / "micro")
    with _timed(seconds, "pretrain macro"):
        train(experiment(macro_tiny, "micro"), out / "runs" / "macro")
    with _timed(seconds, "fine-tune"):
        finetune(experiment(finetune_tiny, "macro"), out / "runs" / "finetune")
        save_model(load_model(out / "runs" / "finetune" / "model"), out / "model")
    with _timed(seconds, "evaluate"):
        how = {"split": "test", "embeddings": out / "embeddings", "progress": bars(quiet=False)}
        metrics = evaluate(load(out / "model"), (str(out / "shards"),), **how)
        if WEIGHTS.is_dir():
            _add_bundled(metrics, out)
    with _timed(seconds, "score one night"):
        load(out / "model").score(recording, out=out / "score")
    shutil.rmtree(out / "embeddings", ignore_errors=True)
    metrics["seconds"] = seconds
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    print(table(metrics, out))
    return metrics


@contextmanager
def _timed(seconds: dict[str, float], step: str):
    begun = time.perf_counter()
    yield
    seconds[step] = round(time.perf_counter() - begun, 1)


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
