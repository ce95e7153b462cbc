"""What the night's vector learns by: DGCL against supervised contrast, plain contrast and nothing.

    sleepmami sweep --config experiments/night_vectors.py --workdir runs/night_vectors

Simulated nights, three seeds. The Macro-Encoder is pretrained on the training nights, over the same frozen
Micro-Encoder of each seed; linear probes of its vectors for age (mean absolute error), sex and apnea (AHI of 15 or
more; AUROC) are learnt and measured on the 86 nights of 71 people that nothing was pretrained on, by turns of thirds.
Beside them: vectors of an untrained Macro-Encoder, means and deviations of the micro tokens without any ("no macro":
768 numbers a night, a vector has 64), for age the mean, and for apnea what age, sex and BMI alone tell of it.

DGCL and SupCon learn from the age, sex and BMI of the training people; NT-Xent does not, and nothing sees the AHI.
"DGCL, age only" and its like keep the identity: two views of a night belong together.

Seventy minutes of runs. Age, mean error in years: NT-Xent 9.0, SupCon 8.7, DGCL 9.0, the mean 14.9
(`experiments/results/night_vectors`); `experiments/age_ceiling.py` asks why they are alike.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from sleepmami_jax.config import KernelConfig
from sleepmami_jax.sweep import Plot, Run
from sleepmami_jax.training.loop import train

from .foundation import SEEDS, base, foundation, macro_experiment, night_measures

KERNELS = {
    "NT-Xent": KernelConfig(age=0, bmi=0, sex=0),
    "SupCon": KernelConfig(rule="class", age_years=10, bmi_kg_m2=5),
    "DGCL": KernelConfig(),
    "DGCL, age only": KernelConfig(bmi=0, sex=0),
    "DGCL, BMI only": KernelConfig(age=0, sex=0),
    "DGCL, sex only": KernelConfig(age=0, bmi=0),
}


def contrast(sweep: Path, name: str, seed: int, kernel: str) -> dict[str, float]:
    config = macro_experiment(sweep, seed)
    objective = replace(config.objective, kernel=KERNELS[kernel])
    model = train(replace(config, objective=objective), sweep / "runs" / name / "train")
    return night_measures(model, sweep)


def untrained(sweep: Path, seed: int, macro: bool) -> dict[str, float]:
    return night_measures(base(sweep) / f"micro-{seed}" / "model", sweep, macro=macro)


def sweep() -> tuple[Run, ...]:
    runs = list(foundation("micro"))
    for seed in SEEDS:
        for label, macro in (("no macro", False), ("untrained", True)):
            name = f"{label.replace(' ', '-')}-{seed}"
            do = partial(untrained, seed=seed, macro=macro)
            runs.append(Run(name, do, {"objective": label, "seed": seed}, after=(f"tokens-{seed}",)))
        for kernel in KERNELS:
            name = f"{kernel.replace(', ', '-').replace(' ', '-')}-{seed}"
            do = partial(contrast, name=name, seed=seed, kernel=kernel)
            runs.append(Run(name, do, {"objective": kernel, "seed": seed}, after=(f"tokens-{seed}",)))
    return tuple(runs)


PLOTS = (
    Plot(
        x="objective",
        y=("age_mae", "sex_auroc", "apnea_auroc"),
        title="Simulated nights: what the night's vector learns by",
    ),
)
