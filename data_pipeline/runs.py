"""Runs: the stretches of a signal or of a night in which something holds, or stays what it is."""

from itertools import pairwise

import numpy as np


def runs(mask: np.ndarray) -> np.ndarray:
    """(runs, 2) half-open index ranges [start, stop) of the runs of True in a (n,) boolean array, in order.

    >>> runs(np.array([True, True, False, True])).tolist()
    [[0, 2], [3, 4]]
    """
    if not mask.any():
        return np.empty((0, 2), np.intp)
    changes = np.flatnonzero(mask[1:] != mask[:-1]) + 1
    edges = [[0] if mask[0] else [], changes, [len(mask)] if mask[-1] else []]
    return np.concatenate(edges).astype(np.intp).reshape(-1, 2)


def runs_of_values(values: np.ndarray) -> list[tuple[int, int]]:
    """Half-open index ranges [start, stop) of the runs of equal values in a (n,) array, in order: they cover it.

    >>> runs_of_values(np.array([2, 2, 0]))
    [(0, 2), (2, 3)]
    """
    borders = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
    return list(pairwise(borders)) if len(values) else []
