"""How well a risk tells who an event comes to, and when, among people of whom some were never seen to have it.

`time` (N,) is when the event came, or how long nobody saw it come; `event` (N,) bool says which. Every measure takes
`weights` (B, N) too, how often each person counts: a row is a bootstrap sample, and all of them cost little more than
one.
"""

from __future__ import annotations

import numpy as np

_CHUNK = 2**24
"""Pairs of people that are compared at once: 128 MB."""


def concordance(
    time: np.ndarray, event: np.ndarray, risk: np.ndarray, weights: np.ndarray | None = None
) -> float | np.ndarray:
    """Harrell's C (Harrell et al., JAMA 1982): of the pairs whose order is known, the share that `risk` (N,) orders so.

    Known is the order of a pair of which one had the event while the other was still without it; who was last seen at
    the very time of the event was. Two events at one time say nothing. Equal risks count half. The whole set is
    compared, nothing is sampled.

    >>> float(concordance(np.array([1, 2, 3]), np.array([True, True, False]), np.array([3.0, 1.0, 1.0])))
    0.8333333333333334

    Returns:
      the share, (B,) of them with `weights`; NaN where there is no such pair.
    """
    time, event, risk = np.asarray(time, np.float64), np.asarray(event, bool), np.asarray(risk, np.float64)
    count = np.ones((1, len(time))) if weights is None else np.asarray(weights, np.float64)
    won = pairs = np.zeros(len(count))
    for some in _chunks(np.flatnonzero(event), len(time)):
        later = (time > time[some, None]) | ((time == time[some, None]) & ~event)
        pairs = pairs + ((count[:, some] @ later) * count).sum(1)
        won = won + ((count[:, some] @ (later * _ahead(risk[some], risk))) * count).sum(1)
    share = _share(won, pairs)
    return share[0] if weights is None else share


def auroc(event: np.ndarray, risk: np.ndarray, weights: np.ndarray | None = None) -> float | np.ndarray:
    """Area under the ROC curve of a yes or no: `concordance` where whoever has the event has it first."""
    return concordance(~np.asarray(event, bool), event, risk, weights)


def auroc_at(
    time: np.ndarray, event: np.ndarray, risk: np.ndarray, at: float, weights: np.ndarray | None = None
) -> float | np.ndarray:
    """Cumulative/dynamic AUROC: of who had the event by `at` against who had not (Uno et al., JASA 2007).

    Who was last seen before `at` is neither, and those like them who were seen longer stand for them: an event at t
    counts 1 / G(t-), where G is the Kaplan-Meier estimate of not yet being lost from sight, from these same people.

    Returns:
      as `concordance`; NaN where one of the two groups is empty.
    """
    time, event, risk = np.asarray(time, np.float64), np.asarray(event, bool), np.asarray(risk, np.float64)
    count = np.ones((1, len(time))) if weights is None else np.asarray(weights, np.float64)
    case, control = np.flatnonzero(event & (time <= at)), np.flatnonzero(time > at)
    owed = count[:, case] / _still_seen(time, event, count)[:, case]
    won = np.zeros(len(count))
    for some in _chunks(np.arange(len(case)), max(1, len(control))):
        won = won + ((owed[:, some] @ _ahead(risk[case[some]], risk[control])) * count[:, control]).sum(1)
    share = _share(won, owed.sum(1) * count[:, control].sum(1))
    return share[0] if weights is None else share


def bootstrap(n: int, samples: int, seed: int = 0) -> np.ndarray:
    """(1 + samples, n) float64 weights: once everybody, then so many samples of n people with replacement."""
    rng = np.random.default_rng(seed)
    drawn = [np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(samples)]
    return np.array([np.ones(n), *drawn], np.float64)


def _still_seen(time: np.ndarray, event: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(B, N): the Kaplan-Meier estimate of being seen just before one's own time. Who has the event leaves first."""
    order = np.argsort(time, kind="stable")
    start = np.searchsorted(time[order], time[order])  # of those at the same time
    by_time = count[:, order]
    there = by_time[:, ::-1].cumsum(1)[:, ::-1][:, start]  # at that time or later
    ended = np.zeros_like(by_time)
    lost = np.zeros_like(by_time)
    np.add.at(ended.T, start, (by_time * event[order]).T)
    np.add.at(lost.T, start, (by_time * ~event[order]).T)
    left = np.maximum(there - ended[:, start], np.finfo(float).tiny)
    stays = np.where(start == np.arange(len(time)), 1 - lost / left, 1.0)  # each time once
    before = np.concatenate([np.ones((len(count), 1)), stays.cumprod(1)], 1)[:, start]
    seen = np.empty_like(before)
    seen[:, order] = before
    return np.maximum(seen, np.finfo(float).tiny)


def _ahead(risk: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(K, N): 1 where a risk is above another, 0.5 where they are equal."""
    return (risk[:, None] > others) + 0.5 * (risk[:, None] == others)


def _chunks(places: np.ndarray, width: int) -> list[np.ndarray]:
    return np.array_split(places, -(-len(places) * width // _CHUNK)) if len(places) else []


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0)
