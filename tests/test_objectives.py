"""The objectives against plain numpy, and the same on one device as on four."""

from functools import partial

import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from data_pipeline.night import Modality
from sleepmami_jax.config import KernelConfig, MicroPretraining
from sleepmami_jax.models.initial import Rngs
from sleepmami_jax.models.micro import layout, patches
from sleepmami_jax.models.sleepmami import merge, split
from sleepmami_jax.models.tokenizer import log_spectrum, n_bands
from sleepmami_jax.objectives.contrastive import ModalityProjection, leave_one_out, unit
from sleepmami_jax.objectives.demographic import dgcl, similarity, standardise, view_mask
from sleepmami_jax.objectives.masked import (
    MaskedDecoder,
    masked_loss,
    places_there,
    sample_hidden,
    sample_visible,
    visible_tokens,
)
from sleepmami_jax.training.sharding import AXES, shard_loss

BATCH = 8
M = len(Modality)


def mesh_of(devices: int):
    return jax.make_mesh(
        (devices, 1, 1), AXES, axis_types=(AxisType.Auto,) * 3, devices=jax.devices()[:devices]
    )


def keys_of(n: int, seed: int = 0):
    return jax.random.split(jax.random.key(seed), n)


def on_one_device(function):
    """`function(*arguments, axes)`, compiled for a mesh of one device."""
    call = jax.jit(jax.shard_map(lambda *v: function(*v, AXES), mesh=mesh_of(1), in_specs=P(), out_specs=P()))
    return lambda *arguments: jax.device_get(call(*arguments))


def same_on_four(loss, params, batch, atol=1e-5):
    """Value, metrics and gradients of `shard_loss` agree on one device and on four; returns the value."""
    results = []
    for devices in (1, 4):
        sharded = shard_loss(loss, mesh_of(devices))
        step = jax.jit(jax.value_and_grad(sharded, has_aux=True))
        results.append(jax.device_get(step(params, batch, keys_of(BATCH))))
    ((one, metrics), gradients), ((four, other), others) = results
    np.testing.assert_allclose(one, four, atol=atol)
    jax.tree.map(partial(np.testing.assert_allclose, atol=atol), metrics, other)
    jax.tree.map(partial(np.testing.assert_allclose, atol=atol), gradients, others)
    assert max(np.abs(g).max() for g in jax.tree.leaves(gradients)) > 1e-4
    return one


# What is hidden


def test_visible_places_are_as_many_as_asked_sorted_unique_and_drawn_anew(tiny):
    where, config = layout(tiny.modalities), MicroPretraining(mask_ratio=0.6)
    draw = jax.jit(lambda keys: sample_visible(keys, where, config))
    visible, again, other = draw(keys_of(64)), draw(keys_of(64)), draw(keys_of(64, seed=1))
    assert {m: v.shape for m, v in visible.items()} == {
        m: (64, k) for m, k in zip(Modality, (4, 2, 2, 1, 2, 1), strict=True)
    }
    for m in Modality:
        assert visible[m].min() >= 0
        assert visible[m].max() < where.tokens[m]
        assert (np.diff(visible[m], axis=1) > 0).all()
        np.testing.assert_array_equal(visible[m], again[m])
        assert (np.asarray(visible[m]) != np.asarray(other[m])).any()
        # Over many draws each place is shown about as often.
        share = np.bincount(np.asarray(visible[m]).ravel(), minlength=where.tokens[m]) / visible[m].size
        assert share.min() > 0.3 / where.tokens[m]
    assert visible_tokens(where, 0.99) == dict.fromkeys(Modality, 1)


def test_time_is_hidden_in_runs(tiny):
    where = layout(tiny.modalities)

    def changes(block_s):
        config = MicroPretraining(mask_ratio=0.5, mask_block_s=block_s)
        visible = sample_visible(keys_of(64), where, config)[Modality.EEG]
        shown = np.zeros((64, where.tokens[Modality.EEG]), int)
        np.put_along_axis(shown, np.asarray(visible), 1, axis=1)
        return np.abs(np.diff(shown)).sum(1).mean()

    assert changes(block_s=12) < 0.75 * changes(block_s=3)


def test_a_modality_that_is_present_always_stays():
    present = np.random.default_rng(0).random((500, M)) < 0.4
    hidden = np.asarray(sample_hidden(keys_of(500), present, 0.9))
    some = present.any(1)
    assert (present & ~hidden)[some].any(1).all()
    assert hidden.mean() > 0.6
    assert not sample_hidden(keys_of(500), present, 0.0).any()


# Masked autoencoding


def masked_case(tiny, epochs_of):
    """A batch with unusable seconds, what is visible and hidden of it, and a guess at every patch."""
    where, rng = layout(tiny.modalities), np.random.default_rng(5)
    batch = epochs_of(tiny, BATCH)
    for m in Modality:
        batch[m]["usable"] = rng.random(batch[m]["usable"].shape) > 0.02
    visible = {m: np.sort(np.argsort(rng.random((BATCH, n)))[:, : n // 2]) for m, n in where.tokens.items()}
    hidden = rng.random((BATCH, M)) < 0.3
    rebuilt = {}
    for m, n in where.tokens.items():
        c, samples = batch[m]["signal"].shape[1], batch[m]["signal"].shape[2] // n
        shapes = (BATCH, c, n, samples), (BATCH, c, n, n_bands(samples))
        rebuilt[m] = tuple(rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    return batch, visible, hidden, rebuilt


def masked_by_loops(batch, visible, hidden, rebuilt, where):
    """Both parts of the masked loss, patch by patch."""
    amplitude, spectral = [], []
    for i, m in enumerate(Modality):
        hubers, squares = [], []
        signal, usable, token_s = batch[m]["signal"], batch[m]["usable"], where.token_s[m]
        per = signal.shape[-1] // where.tokens[m]
        for b, c, k in np.ndindex(*signal.shape[:2], where.tokens[m]):
            shown = k in visible[m][b] and not hidden[b, i]
            if shown or not usable[b, c, k * token_s : (k + 1) * token_s].all():
                continue
            target = signal[b, c, k * per : (k + 1) * per]
            error = np.abs(rebuilt[m][0][b, c, k] - target)
            hubers.append(np.where(error < 1, error**2 / 2, error - 0.5).mean())
            squares.append(((rebuilt[m][1][b, c, k] - LOG_SPECTRUM(target)) ** 2).mean())
        amplitude.append(np.mean(hubers))
        spectral.append(np.mean(squares))
    return np.mean(amplitude), np.mean(spectral)


LOG_SPECTRUM = jax.jit(log_spectrum)


@pytest.fixture(scope="module")
def masked(tiny):
    """The compiled loss: (batch, visible, hidden, rebuilt) -> amplitude, spectral."""
    where = layout(tiny.modalities)
    return on_one_device(lambda b, v, h, r, axes: masked_loss(r, b, v, h, where, axes))


def test_masked_loss_equals_loops_over_patches(tiny, masked, epochs_of):
    case = masked_case(tiny, epochs_of)
    np.testing.assert_allclose(masked(*case), masked_by_loops(*case, layout(tiny.modalities)), rtol=1e-5)


def test_masked_loss_ignores_what_is_visible_or_unusable(tiny, masked, epochs_of):
    where = layout(tiny.modalities)
    batch, visible, hidden, rebuilt = masked_case(tiny, epochs_of)
    wild = {}
    for i, m in enumerate(Modality):
        shown = np.zeros((BATCH, where.tokens[m]), bool)
        np.put_along_axis(shown, visible[m], True, axis=1)
        ok = np.asarray(patches(batch[m]["signal"], batch[m]["usable"], where.token_s[m])[1])
        ignored = ((shown & ~hidden[:, i, None])[:, None] | ~ok)[..., None]
        wild[m] = tuple(np.where(ignored, 1e6, v).astype(np.float32) for v in rebuilt[m])
        assert 0 < ignored.mean() < 1
    losses = [masked(batch, visible, hidden, guess) for guess in (rebuilt, wild)]
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_a_modality_that_nobody_has_does_not_dilute_the_loss(tiny, masked, epochs_of):
    batch, visible, hidden, rebuilt = masked_case(tiny, epochs_of)
    for m in Modality:
        batch[m]["usable"][:] = m is Modality.SPO2
    hidden[:, -1] = True
    amplitude, _ = masked(batch, visible, hidden, rebuilt)
    error = np.abs(rebuilt[Modality.SPO2][0].reshape(BATCH, -1) - batch["SPO2"]["signal"][:, 0])
    assert amplitude == pytest.approx(np.where(error < 1, error**2 / 2, error - 0.5).mean(), rel=1e-5)


def test_places_there_are_those_of_some_usable_channel(tiny, epochs_of):
    where, batch = layout(tiny.modalities), epochs_of(tiny, 2)
    batch["EEG"]["usable"][0, :, 3] = False
    batch["EMG"]["usable"][1, 0] = False
    batch["SPO2"]["usable"][1] = False
    expected = np.ones((2, where.total), bool)
    expected[0, 1] = False
    expected[1, where.offset[Modality.SPO2] :] = False
    np.testing.assert_array_equal(places_there(batch, where), expected)


def test_masked_loss_is_the_same_on_four_devices(tiny, epochs_of):
    where = layout(tiny.modalities)
    batch, visible, hidden, rebuilt = masked_case(tiny, epochs_of)
    batch["RESP"]["usable"][5:] = False  # devices have different shares of what counts
    gains = {m: (np.float32(0.5), np.float32(0.7)) for m in Modality}

    def loss(gains, data, keys, axes):
        batch, visible, hidden, rebuilt = data
        guess = {m: tuple(g * r for g, r in zip(gains[m], rebuilt[m], strict=True)) for m in Modality}
        amplitude, spectral = masked_loss(guess, batch, visible, hidden, where, axes)
        return amplitude + spectral, {"amplitude": amplitude}

    same_on_four(loss, gains, (batch, visible, hidden, rebuilt))


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
    visible = sample_visible(keys_of(BATCH), where, MicroPretraining())
    hidden = np.arange(M)[None] == np.arange(BATCH)[:, None] % M

    @jax.jit
    def rebuild(batch):
        tokens = merge(model[0], model[1]).micro(batch, visible, hidden, exact=True)
        heads = merge(*objective)
        return heads.decoder(tokens, visible, places_there(batch, where)), heads.projection(tokens)

    batch, changed = epochs_of(tiny, BATCH), epochs_of(tiny, BATCH, seed=1)
    for i, m in enumerate(Modality):
        shown = np.zeros((BATCH, where.tokens[m]), bool)
        np.put_along_axis(shown, np.asarray(visible[m]), True, axis=1)
        shown &= ~hidden[:, i, None]
        per = batch[m]["signal"].shape[-1] // where.tokens[m]
        shown = np.repeat(shown, per, axis=1)[:, None]
        changed[m]["signal"] = np.where(shown, batch[m]["signal"], changed[m]["signal"])
    batch["SPO2"]["usable"][0] = changed["SPO2"]["usable"][0] = False
    (one, (z, present)), (other, _) = rebuild(batch), rebuild(changed)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), one, other)
    assert {m: tuple(v.shape for v in one[m]) for m in (Modality.EEG, Modality.SPO2)} == {
        Modality.EEG: ((BATCH, 2, 10, 384), (BATCH, 2, 10, n_bands(384))),
        Modality.SPO2: ((BATCH, 1, 3, 10), (BATCH, 1, 3, n_bands(10))),
    }
    # The contrast sees every modality that is there as a unit vector, also those hidden from the decoder.
    expected = np.ones((BATCH, M), bool)
    expected[0, -1] = False
    np.testing.assert_array_equal(present, expected)
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), 1, atol=1e-5)


# Contrast between modalities


def contrast_case(seed=0):
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((BATCH, M, 5)).astype(np.float32)
    present = rng.random((BATCH, M)) < 0.7
    present[0] = np.arange(M) == 2  # one modality alone has nothing to be told apart from
    return raw, present


def leave_one_out_by_loops(raw, present, log_scale):
    z = raw / np.linalg.norm(raw, axis=-1, keepdims=True)
    valid = [(b, m) for b, m in np.argwhere(present) if present[b].sum() > 1]

    def rest(b, m):
        total = sum(z[b, other] for other in range(M) if other != m and present[b, other])
        return total / np.linalg.norm(total)

    losses, found = [], []
    for b, m in valid:
        rivals = [g for g, other in valid if other == m]
        forth = np.array([z[b, m] @ rest(g, m) for g in rivals]) * np.exp(log_scale)
        back = np.array([rest(b, m) @ z[g, m] for g in rivals]) * np.exp(log_scale)
        own = rivals.index(b)
        losses += [np.log(np.exp(v).sum()) - v[own] for v in (forth, back)]
        found.append(forth.argmax() == own)
    return np.mean(losses), np.mean(found)


@pytest.fixture(scope="module")
def contrast():
    """The compiled loss: (raw vectors, present, log_scale) -> loss, accuracy."""
    return on_one_device(lambda raw, present, scale, axes: leave_one_out(unit(raw), present, scale, axes))


def test_leave_one_out_equals_plain_infonce(contrast):
    raw, present = contrast_case()
    found = contrast(raw, present, np.float32(1.2))
    np.testing.assert_allclose(found, leave_one_out_by_loops(raw, present, 1.2), atol=1e-6)


def test_the_learnt_temperature_stops_at_one_hundredth(contrast):
    raw, present = contrast_case()
    at = [contrast(raw, present, np.float32(scale))[0] for scale in (np.log(100), 20.0)]
    assert at[0] == pytest.approx(at[1], rel=1e-5)


def test_leave_one_out_is_the_same_on_four_devices():
    raw, present = contrast_case()
    linear = np.random.default_rng(1).standard_normal((5, 5)).astype(np.float32)

    def loss(params, batch, keys, axes):
        value, found = leave_one_out(
            unit(batch["raw"] @ params["w"]), batch["present"], params["scale"], axes
        )
        return value, {"found": found}

    value = same_on_four(loss, {"w": linear, "scale": np.float32(1)}, {"raw": raw, "present": present})
    assert value == pytest.approx(leave_one_out_by_loops(raw @ linear, present, 1)[0], abs=1e-5)


# Demographic-guided contrast


def people_of(n, seed=0, known=0.7):
    rng = np.random.default_rng(seed)
    values = {
        "age_years": rng.uniform(20, 90, n),
        "bmi": rng.uniform(18, 45, n),
        "sex": rng.integers(0, 2, n),
    }
    people = {name: v.astype(np.float32) for name, v in values.items()}
    return people | {f"{name}_known": rng.random(n) < known for name in values}


def similarity_by_loops(a, i, b, j, same, kernel):
    total, weight = kernel.identity * same, kernel.identity
    for name, strength, k in (
        ("age_years", kernel.age, lambda d: np.exp(-(d**2) / (2 * kernel.age_years**2))),
        ("bmi", kernel.bmi, lambda d: np.exp(-(d**2) / (2 * kernel.bmi_kg_m2**2))),
        ("sex", kernel.sex, lambda d: float(d == 0)),
    ):
        if a[f"{name}_known"][i] and b[f"{name}_known"][j]:
            total += strength * k(float(a[name][i]) - float(b[name][j]))
            weight += strength
    return total / weight if weight else 0.0


def dgcl_by_loops(z, people, kernel, temperature):
    views = [(v, i) for v in range(2) for i in range(z.shape[1])]
    losses = []
    for v, i in views:
        others = [other for other in views if other != (v, i)]
        logits = np.array([z[v, i] @ z[w, j] for w, j in others], np.float64) / temperature
        w = np.array([similarity_by_loops(people, i, people, j, i == j, kernel) for _, j in others])
        log_p = logits - np.log(np.exp(logits).sum())
        losses.append(-(w * log_p).sum() / w.sum() if w.sum() else 0.0)
    return np.mean(losses)


def views_of(n, seed=0):
    raw = np.random.default_rng(seed).standard_normal((2, n, 6)).astype(np.float32)
    return raw / np.linalg.norm(raw, axis=-1, keepdims=True)


def run_dgcl(z, people, kernel, temperature=0.3):
    return on_one_device(lambda z, p, axes: dgcl(z, p, kernel, temperature, axes))(z, people)


IDENTITY_ALONE = KernelConfig(age=0, bmi=0, sex=0, identity=1)
PEOPLE_ALONE = KernelConfig(identity=0)


def test_dgcl_with_identity_alone_is_nt_xent():
    z = views_of(BATCH)
    flat = np.concatenate(z).astype(np.float64)
    logits = flat @ flat.T / 0.3
    np.fill_diagonal(logits, -np.inf)
    partner = np.r_[BATCH : 2 * BATCH, :BATCH]
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    nt_xent = -log_p[np.arange(2 * BATCH), partner].mean()
    loss, accuracy = run_dgcl(z, people_of(BATCH), IDENTITY_ALONE)
    assert loss == pytest.approx(nt_xent, abs=1e-6)
    assert accuracy == pytest.approx((logits.argmax(1) == partner).mean(), abs=1e-6)


@pytest.mark.parametrize("kernel", [KernelConfig(), KernelConfig(age=0.3, age_years=4, sex=2, identity=0.1)])
def test_dgcl_equals_loops_over_pairs(kernel):
    z, people = views_of(BATCH), people_of(BATCH)
    assert run_dgcl(z, people, kernel)[0] == pytest.approx(dgcl_by_loops(z, people, kernel, 0.3), abs=1e-5)


def test_dgcl_of_standardised_views_is_the_same_on_four_devices():
    raw, people = views_of(BATCH).swapaxes(0, 1), people_of(BATCH)
    linear = np.random.default_rng(1).standard_normal((6, 6)).astype(np.float32)

    def loss(params, batch, keys, axes):
        z = unit(standardise((batch["raw"] @ params).swapaxes(0, 1), axes))
        value, found = dgcl(z, batch["people"], KernelConfig(), 0.3, axes)
        return value, {"found": found}

    value = same_on_four(loss, linear, {"raw": raw, "people": people})
    z = (raw @ linear).swapaxes(0, 1)
    z = (z - z.mean((0, 1))) / z.std((0, 1))
    z = z / np.linalg.norm(z, axis=-1, keepdims=True)
    assert value == pytest.approx(dgcl_by_loops(z, people, KernelConfig(), 0.3), abs=1e-5)


def test_similarity_of_equal_people_is_one_and_falls_with_distance():
    rng = np.random.default_rng(0)
    a, b = people_of(5, known=1.0), people_of(5, seed=1, known=1.0)
    same = np.zeros((5, 5), bool)
    np.testing.assert_allclose(np.diag(similarity(a, a, same, PEOPLE_ALONE)), 1, atol=1e-6)
    np.testing.assert_allclose(np.diag(similarity(a, a, np.eye(5, dtype=bool), KernelConfig())), 1, atol=1e-6)
    mixed = rng.random((5, 5)) < 0.5
    kernel = KernelConfig(age=0.7, bmi=0.4)
    expected = [[similarity_by_loops(a, i, b, j, mixed[i, j], kernel) for j in range(5)] for i in range(5)]
    np.testing.assert_allclose(similarity(a, b, mixed, kernel), expected, atol=1e-6)


def test_a_missing_factor_falls_back_on_those_known_of_both():
    a = people_of(1, known=1.0)
    b = {n: v + 0 for n, v in a.items()} | {"age_years": a["age_years"] + 30, "sex": a["sex"]}
    same = np.zeros((1, 1), bool)
    everything = float(similarity(a, b, same, PEOPLE_ALONE)[0, 0])
    without_age = float(similarity(a, b | {"age_years_known": np.array([False])}, same, PEOPLE_ALONE)[0, 0])
    assert without_age == pytest.approx(1, abs=1e-6)  # body mass index and sex agree
    assert everything == pytest.approx((np.exp(-4.5) + 1 + 0.5) / 2.5, abs=1e-5)
    # A value that is not known says nothing, whatever stands in its place.
    wild = b | {"age_years_known": np.array([False]), "age_years": np.array([1e9], np.float32)}
    assert float(similarity(a, wild, same, PEOPLE_ALONE)[0, 0]) == without_age


def test_a_night_of_which_nothing_is_known_learns_from_its_other_view_alone():
    z, people = views_of(BATCH), people_of(BATCH, known=1.0)
    for name in ("age_years", "bmi", "sex"):
        people[f"{name}_known"][3] = False
    same = np.eye(BATCH, dtype=bool)
    row = np.asarray(similarity(people, people, same, KernelConfig()))[3]
    np.testing.assert_allclose(row, same[3], atol=1e-6)
    everyone_unknown = people | {f"{n}_known": np.zeros(BATCH, bool) for n in ("age_years", "bmi", "sex")}
    assert run_dgcl(z, everyone_unknown, KernelConfig())[0] == pytest.approx(
        run_dgcl(z, people, IDENTITY_ALONE)[0], abs=1e-6
    )


def test_without_the_identity_kernel_an_unknown_night_is_left_out_and_not_a_number_out_of_nothing():
    z, people = views_of(BATCH), people_of(BATCH, known=1.0)
    for name in ("age_years", "bmi", "sex"):
        people[f"{name}_known"][3] = False
    loss, _ = run_dgcl(z, people, PEOPLE_ALONE)
    assert loss == pytest.approx(dgcl_by_loops(z, people, PEOPLE_ALONE, 0.3), abs=1e-5)


# Views of a night


@pytest.fixture(scope="module")
def views():
    """200 views of a night of 40 epochs in a row of 50; two modalities are never there, one often not."""
    present = np.random.default_rng(0).random((50, M)) < 0.9
    present[:, 2:4] = False
    present[:, 5] &= np.arange(50) % 2 == 0
    present[40:] = False
    present[:40, 0] = True
    draw = jax.jit(
        lambda keys, crop, drop, holes: jax.vmap(lambda k: view_mask(k, present, crop, drop, holes))(keys)
    )
    return present, lambda **chances: np.asarray(
        draw(keys_of(200), *(chances.get(n, 0.0) for n in ("crop", "drop_modality", "drop_epochs")))
    )


def test_a_view_is_part_of_what_is_there_and_never_empty(views):
    present, draw = views
    masks = draw(crop=0.3, drop_modality=0.9, drop_epochs=0.3)
    assert not (masks & ~present).any()
    assert masks.any((1, 2)).all()
    assert len({mask.tobytes() for mask in masks}) > 190


def test_a_view_is_one_run_of_at_least_the_share_asked_for(views):
    present, draw = views
    masks = draw(crop=0.6)
    lengths = []
    for mask in masks:
        seen = np.flatnonzero(mask.any(-1))
        assert (np.diff(seen) == 1).all()
        np.testing.assert_array_equal(mask[seen], present[seen])
        lengths.append(len(seen))
    assert min(lengths) >= 0.6 * 40
    assert max(lengths) > 0.95 * 40
    first = {int(np.flatnonzero(mask.any(-1))[0]) for mask in masks}
    assert len(first) > 5
    assert np.array_equal(draw(crop=1.0)[0], present)


def test_modalities_and_epochs_are_dropped_as_often_as_asked(views):
    _, draw = views
    masks = draw(crop=1.0, drop_modality=0.3)
    kept = masks.any(1)[:, [0, 1, 4, 5]]
    assert kept.mean() == pytest.approx(
        0.7 + 0.3 / 4, abs=0.05
    )  # one of the four that are there always stays
    assert not kept.all(0).any()  # and it is not always the same
    masks = draw(crop=1.0, drop_epochs=0.25)
    assert masks.any(-1)[:, :40].mean() == pytest.approx(0.75, abs=0.03)
