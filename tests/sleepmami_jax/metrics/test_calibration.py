"""Calibration error, reliability and risk against coverage, on cases worked out by hand."""

import numpy as np
import pytest

from sleepmami_jax.metrics.calibration import calibration_error, calibration_metrics, reliability_rows, risk_coverage


def test_chances_that_come_true_have_no_error_and_boasts_have():
    rng = np.random.default_rng(0)
    risk = rng.random(50_000)
    assert calibration_error(risk, rng.random(50_000) < risk) < 0.02
    assert calibration_error(np.full(100, 0.05), np.arange(100) < 50) == pytest.approx(0.45)


def test_bins_hold_every_case_once():
    rows = reliability_rows(np.array([0.0, 0.05, 0.55, 1.0]), np.array([False, True, True, True]))
    assert [(row["n"], row["wrong"]) for row in rows] == [(2, 0.5), (1, 1.0), (1, 1.0)]


def test_leaving_out_the_riskiest_leaves_out_what_is_wrong():
    risk = np.linspace(0, 1, 100)
    error = risk_coverage(risk, risk > 0.79)
    assert error[1.0] == pytest.approx(0.21) and error[0.8] == pytest.approx(1 / 80) and error[0.5] == 0


def test_where_all_are_right_there_is_no_auroc():
    assert calibration_metrics(np.array([0.1, 0.2]), np.array([False, False]))["auroc"] is None
    assert calibration_metrics(np.array([0.1, 0.9]), np.array([False, True]))["auroc"] == 1
