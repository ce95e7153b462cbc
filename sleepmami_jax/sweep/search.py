"""Hyper-parameters searched by chance, as runs of a sweep: at random, or by successive halving.

    def trial(sweep, name, budget, learning_rate, batch):  # trains in sweep/runs/NAME for `budget` steps, and measures
        ...

    def sweep():
        space = {"learning_rate": Range(1e-4, 1e-2, log=True), "batch": Choice((4, 8))}
        return search(trial, space, n=27, budgets=(100, 300, 900), metric="stages_kappa")

With one budget this is random search (Bergstra and Bengio, JMLR 2012). With several it is successive halving (Jamieson
and Talwalkar, AISTATS 2016): each rung tries the better part of the last one again, anew, as schedules depend on the
steps. Who gets on is read from the results of a rung when a run of the next one starts: so the runs are known
beforehand, every launcher can do them, and a search that was stopped goes on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from sleepmami_jax.config import ConfigError
from sleepmami_jax.sweep.plan import Factor, Run
from sleepmami_jax.sweep.result import RESULT, folder

DRAW = "draw"
"""The measure that says which of the draws a run tried."""
Trial = Callable[..., Mapping[str, float | None]]
"""(sweep's folder, name=, budget=, and a value by each name of the space) -> measures."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, alike on a logarithmic scale with `log`."""

    low: float
    high: float
    log: bool = False

    def draw(self, rng: np.random.Generator) -> float:
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        number = rng.uniform(low, high)
        return float(f"{math.exp(number) if self.log else number:.4g}")


@dataclass(frozen=True)
class Choice:
    """One of these, all alike."""

    values: tuple[Factor, ...]

    def draw(self, rng: np.random.Generator) -> Factor:
        return self.values[rng.integers(len(self.values))]


Space = Mapping[str, Range | Choice]


def draws(space: Space, n: int, seed: int = 0) -> tuple[dict[str, Factor], ...]:
    """Values by name, n times. A longer search begins with the draws of a shorter one.

    >>> draws({"rate": Range(1e-4, 1e-2, log=True), "batch": Choice((4, 8))}, 2)
    ({'batch': 8, 'rate': 0.0003464}, {'batch': 8, 'rate': 0.001301})
    """
    rngs = [np.random.default_rng([seed, k]) for k in range(n)]
    return tuple({name: space[name].draw(rng) for name in sorted(space)} for rng in rngs)


def search(
    trial: Trial,
    space: Space,
    *,
    n: int,
    budgets: Sequence[int],
    metric: str,
    largest: bool = True,
    keep: int = 3,
    seed: int = 0,
    after: tuple[str, ...] = (),
) -> tuple[Run, ...]:
    """The runs of a search.

    Args:
      trial: what is tried, a function of a module.
      n: draws.
      budgets: what each rung may spend on a trial, such as steps: one for random search.
      metric: the measure by which trials get on; one that is None, or whose loss became infinite, comes last.
      largest: whether more of it is better.
      keep: one in so many gets on.
      after: names of runs that must be finished first.

    Raises:
      ConfigError: fewer draws than the rungs need, or budgets that do not grow.
    """
    if list(budgets) != sorted(set(budgets)) or not budgets or keep < 2:
        raise ConfigError(
            f"budgets {tuple(budgets)}, keep {keep}: expected budgets that grow, and to keep one in 2 or more"
        )
    if n < keep ** (len(budgets) - 1):
        raise ConfigError(f"n {n}: expected at least {keep ** (len(budgets) - 1)} draws for {len(budgets)} rungs")
    drawn, runs, rung = draws(space, n, seed), [], ()
    for k, budget in enumerate(budgets):
        names = tuple(f"rung{k}-{place:0{len(str(n))}d}" for place in range(n // keep**k))
        for place, name in enumerate(names):
            own: dict[str, Factor] = {"budget": budget, "place": place}
            how = {"trial": trial, "name": name, "budget": budget, "metric": metric, "drawn": drawn}
            if k:
                do = partial(_again, **how, place=place, rung=rung, largest=largest)
            else:
                do, own = partial(_tried, **how, draw=place), own | drawn[place]
            runs.append(Run(name, do, own, after=rung or after))
        rung = names
    return tuple(runs)


def _tried(sweep: Path, trial: Trial, name: str, budget: int, metric: str, drawn, draw: int) -> dict[str, float | None]:
    from sleepmami_jax.training.nonfinite import NonFiniteError  # and JAX, which who lists the runs does not need

    try:
        measures = dict(trial(sweep, name=name, budget=budget, **drawn[draw]))
    except NonFiniteError:  # values that cannot be trained with are an answer
        measures = {metric: None}
    if metric not in measures:
        raise ConfigError(f"{name}: the trial measured {', '.join(measures)}, expected {metric!r} among them")
    return {DRAW: draw, **measures}


def _again(sweep: Path, rung: Sequence[str], place: int, largest: bool, metric: str, **how) -> dict[str, float | None]:
    """Tries what came out at this place of the last rung."""
    results = [json.loads((folder(sweep, name) / RESULT).read_text())["measures"] for name in rung]

    def worth(measures) -> tuple[bool, float, float]:
        value = measures[metric]
        return value is None, 0.0 if value is None else -value if largest else value, measures[DRAW]

    draw = int(sorted(results, key=worth)[place][DRAW])
    return _tried(sweep, metric=metric, draw=draw, **how)
