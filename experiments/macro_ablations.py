"""What the Macro-Encoder is made of: direction, merging, mixer, by fine-tuning from 30 labelled nights.

    sleepmami sweep --config experiments/macro_ablations.py --workdir runs/macro_ablations

Simulated nights, three seeds, the same frozen Micro-Encoder of each seed; the Macro-Encoder starts from random
weights and is trained with the heads. Each variant differs from the reference (bidirectional Mamba-2, M = 2) in one
thing, and for it in parameters, by less than a fifth. "forwards only" reads the night from its first epoch on: nothing
sees what comes after it but for the 1.5 minutes that merging spans, as when scoring live.

Forty minutes of runs. In stages (macro-F1) all variants reach 0.991 to 0.993, in breathing events (F1) 0.84 to 0.90,
less apart than their seeds (`experiments/results/macro_ablations`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from sleepmami_jax.sweep import Plot, Run

from .foundation import SEEDS, base, finetuned, finetuning, foundation, transplanted

VARIANTS = {
    "reference": {},
    "forwards only": {"bidirectional": False},
    "M = 3": {"merge": 3},
    "M = 4": {"merge": 4},
    "no merging": {"levels": 1, "blocks_per_level": 3},
    "Mamba-1": {"mixer": "selective"},
}


def ablate(sweep: Path, name: str, seed: int, variant: str) -> dict[str, float]:
    config = finetuning(sweep, seed, 30)
    model = replace(config.model, macro=replace(config.model.macro, **VARIANTS[variant]))
    source = base(sweep) / f"micro-{seed}" / "model"
    init = transplanted(source, model, sweep / "runs" / name / "init", seed)
    return finetuned(replace(config, model=model, init=init), sweep, name)


def sweep() -> tuple[Run, ...]:
    runs = list(foundation("micro"))
    for seed in SEEDS:
        for variant in VARIANTS:
            name = f"{variant.replace(' = ', '').replace(' ', '-')}-{seed}"
            do = partial(ablate, name=name, seed=seed, variant=variant)
            runs.append(Run(name, do, {"variant": variant, "seed": seed}, after=(f"tokens-{seed}",)))
    return tuple(runs)


PLOTS = (
    Plot(
        x="variant",
        y=("stages_macro_f1", "breathing_f1", "arousal_f1"),
        title="Simulated nights: what the Macro-Encoder is made of",
    ),
)
