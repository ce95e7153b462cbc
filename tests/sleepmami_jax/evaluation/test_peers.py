"""Other stagers on the same nights."""

import importlib.util

import numpy as np
import pytest

from sleepmami_jax.evaluation import peers
from sleepmami_jax.evaluation.peers import check_installed, measure_peer, yasa_stages
from tests.support.scored import scored_night


def test_a_peer_that_is_not_there_is_named_with_what_to_do(monkeypatch):
    with pytest.raises(ValueError, match="'luna' is no peer; there are yasa"):
        check_installed(["luna"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="`pip install yasa`"):
        check_installed(["yasa"])


def test_a_peer_is_measured_on_what_all_have_staged(monkeypatch):
    """One that is right, but says nothing of the first half; the model errs in six epochs of it."""
    nights = [scored_night(place, wrong=6) for place in range(10)]
    answers = iter([np.where(np.arange(40) < 20, -1, n.human_stages) for n in nights])
    monkeypatch.setattr(peers, "PEERS", {"numpy": lambda night: next(answers)})
    told = measure_peer("numpy", nights, lambda: None)
    assert told["n_epochs"] == 200 and told["kappa"] == 1 and told["version"] == np.__version__
    assert told["difference"]["kappa"] == 0 and told["difference"]["interval"]["kappa"] == [0, 0]


@pytest.mark.skipif(importlib.util.find_spec("yasa") is None, reason="YASA is not installed (pip install yasa)")
def test_yasa_stages_a_prepared_night():
    night = scored_night(1, n_epochs=60).read()
    stages = yasa_stages(night)
    assert len(stages) == 60 and set(stages.tolist()) <= set(range(5))
