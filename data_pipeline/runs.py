"""Runs of True: the stretches of a signal or of a night in which something holds."""

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
