import numpy as np
import pytest

from data_pipeline.runs import runs, runs_of_values


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


def test_runs_of_values_cover_all():
    assert runs_of_values(np.array([3, 3, 0, 3])) == [(0, 2), (2, 3), (3, 4)]
    assert runs_of_values(np.array([])) == [] and runs_of_values(np.array([7])) == [(0, 1)]
