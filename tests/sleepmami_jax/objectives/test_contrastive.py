"""Contrast between modalities against plain numpy, and the same on one device as on four."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from sleepmami_jax.config import KernelConfig
from sleepmami_jax.costs.collectives import collectives
from sleepmami_jax.objectives import parts
from sleepmami_jax.objectives.contrastive import info_nce, leave_one_out, pairwise, unit
from sleepmami_jax.objectives.demographic import dgcl
from sleepmami_jax.training.sharding import AXES
from tests.support.meshes import BATCH, M, mesh_of, on_one_device, same_on_four


@pytest.fixture(autouse=True)
def small_gathers(monkeypatch):
    monkeypatch.setattr(parts, "FEWEST", 1)


def contrast_case(seed=0):
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((BATCH, M, 5)).astype(np.float32)
    present = rng.random((BATCH, M)) < 0.7
    present[0] = np.arange(M) == 2  # one modality alone has nothing to be told apart from
    return raw, present


STRANGERS = np.arange(BATCH, dtype=np.int32)
PEOPLE = np.array([5, 1, 5, 3, 4, 1, 1, 7], np.int32)
"""Of `contrast_case`: two have more than one epoch, on other devices too."""


def leave_one_out_by_loops(raw, present, log_scale, person=STRANGERS, keys=range(BATCH)):
    z = raw / np.linalg.norm(raw, axis=-1, keepdims=True)
    valid = [(b, m) for b, m in np.argwhere(present) if present[b].sum() > 1]

    def rest(b, m):
        total = sum(z[b, other] for other in range(M) if other != m and present[b, other])
        return total / np.linalg.norm(total)

    losses, found = [], []
    for b, m in valid:
        rivals = [g for g, other in valid if other == m and rival(g, b, person, keys)]
        forth = np.array([z[b, m] @ rest(g, m) for g in rivals]) * np.exp(log_scale)
        back = np.array([rest(b, m) @ z[g, m] for g in rivals]) * np.exp(log_scale)
        own = rivals.index(b)
        losses += [np.log(np.exp(v).sum()) - v[own] for v in (forth, back)]
        found += [forth.argmax() == own, back.argmax() == own]
    return np.mean(losses), np.mean(found)


def rival(g, b, person, keys):
    return g == b or (g in keys and person[g] != person[b])


def pairwise_by_loops(raw, present, log_scale, person=STRANGERS, keys=range(BATCH)):
    z = raw / np.linalg.norm(raw, axis=-1, keepdims=True)
    losses, found = [], []
    for b, m, other in np.ndindex(BATCH, M, M):
        if m != other and present[b, m] and present[b, other]:
            rivals = [g for g in range(BATCH) if present[g, other] and rival(g, b, person, keys)]
            logits = np.array([z[b, m] @ z[g, other] for g in rivals]) * np.exp(log_scale)
            losses.append(np.log(np.exp(logits).sum()) - logits[rivals.index(b)])
            found.append(logits.argmax() == rivals.index(b))
    return np.mean(losses), np.mean(found)


BOTH = pytest.mark.parametrize(
    ("contrast", "by_loops"),
    [(leave_one_out, leave_one_out_by_loops), (pairwise, pairwise_by_loops)],
    ids=["leave_one_out", "pairwise"],
)


@lru_cache
def compiled(contrast, keys_at_once, keys=0):
    """(raw vectors, present, log_scale, whose) -> loss, accuracy."""
    run = on_one_device(
        lambda raw, there, scale, who, axes: info_nce(contrast, unit(raw), there, who, scale, axes, keys, keys_at_once)
    )
    return lambda raw, there, scale, person=STRANGERS: run(raw, there, scale, person)


@BOTH
@pytest.mark.parametrize("keys_at_once", [BATCH, 3], ids=["at_once", "in_parts"])  # 3 does not divide the batch
def test_contrast_equals_plain_infonce(contrast, by_loops, keys_at_once):
    raw, present = contrast_case()
    found = compiled(contrast, keys_at_once)(raw, present, np.float32(1.2))
    np.testing.assert_allclose(found, by_loops(raw, present, 1.2), atol=1e-6)


@BOTH
def test_every_epoch_is_told_apart_from_some_keys_and_itself(contrast, by_loops):
    raw, present = contrast_case()
    found = compiled(contrast, 3, keys=4)(raw, present, np.float32(1.2))
    np.testing.assert_allclose(found, by_loops(raw, present, 1.2, keys=range(0, BATCH, 2)), atol=1e-6)
    found = compiled(contrast, 3, keys=4)(raw, present, np.float32(1.2), PEOPLE)
    np.testing.assert_allclose(found, by_loops(raw, present, 1.2, PEOPLE, range(0, BATCH, 2)), atol=1e-6)
    with pytest.raises(ValueError, match=r"objective.contrast_keys=3: expected a divisor of the 8 epochs"):
        compiled(contrast, 3, keys=3)(raw, present, np.float32(1.2))


@BOTH
@pytest.mark.parametrize("keys_at_once", [BATCH, 3], ids=["at_once", "in_parts"])
def test_epochs_of_one_person_are_not_told_apart(contrast, by_loops, keys_at_once):
    raw, present = contrast_case()
    found = compiled(contrast, keys_at_once)(raw, present, np.float32(1.2), PEOPLE)
    np.testing.assert_allclose(found, by_loops(raw, present, 1.2, PEOPLE), atol=1e-6)
    assert found[0] < compiled(contrast, keys_at_once)(raw, present, np.float32(1.2))[0]
    alone = compiled(contrast, keys_at_once)(raw, present, np.float32(1.2), np.zeros_like(PEOPLE))
    assert alone[0] == pytest.approx(0, abs=1e-6)  # there is nobody else


@BOTH
def test_a_batch_without_two_modalities_has_no_contrast(contrast, by_loops):
    raw, present = contrast_case()
    alone = present & (np.arange(M) == present.argmax(1)[:, None])
    assert list(compiled(contrast, 3)(raw, alone, np.float32(1))) == [0, 0]
    nobody = compiled(contrast, 3)(raw, np.zeros_like(present), np.float32(1))
    assert list(nobody) == [0, 0]


def test_the_learnt_temperature_stops_at_one_hundredth():
    raw, present = contrast_case()
    run = compiled(leave_one_out, BATCH)
    at = [run(raw, present, np.float32(scale))[0] for scale in (np.log(100), 20.0)]
    assert at[0] == pytest.approx(at[1], rel=1e-5)


@BOTH
@pytest.mark.parametrize("keys", [0, 4], ids=["all keys", "some keys"])
def test_contrast_is_the_same_on_four_devices(contrast, by_loops, keys):
    raw, present = contrast_case()
    linear = np.random.default_rng(1).standard_normal((5, 5)).astype(np.float32)

    def loss(params, batch, _, axes):
        z = unit(batch["raw"] @ params["w"])
        who, scale = batch["person"], params["scale"]
        value, accuracy = info_nce(contrast, z, batch["present"], who, scale, axes, keys, keys_at_once=3)
        return value, {"accuracy": accuracy}

    batch = {"raw": raw, "present": present, "person": PEOPLE}
    value = same_on_four(loss, {"w": linear, "scale": np.float32(1)}, batch)
    told_from = range(0, BATCH, 2) if keys else range(BATCH)
    assert value == pytest.approx(by_loops(raw @ linear, present, 1, PEOPLE, told_from)[0], abs=1e-5)


def test_blocks_of_keys_bound_the_memory_of_the_logits():
    z = jax.ShapeDtypeStruct((512, M, 8), jnp.float32)
    present = jax.ShapeDtypeStruct((512, M), bool)

    def temporary_bytes(keys_at_once):
        def loss(z, present, axes):
            who = jnp.arange(len(z))
            return info_nce(leave_one_out, z, present, who, jnp.float32(1), axes, keys_at_once=keys_at_once)[0]

        sharded = jax.shard_map(lambda *v: loss(*v, AXES), mesh=mesh_of(1), in_specs=P(), out_specs=P())
        return jax.jit(jax.grad(sharded)).lower(z, present).compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes(64) < 0.3 * temporary_bytes(512)


@pytest.mark.parametrize("objective", ["leave_one_out", "dgcl"])
def test_no_device_holds_the_global_batch(objective):
    """Twice as many devices with as many rows each: the same memory on each but for a number a row and device."""
    rows, width = 128, 64

    def program(devices):
        def loss(z, facts):
            who = facts["person"]
            if objective == "dgcl":
                return dgcl(z.swapaxes(0, 1)[:2], facts["people"], who, KernelConfig(), 0.1, AXES, 64)[0]
            return info_nce(leave_one_out, z, facts["present"], who, z[0, 0, 0], AXES, keys_at_once=64)[0]

        n = rows * devices
        people = {name: jnp.zeros(n) for name in ("age_years", "bmi", "sex")}
        people |= {f"{name}_known": jnp.ones(n, bool) for name in people}
        facts = {"present": jnp.ones((n, M), bool), "people": people, "person": jnp.arange(n)}
        sharded = jax.shard_map(loss, mesh=mesh_of(devices), in_specs=P(AXES), out_specs=P())
        return jax.jit(jax.grad(sharded)).lower(jnp.zeros((n, M, width)), facts).compile()

    two, four = program(2), program(4)
    assert "all-gather" in {c.kind for c in collectives(four.as_text(), 4)}
    more = four.memory_analysis().temp_size_in_bytes - two.memory_analysis().temp_size_in_bytes
    rows_of_a_device = rows * (2 if objective == "dgcl" else M) * width * 4
    assert more < 0.5 * rows_of_a_device
