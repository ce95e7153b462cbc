"""What is left without some sensors: every modality alone, and what home tests record.

    sleepmami sweep --config experiments/missing_sensors.py --workdir runs/missing_sensors

Simulated nights, three seeds. One model a seed, fine-tuned on all labelled nights with all sensors, once as usual
and once with modalities hidden at random, then measured on 20 test nights of which it sees some channels only. The
thresholds of events are those fitted with all sensors. An event that cannot be looked for with these sensors has no
row.

Fifty minutes of runs. Stages (macro-F1) from the EEG alone: 0.70 as usual, 0.86 with modalities hidden in fine-tuning
(`experiments/results/missing_sensors`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from sleepmami_jax.sweep import Plot, Run
from sleepmami_jax.training.finetune import finetune

from .foundation import SEEDS, base, finetuning, foundation, measures_with

SENSORS = {
    "everything": (),
    "EEG": ("EEG",),
    "EOG": ("EOG",),
    "EMG": ("EMG",),
    "ECG": ("ECG",),
    "RESP": ("RESP",),
    "SPO2": ("SPO2",),
    "one EEG channel": ("C4",),
    "headband (EEG, EOG)": ("F3", "F4", "E1", "E2"),
    "oximeter and ECG": ("SPO2", "ECG"),
    "home apnea test": ("NASAL_PRESSURE", "THORAX", "ABDOMEN", "SPO2"),
}
HIDDEN = {"all sensors": 0.0, "some hidden": 0.3}


def tune(sweep: Path, name: str, seed: int, drop_modality: float) -> dict[str, float]:
    config = finetuning(sweep, seed, None)
    objective = replace(config.objective, drop_modality=drop_modality)
    init = str(base(sweep) / f"macro-{seed}" / "model")
    finetune(replace(config, objective=objective, init=init), sweep / "runs" / name / "train")
    return {}


def without(sweep: Path, name: str, trained: str, sensors: str) -> dict[str, float]:
    model = sweep / "runs" / trained / "train" / "model"
    return measures_with(model, sweep, SENSORS[sensors], sweep / "runs" / name)


def sweep() -> tuple[Run, ...]:
    runs = list(foundation("micro", "macro"))
    for seed in SEEDS:
        for training, chance in HIDDEN.items():
            trained = f"tune-{training.replace(' ', '-')}-{seed}"
            do = partial(tune, name=trained, seed=seed, drop_modality=chance)
            runs.append(Run(trained, do, after=(f"macro-{seed}",)))
            for sensors in SENSORS:
                name = f"{sensors.translate(str.maketrans({' ': '-', '(': None, ')': None, ',': None}))}-{trained}"
                do = partial(without, name=name, trained=trained, sensors=sensors)
                factors = {"sensors": sensors, "fine-tuned with": training, "seed": seed}
                runs.append(Run(name, do, factors, after=(trained,)))
    return tuple(runs)


PLOTS = (
    Plot(
        x="sensors",
        y=("stages_macro_f1", "breathing_f1", "arousal_f1"),
        line="fine-tuned with",
        title="Simulated nights: what is left without some sensors",
    ),
)
