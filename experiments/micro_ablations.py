"""What each part of micro pretraining is worth, by linear probes of the frozen tokens.

    sleepmami sweep --config experiments/micro_ablations.py --workdir runs/micro_ablations

Simulated nights, three seeds, shorter pretraining than elsewhere. Each variant differs in one thing from the
reference: 55 % masked, modality masking, spectral loss, leave-one-out contrast, two of four experts. Probes learn from
24 training nights and are measured on 20 nights of other people: stages from the mean tokens of an epoch (macro-F1),
breathing events, arousals, spindles and K-complexes from the tokens of a second (average precision; what guessing has
stands under `_prevalence`). "untrained" has random weights; "no experts" computes as much for a token as the reference.

Two hours and forty minutes of runs on two cores that had other work. Measured before channels were masked one by one,
with 60 % of time hidden in all of them: stages 0.982 for the reference, 0.984 untrained; spindles 0.71 and 0.78
(`experiments/results/micro_ablations`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sleepmami_jax.config import Experiment, Masking
from sleepmami_jax.sweep import Plot, Run
from sleepmami_jax.training.loop import train

from .foundation import SEEDS, foundation, micro_experiment, token_measures

STEPS = 300


def _objective(config: Experiment, **changes: Any) -> Experiment:
    return replace(config, objective=replace(config.objective, **changes))


def _without_experts(config: Experiment) -> Experiment:
    """One MLP as wide as the experts that a token visits."""
    m = config.model.micro
    dense = replace(m, experts=1, top_k=1, mlp_ratio=m.mlp_ratio * m.top_k)
    return replace(config, model=replace(config.model, micro=dense))


VARIANTS = {
    "reference": lambda c: c,
    "untrained": lambda c: replace(c, steps=1, optimizer=replace(c.optimizer, learning_rate=0.0)),
    "mask time alone": partial(_objective, mask=Masking(time=0.55, channel=0.0, token=0.0)),
    "mask channels alone": partial(_objective, mask=Masking(time=0.0, channel=0.55, token=0.0)),
    "mask tokens alone": partial(_objective, mask=Masking(time=0.0, channel=0.0, token=0.55)),
    "no modality masking": partial(_objective, drop_modality=0.0),
    "no spectral loss": partial(_objective, spectral_weight=0.0),
    "no contrast": partial(_objective, contrast_weight=0.0),
    "pairwise contrast": partial(_objective, contrast="pairwise"),
    "no experts": _without_experts,
}


def ablate(sweep: Path, name: str, seed: int, variant: str) -> dict[str, float]:
    config = VARIANTS[variant](replace(micro_experiment(sweep, seed), steps=STEPS, save_every=STEPS))
    folder = sweep / "runs" / name
    return token_measures(train(config, folder / "train"), sweep, folder)


def sweep() -> tuple[Run, ...]:
    runs = list(foundation())
    for seed in SEEDS:
        for variant in VARIANTS:
            name = f"{variant.replace(' %', '').replace(' ', '-')}-{seed}"
            do = partial(ablate, name=name, seed=seed, variant=variant)
            runs.append(Run(name, do, {"variant": variant, "seed": seed}, after=("nights",)))
    return tuple(runs)


PLOTS = (
    Plot(
        x="variant",
        y=("stages_macro_f1", "breathing_ap", "arousal_ap", "spindle_ap"),
        title="Simulated nights: what each part of micro pretraining is worth",
    ),
)
