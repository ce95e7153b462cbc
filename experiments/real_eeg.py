"""What the tiny Micro-Encoder is worth on EEG of people, beside YASA, a second expert and plain band powers.

    SLEEPMAMI_REAL_DATA=FOLDER python -m experiments.real_eeg --out real

`FOLDER` holds `dreams_spindles/` (DREAMS Sleep Spindles: four excerpts of 30 min) and `ucddb018/` (one night of the
St. Vincent's database), as EDF and CSV. Under ten minutes on two quiet CPU cores: the most of it six pretrainings, the
rest to simulate and prepare twelve nights, unless `--shards` names simulated nights that are prepared already. YASA
(`pip install yasa`, BSD-3) is measured when it is installed; it downloads nothing.

The encoder is pretrained on simulated nights, on simulated and real ones, or not at all, then frozen. One logistic
regression (`real_probes`) reads its tokens: spindles second by second, stages epoch by epoch, always tested on an
excerpt or a part of the night whose labels it has not seen. What it reached: `results/real_eeg.txt`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.night import EPOCH_S
from data_pipeline.prepare.run import prepare
from data_pipeline.simulate import simulate_cohort
from sleepmami_jax.config import DataConfig, DataSource, Experiment
from sleepmami_jax.evaluation.baselines import majority_stage
from sleepmami_jax.export.folder import ModelFolder, load_model
from sleepmami_jax.models.sleepmami import create
from sleepmami_jax.pretrained import Pretrained
from sleepmami_jax.recipes import micro_tiny
from sleepmami_jax.training.loop import train

from .real_nights import (
    SCORED_S,
    TRAIN_ALL,
    EegNight,
    prepare_real,
    read_dreams,
    read_simulated,
    read_ucddb,
)
from .real_probes import (
    SIGMA,
    band_seconds,
    epoch_features,
    find_spindles,
    has_yasa,
    probe_blocks,
    probe_stages,
    stage_agreement,
    token_seconds,
    with_neighbours,
    yasa_spindles,
    yasa_stages,
)
from .real_table import plot, table
from .spindles import pooled_and_each, spindles_above

SEEDS = (0, 1, 2)
NIGHTS, HOURS = 12, (3.0, 3.0)
PROBE_NIGHTS = 4  # simulated nights that the stage probe learns from, of different people
UCDDB_UV = 100.0
"""uV in a unit of ucddb018, whose file names none: it makes the EEG's spread that of the DREAMS excerpts, and one of
+-4 V behind a gain of 10,000. YASA needs it; everything of ours is scaled by the recording itself."""

Seconds = dict[str, list[list[np.ndarray]]]
"""Features by name, then seed, then recording: (S, F)."""


def pretrain(config: Experiment, folders: dict[str, Path], runs: Path) -> dict[str, list[Pretrained]]:
    """One encoder a seed of each kind: on simulated and real nights, on simulated nights, untrained."""
    mixtures = {
        "simulated + real": {"simulated": 2.0, "dreams": 1.0, "ucddb018": 1.0},
        "simulated": {"simulated": 1.0},
    }
    models: dict[str, list[Pretrained]] = {}
    for name, weights in mixtures.items():
        data = DataConfig(tuple(DataSource(str(folders[f]), weight) for f, weight in weights.items()))
        for seed in SEEDS:
            run = replace(config, name=f"{name.replace(' + ', '-')}-{seed}", data=data, seed=seed)
            models.setdefault(name, []).append(Pretrained(load_model(train(run, runs / run.name))))
    models["untrained"] = [Pretrained(ModelFolder(config.model, create(config.model, seed)[1])) for seed in SEEDS]
    return models


def features(models: dict[str, list[Pretrained]], recordings: Sequence[EegNight]) -> Seconds:
    """Tokens of every encoder, and band powers, of every recording."""
    tokens = {
        f"tokens, {name}": [[token_seconds(model, r) for r in recordings] for model in seeds]
        for name, seeds in models.items()
    }
    return tokens | {"band powers": [[band_seconds(r) for r in recordings]]}


def measure_spindles(dreams: Sequence[EegNight], seconds: Seconds) -> dict[str, dict[str, list[Any]]]:
    """{expert: {method: metrics a seed}}; the metrics have `f1_each`, of each excerpt, besides the pooled ones."""
    inputs = {name: [[with_neighbours(x) for x in xs] for xs in seeds] for name, seeds in seconds.items()}
    inputs["sigma power"] = [[x[:, SIGMA : SIGMA + 1] for x in seconds["band powers"][0]]]
    every_other = [spindles_above(np.arange(len(r.stages) * EPOCH_S) % 2, 1) for r in dreams]
    fixed = {"a mark every 2 s": every_other}
    if has_yasa():
        fixed["YASA"] = [yasa_spindles(r) for r in dreams]
    measured: dict[str, dict[str, list[Any]]] = {}
    for expert, scored_s in SCORED_S.items():
        marks = [r.spindles[expert] for r in dreams]
        found = {name: [find_spindles(xs, marks, scored_s) for xs in seeds] for name, seeds in inputs.items()}
        found |= {name: [events] for name, events in fixed.items()}
        if expert == "expert 1":  # the other way round there are seconds that expert 1 never looked at
            found["the other expert"] = [[r.spindles["expert 2"] for r in dreams]]
        measured[expert] = {
            name: [pooled_and_each(marks, events, scored_s) for events in seeds] for name, seeds in found.items()
        }
    return measured


def measure_stages(
    dreams: Sequence[EegNight], ucddb: EegNight, simulated: Sequence[EegNight], seconds: Seconds
) -> dict[tuple[str, str], dict[str, list[Any]]]:
    """{(tested recordings, what the probe learnt from): {method: metrics a seed}}.

    `seconds` has features of all recordings in the order of the arguments.
    """
    n = len(dreams)
    truth, whole, taught = [r.stages for r in dreams], ucddb.stages, [r.stages for r in simulated]
    measured: dict[tuple[str, str], dict[str, list[Any]]] = {}

    def add(tested: str, learnt: str, method: str, reference, predicted) -> None:
        measured.setdefault((tested, learnt), {}).setdefault(method, []).append(stage_agreement(reference, predicted))

    for method, seeds in seconds.items():
        for xs in seeds:
            epochs = [epoch_features(x) for x in xs]
            real, night, made = epochs[:n], epochs[n], epochs[n + 1 :]
            others = [probe_stages(real[:i] + real[i + 1 :], truth[:i] + truth[i + 1 :], real[i]) for i in range(n)]
            add("DREAMS", "other excerpts", method, truth, others)
            add("DREAMS", "simulated nights", method, truth, [probe_stages(made, taught, x) for x in real])
            add("ucddb018", "other fifths of it", method, [whole], [probe_blocks(night, whole)])
            add("ucddb018", "DREAMS", method, [whole], [probe_stages(real, truth, night)])
            add("ucddb018", "simulated nights", method, [whole], [probe_stages(made, taught, night)])
    if has_yasa():
        add("DREAMS", "", "YASA", truth, [yasa_stages(r) for r in dreams])
        add("ucddb018", "", "YASA", [whole], [yasa_stages(ucddb, UCDDB_UV)])
    for tested, reference in (("DREAMS", truth), ("ucddb018", [whole])):
        commonest = majority_stage(reference)
        add(tested, "", "commonest stage", reference, [np.full(len(s), commonest) for s in reference])
    return measured


def run(psg: Path, out: Path, shards: Path | None = None, config: Experiment | None = None) -> str:
    """The experiment; writes `out/real_eeg.txt` and `out/real_eeg.png`, and returns the table.

    Args:
      psg: the folder of real recordings.
      out: a folder to fill; what is finished there is kept.
      shards: prepared simulated nights; made in `out` when None.
      config: of the pretraining; `micro_tiny` when None.
    """
    folders = prepare_real(psg, out)
    if shards is None:
        shards, workers = out / "simulated", os.cpu_count() or 1
        simulate_cohort(out / "recordings", NIGHTS, workers=workers, hours=HOURS)
        prepare([out / "recordings"], shards, workers=workers, config=TRAIN_ALL)
    models = pretrain(config or micro_tiny.get_config(), folders | {"simulated": shards}, out / "runs")
    dreams, ucddb, simulated = read_dreams(psg), read_ucddb(psg), read_simulated(shards)[-PROBE_NIGHTS:]
    seconds = features(models, [*dreams, ucddb, *simulated])
    spindles = measure_spindles(dreams, {k: [xs[: len(dreams)] for xs in v] for k, v in seconds.items()})
    stages = measure_stages(dreams, ucddb, simulated, seconds)
    text = table(spindles, stages)
    (out / "real_eeg.txt").write_text(text)
    plot(spindles, stages, out / "real_eeg.png")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shards", type=Path, help="simulated nights, prepared already")
    options = parser.parse_args()
    if "SLEEPMAMI_REAL_DATA" not in os.environ:
        parser.error("SLEEPMAMI_REAL_DATA names no folder of real recordings; see the docstring of this file")
    if not has_yasa():
        print("YASA is not installed: its rows are left out. `pip install yasa` adds them.")
    print(run(Path(os.environ["SLEEPMAMI_REAL_DATA"]), options.out, options.shards))


if __name__ == "__main__":
    main()
