"""The Macro-Encoder and the way back to seconds: length, padding and gaps change nothing."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.night import EPOCH_S
from data_pipeline.tasks import AROUSAL, FAST_HZ, K_COMPLEX, SPINDLE, STAGES
from sleepmami_jax.config import ConfigError
from sleepmami_jax.models import macro, ssd, stretches
from sleepmami_jax.models.initial import Rngs
from sleepmami_jax.models.macro import ModalityMerge, epoch_summary, summary_width, token_statistics
from sleepmami_jax.models.micro import layout, measured_width, token_width
from sleepmami_jax.models.sleepmami import NightOutput, create, merge, split, structure
from sleepmami_jax.models.within_night import within_night
from sleepmami_jax.training.optimizer import decays

NIGHTS = 2


@pytest.fixture(scope="module")
def call(model):
    """The compiled model without the Micro-Encoder: (tokens, ok) -> vector, epochs, seconds."""
    return compiled(*model)


def compiled(graph, params):
    @jax.jit
    def run(params, tokens, ok):
        model = merge(graph, params)
        vector, epochs = model.macro(*epoch_summary(tokens, ok, model.config))
        return vector, epochs, model.seconds(tokens, ok, epochs)

    return lambda tokens, ok: jax.device_get(run(params, tokens, ok))


def variant(tiny, **macro):
    """The tiny model with other fields of MacroConfig: its parameters, and `call` of it."""
    graph, params = create(replace(tiny, macro=replace(tiny.macro, **macro)), 0)
    return params, compiled(graph, params)


def difference(call, tokens, changed, ok):
    """How much the vector (D,), each epoch (E,) and each second (30 E,) answer to a change of tokens."""
    vector, epochs, seconds = (np.abs(a - b) for a, b in zip(call(tokens, ok), call(changed, ok), strict=True))
    return vector.max(0), epochs.max((0, 2)), seconds.max((0, 2))


def night(tiny, epochs, seed=0):
    """Tokens (NIGHTS, E, L, D) and their mask, some missing."""
    rng = np.random.default_rng(seed)
    total = layout(tiny.modalities).total
    tokens = rng.standard_normal((NIGHTS, epochs, total, token_width(tiny))).astype(np.float32)
    return tokens, rng.random((NIGHTS, epochs, total)) > 0.2


def test_a_longer_padding_changes_nothing(tiny, call):
    epochs, longer = 5, 9  # neither is whole after two merges of two
    tokens, ok = night(tiny, longer)
    ok[:, epochs:] = False
    tokens[:, epochs:] *= 100
    short, padded = call(tokens[:, :epochs], ok[:, :epochs]), call(tokens, ok)
    np.testing.assert_allclose(padded[0], short[0], atol=1e-5)
    np.testing.assert_allclose(padded[1][:, :epochs], short[1], atol=1e-5)
    np.testing.assert_allclose(padded[2][:, : epochs * EPOCH_S], short[2], atol=1e-5)
    assert short[0].shape == (NIGHTS, tiny.macro.dim)
    assert short[1].shape == (NIGHTS, epochs, tiny.macro.dim)
    assert short[2].shape == (NIGHTS, epochs * EPOCH_S, tiny.macro.seconds_dim)


def test_garbage_in_missing_epochs_and_tokens_changes_nothing(tiny, call):
    tokens, ok = night(tiny, 9)
    ok[:, 3:6] = False
    dirty = np.where(ok[..., None], tokens, 1e3).astype(np.float32)
    (vector, epochs, seconds), changed = call(tokens, ok), call(dirty, ok)
    there = np.repeat(ok.any(-1), EPOCH_S, axis=1)
    np.testing.assert_allclose(changed[0], vector, atol=1e-5)
    np.testing.assert_allclose(changed[1], epochs, atol=1e-5)
    np.testing.assert_allclose(changed[2][there], seconds[there], atol=1e-5)


def test_a_night_does_not_depend_on_the_night_beside_it(tiny, call):
    tokens, ok = night(tiny, 9)
    other = tokens.copy()
    other[1] = 7 * tokens[1, ::-1]
    for one, two in zip(call(tokens, ok), call(other, ok), strict=True):
        np.testing.assert_allclose(one[0], two[0], atol=1e-6)
        assert np.abs(one[1] - two[1]).max() > 1e-3


def test_an_epoch_hears_the_whole_night(tiny, call):
    tokens, ok = night(tiny, 9)
    changed = tokens.copy()
    changed[:, 4] += 1
    vector, epochs, seconds = difference(call, tokens, changed, ok)
    assert vector.max() > 1e-4
    assert (epochs > 1e-6).all()
    assert (seconds > 1e-7).mean() > 0.9


def test_without_levels_an_epoch_hears_itself_and_what_power_the_night_has(tiny):
    params, call = variant(tiny, levels=0, seconds_depth=0)
    left = {name.split("/")[1] for name in params if name.startswith(("macro/", "seconds/"))}
    assert left == {"enter", "norm", "pool", "vector", "context"}
    tokens, ok = night(tiny, 7)
    changed = tokens.copy()
    changed[:, 4, :, : tiny.micro.dim] += 1
    vector, epochs, seconds = difference(call, tokens, changed, ok)
    assert vector.max() > 1e-4
    np.testing.assert_array_equal(np.flatnonzero(epochs), [4])
    np.testing.assert_array_equal(np.flatnonzero(seconds), np.arange(4 * EPOCH_S, 5 * EPOCH_S))
    changed[:, 4] += 1  # but power is measured against all of the night's
    _, epochs, seconds = difference(call, tokens, changed, ok)
    assert (epochs > 1e-4).all() and (seconds > 1e-5).mean() > 0.9


def test_a_night_with_nothing_is_finite(tiny, call):
    tokens, ok = night(tiny, 9)
    ok[0] = False
    assert all(np.isfinite(v).all() for v in call(tokens, ok))
    assert all(np.isfinite(v).all() for v in call(tokens, np.zeros_like(ok)))


def test_a_night_with_nothing_has_finite_gradients(tiny, model):
    shallow = replace(tiny, macro=replace(tiny.macro, levels=1))
    graph, shapes = structure(shallow)
    tokens, ok = night(tiny, 5)
    ok[0] = False

    def loss(params):
        vector, epochs = merge(graph, params).macro(*epoch_summary(tokens, ok, shallow))
        return (vector**2).sum() + (epochs**2).sum()

    gradients = jax.jit(jax.grad(loss))({name: model[1][name] for name in shapes})
    assert all(np.isfinite(g).all() for g in gradients.values())
    assert any(np.abs(g).max() > 0 for g in gradients.values())


def test_token_statistics_are_those_of_the_tokens_that_are_there():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((NIGHTS, 20, len(SLOTS), 3)).astype(np.float32)
    there = rng.random(x.shape[:-1]) > 0.3
    there[1, :, 2] = False
    ours = np.asarray(token_statistics(np.where(there[..., None], x, 1e3), there))
    ours = ours.reshape(NIGHTS, len(SLOTS), 2, 3)
    for n in range(NIGHTS):
        for m in range(len(SLOTS)):
            seen = x[n, there[n, :, m], m]
            mean, spread = (seen.mean(0), seen.std(0)) if len(seen) else (0.0, 0.0)
            np.testing.assert_allclose(ours[n, m, 0], mean, atol=1e-5)
            np.testing.assert_allclose(ours[n, m, 1], spread, atol=1e-3)


def test_modalities_merge_to_the_mean_of_those_that_are_there():
    merger = ModalityMerge(SLOTS, 4, 3, rngs=Rngs(0))
    rng = np.random.default_rng(0)
    x, ok = (
        list(rng.standard_normal((len(SLOTS), 2, 4)).astype(np.float32)),
        np.ones((2, len(SLOTS)), bool),
    )
    ok[0, 1:] = False
    ok[1, 2] = False
    for m in SLOTS:  # a bias that is not 0 tells a missing modality from one of zeros
        merger.maps[m.value].bias[...] = rng.standard_normal(3).astype(np.float32)
    mapped = np.stack([merger.maps[m.value](v) for m, v in zip(SLOTS, x, strict=True)], 1)
    expected = [mapped[i][ok[i]].mean(0) for i in range(2)]
    np.testing.assert_allclose(merger(x, ok), expected, atol=1e-6)


def test_the_summary_of_an_epoch_is_of_the_tokens_that_are_there(tiny):
    tokens, ok = night(tiny, 2)
    where, measured = layout(tiny.modalities), measured_width(tiny.modalities)
    ok[0, 0, where.offset[Modality.ECG] :][: where.tokens[Modality.ECG]] = False
    dirty = np.where(ok[..., None], tokens, 1e3).astype(np.float32)
    summary, present = epoch_summary(dirty, ok, tiny)
    assert summary.shape == (NIGHTS, 2, len(SLOTS), summary_width(tiny))
    for i, m in enumerate(SLOTS):
        span = where.span(m)
        for n, e in np.ndindex(NIGHTS, 2):
            some = ok[n, e, span]
            assert present[n, e, i] == some.any()
            seen = tokens[n, e, span][some] if some.any() else np.zeros((1, token_width(tiny)))
            mean, spread = summary[n, e, i, :-measured], summary[n, e, i, -measured:]
            np.testing.assert_allclose(mean, seen.mean(0), atol=1e-6)
            np.testing.assert_allclose(spread, seen[:, -measured:].std(0), atol=2e-3)
    assert not present[0, 0, list(SLOTS).index(Modality.ECG)]


# Power against the night's


def standardised(x, ok, causal):
    """`within_night` of one row (E,), by loops."""
    z = np.zeros(len(x))
    for e in np.flatnonzero(ok):
        seen = x[: e + 1][ok[: e + 1]] if causal else x[ok]
        z[e] = np.clip((x[e] - seen.mean()) / np.sqrt(seen.var() + 0.1**2), -5, 5)
    return z


@pytest.mark.parametrize("causal", [False, True])
def test_power_is_read_against_the_night_it_is_of(causal):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((NIGHTS, 40, 3, 4)) * [0.1, 1, 3, 0.001] + [0, -3, 1, 2]).astype(np.float32)
    x[0, 30, 0] = 20  # far beyond what is cut
    ok = rng.random(x.shape[:-1]) > 0.3
    ok[:, :5, 1] = False
    ok[1, :, 2] = False
    found = np.asarray(within_night(np.where(ok[..., None], x, 1e3), ok, causal))
    for n, m, d in np.ndindex(NIGHTS, 3, 4):
        expected = standardised(x[n, :, m, d].astype(np.float64), ok[n, :, m], causal)
        np.testing.assert_allclose(found[n, :, m, d], expected, atol=5e-3)
    assert found.max() <= 5 and not found[1, :, 2].any()


def test_power_that_hardly_varies_is_read_as_exactly_in_a_long_night():
    rng = np.random.default_rng(0)
    x = (0.7 + 0.03 * rng.standard_normal((1, 14400, 3))).astype(np.float32)
    found = np.asarray(within_night(x, np.ones(x.shape[:2], bool), False))
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(1)) / np.sqrt(wide.var(1) + 0.1**2)
    np.testing.assert_allclose(found, expected, atol=4e-6)  # by sums in float32 alone: 7e-6


@pytest.mark.parametrize("causal", [False, True])
def test_padding_and_gaps_change_no_standing_in_the_night(causal):
    rng = np.random.default_rng(0)
    x, ok = rng.standard_normal((1, 12, 2)).astype(np.float32), np.ones((1, 12), bool)
    ok[:, 3:5] = False
    padded, there = np.pad(x, [(0, 0), (0, 9), (0, 0)], constant_values=50.0), np.pad(ok, [(0, 0), (0, 9)])
    short, long = within_night(x, ok, causal), within_night(padded, there, causal)
    np.testing.assert_allclose(long[:, :12], short, atol=1e-5)
    assert not np.asarray(long[:, 12:]).any()
    without = within_night(np.delete(x, [3, 4], 1), np.delete(ok, [3, 4], 1), causal)
    np.testing.assert_allclose(np.delete(short, [3, 4], 1), without, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_who_reads_from_sleep_onset_on_knows_nothing_of_what_follows(seed):
    rng = np.random.default_rng(seed)
    x, ok = rng.standard_normal((2, 30, 3)).astype(np.float32), rng.random((2, 30)) > 0.2
    now = rng.integers(1, 29)
    changed, there = x.copy(), ok.copy()
    changed[:, now:] = 100 * rng.standard_normal(changed[:, now:].shape)
    there[:, now:] = rng.random(there[:, now:].shape) > 0.5
    one, other = within_night(x, ok, True), within_night(changed, there, True)
    np.testing.assert_array_equal(one[:, :now], other[:, :now])
    assert not np.array_equal(within_night(x, ok, False)[:, :now], within_night(changed, there, False)[:, :now])


# Parts of a second


WAVES = (STAGES, AROUSAL, SPINDLE, K_COMPLEX)


@pytest.fixture(scope="module")
def waves(tiny):
    """A model with tasks of every pace: its structure, parameters, and heads of (tokens, ok)."""
    graph, params = create(tiny, 0, tasks=WAVES)
    run = jax.jit(lambda params, *v: merge(graph, params)(*v).heads)
    return graph, params, lambda *v: jax.device_get(run(params, *v))


def test_waves_are_looked_for_eight_times_a_second(tiny, waves):
    heads = waves[2](*night(tiny, 9))
    shapes = {"stages": (9, 5), "arousal": (270, 1), "spindle": (2160, 1), "k_complex": (2160, 1)}
    assert {name: v.shape[1:] for name, v in heads.items()} == shapes


def test_a_longer_padding_changes_no_wave(tiny, waves):
    """In both directions of reading."""
    tokens, ok = night(tiny, 9)
    ok[:, 5:] = False
    tokens[:, 5:] *= 100
    long, short = waves[2](tokens, ok), waves[2](tokens[:, :5], ok[:, :5])
    for name, v in short.items():
        np.testing.assert_allclose(long[name][:, : v.shape[1]], v, atol=1e-5, err_msg=name)
    late = [np.concatenate([v[:, 5:], v[:, :5]], 1) for v in (tokens, ok)]  # four missing epochs, and then the night
    moved, first = waves[2](*late), 4 * EPOCH_S * FAST_HZ
    np.testing.assert_allclose(moved["spindle"][:, first:], short["spindle"], atol=1e-5)


def test_garbage_in_missing_tokens_changes_no_wave(tiny, waves):
    tokens, ok = night(tiny, 9)
    dirty = np.where(ok[..., None], tokens, 1e3).astype(np.float32)
    one, other = waves[2](tokens, ok)["spindle"], waves[2](dirty, ok)["spindle"]
    where = layout(tiny.modalities)
    there = np.repeat(ok[:, :, where.span(Modality.EEG)].reshape(NIGHTS, -1), 3 * FAST_HZ, axis=1)
    np.testing.assert_allclose(one[there], other[there], atol=1e-5)


def test_a_part_of_a_second_reads_the_look_of_its_own_time(tiny):
    """A look moves itself most, its neighbours less and, through the night's mean, all others by the same."""
    graph, params = create(tiny, 0, tasks=(SPINDLE,))
    fast = jax.jit(lambda *v: merge(graph, params).fast(*v))
    tokens, ok = night(tiny, 2)
    ok[:] = True
    seconds = np.zeros((NIGHTS, 2 * EPOCH_S, tiny.macro.seconds_dim), np.float32)
    where, bands, look = layout(tiny.modalities), 5, 13  # the sixth part of the second second of a token of 3 s
    changed = tokens.copy()
    first = tiny.micro.dim + look * bands
    changed[:, 1, where.offset[Modality.EEG] + 4, first : first + bands] += 5
    moved = np.abs(fast(changed, ok, seconds) - fast(tokens, ok, seconds)).max((0, 2))
    assert moved.shape == (2 * EPOCH_S * FAST_HZ,)
    assert moved.argmax() == (EPOCH_S + 4 * 3) * FAST_HZ + look
    far = np.abs(np.arange(len(moved)) - moved.argmax()) > 24  # both convolutions together reach so far
    assert moved.max() > 5 * moved[far].max()
    # And of the features of seconds those of its own, and of what the convolutions reach.
    context = seconds.copy()
    context[:, 40] += 1
    heard = np.abs(fast(tokens, ok, context) - fast(tokens, ok, seconds)).max((0, 2))
    np.testing.assert_array_equal(np.flatnonzero(heard), 40 * FAST_HZ + np.arange(-24, FAST_HZ + 24))


@pytest.mark.parametrize("bidirectional", [True, False])
def test_a_night_read_by_stretches_is_the_night_read_at_once(tiny, monkeypatch, bidirectional):
    """Nine epochs by two, the last stretch cut short; some tokens and a whole epoch are missing."""
    config = replace(tiny, macro=replace(tiny.macro, bidirectional=bidirectional))
    graph, params = create(config, 0, tasks=WAVES)
    tokens, ok = night(tiny, 9)
    tokens[:, 6:] *= 3  # no stretch is like the night
    ok[:, 3] = False

    def result():
        out = jax.jit(lambda params, *v: merge(graph, params)(*v))(params, tokens, ok)  # traced anew
        return jax.device_get(out.heads | {"vector": out.vector})

    at_once = result()
    for module in (macro, stretches):
        monkeypatch.setattr(module, "DAY_EPOCHS", 8)
    monkeypatch.setattr(stretches, "STRETCH_EPOCHS", 2)
    monkeypatch.setattr(ssd, "LONG", 8 * EPOCH_S)
    monkeypatch.setattr(ssd, "HALF_HOUR", 40)
    by_stretches = result()
    for name, expected in at_once.items():
        np.testing.assert_allclose(by_stretches[name], expected, atol=2e-5, rtol=1e-4, err_msg=name)
    assert any((by_stretches[name] != at_once[name]).any() for name in at_once)  # it is another way


def test_only_a_model_of_waves_has_a_fast_path(tiny, waves):
    """And what both have starts alike."""
    without = create(tiny, 0, tasks=(STAGES, AROUSAL))[1]
    assert not any(name.startswith("fast/") for name in without)
    more = waves[1].keys() - without.keys()
    assert {name.split("/")[0] for name in more} == {"fast", "heads"}
    for name in without.keys() & waves[1].keys():
        if not name.startswith("heads/"):
            np.testing.assert_array_equal(waves[1][name], without[name], err_msg=name)


def test_the_model_gives_what_its_docstring_says(tiny, model):
    graph, params = model
    tokens, ok = night(tiny, 5)
    out = jax.eval_shape(lambda params: merge(graph, params)(tokens, ok), params)
    assert isinstance(out, NightOutput)
    heads = {"stages": (NIGHTS, 5, 5), "breathing": (NIGHTS, 150, 3), "arousal": (NIGHTS, 150, 1)}
    assert out.vector.shape == (NIGHTS, 16) and {name: v.shape for name, v in out.heads.items()} == heads


def test_parameters_go_through_their_flat_names_and_back(model):
    graph, params = model
    again_graph, again = split(merge(graph, params))
    assert again_graph == graph
    assert again.keys() == params.keys()
    for name, value in params.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)


def test_without_blocks_a_second_is_linear_in_its_tokens_and_its_epoch(tiny):
    graph, params = create(replace(tiny, macro=replace(tiny.macro, seconds_depth=0)), 0)
    seconds = jax.jit(lambda *v: merge(graph, params).seconds(*v))
    where = layout(tiny.modalities)
    tokens, ok = night(tiny, 3)
    epochs = np.random.default_rng(1).standard_normal((NIGHTS, 3, tiny.macro.dim)).astype(np.float32)
    power, dim = tokens[..., tiny.micro.dim :], tiny.micro.dim  # read against the night, which is not linear

    def scaled(gain):
        return np.concatenate([gain * tokens[..., :dim], power], -1), ok, gain * epochs

    y, zero = seconds(*scaled(1)), seconds(*scaled(0))
    np.testing.assert_allclose(seconds(*scaled(3)) - zero, 3 * (y - zero), atol=1e-4)

    changed, there = tokens.copy(), np.ones_like(ok)
    token = 2  # of the first modality, in the second epoch
    changed[:, 1, where.offset[Modality.EEG] + token, :dim] += 1
    moved = np.abs(seconds(changed, there, epochs) - seconds(tokens, there, epochs)).max((0, 2))
    first = EPOCH_S + token * where.token_s[Modality.EEG]
    np.testing.assert_array_equal(np.flatnonzero(moved), first + np.arange(where.token_s[Modality.EEG]))


def test_selective_blocks_read_in_one_direction_where_asked(tiny):
    params, call = variant(tiny, mixer="selective", bidirectional=False, levels=1)
    assert "macro/levels/0/0/forward/x_proj/kernel" in params
    assert not any("backward" in name for name in params)
    matrices = {name.rsplit("/", 2)[-2] for name in params if "/forward/" in name and decays(name)}
    assert matrices == {"x_proj", "dt_proj"}
    tokens, ok = night(tiny, 7)
    changed = tokens.copy()
    changed[:, 4] += 1
    vector, epochs, seconds = difference(call, tokens, changed, ok)
    assert vector.max() > 1e-4
    np.testing.assert_array_equal(np.flatnonzero(epochs), [4, 5, 6])
    assert np.flatnonzero(seconds)[0] == 4 * EPOCH_S


def test_three_merge_into_one(tiny):
    _, call = variant(tiny, merge=3, levels=2, seconds_depth=0)
    tokens, ok = night(tiny, 8)
    ok[:, 5:] = False
    for one, other in zip(call(tokens, ok), call(tokens[:, :5], ok[:, :5]), strict=True):
        np.testing.assert_allclose(one[:, : other.shape[1]], other, atol=1e-5)


def test_nothing_merges_into_nothing(tiny):
    with pytest.raises(ConfigError, match="merge: expected from 1 to 65536, found 0"):
        replace(tiny.macro, merge=0)


@pytest.mark.parametrize("mixer", ["ssd", "selective"])
def test_bfloat16_tokens_give_bfloat16_features(tiny, mixer):
    graph, shapes = structure(replace(tiny, macro=replace(tiny.macro, mixer=mixer)))
    tokens, ok = night(tiny, 5)
    exact = ("a_log", "dt_bias", "d")
    low = {
        k: v if k.rsplit("/", 1)[-1] in exact else jax.ShapeDtypeStruct(v.shape, jnp.bfloat16)
        for k, v in shapes.items()
    }

    def run(params, tokens):
        model = merge(graph, params)
        vector, epochs = model.macro(*epoch_summary(tokens, ok, model.config))
        return vector, epochs, model.seconds(tokens, ok, epochs)

    out = jax.eval_shape(run, low, jnp.asarray(tokens, jnp.bfloat16))
    assert [v.dtype for v in out] == ["bfloat16"] * 3
