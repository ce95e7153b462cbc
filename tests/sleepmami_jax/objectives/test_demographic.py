"""Demographic-guided contrast against plain numpy, and views of a night."""

from dataclasses import replace
from functools import cache

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from sleepmami_jax.config import KernelConfig
from sleepmami_jax.objectives import parts
from sleepmami_jax.objectives.contrastive import unit
from sleepmami_jax.objectives.demographic import dgcl, similarity, view_mask
from sleepmami_jax.objectives.reduce import standardise
from sleepmami_jax.training.sharding import AXES
from tests.support.meshes import BATCH, M, keys_of, mesh_of, on_one_device, same_on_four


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
    if kernel.rule == "class":
        agree = []
        for name, strength, width in (
            ("age_years", kernel.age, kernel.age_years),
            ("bmi", kernel.bmi, kernel.bmi_kg_m2),
            ("sex", kernel.sex, 0),
        ):
            if strength and a[f"{name}_known"][i] and b[f"{name}_known"][j]:
                agree.append(abs(float(a[name][i]) - float(b[name][j])) <= width)
        return float(same or (bool(agree) and all(agree)))
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


STRANGERS = np.arange(BATCH, dtype=np.int32)
VISITS = np.array([5, 1, 5, 3, 4, 1, 1, 7], np.int32)
"""Whose nights they are where two people have more than one, on other devices too."""


def dgcl_by_loops(z, people, kernel, temperature, person=STRANGERS):
    views = [(v, i) for v in range(2) for i in range(z.shape[1])]
    losses = []
    for v, i in views:
        others = [other for other in views if other != (v, i)]
        logits = np.array([z[v, i] @ z[w, j] for w, j in others], np.float64) / temperature
        w = np.array([similarity_by_loops(people, i, people, j, person[i] == person[j], kernel) for _, j in others])
        log_p = logits - np.log(np.exp(logits).sum())
        losses.append(-(w * log_p).sum() / w.sum() if w.sum() else 0.0)
    return np.mean(losses)


def views_of(n, seed=0):
    raw = np.random.default_rng(seed).standard_normal((2, n, 6)).astype(np.float32)
    return raw / np.linalg.norm(raw, axis=-1, keepdims=True)


def run_dgcl(z, people, kernel, temperature=0.3, person=STRANGERS):
    return on_one_device(lambda z, p, who, axes: dgcl(z, p, who, kernel, temperature, axes))(z, people, person)


IDENTITY_ALONE = KernelConfig(age=0, bmi=0, sex=0, identity=1)
PEOPLE_ALONE = KernelConfig(age=1, age_years=10, bmi=1, bmi_kg_m2=5, sex=0.5, identity=0)


def log_softmax_of_others(z, temperature):
    """(2, N, P) -> (2N, 2N) float64, views of all nights against all others; -inf for a view against itself."""
    flat = np.concatenate(z).astype(np.float64)
    logits = flat @ flat.T / temperature
    np.fill_diagonal(logits, -np.inf)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


@pytest.mark.parametrize("rule", ["soft", "class"])
def test_dgcl_with_identity_alone_is_nt_xent(rule):
    z = views_of(BATCH)
    log_p = log_softmax_of_others(z, 0.3)
    partner = np.r_[BATCH : 2 * BATCH, :BATCH]
    nt_xent = -log_p[np.arange(2 * BATCH), partner].mean()
    loss, accuracy = run_dgcl(z, people_of(BATCH), replace(IDENTITY_ALONE, rule=rule))
    assert loss == pytest.approx(nt_xent, abs=1e-6)
    assert accuracy == pytest.approx((log_p.argmax(1) == partner).mean(), abs=1e-6)


def test_dgcl_with_classes_is_supervised_contrast():
    """Khosla et al. 2020, equation 2: the sum over positives stands outside the logarithm."""
    z, people = views_of(BATCH), people_of(BATCH, known=1.0)
    people["age_years"] = np.array([20, 25, 24, 60, 61, 62, 90, 22], np.float32)  # three groups, no chains
    group = np.array([0, 0, 0, 1, 1, 1, 2, 0])
    kernel = KernelConfig(rule="class", age=0.1, age_years=6, bmi=0, sex=0)
    log_p = log_softmax_of_others(z, 0.3)
    label = np.tile(group, 2)
    losses = []
    for i in range(2 * BATCH):
        positives = [p for p in range(2 * BATCH) if p != i and label[p] == label[i]]
        losses.append(-sum(log_p[i, p] for p in positives) / len(positives))
    assert run_dgcl(z, people, kernel)[0] == pytest.approx(np.mean(losses), abs=1e-6)


CLASS = KernelConfig(rule="class", age_years=10, bmi_kg_m2=5)
CLASSES = KernelConfig(rule="class", age_years=25, bmi_kg_m2=10)
KERNELS = [KernelConfig(), KernelConfig(age=0.3, age_years=4, sex=2, identity=0.1), CLASSES]


@cache
def compiled_dgcl(kernel):
    """(views, people, whose nights) -> loss and its gradient with respect to the views."""

    def loss(z, people, person):
        return dgcl(z, people, person, kernel, 0.3, AXES)[0]

    sharded = jax.shard_map(loss, mesh=mesh_of(1), in_specs=P(), out_specs=P())
    return jax.jit(jax.value_and_grad(sharded))


@pytest.mark.parametrize("person", [STRANGERS, VISITS], ids=["strangers", "visits"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_dgcl_and_its_gradient_equal_loops_over_pairs(kernel, person):
    z, people = views_of(BATCH), people_of(BATCH)
    loss, gradient = compiled_dgcl(kernel)(z, people, person)
    assert loss == pytest.approx(dgcl_by_loops(z, people, kernel, 0.3, person), abs=1e-5)
    for seed in range(3):
        way = np.random.default_rng(seed).standard_normal(z.shape)
        ahead, behind = (
            dgcl_by_loops(z.astype(np.float64) + h * way, people, kernel, 0.3, person) for h in (1e-5, -1e-5)
        )
        assert (np.asarray(gradient) * way).sum() == pytest.approx((ahead - behind) / 2e-5, abs=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_order_of_nights_and_of_views_does_not_matter(kernel):
    z, people = views_of(BATCH), people_of(BATCH)
    loss, gradient = compiled_dgcl(kernel)(z, people, VISITS)
    order = np.random.default_rng(0).permutation(BATCH)
    shuffled = {name: v[order] for name, v in people.items()}
    other, others = compiled_dgcl(kernel)(z[::-1, order], shuffled, VISITS[order])
    assert other == pytest.approx(float(loss), abs=1e-6)
    np.testing.assert_allclose(others, np.asarray(gradient)[::-1, order], atol=1e-6)


@pytest.mark.parametrize("kernel", [KernelConfig(), CLASSES], ids=lambda kernel: kernel.rule)
def test_dgcl_of_standardised_views_is_the_same_on_four_devices(kernel, monkeypatch):
    monkeypatch.setattr(parts, "FEWEST", 1)
    raw, people = views_of(BATCH).swapaxes(0, 1), people_of(BATCH)
    linear = np.random.default_rng(1).standard_normal((6, 6)).astype(np.float32)

    def loss(params, batch, keys, axes):
        z = unit(standardise((batch["raw"] @ params).swapaxes(0, 1), 1.0, axes))
        value, found = dgcl(z, batch["people"], batch["person"], kernel, 0.3, axes, nights_at_once=4)
        return value, {"found": found}

    value = same_on_four(loss, linear, {"raw": raw, "people": people, "person": VISITS})
    z = (raw @ linear).swapaxes(0, 1)
    z = (z - z.mean((0, 1))) / z.std((0, 1))
    z = z / np.linalg.norm(z, axis=-1, keepdims=True)
    assert value == pytest.approx(dgcl_by_loops(z, people, kernel, 0.3, VISITS), abs=1e-5)


def test_another_night_of_the_same_person_is_no_stranger():
    """Two nights a person, whose first views are nearer to each other than to their own second views."""
    z, visits = np.zeros((2, BATCH, 2 * BATCH), np.float32), np.arange(BATCH, dtype=np.int32) // 2
    z[0, np.arange(BATCH), visits] = 1
    z[1, np.arange(BATCH), visits], z[1, np.arange(BATCH), BATCH + np.arange(BATCH)] = 0.6, 0.8
    (one, found), (two, missed) = (
        run_dgcl(z, people_of(BATCH), IDENTITY_ALONE, person=person) for person in (visits, STRANGERS)
    )
    assert one < two - 0.05
    assert found == 1.0 and missed <= 0.5


@pytest.mark.parametrize("rule", ["soft", "class"])
@pytest.mark.parametrize("factor", ["age", "bmi", "sex"])
@pytest.mark.parametrize("identity", [0.0, 1.0])
def test_a_single_factor_may_stand_alone(rule, factor, identity):
    weights = {"age": 0.0, "bmi": 0.0, "sex": 0.0, factor: 0.7}
    kernel = KernelConfig(rule=rule, **weights, age_years=25, bmi_kg_m2=10, identity=identity)
    people, same = people_of(BATCH, seed=3), np.eye(BATCH, dtype=bool)
    found = np.asarray(similarity(people, people, same, kernel))
    expected = [[similarity_by_loops(people, i, people, j, i == j, kernel) for j in range(BATCH)] for i in range(BATCH)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(found, found.T)
    unknown = ~people[f"{'age_years' if factor == 'age' else factor}_known"]
    assert unknown.any()  # of them only the identity is known, and it always holds for classes
    alone = same[unknown] * (1.0 if identity or rule == "class" else 0.0)
    np.testing.assert_array_equal(found[unknown], alone)


def test_people_of_a_class_agree_in_all_that_is_known_of_both():
    names = ("age_years", "bmi", "sex")
    one = {n: np.full(1, v, np.float32) for n, v in zip(names, (50, 25, 1), strict=True)}
    many = {
        "age_years": np.array([60, 60.5, 50, 50, 99, 50], np.float32),
        "bmi": np.array([30, 25, 30.5, 25, 25, 99], np.float32),
        "sex": np.array([1, 1, 1, 0, 1, 0], np.float32),
    }
    one |= {f"{n}_known": np.ones(1, bool) for n in names}
    many |= {f"{n}_known": np.ones(6, bool) for n in names}
    many["age_years_known"][4] = False
    for n in names:
        many[f"{n}_known"][5] = False
    alike = similarity(one, many, np.zeros((1, 6), bool), CLASS)
    assert alike.tolist() == [[1, 0, 0, 0, 1, 0]]


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
    draw = jax.jit(lambda keys, crop, drop, holes: jax.vmap(lambda k: view_mask(k, present, crop, drop, holes))(keys))
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
    assert kept.mean() == pytest.approx(0.7 + 0.3 / 4, abs=0.05)  # one of the four that are there always stays
    assert not kept.all(0).any()  # and it is not always the same
    masks = draw(crop=1.0, drop_epochs=0.25)
    assert masks.any(-1)[:, :40].mean() == pytest.approx(0.75, abs=0.03)
