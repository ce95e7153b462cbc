"""What is hidden, and masked autoencoding, against plain numpy."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from flax import nnx

from data_pipeline.modalities import SLOTS, Modality
from sleepmami_jax.config import Masking
from sleepmami_jax.models.initial import Rngs
from sleepmami_jax.models.micro import Layout, Tokens, Visible, layout, patches
from sleepmami_jax.models.sleepmami import merge, split
from sleepmami_jax.models.stem import features, n_features
from sleepmami_jax.objectives.contrastive import ModalityProjection
from sleepmami_jax.objectives.masked import (
    MaskedDecoder,
    masked_loss,
    places_there,
    recorded,
    sample_hidden,
    sample_visible,
    shown_modalities,
    teacher_loss,
    visible_tokens,
)
from tests.support.meshes import BATCH, M, keys_of, on_one_device, same_on_four


def everything(tiny, n):
    """`recorded` of n epochs, nothing missing."""
    where = layout(tiny.modalities)
    return {m: np.ones((n, len(tiny.modalities[m].slots), where.tokens[m]), bool) for m in SLOTS}


def drawn(tiny, mask, n=64, seed=0, there=None):
    """What is visible of so many epochs."""
    where, there = layout(tiny.modalities), there or everything(tiny, n)
    return jax.device_get(jax.jit(lambda *v: sample_visible(*v, where, mask))(keys_of(n, seed), there))


EEG_ALONE = Layout({Modality.EEG: 10}, {Modality.EEG: 3}, {Modality.EEG: 0}, 10)


def drawn_of_eeg(mask, n=64):
    """What is shown of two channels, (n, 2, 10)."""
    there = {Modality.EEG: np.ones((n, 2, 10), bool)}
    draw = jax.jit(lambda *v: sample_visible(*v, EEG_ALONE, mask)[Modality.EEG].shown)
    return np.asarray(draw(keys_of(n), there))


def test_visible_places_are_as_many_as_asked_sorted_unique_and_drawn_anew(tiny):
    where, mask = layout(tiny.modalities), Masking(time=0.6)
    visible, again, other = drawn(tiny, mask), drawn(tiny, mask), drawn(tiny, mask, seed=1)
    assert {m: v.place.shape for m, v in visible.items()} == {
        m: (64, k) for m, k in zip(SLOTS, (4, 2, 2, 1, 2, 1), strict=True)
    }
    for m in SLOTS:
        place, n = visible[m].place, where.tokens[m]
        assert place.min() >= 0 and place.max() < n
        assert (np.diff(place, axis=1) > 0).all()
        jax.tree.map(np.testing.assert_array_equal, visible[m], again[m])
        assert (place != other[m].place).any() and (visible[m].shown != other[m].shown).any()
        # Over many draws each place is shown about as often.
        assert np.bincount(place.ravel(), minlength=n).min() / place.size > 0.3 / n
        encoded = np.zeros((64, n), bool)
        np.put_along_axis(encoded, place, True, axis=1)
        assert not (visible[m].shown & ~encoded[:, None]).any()  # nothing but what is encoded is shown
    assert visible_tokens(where, Masking(time=0.84, channel=0, token=0)) == dict(
        zip(SLOTS, (2, 1, 1, 1, 1, 1), strict=True)
    )


def test_as_much_is_hidden_as_asked_in_all_channels_and_in_one():
    mask = Masking(time=0.3, channel=0.2, token=0.1, channel_s=6)
    for time, channel, token in ((0.3, 0.2, 0.1), (0.3, 0.0, 0.0), (0.0, 0.4, 0.0), (0.0, 0.0, 0.4)):
        shown = drawn_of_eeg(replace(mask, time=time, channel=channel, token=token), 400)
        assert (~shown).mean() == pytest.approx(time + channel + token, abs=0.02)
        if not channel and not token:
            assert (shown == shown[:, :1]).all()  # in all channels at once
        elif not time:
            one, two = ~shown[:, 0], ~shown[:, 1]
            assert (one & two).mean() == pytest.approx(one.mean() * two.mean(), abs=0.02)  # in one, whatever the others


def test_what_is_hidden_comes_in_runs():
    def changes(mask):
        return np.abs(np.diff(drawn_of_eeg(mask).astype(int))).sum(2).mean()

    time, channel = Masking(time=0.5, channel=0, token=0), Masking(time=0, channel=0.5, token=0)
    for mask, name in ((time, "time_s"), (channel, "channel_s")):
        assert changes(replace(mask, **{name: 12.0})) < 0.75 * changes(replace(mask, **{name: 3.0}))
    assert changes(Masking(time=0.3, time_s=30, channel=0, token=0)) < 3  # mostly one
    assert changes(replace(channel, channel_s=30.0)) == 0  # a channel is hidden whole, or not at all


def test_single_channels_are_not_hidden_where_nothing_would_be_left(tiny):
    there = everything(tiny, 64)
    there[Modality.EEG][:32, 1:] = False  # one channel was recorded
    there[Modality.EEG][:32, :, 1:] = False  # in one token
    visible = drawn(tiny, Masking(time=0, channel=0.6, token=0.3), there=there)
    for m in SLOTS:
        assert (visible[m].shown & there[m]).any((1, 2)).all()
    eeg = visible[Modality.EEG].shown
    assert eeg[:32].all((1, 2)).mean() > 0.7 and eeg[32:].all((1, 2)).mean() < 0.4


def test_a_modality_that_is_present_always_stays():
    present = np.random.default_rng(0).random((500, M)) < 0.4
    hidden = np.asarray(sample_hidden(keys_of(500), present, 0.9))
    some = present.any(1)
    assert (present & ~hidden)[some].any(1).all()
    assert hidden.mean() > 0.6
    assert not sample_hidden(keys_of(500), present, 0.0).any()


def test_what_may_stay_is_a_modality_of_which_something_is_encoded(tiny):
    where, there = layout(tiny.modalities), everything(tiny, 2)
    visible = {
        m: Visible(None, np.broadcast_to(np.arange(n) % 2 == 0, there[m].shape)) for m, n in where.tokens.items()
    }
    there[Modality.EEG][0, :, ::2] = False  # recorded, but not where it is visible
    there[Modality.RESP][1, :, 2] = False  # one visible place of several
    expected = np.ones((2, M), bool)
    expected[0, list(SLOTS).index(Modality.EEG)] = False
    np.testing.assert_array_equal(shown_modalities(there, visible, where), expected)


def test_encoding_the_visible_alone_costs_what_they_are(tiny, model, epochs_of):
    where, graph = layout(tiny.modalities), model[0]
    # A patch is worth more operations than its token in so small a model; a wide one is what is trained.
    batch = epochs_of(tiny, 2)

    def flops(time):
        mask = Masking(time=time, channel=0, token=0)

        def encode(params, batch, keys):
            visible = sample_visible(keys, recorded(batch, where), where, mask)
            return merge(graph, params).micro(batch, visible, exact=False).x

        return jax.jit(encode).lower(model[1], batch, keys_of(2)).cost_analysis()["flops"]

    def measure(batch):  # of the whole epoch, hidden or not
        return [features(batch[m]["signal"], batch[m]["usable"], m, s) for m, s in where.token_s.items()]

    measured = jax.jit(measure).lower(batch).cost_analysis()["flops"]
    tokens = [sum(visible_tokens(where, Masking(time=time)).values()) for time in (0.6, 0.0)]
    assert (flops(0.6) - measured) / (flops(0.0) - measured) == pytest.approx(tokens[0] / tokens[1], abs=0.1)


def masked_case(tiny, epochs_of):
    """A batch with unusable seconds, what is visible and hidden of it, and a guess at every patch."""
    where, rng = layout(tiny.modalities), np.random.default_rng(5)
    batch = epochs_of(tiny, BATCH)
    for m in SLOTS:
        batch[m]["usable"] = rng.random(batch[m]["usable"].shape) > 0.02
    visible = {m: Visible(None, rng.random((BATCH, *v.shape[1:])) < 0.5) for m, v in everything(tiny, BATCH).items()}
    hidden = rng.random((BATCH, M)) < 0.3
    rebuilt = {}
    for m, n in where.tokens.items():
        c, samples = batch[m]["signal"].shape[1], batch[m]["signal"].shape[2] // n
        shapes = (BATCH, c, n, samples), (BATCH, c, n, n_features(m, where.token_s[m]))
        rebuilt[m] = tuple(rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    return batch, visible, hidden, rebuilt


def masked_by_loops(batch, visible, hidden, rebuilt, where):
    """Both parts of the masked loss, patch by patch."""
    amplitude, spectral = [], []
    for i, m in enumerate(SLOTS):
        errors, squares = [], []
        signal, usable, token_s = batch[m]["signal"], batch[m]["usable"], where.token_s[m]
        per, bands = signal.shape[-1] // where.tokens[m], np.asarray(features(signal, usable, m, token_s))
        ok = usable.reshape(*bands.shape[:3], token_s).all(-1)
        bands = (bands - bands[ok].mean(0)) / bands[ok].std(0)
        for b, c, k in np.ndindex(*signal.shape[:2], where.tokens[m]):
            shown = visible[m].shown[b, c, k] and not hidden[b, i]
            if shown or not ok[b, c, k]:
                continue
            target = signal[b, c, k * per : (k + 1) * per]
            errors.append(np.abs(rebuilt[m][0][b, c, k] - target).mean())
            squares.append(((rebuilt[m][1][b, c, k] - bands[b, c, k]) ** 2).mean())
        amplitude.append(np.mean(errors))
        spectral.append(np.mean(squares))
    return np.mean(amplitude), np.mean(spectral)


@pytest.fixture(scope="module")
def masked(tiny):
    """The compiled loss: (batch, visible, hidden, rebuilt) -> amplitude, spectral."""
    where = layout(tiny.modalities)
    return on_one_device(lambda b, v, h, r, axes: masked_loss(r, b, v, h, where, axes))


def test_masked_loss_equals_loops_over_patches(tiny, masked, epochs_of):
    case = masked_case(tiny, epochs_of)
    np.testing.assert_allclose(masked(*case), masked_by_loops(*case, layout(tiny.modalities)), rtol=1e-4)


def test_guessing_the_mean_of_every_band_costs_one(tiny, masked, epochs_of):
    """However much a band varies, and wherever its mean lies."""
    batch, visible, hidden, rebuilt = masked_case(tiny, epochs_of)
    hidden[:] = True  # all that was recorded is rebuilt
    means = {m: (samples, np.zeros_like(bands)) for m, (samples, bands) in rebuilt.items()}
    for gain in (1.0, 0.1):
        for m in SLOTS:
            batch[m]["signal"] = np.float32(gain) * batch[m]["signal"]
        assert masked(batch, visible, hidden, means)[1] == pytest.approx(1, abs=0.01)


def test_masked_loss_ignores_what_is_visible_or_unusable(tiny, masked, epochs_of):
    where = layout(tiny.modalities)
    batch, visible, hidden, rebuilt = masked_case(tiny, epochs_of)
    wild = {}
    for i, m in enumerate(SLOTS):
        ok = np.asarray(patches(batch[m]["signal"], batch[m]["usable"], where.token_s[m])[1])
        ignored = ((visible[m].shown & ~hidden[:, i, None, None]) | ~ok)[..., None]
        wild[m] = tuple(np.where(ignored, 1e6, v).astype(np.float32) for v in rebuilt[m])
        assert 0 < ignored.mean() < 1
    losses = [masked(batch, visible, hidden, guess) for guess in (rebuilt, wild)]
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_band_power_that_nobody_rebuilt_costs_nothing(tiny, masked, epochs_of):
    *case, rebuilt = masked_case(tiny, epochs_of)
    samples_alone = {m: (samples, None) for m, (samples, _) in rebuilt.items()}
    where = layout(tiny.modalities)
    alone = on_one_device(lambda b, v, h, r, axes: masked_loss(r, b, v, h, where, axes)[0])
    assert alone(*case, samples_alone) == pytest.approx(masked(*case, rebuilt)[0], rel=1e-6)


def test_a_modality_that_nobody_has_does_not_dilute_the_loss(tiny, masked, epochs_of):
    batch, visible, hidden, rebuilt = masked_case(tiny, epochs_of)
    for m in SLOTS:
        batch[m]["usable"][:] = m is Modality.SPO2
    hidden[:, -1] = True
    amplitude, _ = masked(batch, visible, hidden, rebuilt)
    error = np.abs(rebuilt[Modality.SPO2][0].reshape(BATCH, -1) - batch["SPO2"]["signal"][:, 0])
    assert amplitude == pytest.approx(error.mean(), rel=1e-5)


def test_places_there_are_those_of_some_usable_channel(tiny, epochs_of):
    where, batch = layout(tiny.modalities), epochs_of(tiny, 2)
    batch["EEG"]["usable"][0, :, 3] = False
    batch["EMG"]["usable"][1, 0] = False
    batch["SPO2"]["usable"][1] = False
    expected = np.ones((2, where.total), bool)
    expected[0, 1] = False
    expected[1, where.offset[Modality.SPO2] :] = False
    np.testing.assert_array_equal(places_there(recorded(batch, where), where), expected)


def test_masked_loss_is_the_same_on_four_devices(tiny, epochs_of):
    where = layout(tiny.modalities)
    batch, visible, hidden, rebuilt = masked_case(tiny, epochs_of)
    batch["RESP"]["usable"][5:] = False  # devices have different shares of what counts
    gains = {m: (np.float32(0.5), np.float32(0.7)) for m in SLOTS}

    def loss(gains, data, keys, axes):
        batch, visible, hidden, rebuilt = data
        guess = {m: tuple(g * r for g, r in zip(gains[m], rebuilt[m], strict=True)) for m in SLOTS}
        amplitude, spectral = masked_loss(guess, batch, visible, hidden, where, axes)
        return amplitude + spectral, {"amplitude": amplitude}

    same_on_four(loss, gains, (batch, visible, hidden, rebuilt))


def taught_case(tiny):
    """A teacher's tokens, what the student saw, and its guess at the learnt part of each."""
    where, rng = layout(tiny.modalities), np.random.default_rng(6)
    x = rng.normal(3.0, 2.0, (BATCH, where.total, tiny.micro.dim + 4)).astype(np.float32)
    ok = rng.random((BATCH, where.total)) > 0.1
    visible = {m: Visible(None, rng.random(v.shape) < 0.3) for m, v in everything(tiny, BATCH).items()}
    guess = rng.standard_normal((BATCH, where.total, tiny.micro.dim)).astype(np.float32)
    return guess, Tokens(x, ok, {}, {}, {}), visible, rng.random((BATCH, M)) < 0.3


def test_the_teacher_is_rebuilt_where_nothing_was_seen(tiny):
    where = layout(tiny.modalities)
    guess, teacher, visible, hidden = taught_case(tiny)
    learnt = teacher.x[..., : tiny.micro.dim]
    wanted = (learnt - learnt[teacher.ok].mean(0)) / learnt[teacher.ok].std(0)
    squares, counted = [], np.zeros(teacher.ok.shape, bool)
    for i, m in enumerate(SLOTS):
        for b, k in np.ndindex(BATCH, where.tokens[m]):
            place = where.offset[m] + k
            seen = visible[m].shown[b, :, k].any() and not hidden[b, i]
            if teacher.ok[b, place] and not seen:
                counted[b, place] = True
                squares.append(((guess[b, place] - wanted[b, place]) ** 2).mean())
    of = on_one_device(lambda g, t, v, h, axes: teacher_loss(g, t, v, h, where, axes))
    assert of(guess, teacher, visible, hidden) == pytest.approx(np.mean(squares), rel=1e-4)
    wild = np.where(counted[..., None], guess, 1e6).astype(np.float32)
    assert of(wild, teacher, visible, hidden) == pytest.approx(np.mean(squares), rel=1e-4)
    everything_hidden = np.ones_like(hidden)
    assert of(np.zeros_like(guess), teacher, visible, everything_hidden) == pytest.approx(1.0, rel=1e-3)  # its mean
    one_for_all = teacher._replace(x=np.ones_like(teacher.x))
    assert of(np.zeros_like(guess), one_for_all, visible, hidden) == pytest.approx(0.0, abs=1e-6)


def test_the_teacher_is_not_taught(tiny):
    where = layout(tiny.modalities)
    guess, teacher, visible, hidden = taught_case(tiny)

    def loss(x):
        of = on_one_device(lambda x, axes: teacher_loss(guess, teacher._replace(x=x), visible, hidden, where, axes))
        return of(x)

    assert not np.abs(jax.grad(loss)(teacher.x)).any()


class Objective(nnx.Module):
    """The parts of micro pretraining that only the loss needs."""

    def __init__(self, config, *, rngs):
        self.decoder = MaskedDecoder(config, 16, rngs=rngs)
        self.projection = ModalityProjection(config, rngs=rngs)


@pytest.fixture(scope="module")
def objective(tiny):
    """Its structure and parameters."""
    graph, shapes = split(Objective(tiny, rngs=Rngs(None)))
    rng = np.random.default_rng(0)
    return graph, {n: (0.2 * rng.standard_normal(v.shape)).astype(v.dtype) for n, v in shapes.items()}


def test_the_decoder_never_sees_what_it_must_rebuild(tiny, model, objective, epochs_of):
    where = layout(tiny.modalities)
    visible = drawn(tiny, Masking(), BATCH)
    assert any((v.shown.any(1) & ~v.shown.all(1)).any() for v in visible.values())  # some in one channel only
    hidden = np.arange(M)[None] == np.arange(BATCH)[:, None] % M

    @jax.jit
    def rebuild(batch):
        tokens = merge(model[0], model[1]).micro(batch, visible, hidden, exact=True)
        heads = merge(*objective)
        rebuilt = heads.decoder(tokens, visible, places_there(recorded(batch, where), where))
        return rebuilt.patches, heads.projection(tokens)

    batch, changed = epochs_of(tiny, BATCH), epochs_of(tiny, BATCH, seed=1)
    for i, m in enumerate(SLOTS):
        shown = visible[m].shown & ~hidden[:, i, None, None]
        shown = np.repeat(shown, batch[m]["signal"].shape[-1] // where.tokens[m], axis=2)
        changed[m]["signal"] = np.where(shown, batch[m]["signal"], changed[m]["signal"])
    batch["SPO2"]["usable"][0] = changed["SPO2"]["usable"][0] = False
    (one, (z, present)), (other, _) = rebuild(batch), rebuild(changed)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), one, other)
    assert {m: tuple(v.shape for v in one[m]) for m in (Modality.EEG, Modality.SPO2)} == {
        Modality.EEG: ((BATCH, 2, 10, 384), (BATCH, 2, 10, n_features(Modality.EEG, 3))),
        Modality.SPO2: ((BATCH, 1, 3, 10), (BATCH, 1, 3, n_features(Modality.SPO2, 10))),
    }
    # The contrast sees every modality that is there as a unit vector, also those hidden from the decoder.
    expected = np.ones((BATCH, M), bool)
    expected[0, -1] = False
    np.testing.assert_array_equal(present, expected)
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), 1, atol=1e-5)
