import numpy as np
import pytest

from data_pipeline.runs import runs


@pytest.mark.parametrize(
    "mask, expected",
    [
        ("1101001", [[0, 2], [3, 4], [6, 7]]),
        ("0110", [[1, 3]]),
        ("000", []),
        ("111", [[0, 3]]),
        ("1", [[0, 1]]),
        ("", []),
    ],
)
def test_runs_at_the_edges_and_within(mask, expected):
    found = runs(np.array([symbol == "1" for symbol in mask], bool))
    assert found.tolist() == expected and found.shape == (len(expected), 2)
