"""What people reach with each other in staging: five scorers of the Dreem Open Datasets, each beside the other four.

    SLEEPMAMI_REAL_DATA=FOLDER python -m experiments.scorers

`FOLDER` holds `dod_scorers.zip`: hypnograms of 25 healthy people (DOD-H) and 55 with sleep apnea (DOD-O) by five
scorers each, no signals. A scorer is compared with what the four others say together (`sleepmami_jax.metrics.scorers`);
this is the bar beside which `sleepmami evaluate --scorers` puts a model. Seconds on one core. Measured:
`results/scorers.txt`.
"""

from __future__ import annotations

import argparse
import json
import os
import zipfile
from pathlib import Path

import numpy as np

from sleepmami_jax.metrics.people import intervals
from sleepmami_jax.metrics.scorers import consensus, soft_agreement
from sleepmami_jax.metrics.staging import agreement_of, confusions

COHORTS = {"dodh": "DOD-H, 25 healthy people", "dodo": "DOD-O, 55 people with sleep apnea"}
SCORERS = 5


def read_votes(psg: Path, cohort: str) -> list[np.ndarray]:
    """(5, E) codes of each night, -1 where a scorer said nothing."""
    with zipfile.ZipFile(psg / "dod_scorers.zip") as archive:
        files = sorted(name for name in archive.namelist() if f"/{cohort}/scorer_" in name)
        scored = [np.array(json.loads(archive.read(name))) for name in files]
    n = len(scored) // SCORERS
    return [np.stack(scored[night::n]) for night in range(n)]


def table(cohort: str, nights: list[np.ndarray]) -> str:
    people = [str(night) for night in range(len(nights))]  # one night each
    soft = np.mean([soft_agreement(votes) for votes in nights], axis=0)
    lines = [f"{COHORTS[cohort]:36}{'κ':>6}{'95 % interval':>18}{'macro-F1':>10}{'accuracy':>10}{'soft agreement':>16}"]
    kappas = []
    for k in range(SCORERS):
        others = [consensus(np.delete(votes, k, axis=0)) for votes in nights]
        rows = confusions(others, [votes[k] for votes in nights])
        told, (lower, upper) = agreement_of(rows.sum(axis=0)), intervals(rows, people, agreement_of)["kappa"]
        kappas.append(told["kappa"])
        numbers = f"{told['kappa']:>6.2f}{f'{lower:.2f} to {upper:.2f}':>18}{told['macro_f1']:>10.2f}"
        lines.append(
            f"  {f'scorer {k + 1}, beside the four others':34}{numbers}{told['accuracy']:>10.2f}{soft[k]:>16.2f}"
        )
    return "\n".join([*lines, f"  {'mean':34}{np.mean(kappas):>6.2f}{'':>38}{soft.mean():>16.2f}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.parse_args()
    if "SLEEPMAMI_REAL_DATA" not in os.environ:
        parser.error("SLEEPMAMI_REAL_DATA names no folder of real recordings; see the docstring of this file")
    psg = Path(os.environ["SLEEPMAMI_REAL_DATA"])
    print("\n\n".join(table(cohort, read_votes(psg, cohort)) for cohort in COHORTS))


if __name__ == "__main__":
    main()
