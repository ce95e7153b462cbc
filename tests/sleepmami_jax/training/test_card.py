"""What a model says of whose labels it learned from."""

from types import SimpleNamespace

from sleepmami_jax.config import DataConfig, Experiment, Finetuning, MicroPretraining
from sleepmami_jax.export.readme import _trained
from sleepmami_jax.training.card import _training

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
