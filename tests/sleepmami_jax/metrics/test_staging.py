"""Agreement of hypnograms, checked by hand and against what two human scorers reach."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sleepmami_jax.metrics.staging import staging_metrics


def test_staging_by_hand():
    reference = np.array([0, 0, 2, 2, 4, -1])
    predicted = np.array([0, 2, 2, 2, -1, 0])
    m = staging_metrics([reference], [predicted])
    assert m["n_epochs"] == 4 and m["accuracy"] == 0.75
    assert m["f1_per_stage"] == {
        "W": pytest.approx(2 / 3),
        "N1": None,
        "N2": pytest.approx(4 / 5),
        "N3": None,
        "REM": None,
    }
    assert m["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert m["kappa"] == pytest.approx((0.75 - 0.5) / (1 - 0.5))  # chance: 1/2*1/4 + 1/2*3/4
    assert m["confusion"][0] == [1, 0, 1, 0, 0] and np.sum(m["confusion"]) == 4


def test_kappa_has_no_weights():
    """Taking W for REM is as bad as taking W for N1: stages have no order."""
    reference = np.array([0, 0, 1, 4] * 5)
    far, near = reference.copy(), reference.copy()
    far[0], near[0] = 4, 1
    kappas = [staging_metrics([reference], [other])["kappa"] for other in (far, near)]
    assert kappas[0] == pytest.approx(kappas[1])


def test_medians_are_over_nights_and_pooled_is_over_epochs():
    right, wrong = np.zeros(10, int), np.ones(90, int)
    m = staging_metrics([right, right, wrong], [right, right, np.zeros(90, int)])
    assert m["accuracy"] == pytest.approx(20 / 110) and m["accuracy_median"] == 1
    assert staging_metrics([right], [right])["kappa"] is None  # one stage only: no kappa


def test_staging_refuses_nothing_to_compare_and_other_lengths():
    with pytest.raises(ValueError, match="nothing to compare"):
        staging_metrics([np.array([-1])], [np.array([0])])
    with pytest.raises(ValueError, match="night 0: 2 reference epochs"):
        staging_metrics([np.array([0, 0])], [np.array([0])])


@pytest.mark.skipif(
    "SLEEPMAMI_REAL_DATA" not in os.environ, reason="SLEEPMAMI_REAL_DATA names no folder of real recordings"
)
def test_human_scorers_agree_as_humans_do():
    """Two scorers of 25 nights: a kappa as scorers usually reach, and N1 the worst stage."""
    with zipfile.ZipFile(Path(os.environ["SLEEPMAMI_REAL_DATA"]) / "dod_scorers.zip") as archive:
        nights = [
            [np.array(json.loads(archive.read(name))) for name in sorted(archive.namelist()) if folder in name]
            for folder in ("dodh/scorer_1/", "dodh/scorer_2/")
        ]
    assert len(nights[0]) == 25
    m = staging_metrics(*nights)
    assert 0.6 < m["kappa"] < 0.9
    assert min(m["kappa_per_stage"], key=m["kappa_per_stage"].get) == "N1"
