"""What the night adds to the epoch: heads on the Micro-Encoder alone, with neighbours, with the Macro-Encoder.

    sleepmami sweep --config experiments/context.py --workdir runs/context

Simulated nights, three seeds, 5 and 30 labelled nights, the same frozen Micro-Encoder of each seed throughout.

    micro only          linear heads on the tokens of the epoch, and for a second on its own too: nothing else is seen
    with neighbours     the path to seconds reads its neighbours, for events; no night
    macro, untrained    Macro-Encoder with random weights, trained with the heads
    macro, pretrained   the same, from DGCL

Half an hour of runs. 30 scored nights reach, in stages (macro-F1), breathing events and arousals (F1): micro only
0.984, 0.80, 0.34; with neighbours 0.984, 0.92, 0.46; macro, untrained 0.991, 0.88, 0.45; pretrained 0.991, 0.91, 0.44
(`experiments/results/context`).

Arousals and breathing events are micro-events: whether pretraining the Macro-Encoder helps to find them is the
question that the last two rows answer. They have more parameters to train than those above: 130, 164, 275 and 275
thousand.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from sleepmami_jax.sweep import Plot, Run

from .foundation import SEEDS, base, finetuned, finetuning, foundation, transplanted

NIGHTS = (5, 30)
ALONE = {"micro only": 0, "with neighbours": 2}  # blocks on the path to seconds
WITH_NIGHT = {"macro, untrained": "micro", "macro, pretrained": "macro"}  # what they begin with


def alone(sweep: Path, name: str, seed: int, nights: int, seconds_depth: int) -> dict[str, float]:
    config = finetuning(sweep, seed, nights)
    model = replace(config.model, macro=replace(config.model.macro, levels=0, seconds_depth=seconds_depth))
    source = base(sweep) / f"micro-{seed}" / "model"
    init = transplanted(source, model, sweep / "runs" / name / "init", seed)
    return finetuned(replace(config, model=model, init=init), sweep, name)


def with_night(sweep: Path, name: str, seed: int, nights: int, encoder: str) -> dict[str, float]:
    init = str(base(sweep) / f"{encoder}-{seed}" / "model")
    return finetuned(replace(finetuning(sweep, seed, nights), init=init), sweep, name)


def sweep() -> tuple[Run, ...]:
    runs = list(foundation("micro", "macro"))
    ways = {k: partial(alone, seconds_depth=depth) for k, depth in ALONE.items()}
    ways |= {k: partial(with_night, encoder=encoder) for k, encoder in WITH_NIGHT.items()}
    for seed in SEEDS:
        for nights in NIGHTS:
            for way, do in ways.items():
                name = f"{way.replace(', ', '-').replace(' ', '-')}-{nights}-{seed}"
                factors = {"model": way, "nights": nights, "seed": seed}
                do = partial(do, name=name, seed=seed, nights=nights)
                runs.append(Run(name, do, factors, after=(f"macro-{seed}",)))
    return tuple(runs)


PLOTS = (
    Plot(
        x="model",
        y=("stages_macro_f1", "breathing_f1", "arousal_f1"),
        line="nights",
        title="Simulated nights: what the night adds to the epoch",
    ),
)
