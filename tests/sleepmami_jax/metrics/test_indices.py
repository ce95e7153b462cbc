"""Agreement of indices, against published examples and other libraries."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from sleepmami_jax.metrics.indices import index_metrics
from sleepmami_jax.tasks import breathing


def icc_of(ratings):
    """ICC(2,1) by the mean squares of a two-way analysis of variance, as Shrout and Fleiss (1979) write it."""
    x = np.asarray(ratings, float)
    (n, k), mean = x.shape, x.mean()
    rows, columns = x.mean(1, keepdims=True), x.mean(0, keepdims=True)
    between, judges = k * np.square(rows - mean).sum() / (n - 1), n * np.square(columns - mean).sum() / (k - 1)
    rest = np.square(x - rows - columns + mean).sum() / ((n - 1) * (k - 1))
    return (between - rest) / (between + (k - 1) * rest + k * (judges - rest) / n)


def test_icc_of_the_table_of_shrout_and_fleiss():
    """Six people, four judges (Shrout and Fleiss 1979, table 2): ICC(2,1) is 0.29; here of each two of them."""
    table = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
    assert icc_of(table) == pytest.approx(0.2898, abs=5e-5)
    for one, other in combinations(range(4), 2):
        assert index_metrics(table[:, one], table[:, other])["icc"] == pytest.approx(icc_of(table[:, [one, other]]))
    assert index_metrics([1, 5, 9], [1, 5, 9])["icc"] == 1
    biased = index_metrics([1, 5, 9], [3, 7, 11])["icc"]
    assert biased == pytest.approx(0.8889, abs=5e-5)  # a bias counts: MSR 32, MSC 6, n 3
    assert index_metrics([1], [2])["icc"] is None and index_metrics([4, 4], [4, 4])["icc"] is None


def test_index_metrics_by_hand():
    m = index_metrics([2, 10, 20, 40, None], [4, 10, 14, 40, 3], breathing.severity)
    assert (m["n_nights"], m["n_left_out"], m["mae_per_h"], m["bias_per_h"]) == (4, 1, 2, -1)
    sd = np.std([2, 0, -6, 0], ddof=1)
    assert m["limits_of_agreement_per_h"] == pytest.approx([-1 - 1.96 * sd, -1 + 1.96 * sd])
    assert m["severity_accuracy"] == 0.75 and np.trace(m["severity_confusion"]) == 3
    assert m["severity_confusion"][2][1] == 1 and 0 < m["severity_kappa"] < 1
    empty = index_metrics([None], [3], breathing.severity)
    assert empty["n_nights"] == 0 and empty["mae_per_h"] is empty["severity_kappa"] is None
    assert index_metrics([7], [8])["limits_of_agreement_per_h"] is None
    assert "severity_kappa" not in index_metrics([7], [8])


def test_figures_of_sums_are_those_of_the_numbers():
    rng = np.random.default_rng(0)
    human = rng.gamma(1, 20, 60)
    ours = np.abs(0.8 * human + rng.normal(2, 4, 60))
    m = index_metrics(human.tolist(), ours.tolist(), breathing.severity, people=[str(i // 2) for i in range(60)])
    assert m["icc"] == pytest.approx(icc_of(np.column_stack([human, ours])))
    assert m["pearson_r"] == pytest.approx(np.corrcoef(human, ours)[0, 1])
    assert m["bias_slope"] == pytest.approx(np.polyfit((human + ours) / 2, ours - human, 1)[0])
    classes = [[breathing.severity(x) for x in side] for side in (human, ours)]
    kappa = cohen_kappa_score(*classes, labels=list(breathing.SEVERITIES), weights="linear")
    assert m["severity_kappa"] == pytest.approx(kappa)
    assert m["sensitivity_15"] == pytest.approx((ours[human >= 15] >= 15).mean())
    assert m["specificity_15"] == pytest.approx((ours[human < 15] < 15).mean())
    lower, upper = m["interval"]["icc"]
    assert lower < m["icc"] < upper <= 1
