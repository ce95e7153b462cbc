"""What a model says of whose labels it learned from."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from data_pipeline.night import Demographics
from data_pipeline.population.norms import FEWEST_PEOPLE
from data_pipeline.tasks import AROUSAL, BREATHING, STAGES
from sleepmami_jax.config import DataConfig, DataSource, Experiment, Finetuning, MicroPretraining
from sleepmami_jax.export.readme import _trained
from sleepmami_jax.training.card import _training, model_card
from tests.support.populations import prepared

NOTE = "n_stages.csv: silver labels by small@0123456789ab, not by a person."


def night(*notes):
    return None, SimpleNamespace(subject_id="s", duration_s=3600, cohort="here", site="", notes=notes)


def test_labels_of_a_model_are_told_of_and_only_where_labels_were_used():
    nights = [night(NOTE, NOTE.replace("stages", "events")), night("cut"), night(NOTE)]
    tuned = _training(Experiment("site", Finetuning(), DataConfig(scored=True)), nights, {"step": 1})
    assert tuned["silver"] == {"small@0123456789ab": 2}
    assert "silver" not in _training(Experiment("site", MicroPretraining()), nights, {"step": 1})
    words = "\n".join(_trained({"training": [tuned]}))
    assert "site: 2 nights with silver labels by small@0123456789ab, a model's scoring and no person's." in words


@pytest.fixture(scope="module")
def women(tmp_path_factory):
    """Prepared nights of three epochs of as many women of 45 as a norm needs: N2, W or N1, and one not staged."""
    same = Demographics(45.0, "F")
    folder = tmp_path_factory.mktemp("women")
    return prepared(folder, range(FEWEST_PEOPLE), change=lambda night: replace(night, demographics=same))


def test_norms_are_of_the_time_in_bed_and_have_no_ahi_of_children(tmp_path, monkeypatch):
    def girl_in_bed_from_the_second_epoch_on(night):
        scoring = replace(night.scoring, lights_s=(30.0, None))
        return replace(night, demographics=Demographics(8.0, "F"), scoring=scoring)

    folder = prepared(tmp_path, range(FEWEST_PEOPLE), change=girl_in_bed_from_the_second_epoch_on)
    data = DataConfig((DataSource(str(folder)),), scored=True)
    monkeypatch.setattr("sleepmami_jax.training.card.chosen_nights", lambda manifest, data: range(len(manifest.nights)))
    experiment = Experiment("site", Finetuning(tasks=(STAGES, BREATHING, AROUSAL)), data)
    (norm,) = model_card(experiment, None, {"step": 1})["norms"]
    assert norm["spreads"]["tst_min"]["mean"] == 0.25  # of N1 or W, and of what is not staged
    assert "arousal_index_per_h" in norm["spreads"] and "ahi_per_h" not in norm["spreads"]


@pytest.mark.parametrize("objective", [Finetuning(tasks=(STAGES, BREATHING, AROUSAL)), MicroPretraining()])
def test_norms_are_of_nights_that_people_scored_for_a_run_that_learns_from_it(women, objective, monkeypatch):
    tuned = isinstance(objective, Finetuning)
    data = DataConfig((DataSource(str(women)),), scored=tuned)
    monkeypatch.setattr("sleepmami_jax.training.card.chosen_nights", lambda manifest, data: range(len(manifest.nights)))
    card = model_card(Experiment("site", objective, data), None, {"step": 1})
    assert [norm["people"] for norm in card["norms"]] == [FEWEST_PEOPLE] * tuned
    if tuned:
        known = card["norms"][0]["spreads"]
        assert known["tst_min"]["mean"] == 0.75  # one epoch of sleep, or two
        assert {"se_pct", "ahi_per_h", "arousal_index_per_h"} <= known.keys()
        monkeypatch.setattr("sleepmami_jax.training.card.SIMULATED", card["training"][0]["cohorts"][0])
        assert model_card(Experiment("site", objective, data), None, {"step": 1})["norms"] == []
