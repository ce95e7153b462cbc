"""How many labelled nights pretraining is worth: fine-tuned against trained from scratch on 1 to all nights.

    sleepmami sweep --config experiments/label_efficiency.py --workdir runs/label_efficiency

Simulated nights, three seeds, each with other labelled nights (but for "all", which are all). Pretrained: the Micro-
and Macro-Encoder saw all training nights without scorings, the Macro-Encoder with age, sex and BMI.

    pretrained, frozen       the Micro-Encoder stays as it is; 200 steps of 4 x 60 epochs
    pretrained, adapters     low-rank adapters to both encoders, the rest is trained; the steps of "all trained"
    pretrained, all trained  everything is trained; 150 steps of 4 x 24 epochs
    from scratch             the same training as "pretrained, all trained", of random parameters

Three hours of runs, two at a time on two busy CPU cores. Ten scored nights reach, in stages (macro-F1) and breathing
events (F1): frozen 0.980 and 0.91, all trained 0.989 and 0.94, from scratch 0.987 and 0.91; one night 0.942 and 0.80,
0.977 and 0.87, 0.963 and 0.55 (`experiments/results/label_efficiency`). Those runs are older than the adapters, which
have not been measured.

What the comparison is not:

- The time of pretraining is not counted, and the labelled nights are among those that it saw.
- "Frozen" and "from scratch" differ in windows and steps too: from scratch takes longer and sees fewer epochs, each
  with less of the night around it. "All trained" differs from it in nothing but where it begins.
- One learning rate, tuned for none; all run to the end, nothing is stopped early, however few the nights.
- Both fit the thresholds of events on the scorings of the same 20 validation nights, which are not counted: for events
  "1 night" is one night to learn from, not one scored night in all. Stages have no threshold.
- 30 nights are of 28 or 29 people, of both sites; each seed has others.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from sleepmami_jax.sweep import Plot, Run

from .foundation import SEEDS, base, finetuned, finetuning, foundation

NIGHTS = (1, 5, 10, 30, None)  # None is all
ALL = 106  # where "all" stands in the plot: the training nights of the cohort
METHODS = {  # what it begins with, whether the Micro-Encoder stays as it is, and the rank of adapters
    "pretrained, frozen": ("macro", True, 0),
    "pretrained, adapters": ("macro", False, 8),
    "pretrained, all trained": ("macro", False, 0),
    "from scratch": (None, False, 0),
}


def run(
    sweep: Path, name: str, seed: int, nights: int | None, encoder: str | None, frozen: bool, lora_rank: int
) -> dict[str, float]:
    init = None if encoder is None else str(base(sweep) / f"{encoder}-{seed}" / "model")
    config = replace(finetuning(sweep, seed, nights), init=init)
    if not frozen:
        objective = replace(config.objective, epochs=24, freeze_micro=False, lora_rank=lora_rank)
        config = replace(config, objective=objective, steps=150, save_every=75)
    return finetuned(config, sweep, name)


def sweep() -> tuple[Run, ...]:
    runs = list(foundation("micro", "macro"))
    for seed in SEEDS:
        for nights in NIGHTS:
            for method, (encoder, frozen, lora_rank) in METHODS.items():
                name = f"{method.replace(', ', '-').replace(' ', '-')}-{nights or 'all'}-{seed}"
                how = {"encoder": encoder, "frozen": frozen, "lora_rank": lora_rank}
                do = partial(run, name=name, seed=seed, nights=nights, **how)
                factors = {"method": method, "nights": nights or ALL, "seed": seed}
                runs.append(Run(name, do, factors, after=(f"{encoder}-{seed}" if encoder else "nights",)))
    return tuple(runs)


PLOTS = (
    Plot(
        x="nights",
        y=("stages_macro_f1", "breathing_f1", "arousal_f1"),
        line="method",
        title="Simulated nights: what pretraining is worth in labelled nights",
        x_log=True,
    ),
)
