"""The Micro-Encoder: what is missing changes nothing, and every set of channels works."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from data_pipeline.modalities import RATE_HZ, SLOTS, Modality
from data_pipeline.night import EPOCH_S
from sleepmami_jax.config import ModalityConfig, ModelConfig, from_dict, to_dict
from sleepmami_jax.data.frozen import model_slots
from sleepmami_jax.models.micro import Visible, layout, measured_width, token_width
from sleepmami_jax.models.sleepmami import merge, structure
from sleepmami_jax.models.stem import features, n_features
from sleepmami_jax.models.tokenizer import time_code

N = 3


@pytest.fixture(scope="module")
def encode(model):
    """The compiled encoder: (batch, visible, hidden) -> Tokens."""
    graph, params = model
    compiled = jax.jit(lambda params, *arguments: merge(graph, params).micro(*arguments))
    return lambda batch, visible=None, hidden=None: jax.device_get(compiled(params, batch, visible, hidden))


def unusable(batch, rng):
    """Some seconds of every channel are marked, two channels whole."""
    marked = {m: values | {"usable": rng.random(values["usable"].shape) > 0.1} for m, values in batch.items()}
    marked["EEG"]["usable"][0, 1] = False
    marked["ECG"]["usable"][1] = False
    return marked


def with_garbage(batch, rng):
    """Large noise wherever a second is not usable."""
    dirty = {}
    for m, values in batch.items():
        rate_hz = values["signal"].shape[-1] // EPOCH_S
        usable = np.repeat(values["usable"], rate_hz, axis=-1)
        noise = 1e3 * rng.standard_normal(usable.shape).astype(np.float32)
        dirty[m] = values | {"signal": np.where(usable, values["signal"], noise)}
    return dirty


def test_unusable_seconds_and_channels_change_nothing(tiny, encode, epochs_of):
    rng = np.random.default_rng(1)
    batch = unusable(epochs_of(tiny, N), rng)
    clean, dirty = encode(batch), encode(with_garbage(batch, rng))
    np.testing.assert_array_equal(clean.ok, dirty.ok)
    np.testing.assert_allclose(clean.x, dirty.x, atol=1e-6)
    for m in SLOTS:
        np.testing.assert_allclose(clean.private[m], dirty.private[m], atol=1e-6, err_msg=m)
    assert 0 < clean.ok.mean() < 1


def test_a_token_is_there_when_one_channel_has_all_its_seconds(tiny, encode, epochs_of):
    batch = epochs_of(tiny, N)
    batch["EEG"]["usable"][0, 0, 4] = False  # token 1 of 3 s, one channel of two
    batch["EEG"]["usable"][1, :, 4] = False
    where = layout(tiny.modalities)
    expected = np.ones((N, where.total), bool)
    expected[1, where.offset[Modality.EEG] + 1] = False
    np.testing.assert_array_equal(encode(batch).ok, expected)
    assert not encode(batch).x[1, where.offset[Modality.EEG] + 1].any()


@pytest.mark.parametrize("modality", SLOTS)
def test_every_modality_works_alone(tiny, encode, epochs_of, modality):
    batch = epochs_of(tiny, N)
    for m in SLOTS:
        if m is not modality:
            batch[m]["usable"][:] = False
    tokens, where = encode(batch), layout(tiny.modalities)
    own = where.modality_of_token() == list(SLOTS).index(modality)
    np.testing.assert_array_equal(tokens.ok, np.broadcast_to(own, tokens.ok.shape))
    assert np.isfinite(tokens.x).all()
    assert (tokens.x[:, own].std(-1) > 0.1).all()
    assert not tokens.x[:, ~own].any()


def test_a_channel_that_is_missing_is_not_a_channel_of_zeros(tiny, encode, epochs_of):
    batch = epochs_of(tiny, N)
    batch["EEG"]["signal"][:, 1] = 0
    zeros = encode(batch)
    batch["EEG"]["usable"][:, 1] = False
    missing = encode(batch)
    assert missing.ok.all()
    assert np.isfinite(missing.x).all()
    assert np.abs(zeros.x - missing.x).max() > 1e-3


def test_nothing_at_all_is_finite_and_empty(tiny, encode, epochs_of):
    batch = epochs_of(tiny, N)
    for m in SLOTS:
        batch[m]["usable"][:] = False
    tokens = encode(batch)
    assert not tokens.ok.any()
    assert not tokens.x.any()


def test_all_places_visible_is_the_same_as_none_named(tiny, encode, epochs_of):
    batch = unusable(epochs_of(tiny, N), np.random.default_rng(2))
    every = {
        m: Visible(np.tile(np.arange(n), (N, 1)), np.ones((N, len(tiny.modalities[m].slots), n), bool))
        for m, n in layout(tiny.modalities).tokens.items()
    }
    np.testing.assert_allclose(encode(batch, every).x, encode(batch).x, atol=1e-6)


def test_only_the_visible_is_seen(tiny, encode, epochs_of):
    """Other places, tokens of single channels, and modalities hidden whole reach no token; places keep their time."""
    tokens = layout(tiny.modalities).tokens
    rng = np.random.default_rng(3)
    visible = {}
    for m, n in tokens.items():
        place = np.sort(np.argsort(rng.random((N, n)))[:, : n // 2])
        shown = rng.random((N, len(tiny.modalities[m].slots), n)) < 0.7
        visible[m] = Visible(place, shown & (place[..., None] == np.arange(n)).any(1)[:, None])
    hidden = np.zeros((N, len(SLOTS)), bool)
    hidden[:, list(SLOTS).index(Modality.EOG)] = True
    batch = epochs_of(tiny, N)
    changed = epochs_of(tiny, N, seed=1)
    for m in SLOTS:
        if m is Modality.EOG:
            continue
        shown = np.repeat(visible[m].shown, changed[m]["signal"].shape[-1] // tokens[m], axis=2)
        changed[m]["signal"] = np.where(shown, batch[m]["signal"], changed[m]["signal"])
    one, other = encode(batch, visible, hidden), encode(changed, visible, hidden)
    np.testing.assert_allclose(one.x, other.x, atol=1e-6)
    assert one.ok.shape == (N, sum(n // 2 for n in tokens.values()))
    assert not one.ok.all()

    eeg = visible[Modality.EEG]
    at_other_times = visible | {Modality.EEG: eeg._replace(place=eeg.place[:, ::-1])}
    same_set = encode(batch, at_other_times, hidden).x
    k = tokens[Modality.EEG] // 2
    np.testing.assert_allclose(same_set[:, :k], one.x[:, :k][:, ::-1], atol=1e-5)


def test_an_epoch_does_not_depend_on_its_batch_mates(tiny, encode, epochs_of):
    batch, others = epochs_of(tiny, N), epochs_of(tiny, N, seed=1)
    mixed = jax.tree.map(lambda a, b: np.concatenate([a[:1], 50 * b[1:] if b.dtype != bool else b[1:]]), batch, others)
    np.testing.assert_allclose(encode(mixed).x[0], encode(batch).x[0], atol=1e-6)


def test_channels_of_a_modality_are_told_apart_by_slot(tiny, encode, epochs_of):
    batch, swapped = epochs_of(tiny, N), epochs_of(tiny, N)
    swapped["EEG"]["signal"] = swapped["EEG"]["signal"][:, ::-1]
    assert np.abs(encode(batch).x - encode(swapped).x).max() > 1e-4


def test_a_token_keeps_the_power_that_was_measured(tiny, encode, epochs_of):
    """Its last numbers are the mean of the features of its channels that are wholly usable there."""
    batch = unusable(epochs_of(tiny, N), np.random.default_rng(4))
    tokens, where = encode(batch), layout(tiny.modalities)
    assert tokens.x.shape == (N, where.total, token_width(tiny))
    assert token_width(tiny) == tiny.micro.dim + measured_width(tiny.modalities)
    for m, token_s in where.token_s.items():
        signal, usable = batch[m]["signal"], batch[m]["usable"]
        bands, width = np.asarray(features(signal, usable, m, token_s)), n_features(m, token_s)
        ok = usable.reshape(*usable.shape[:2], -1, token_s).all(-1)
        kept = tokens.x[:, where.span(m), tiny.micro.dim :]
        for b, k in np.ndindex(N, where.tokens[m]):
            some = ok[b, :, k]
            expected = bands[b, some, k].mean(0) if some.any() else np.zeros(width)
            np.testing.assert_allclose(kept[b, k, :width], expected, atol=1e-5, err_msg=m)
        assert not kept[..., width:].any()


def test_a_channel_hears_the_others_of_its_modality_at_other_times(tiny, encode, epochs_of):
    """Each channel has tokens where the other has none, so that nothing but attention can carry it across."""
    batch = epochs_of(tiny, N)
    batch["EEG"]["usable"][:, 0, 15:18] = False  # token 5 of 3 s
    batch["EEG"]["usable"][:, 1] = False
    batch["EEG"]["usable"][:, 1, 15:18] = True
    changed = jax.tree.map(np.copy, batch)
    rate_hz = RATE_HZ[Modality.EEG]
    changed["EEG"]["signal"][:, 1, 15 * rate_hz : 18 * rate_hz] *= 3
    one, other = (encode(b).private[Modality.EEG] for b in (batch, changed))
    assert (np.abs(one - other).max((0, 2)) > 1e-5).all()


def test_the_layout_counts_tokens(tiny):
    where = layout(tiny.modalities)
    assert list(where.tokens.values()) == [10, 6, 5, 3, 6, 3]
    assert list(where.offset.values()) == [0, 10, 16, 21, 24, 30]
    assert where.total == len(where.modality_of_token()) == 33


def test_times_are_told_apart():
    code = time_code(30, 16)
    distance = np.linalg.norm(code[:, None] - code[None], axis=-1) + 9 * np.eye(30)
    assert code.shape == (30, 16)
    assert distance.min() > 0.3


def test_rates_make_whole_samples_of_every_token(tiny):
    for m in SLOTS:
        assert tiny.modalities[m].token_s * RATE_HZ[m] * layout(tiny.modalities).tokens[m] == EPOCH_S * RATE_HZ[m]


def test_a_config_may_have_a_seventh_modality(tiny):
    config = replace(tiny, modalities=replace(tiny.modalities, PPG=ModalityConfig(("PPG",), token_s=5)))
    assert from_dict(ModelConfig, json.loads(json.dumps(to_dict(config)))) == config
    assert list(layout(config.modalities).tokens) == [*SLOTS, Modality.PPG]
    assert layout(config.modalities).tokens[Modality.PPG] == 6
    assert model_slots(config)[Modality.PPG] == ("PPG",)
    six, seven = structure(tiny)[1], structure(config)[1]
    assert six.keys() < seven.keys() and all("/PPG/" in name for name in seven.keys() - six.keys())
    assert seven["micro/modality"].shape[0] == six["micro/modality"].shape[0] + 1
