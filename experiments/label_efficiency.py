"""How many labelled nights pretraining is worth: fine-tuned against trained from scratch on 1 to all nights.

    sleepmami sweep --config experiments/label_efficiency.py --workdir runs/label_efficiency

Simulated nights, three seeds, each with other labelled nights (but for "all", which are all). Pretrained: the Micro-
and Macro-Encoder saw all training nights without scorings, the Macro-Encoder with age, sex and BMI; the Micro-Encoder
stays frozen. From scratch: the same network, all of it trained, for a longer time a run than fine-tuning takes.

What the comparison is not:

- The time of pretraining is not counted, and the labelled nights are among those that it saw.
- Windows and steps differ (200 steps of 4 x 60 epochs, frozen; 300 of 4 x 24, all trained): from scratch sees fewer
  epochs, each with less of the night around it. One learning rate, tuned for neither; all run to the end, nothing is
  stopped early, however few the nights.
- Both fit the thresholds of events on the scorings of the same 20 validation nights, which are not counted: for events
  "1 night" is one night to learn from, not one scored night in all. Stages have no threshold.
- 30 nights are of 28 or 29 people, of both sites; each seed has others.
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
