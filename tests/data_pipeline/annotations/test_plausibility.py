"""Hypnograms that no night has are said to be so."""

import numpy as np
import pytest

from data_pipeline.annotations.plausibility import oddities

W, N1, N2, N3, REM = range(5)


def night(*runs: tuple[int, int]) -> np.ndarray:
    return np.concatenate([np.full(n, stage, np.int8) for stage, n in runs])


CYCLE = [(N1, 6), (N2, 60), (N3, 40), (N2, 30), (REM, 30), (W, 4)]


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (night((W, 20), *CYCLE * 4), None),
        (night((N3, 60)), None),  # an excerpt
        (night((W, 400)), "All 400 epochs that are scored are W"),
        (night((W, 400), (-1, 300)), "All 400 epochs"),
        (night((W, 20), *[(N3, 20), (REM, 20)] * 5), "REM stands next to N3 in 9 of its 9 changes"),
        (night(*[(N2, 1), (N1, 1)] * 100), "changes 199 times in 200 epochs"),
        (night((W, 9), (N1, 9), (REM, 200), (N2, 99)), "65 % of the sleep is REM"),
        (night((W, 9), (N1, 99), (N3, 200)), "no N2 in 149 min"),
    ],
)
def test_oddities(stages, said):
    found = list(oddities(stages))
    assert said in found[0] if said else found == []
