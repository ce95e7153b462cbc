"""The chunked scan against the recurrence it stands for, and what padding may change in a block: nothing.

Blocks of Mamba-1 (`selective.py`) have the same interface and the same promises, so they stand here beside SSD's.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec

from sleepmami_jax.models import ssd as ssd_module
from sleepmami_jax.models.initial import Rngs
from sleepmami_jax.models.selective import BidirectionalSelective
from sleepmami_jax.models.sleepmami import merge, split
from sleepmami_jax.models.ssd import BidirectionalSSD, causal_conv, ssd
from sleepmami_jax.training.sharding import AXES
from tests.support.meshes import mesh_of

BATCH, LENGTH, HEADS, P, N = 2, 13, 3, 4, 5


by_chunks = jax.jit(ssd, static_argnames="chunk")


def by_steps(x, dt, a, b, c):
    """The recurrence step by step, in float32, so that it has gradients."""

    def step(state, this):  # (B, H, N, P)
        x_t, dt_t, b_t, c_t = this
        decay = jnp.exp(dt_t * a)[..., None, None]
        state = decay * state + jnp.einsum("bn,bhp,bh->bhnp", b_t, x_t, dt_t)
        return state, jnp.einsum("bn,bhnp->bhp", c_t, state)

    first = jnp.zeros((x.shape[0], x.shape[2], b.shape[-1], x.shape[3]), x.dtype)
    _, y = jax.lax.scan(step, first, jax.tree.map(lambda v: jnp.moveaxis(v, 1, 0), (x, dt, b, c)))
    return jnp.moveaxis(y, 0, 1)


def inputs(length=LENGTH, seed=0, largest_dt=0.5):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((BATCH, length, HEADS, P))
    dt = rng.uniform(0, largest_dt, (BATCH, length, HEADS))
    a = -rng.uniform(0.5, 4, HEADS)
    b, c = rng.standard_normal((2, BATCH, length, N))
    return tuple(v.astype(np.float32) for v in (x, dt, a, b, c))


def distance(found, expected) -> float:
    """The norm of the difference, relative to the norm of what is expected."""
    found, expected = (np.asarray(v, np.float64) for v in (found, expected))
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def recurrence(x, dt, a, b, c):
    """h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t^T, y_t = C_t h_t, in float64 loops."""
    x, dt, a, b, c = (np.asarray(v, np.float64) for v in (x, dt, a, b, c))
    y = np.zeros_like(x)
    for i in range(x.shape[0]):
        for h in range(x.shape[2]):
            state = np.zeros((b.shape[-1], x.shape[-1]))
            for t in range(x.shape[1]):
                state = np.exp(dt[i, t, h] * a[h]) * state + dt[i, t, h] * np.outer(b[i, t], x[i, t, h])
                y[i, t, h] = c[i, t] @ state
    return y


@pytest.mark.parametrize("chunk", [1, 4, 13, 32])
def test_equals_the_recurrence_whatever_the_chunk(chunk):
    arguments = inputs()
    y = by_chunks(*arguments, chunk=chunk)
    np.testing.assert_allclose(y, recurrence(*arguments), atol=2e-6, rtol=1e-5)
    np.testing.assert_allclose(y, jax.jit(by_steps)(*arguments), atol=2e-6, rtol=1e-5)


def test_gradients_equal_those_of_the_recurrence():
    arguments = inputs()
    weight = np.random.default_rng(9).standard_normal((BATCH, LENGTH, HEADS, P)).astype(np.float32)
    every = tuple(range(5))
    chunked = jax.jit(jax.grad(lambda *v: (ssd(*v, chunk=4) * weight).sum(), every))(*arguments)
    stepped = jax.jit(jax.grad(lambda *v: (by_steps(*v) * weight).sum(), every))(*arguments)
    for name, one, other in zip(("x", "dt", "a", "b", "c"), chunked, stepped, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5, rtol=1e-4, err_msg=name)

    # One directional derivative of everything at once, against float64 differences of the loops.
    rng = np.random.default_rng(1)
    direction = [rng.standard_normal(v.shape) for v in arguments]
    moved = [recurrence(*(v + sign * 1e-5 * d for v, d in zip(arguments, direction, strict=True))) for sign in (1, -1)]
    expected = ((moved[0] - moved[1]) * weight).sum() / 2e-5
    found = sum((np.asarray(g, np.float64) * d).sum() for g, d in zip(chunked, direction, strict=True))
    assert found == pytest.approx(expected, rel=1e-4)


def test_large_steps_give_finite_gradients():
    # exp(dt A) underflows, and above the diagonal of a chunk exp would overflow if it were not masked first.
    arguments = inputs(largest_dt=1e3)
    every = tuple(range(5))
    square = jax.jit(jax.value_and_grad(lambda *v: (ssd(*v, chunk=4) ** 2).sum(), every))
    value, gradients = square(*arguments)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradients)
    np.testing.assert_allclose(by_chunks(*arguments, chunk=4), recurrence(*arguments), rtol=1e-4, atol=1e-2)


def test_the_state_passes_a_masked_step_unchanged():
    x, dt, a, b, c = inputs()
    dt[:, 5:8] = 0
    x[:, 5:8] = 0
    kept = np.r_[0:5, 8:LENGTH]
    whole = by_chunks(x, dt, a, b, c, chunk=4)
    without = by_chunks(x[:, kept], dt[:, kept], a, b[:, kept], c[:, kept], chunk=4)
    np.testing.assert_allclose(whole[:, kept], without, atol=2e-6, rtol=1e-5)


def test_bfloat16_stays_bfloat16_and_near():
    x, dt, a, b, c = inputs(length=100)
    low = [jnp.asarray(v, jnp.bfloat16) for v in (x, b, c)]
    weight = np.random.default_rng(9).standard_normal(x.shape).astype(np.float32)

    @jax.jit
    def both(x, dt, a, b, c):
        return jax.value_and_grad(lambda *v: (ssd(*v, chunk=8) * weight).sum(), tuple(range(5)))(x, dt, a, b, c)

    _, found = both(low[0], dt, a, *low[1:])
    _, expected = both(*(np.asarray(v, np.float32) for v in (low[0], dt, a, *low[1:])))
    y = by_chunks(low[0], dt, a, *low[1:], chunk=8)
    assert [v.dtype for v in (y, *found)] == [
        "bfloat16",
        "bfloat16",
        "float32",
        "float32",
        "bfloat16",
        "bfloat16",
    ]
    assert distance(y, recurrence(low[0], dt, a, *low[1:])) < 1e-2
    for name, one, other in zip(("x", "dt", "a", "b", "c"), found, expected, strict=True):
        assert distance(one, other) < 1e-2, name


def test_forward_and_backward_fit_in_64_mib():
    shapes = [(2, 1024, 8, 64), (2, 1024, 8), (8,), (2, 1024, 64), (2, 1024, 64)]
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes]

    @jax.jit
    def step(gradient, *v):
        y, back = jax.vjp(lambda *v: ssd(*v, chunk=64), *v)
        return y, back(gradient)

    memory = step.lower(shapes[0], *shapes).compile().memory_analysis()
    assert memory.temp_size_in_bytes <= 64 * 2**20


def test_the_convolution_is_causal_and_the_textbook_one():
    rng = np.random.default_rng(0)
    x, kernel, bias = rng.standard_normal((1, 7, 2)), rng.standard_normal((4, 2)), rng.standard_normal(2)
    expected = np.stack([np.convolve(x[0, :, i], kernel[::-1, i])[:7] + bias[i] for i in range(2)], -1)
    padded = np.pad(x, ((0, 0), (3, 0), (0, 0)))
    np.testing.assert_allclose(causal_conv(*map(jnp.asarray, (padded, kernel, bias)))[0], expected, atol=1e-6)


BLOCKS = {
    "ssd": partial(BidirectionalSSD, dim=8, state=4, head_dim=4, chunk=4),
    "selective": partial(BidirectionalSelective, dim=8, state=4),
}
call = nnx.jit(lambda module, x, ok: module(x, ok))


def unlike(module):
    """`module`, its directions differing in every parameter and none at a value that hides a mistake."""
    rng = np.random.default_rng(3)
    for direction in filter(None, (module.forward, module.backward)):
        for parameter, low, high in (
            (direction.conv_bias, -2, 2),
            (direction.d, 0.5, 2),
            (direction.dt_bias, -1, 1),
            (direction.a_log, -1, 1),
        ):
            parameter[...] = jnp.asarray(rng.uniform(low, high, parameter[...].shape), jnp.float32)
    return module


@pytest.fixture(scope="module", params=BLOCKS)
def block(request):
    return unlike(BLOCKS[request.param](rngs=Rngs(0)))


def night(length, seed=0):
    return np.random.default_rng(seed).standard_normal((2, length, 8)).astype(np.float32)


@pytest.mark.parametrize("longer", [12, 19])
def test_padding_with_garbage_changes_nothing_in_either_direction(block, longer):
    x, ok = night(11), np.ones((2, 11), bool)
    garbage = 100 * night(longer, seed=1)
    garbage[:, :11] = x
    padded_ok = np.arange(longer)[None] < 11
    padded = call(block, garbage, np.broadcast_to(padded_ok, (2, longer)))
    np.testing.assert_allclose(padded[:, :11], call(block, x, ok), atol=1e-5)
    # What is not there passes through untouched.
    np.testing.assert_array_equal(padded[:, 11:], garbage[:, 11:])


def test_garbage_in_a_masked_gap_changes_nothing_elsewhere(block):
    ok = np.ones((2, 11), bool)
    ok[:, 4:6] = False
    clean, dirty = night(11), night(11)
    dirty[:, 4:6] = 1e3
    one, other = call(block, clean, ok), call(block, dirty, ok)
    np.testing.assert_allclose(np.asarray(one)[ok], np.asarray(other)[ok], atol=1e-6)


def test_reversed_night_with_swapped_directions_is_the_reversed_result(block):
    mirrored = nnx.clone(block)
    mirrored.forward, mirrored.backward = mirrored.backward, mirrored.forward
    x, ok = night(11), np.ones((2, 11), bool)
    ok[0, 7:] = False
    y = call(block, x, ok)
    np.testing.assert_allclose(call(mirrored, x[:, ::-1], ok[:, ::-1])[:, ::-1], y, atol=1e-5)
    assert not np.allclose(call(block, x[:, ::-1], ok[:, ::-1])[:, ::-1], y, atol=1e-2)


def test_both_directions_are_heard(block):
    """The first and the last place each answer to the other end of the night."""
    x, ok = night(11), np.ones((2, 11), bool)
    changed = x.copy()
    changed[:, 5] += 1
    difference = np.abs(np.asarray(call(block, changed, ok) - call(block, x, ok))).max((0, 2))
    assert (difference > 0).all()  # what is not heard changes nothing at all


@pytest.mark.parametrize("bidirectional", [True, False])
def test_a_night_read_in_groups_is_the_night_read_at_once(monkeypatch, bidirectional):
    module = unlike(BLOCKS["ssd"](bidirectional=bidirectional, rngs=Rngs(0)))
    graph, params = split(module)
    x, weight, ok = night(29), night(29, seed=1), np.ones((2, 29), bool)
    ok[0, 6:9] = ok[1, 20:] = False

    def result():
        def loss(params, x):
            y = merge(graph, params)(x, ok)
            return (y * weight).sum(), y

        (_, y), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, x)
        return {"y": y, "x": gradients[1]} | gradients[0]

    at_once = result()
    monkeypatch.setattr(ssd_module, "AT_ONCE", 7)  # 29 are 5 groups of 6, one step of padding
    in_groups = result()
    for name, expected in at_once.items():
        np.testing.assert_allclose(in_groups[name], expected, atol=2e-5, rtol=1e-4, err_msg=name)
    assert any((np.asarray(in_groups[name]) != at_once[name]).any() for name in at_once)  # it is another way


@pytest.mark.parametrize("kind", BLOCKS)
def test_one_direction_hears_only_what_came_before(kind):
    module = unlike(BLOCKS[kind](bidirectional=False, rngs=Rngs(0)))
    assert not any("backward" in name for name in split(module)[1])
    x, ok = night(11), np.ones((2, 11), bool)
    changed = x.copy()
    changed[:, 5] += 1
    difference = np.abs(np.asarray(call(module, changed, ok) - call(module, x, ok))).max((0, 2))
    assert (difference[:5] == 0).all()
    assert (difference[5:] > 0).all()


def test_a_block_in_bfloat16_gives_bfloat16_and_stays_near(block):
    graph, params = split(block)
    exact = ("a_log", "dt_bias", "d")
    low = {k: v if k.rsplit("/", 1)[-1] in exact else v.astype(jnp.bfloat16) for k, v in params.items()}
    x, ok = jnp.asarray(night(40), jnp.bfloat16), np.ones((2, 40), bool)
    y = call(merge(graph, low), x, ok)
    assert y.dtype == jnp.bfloat16
    assert distance(y, call(block, x.astype(jnp.float32), ok)) < 1e-2


def test_a_block_runs_where_each_device_has_its_own_nights(block):
    graph, params = split(block)
    x, ok, rows = night(11), np.ones((2, 11), bool), PartitionSpec(AXES)
    run = jax.shard_map(
        lambda x, ok: merge(graph, params)(x, ok),
        mesh=mesh_of(2),
        in_specs=(rows, rows),
        out_specs=rows,
    )
    np.testing.assert_allclose(jax.jit(run)(x, ok), call(block, x, ok), atol=1e-6)
