"""What several people say together."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.night import Event
from sleepmami_jax.metrics.scorers import consensus, majority_events, soft_agreement
from sleepmami_jax.metrics.staging import staging_metrics


def test_agreement_by_hand():
    """Epoch 0: the last one stands alone. Epoch 1: two against two, of the three others one says the same."""
    assert soft_agreement(np.array([[0, 2], [0, 2], [0, 3], [1, 3]])).tolist() == [0.75, 0.75, 0.75, 0.25]


def test_of_a_tie_the_scorer_who_agrees_most_decides():
    votes = np.array([[0, 0, 1, 3, 0], [0, 0, 1, 3, 0], [0, 0, 2, 2, 1], [0, 1, 2, 2, 0]])
    assert consensus(votes).tolist() == consensus(votes[::-1]).tolist() == [0, 0, 1, 3, 0]
    assert consensus(np.array([[-1, 2], [-1, -1]])).tolist() == [-1, 2]
    assert np.isnan(soft_agreement(np.array([[1, -1], [-1, 2]]))).all()


def test_half_is_no_majority():
    one, two = [Event("arousal", 0.0, 10.0)], [Event("arousal", 5.0, 10.0)]
    assert majority_events([one, two], "arousal", 30) == (Event("arousal", 5.0, 5.0),)
    assert majority_events([one, two, [], []], "arousal", 30) == ()


@pytest.mark.skipif(
    "SLEEPMAMI_REAL_DATA" not in os.environ, reason="SLEEPMAMI_REAL_DATA names no folder of real recordings"
)
def test_people_agree_with_the_others_as_people_do():
    """Five scorers of 25 nights: kappa of each with what the four others say together, and N1 the worst stage."""
    with zipfile.ZipFile(Path(os.environ["SLEEPMAMI_REAL_DATA"]) / "dod_scorers.zip") as archive:
        names = sorted(name for name in archive.namelist() if "/dodh/scorer_" in name)
        scored = [np.array(json.loads(archive.read(name))) for name in names]
    nights = [np.stack(scored[night::25]) for night in range(25)]
    assert {len(votes) for votes in nights} == {5}
    for k in range(5):
        others = [consensus(np.delete(votes, k, axis=0)) for votes in nights]
        m = staging_metrics(others, [votes[k] for votes in nights])
        assert 0.65 < m["kappa"] < 0.85 and min(m["f1_per_stage"], key=m["f1_per_stage"].get) == "N1"
    assert 0.8 < np.mean([soft_agreement(votes) for votes in nights]) < 0.95
