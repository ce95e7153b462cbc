"""Does the night's vector tell of outcomes, beyond age, sex and BMI, and beyond what a laboratory measures?

    python -m experiments.risk runs/risk > risk.txt

200 simulated nights of an hour, of 160 people whom the bundled model has not met; what becomes of them is simulated
too, from what their bodies are, so that the answer is known beforehand:

    apnea        rises with age and with the true AHI of the person: a night shows more than demographics
    frail        rises with age, and falls with the density of spindles
    old          rises with age and BMI alone: nothing is to be gained beside these
    chance       has nothing to do with anything

Times are exponential, and people are lost from sight after 1 to 10 years, all by one seed. `rmssd_ms` is a number that
no demographics tell, how much the person's heart varies from beat to beat; age and BMI are told from the night alone
as well. Outcomes are written as the table that a user has, and read by `sleepmami probe` itself.

The bank has the simulator's own stages and events, which no scorer is as good as. Hours of 48 people leave wide
intervals: this shows that the way works, and nothing about people. Twenty CPU minutes. Measured: `results/risk.txt`.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from data_pipeline.shards.manifest import read_manifest
from data_pipeline.simulate.cohort import person_of
from data_pipeline.simulate.person import Person
from sleepmami_jax.cli import parse

from . import cohort

NIGHTS, HOURS, SEED = 200, (1.0, 1.1), 5150
RATE_PER_YEAR, SEEN_YEARS = 0.1, (1.0, 10.0)


def log_hazards(people: list[Person]) -> dict[str, np.ndarray]:
    """Of each outcome (N,), in standard deviations of what it comes from."""

    def of(values) -> np.ndarray:
        values = np.array(list(values), np.float64)
        return (values - values.mean()) / values.std()

    age, bmi = of(p.age_years for p in people), of(p.bmi for p in people)
    ahi, spindles = of(np.log1p(p.ahi_per_h) for p in people), of(p.spindle_per_min for p in people)
    return {
        "apnea": 0.5 * age + 1.2 * ahi,
        "frail": 0.5 * age - 1.2 * spindles,
        "old": 1.0 * age + 0.5 * bmi,
        "chance": np.zeros(len(people)),
    }


def write_outcomes(shards: Path, path: Path) -> None:
    """The table of everybody whose nights are in `shards`."""
    nights = [n.night_id.split("-") for n in read_manifest(shards).nights]  # sim-a-0000
    requests = [{"seed": SEED, "site": site, "index": int(index), "variety": 1.0} for _, site, index in nights]
    people = list({person.subject_id: person for person in map(person_of, requests)}.values())
    rng = np.random.default_rng(SEED)
    columns: dict[str, list] = {"subject_id": [p.subject_id for p in people]}
    for name, risk in log_hazards(people).items():
        comes, seen = rng.exponential(1 / (RATE_PER_YEAR * np.exp(risk))), rng.uniform(*SEEN_YEARS, len(people))
        columns[f"{name}_time"] = np.minimum(comes, seen).round(3).clip(0.001).tolist()
        columns[f"{name}_event"] = (comes <= seen).astype(int).tolist()
    columns["rmssd_ms"] = [round(p.rmssd_ms, 1) for p in people]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([columns.keys(), *zip(*columns.values(), strict=True)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workdir", type=Path)
    home = parser.parse_args().workdir
    prepared = cohort.make(home / "cohort", NIGHTS, HOURS, SEED)
    write_outcomes(prepared, home / "outcomes.csv")
    words = ["probe", prepared, "--table", home / "outcomes.csv", "--at", 5, "--out", home / "risk.json"]
    command = parse(["sleepmami", *map(str, words), "--embeddings", str(home / "embeddings")])
    command.run(command)
