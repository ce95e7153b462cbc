"""What a night tells of what becomes of a person: disease, numbers, yes or no, each beside what is known without it.

Six models of each outcome are learnt from the people of one split and measured on those of another: age, sex and BMI;
an engineered bank; the night's vector; the first with either of the others; and all. What the night adds is the gain
over the first, and over the first with the bank, with a bootstrap over people that draws the same people for both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sleepmami_jax.evaluation.linear import NUMBER, RISK, YES_OR_NO, Learnt, LinearModel
from sleepmami_jax.evaluation.outcomes import Outcomes
from sleepmami_jax.evaluation.people import DEMOGRAPHICS, ENGINEERED, VECTOR, Person, blocks_of
from sleepmami_jax.metrics.survival import auroc, auroc_at, bootstrap, concordance

SAMPLES = 1000
"""Of the bootstrap."""
PERCENTILES = (2.5, 97.5)
FEWEST = 5
"""Events, or of the rarer of yes and no, on either side, and people with a number: of fewer nothing is said (ours)."""
GUESS, ALL = "guessing", "all"
ARMS: dict[str, tuple[str, ...]] = {
    GUESS: (),
    DEMOGRAPHICS: (DEMOGRAPHICS,),
    ENGINEERED: (ENGINEERED,),
    VECTOR: (VECTOR,),
    f"{DEMOGRAPHICS} + {ENGINEERED}": (DEMOGRAPHICS, ENGINEERED),
    f"{DEMOGRAPHICS} + {VECTOR}": (DEMOGRAPHICS, VECTOR),
    ALL: (DEMOGRAPHICS, ENGINEERED, VECTOR),
}
OVER = (DEMOGRAPHICS, f"{DEMOGRAPHICS} + {ENGINEERED}")
"""Over which the gain of those that have more is given."""
LESS_IS_MORE = frozenset({"mae"})
Measures = Callable[[np.ndarray, np.ndarray, np.ndarray], dict[str, np.ndarray]]
"""What is known (N, …), predictions (N,), weights (B, N) -> (B,) by name, the one that gains are told of first."""


@dataclass(frozen=True)
class Target:
    """One outcome: who is known to have what.

    Attributes:
      kind: "risk", "number" or "yes or no".
      known: subject -> (time, event), or a number.
      without: the column of age, sex and BMI that is the outcome itself.
    """

    kind: str
    known: Mapping[str, Any]
    without: int | None = None


def targets_of(
    outcomes: Outcomes, subjects: Iterable[str], people: Sequence[Person]
) -> tuple[dict[str, Target], list[str]]:
    """The outcomes of a table, and age and BMI, by name; and remarks on which rows are nobody's, and who has none.

    Args:
      subjects: everybody of the prepared nights.
      people: those who are learnt from or measured.

    Raises:
      ValueError: a row is two subjects'.
    """
    found, remarks = outcomes.match(sorted(set(subjects)))

    def kind(name: str, columns: Mapping[str, Mapping[str, Any]]) -> dict[str, Target]:
        return {
            column: Target(name, {subject: known[row] for subject, row in found.items() if row in known})
            for column, known in columns.items()
        }

    own = {name: {p.subject_id: v for p in people if (v := getattr(p.demographics, name)) is not None} for name in OWN}
    targets = kind("risk", outcomes.risks) | kind("yes or no", outcomes.yes_or_no) | kind("number", outcomes.numbers)
    return targets | {name: Target("number", own[name], place) for name, place in OWN.items()}, remarks


OWN = {"age_years": 0, "bmi": 2}
"""Numbers that the prepared nights say themselves, and their place in `blocks_of`."""


def probe_people(
    target: Target, learn: Sequence[Person], measure: Sequence[Person], at: Sequence[float] = (), seed: int = 0
) -> dict[str, Any]:
    """All arms of one outcome.

    Args:
      learn, measure: people on either side, known or not.
      at: times of cumulative/dynamic AUROC of a risk; the median time of the events to learn from when empty.
      seed: of the bootstrap.

    Returns:
      kind, n_train, n_test, for a risk or a yes or no events_train, events_test; `arms`: measures of each, and `gains`:
      over each of `OVER`, above 0 where better; a measure is [value, low, high] of a 95 % interval, None where it does
      not exist. `skipped` says why there are none.
    """
    learn, measure = ([p for p in side if p.subject_id in target.known] for side in (learn, measure))
    y, y_test = (np.array([target.known[p.subject_id] for p in side], np.float64) for side in (learn, measure))
    result: dict[str, Any] = {"kind": target.kind, "n_train": len(y), "n_test": len(y_test)}
    if target.kind != "number":
        said = [side[:, 1] if target.kind == "risk" and len(side) else side for side in (y, y_test)]
        result |= {f"events_{name}": int(side.sum()) for name, side in zip(("train", "test"), said, strict=True)}
        rarer = (lambda s: s.sum()) if target.kind == "risk" else (lambda s: min(s.sum(), len(s) - s.sum()))
        fewest = min(map(rarer, said))
    else:
        fewest = min(len(y), len(y_test))
    if fewest < FEWEST:
        return result | {"skipped": f"fewer than {FEWEST} people, or events, on one side"}
    probe, measures = _kind(target.kind, y, at)
    weights = bootstrap(len(y_test), SAMPLES, seed)
    blocks, blocks_test = blocks_of(learn), blocks_of(measure, learn)
    if target.without is not None:
        for side in (blocks, blocks_test):
            side[DEMOGRAPHICS] = np.delete(side[DEMOGRAPHICS], target.without, axis=1)
    measured = _arms(probe, blocks, y, blocks_test, np.array([p.subject_id for p in learn]))
    values = {arm: measures(y_test, predicted, weights) for arm, predicted in measured.items()}
    gains = {
        arm: {over: _gain(values[arm], values[over]) for over in OVER if set(ARMS[over]) < set(ARMS[arm])}
        for arm in ARMS
    }
    arms = {arm: {name: _interval(v) for name, v in of.items()} for arm, of in values.items()}
    return result | {"arms": arms, "gains": {arm: gain for arm, gain in gains.items() if gain}}


def _kind(kind: str, y: np.ndarray, at: Sequence[float]) -> tuple[LinearModel, Measures]:
    if kind == "number":
        return NUMBER, _number_measures
    if kind == "yes or no":
        return YES_OR_NO, lambda y, predicted, weights: {"auroc": auroc(y > 0, predicted, weights)}
    times = [float(t) for t in at] or [float(np.median(y[y[:, 1] > 0, 0]))]

    def measures(y, predicted, weights):
        time, event = y[:, 0], y[:, 1] > 0
        over = {f"auroc_at_{t:g}": auroc_at(time, event, predicted, t, weights) for t in times}
        return {"c": concordance(time, event, predicted, weights)} | over

    return RISK, measures


def _number_measures(y: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    n, error = weights.sum(1), predicted - y
    mean = (weights @ y / n)[:, None]
    spread = (weights * np.square(y - mean)).sum(1)
    left = np.divide(weights @ np.square(error), spread, out=np.full_like(n, np.nan), where=spread > 0)
    return {"mae": weights @ np.abs(error) / n, "r2": 1 - left}


def _arms(probe: LinearModel, blocks, y: np.ndarray, blocks_test, subjects: np.ndarray) -> dict[str, np.ndarray]:
    """Predictions for the people of `blocks_test` by arm; the guess is the median, or the same for all."""
    guess = np.median(y) if probe is NUMBER else 0.0
    predicted = {GUESS: np.full(len(blocks_test[VECTOR]), guess)}
    learnt: dict[tuple[str, ...], Learnt] = {}
    for arm, names in ARMS.items():
        if names:
            learnt[names] = Learnt(probe, [blocks[n] for n in names], y, subjects, before=learnt.get(names[:-1]))
            predicted[arm] = learnt[names]([blocks_test[n] for n in names])
    return predicted


def _gain(better: Mapping[str, np.ndarray], than: Mapping[str, np.ndarray]) -> dict[str, list[float | None]]:
    return {m: _interval((than[m] - v) if m in LESS_IS_MORE else (v - than[m])) for m, v in better.items()}


def _interval(values: np.ndarray) -> list[float | None]:
    """(1 + samples,) -> the value and its interval."""
    if not np.isfinite(values[0]):
        return [None, None, None]
    return [float(v) for v in (values[0], *np.nanpercentile(values[1:], PERCENTILES))]


def risk_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """What `probe_people` says of each outcome, as a person reads it."""
    return "\n\n".join("\n".join(_block(name, result)) for name, result in results.items())


def _block(name: str, result: Mapping[str, Any]) -> list[str]:
    sides = [f"{result[f'n_{side}']} people" for side in ("train", "test")]
    if "events_train" in result:
        sides = [f"{n} ({result[f'events_{s}']} with it)" for n, s in zip(sides, ("train", "test"), strict=True)]
    lines = [f"{name}, a {result['kind']}: learnt from {sides[0]}, measured on {sides[1]}"]
    if "skipped" in result:
        return [*lines, f"  not measured: {result['skipped']}"]
    measures = list(result["arms"][GUESS])
    titles = [*(_words(m) for m in measures), *(f"gain over {over}" for over in OVER)]
    lines.append(f"  {'':28}" + "".join(f"{title:>25}" for title in (*titles[:-1], f"  {titles[-1]}")))
    for arm, values in result["arms"].items():
        gains = [result["gains"].get(arm, {}).get(over, {}).get(measures[0]) for over in OVER]
        cells = [*(_cell(values[m]) for m in measures), *("" if g is None else _cell(g, "+") for g in gains)]
        lines.append((f"  {arm:28}" + "".join(f"{cell:>25}" for cell in cells)).rstrip())
    return lines


def _words(measure: str) -> str:
    words = {"c": "C", "mae": "mean error", "r2": "R2", "auroc": "AUROC"}
    return words.get(measure) or f"AUROC at {measure.rpartition('_')[2]}"


def _cell(value: Sequence[float | None], sign: str = "") -> str:
    if value[0] is None:
        return "–"
    return f"{value[0]:{sign}.3f} [{value[1]:{sign}.3f}, {value[2]:{sign}.3f}]"
