"""The model that comes with the package: all tasks, from random weights, on simulated nights alone.

    python -m experiments.bundled runs/bundled
    cp -r runs/bundled/model sleepmami_jax/weights

Nights of the simulator at full variety, of any length from a nap to a long night, in two styles of laboratory, are
prepared; everything is trained together on windows of 22 to 90 minutes whose channels come and go, three fifths of them
with a single EEG channel; thresholds, and when the model is wrong, are fitted on validation nights, and the model is
measured on nights of people that it has not met. No recording of a person is read, nor a label of one. Noise, gains and
equalisers are left to the simulator, whose heads and recorders differ in them.

An hour and three quarters on two CPU cores that had other work too, 70 minutes of it for the 450 steps, a quarter of an
hour for what the card says; 8 GB of memory and 13 GB of disk. Started again it goes on where it was. Measured: the
model's own card, `sleepmami_jax/weights/README.md`, and on people `results/people.txt`.
"""

from __future__ import annotations

import argparse
import os
import shutil
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from data_pipeline.prepare.run import PrepareConfig, prepare
from data_pipeline.simulate import simulate_cohort
from data_pipeline.tasks import AROUSAL, BREATHING, K_COMPLEX, LIMB_MOVEMENT, SPINDLE, STAGES
from sleepmami_jax.config import (
    Augmentation,
    DataConfig,
    DataSource,
    Experiment,
    Finetuning,
    MicroConfig,
    ModelConfig,
    OptimizerConfig,
)
from sleepmami_jax.evaluation.evaluate import evaluate
from sleepmami_jax.evaluation.table import card_results
from sleepmami_jax.export.folder import load_model, save_model
from sleepmami_jax.pretrained import load
from sleepmami_jax.run.progress import bars, counted
from sleepmami_jax.training.finetune import finetune

COHORTS, NIGHTS, SEED = 3, 30, 2026
"""So many cohorts of so many nights: the recordings of one take 8 GB while they are prepared."""
HOURS = (3.0, 9.0)
SHARES = PrepareConfig(val_share=0.12, test_share=0.12)
TASKS = (
    STAGES,
    BREATHING,
    replace(AROUSAL, loss_weight=0.5),
    replace(LIMB_MOVEMENT, loss_weight=0.5),
    SPINDLE,
    replace(K_COMPLEX, loss_weight=0.5),
)


def get_config(out: str = "runs/bundled", workers: int = 0) -> Experiment:
    """The training run on the cohorts below `out`; `workers` as in `DataConfig` change nothing that is learnt."""
    return Experiment(
        name="simulated-1",
        objective=Finetuning(
            batch=4,
            epochs=180,
            freeze_micro=False,
            drop_modality=0.15,
            tasks=TASKS,
            judged=180,
            augment=Augmentation(
                flip=0.5,
                drop_channel=0.1,
                only_eeg=0.6,
                shortest_crop=1 / 4,
            ),
        ),
        data=DataConfig(
            shards=tuple(DataSource(f"{out}/shards-{k}") for k in range(COHORTS)),
            scored=True,
            workers=workers,
            prefetch_bytes=max(1, 4 * workers) * 160 * 2**20,  # a batch has 145 MB
        ),
        model=ModelConfig(micro=MicroConfig(heads=2, shared_depth=1, experts=1)),
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=30, ema=0.98),
        accumulate=4,
        steps=450,
        save_every=50,
    )


def make_nights(out: Path) -> None:
    """Prepared cohorts below `out`, those that are not there yet."""
    for k in range(COHORTS):
        recordings, shards = out / f"recordings-{k}", out / f"shards-{k}"
        if shards.exists() and not recordings.exists():
            continue
        how = {"seed": SEED + k, "workers": os.cpu_count() or 1, "hours": HOURS}
        with tqdm(total=NIGHTS, desc=f"simulate {k}", unit="night") as bar:
            simulate_cohort(recordings, NIGHTS, progress=bar.update, **how)
        with counted(f"prepare {k}") as progress:
            prepare([recordings], shards, workers=how["workers"], config=SHARES, progress=progress)
        shutil.rmtree(recordings)


def main(out: Path, workers: int = 0) -> Path:
    """Everything; returns the model folder `out/model`."""
    make_nights(out)
    experiment = get_config(str(out), workers)
    trained = finetune(experiment, out / "run")
    shards = tuple(source.folder for source in experiment.data.shards)
    how = {"split": "test", "embeddings": out / "embeddings", "progress": bars(quiet=False), "probes": True}
    metrics = evaluate(load(trained), shards, **how)
    shutil.rmtree(out / "embeddings", ignore_errors=True)
    folder = load_model(trained)
    results = card_results(metrics, TASKS)
    save_model(replace(folder.halved(), card={**folder.card, "results": results}), out / "model")
    print(results)
    return out / "model"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=0, help="processes that read ahead, on a machine of many cores")
    print(main(**vars(parser.parse_args())))
