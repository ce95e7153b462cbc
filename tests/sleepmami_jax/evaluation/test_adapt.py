"""A model brought to a laboratory without labels: what changes, what does not, and when nothing does."""

from dataclasses import replace

import numpy as np
import pytest

from data_pipeline.shards.manifest import channel_entry
from data_pipeline.shards.scale import channel_scale
from sleepmami_jax import load
from sleepmami_jax.cli import parse, run_command
from sleepmami_jax.evaluation.adapt import adapt, folded
from sleepmami_jax.export.folder import ModelFolderError, load_model
from sleepmami_jax.models.micro import layout, token_width
from sleepmami_jax.pretrained import Pretrained
from tests.support.signals import night_of_noise

SLOTS = ("C3", "E1", "CHIN")
LENGTH = 120


@pytest.fixture(scope="module")
def model():
    return load()


@pytest.fixture(scope="module")
def nights():
    """Noise as white as no EEG is: every number lies elsewhere than in training."""
    return [night_of_noise(LENGTH, seed, SLOTS) for seed in range(2)]


@pytest.fixture(scope="module")
def adapted(model, nights):
    return adapt(model, nights)


def test_a_fold_reads_tokens_as_if_they_were_moved(model, nights):
    """Nothing is promised of the night's vector, of waves of the EEG, and of what is held against the night itself."""
    rng, width = np.random.default_rng(0), token_width(model.folder.config)
    learnt = np.arange(width) < model.folder.config.micro.dim
    affines = {
        name: (np.where(learnt, rng.uniform(0.7, 1.4, width), 1), rng.normal(0, 0.3, width)) for name in ("EEG", "EMG")
    }
    whole = replace(model.folder, half=False)
    tokens, ok = model.tokens(nights[0])
    place = layout(model.folder.config.modalities)
    moved = tokens.copy()
    for m in place.tokens:
        if m.value in affines:
            scale, offset = affines[m.value]
            moved[:, place.span(m)] = scale * tokens[:, place.span(m)] + offset
    moved = np.where(ok[..., None], moved, 0).astype(np.float32)
    channels = [channel_entry(channel, channel_scale(channel)) for channel in nights[0].channels]
    said = Pretrained(folded(whole, affines)).infer(tokens, ok, channels).probs
    expected, plain = (Pretrained(whole).infer(x, ok, channels).probs for x in (moved, tokens))
    for task in ("stages", "arousal"):
        np.testing.assert_allclose(said[task], expected[task], atol=2e-4)
        assert np.abs(said[task] - plain[task]).max() > 0.05


def test_what_was_measured_is_scaled_with_its_spread_and_what_is_held_against_the_night_is_not(model):
    width, dim = token_width(model.folder.config), model.folder.config.micro.dim
    scale, whole = np.linspace(0.5, 2, width), replace(model.folder, half=False)
    name = "macro/enter/maps/EEG/kernel"
    factor = (folded(whole, {"EEG": (scale, np.zeros(width))}).params[name] / whole.params[name])[:, 0]
    np.testing.assert_allclose(factor[:width], scale, rtol=1e-6)
    np.testing.assert_allclose(factor[width : width + width - dim], scale[dim:], rtol=1e-6)
    assert (factor[2 * width - dim :] == 1).all() and len(factor) == 3 * width - 2 * dim + width - dim


def test_what_is_usual_moves_along(model, adapted):
    before, after = model.folder.reference.tokens["EEG"], adapted.folder.reference.tokens["EEG"]
    assert adapted.moved["EEG"] > 0.3 and set(adapted.moved) == set(adapted.widened) == {"EEG", "EOG", "EMG"}
    assert before.mean != after.mean and before.far == after.far
    assert adapted.folder.reference.looks == model.folder.reference.looks


def test_the_change_that_leaves_the_model_surest_is_made_and_told(model, nights, adapted, tmp_path):
    assert adapted.what and adapted.risk_after < adapted.risk_before - 0.02
    tuned = Pretrained(adapted.folder)
    risks = [tuned.judge(night, *tuned.listen(night)).epoch_risk for night in nights]
    assert np.concatenate(risks).mean() == pytest.approx(adapted.risk_after, abs=1e-6)
    assert tuned.card["trained_on"] == "simulated nights only; then adapted to 2 nights without labels"
    untouched = {name for name in model.folder.params if "/enter/maps/" not in name}
    assert all((model.folder.params[name] == adapted.folder.params[name]).all() for name in untouched)
    assert adapted.restaged == pytest.approx(
        np.mean([model.predict(night).stages != tuned.predict(night).stages for night in nights])
    )


def test_nights_like_those_of_training_change_nothing(model, adapted, nights):
    """An adapted model is at home: the same nights again move nothing."""
    again = adapt(Pretrained(adapted.folder), nights)
    assert not again.what and again.risk_after == again.risk_before and again.restaged == 0
    assert again.folder.digest() == adapted.folder.digest()


def test_too_little_is_refused(model):
    with pytest.raises(ValueError, match="usable for 60 epochs"):
        adapt(model, [night_of_noise(20, 0, SLOTS)])
    with pytest.raises(ModelFolderError, match="does not know what is usual"):
        adapt(Pretrained(replace(model.folder, reference=None)), [])


def test_the_command_writes_a_model_that_scores(tmp_path, monkeypatch, capsys, nights, adapted):
    monkeypatch.setattr("data_pipeline.load.load_night", lambda path, montage: nights[int(path.stem)])
    words = ["sleepmami", "adapt", "0.edf", "1.edf", "--out", str(tmp_path / "model")]
    assert run_command(parse(words)) == 0
    assert load_model(tmp_path / "model").digest() == adapted.folder.digest()
    assert "Changed over 2 nights" in capsys.readouterr().out
    assert "Then adapted to 2 nights" in (tmp_path / "model" / "README.md").read_text()
