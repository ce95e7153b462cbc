"""How many labelled nights pretraining is worth: fine-tuned against trained from scratch on 1 to all nights.

    sleepmami sweep --config experiments/label_efficiency.py --workdir runs/label_efficiency

Simulated nights, three seeds, each with other labelled nights (but for "all", which are all). Pretrained: Micro- and
Macro-Encoder saw all training nights without labels; the Micro-Encoder stays frozen. From scratch: the same network,
all of it trained, for a longer time a run than fine-tuning takes. Both fit the thresholds of events on the same
validation nights, whose labels are not counted.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from experiments.foundation import SEEDS, base, finetuned, finetuning, foundation
from sleepmami_jax.sweep import Plot, Run

NIGHTS = (1, 5, 10, 30, None)  # None is all
ALL = 106  # where "all" stands in the plot: the training nights of the cohort


def pretrained(sweep: Path, name: str, seed: int, nights: int | None) -> dict[str, float]:
    init = str(base(sweep) / f"macro-{seed}" / "model")
    return finetuned(replace(finetuning(sweep, seed, nights), init=init), sweep, name)


def from_scratch(sweep: Path, name: str, seed: int, nights: int | None) -> dict[str, float]:
    config = finetuning(sweep, seed, nights)
    objective = replace(config.objective, epochs=24, freeze_micro=False)
    return finetuned(replace(config, objective=objective, steps=300, save_every=150), sweep, name)


def sweep() -> tuple[Run, ...]:
    runs = list(foundation("micro", "macro"))
    for seed in SEEDS:
        for nights in NIGHTS:
            for method, do in (("pretrained", pretrained), ("from scratch", from_scratch)):
                name = f"{method.replace(' ', '-')}-{nights or 'all'}-{seed}"
                runs.append(
                    Run(
                        name,
                        partial(do, name=name, seed=seed, nights=nights),
                        {"method": method, "nights": nights or ALL, "seed": seed},
                        after=(f"macro-{seed}" if method == "pretrained" else "nights",),
                    )
                )
    return tuple(runs)


PLOTS = (
    Plot(
        x="nights",
        y=("staging_macro_f1", "breathing_f1", "arousal_f1"),
        line="method",
        title="Simulated nights: what pretraining is worth in labelled nights",
        x_log=True,
    ),
)
