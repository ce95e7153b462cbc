"""How well a person's age can be read from a simulated night, the more people the reader learns from.

    sleepmami sweep --config experiments/age_ceiling.py --workdir runs/age_ceiling

Ridge regression on means and deviations of the micro tokens (768 numbers a night; the penalty by leave-one-out), three
Micro-Encoders. It learns from so many of the 154 people and is measured on 34 others, mean error in years over 20 draws
of them. What it still gains from more people is what other vectors of the night could gain from more of them.

Twenty-five minutes of runs: 11.4 years from 25 people, 8.8 from 100, 8.6 from 120 (`experiments/results/age_ceiling`).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from data_pipeline.shards.manifest import SPLITS
from sleepmami_jax.pretrained import load
from sleepmami_jax.sweep import Run

from .foundation import SEEDS, base, foundation, shards
from .token_probes import token_nights

PEOPLE = (25, 50, 75, 100, 120)
MEASURED, DRAWS = 34, 20


def read(sweep: Path, seed: int) -> dict[str, float]:
    model, embeddings = load(base(sweep) / f"micro-{seed}" / "model"), base(sweep) / "embeddings"
    nights = [
        night for split in SPLITS for night in token_nights(model, [shards(sweep)], split=split, embeddings=embeddings)
    ]
    statistics = np.stack([night.statistics() for night in nights])
    facts = [night.facts() for night in nights]
    age, person = np.array([f.demographics.age_years for f in facts]), np.array([f.subject_id for f in facts])
    rng = np.random.default_rng(0)
    draws = [rng.permutation(np.unique(person)) for _ in range(DRAWS)]

    def error(people: int) -> float:
        errors = []
        for draw in draws:
            own, others = np.isin(person, draw[:people]), np.isin(person, draw[-MEASURED:])
            ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(1, 5, 9)))
            found = ridge.fit(statistics[own], age[own]).predict(statistics[others])
            errors.append(np.abs(found - age[others]).mean())
        return float(np.mean(errors))

    return {f"age_mae_{people}_people": error(people) for people in PEOPLE}


def sweep() -> tuple[Run, ...]:
    return (
        *foundation("micro"),
        *(
            Run(
                f"read-{seed}",
                partial(read, seed=seed),
                {"reader": "ridge", "seed": seed},
                (f"tokens-{seed}",),
            )
            for seed in SEEDS
        ),
    )
