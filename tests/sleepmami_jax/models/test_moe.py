"""The mixture of experts against a loop over tokens and experts, and against grouped matmuls (`ragged_dot`)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sleepmami_jax.models.initial import Rngs
from sleepmami_jax.models.moe import MixtureOfExperts
from tests.support.meshes import BATCH, same_on_four

TOKENS, DIM, HIDDEN, EXPERTS, TOP_K = 24, 6, 8, 4, 2


@pytest.fixture(scope="module")
def layer():
    return MixtureOfExperts(DIM, HIDDEN, EXPERTS, TOP_K, 1.5, rngs=Rngs(0))


@pytest.fixture
def moe(layer):
    """A copy for each test to change."""
    return nnx.clone(layer)


@nnx.jit(static_argnames="exact")
def call(moe, x, ok, exact):
    return moe(x, ok, exact=exact)


def tokens(n=TOKENS, seed=0):
    return np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def numbers(moe):
    return {"router": moe.router.kernel[...], "up": moe.up[...], "down": moe.down[...]}


def by_loops(moe, x, most=None):
    """Every token through its experts one at a time, float64; an expert takes the first `most` that come."""
    return loops({name: np.asarray(p, np.float64) for name, p in numbers(moe).items()}, x, most)


def loops(weights, x, most):
    router, up, down = (weights[name] for name in ("router", "up", "down"))
    x = np.asarray(x, np.float64)
    y, taken, refused = np.zeros_like(x), np.zeros(EXPERTS, int), 0
    for t, row in enumerate(x):
        p = np.exp(row @ router)
        p = p / p.sum()
        chosen = np.argsort(-p)[:TOP_K]
        for e in chosen:
            if most is not None and taken[e] == most:
                refused += 1
                continue
            taken[e] += 1
            y[t] += p[e] / p[chosen].sum() * (gelu(row @ up[e]) @ down[e])
    return y, refused / (len(x) * TOP_K)


def grouped(weights, x):
    """Dropless by `jax.lax.ragged_dot`: exact, and 6x slower than slots on CPU, 8x the work on most TPUs."""
    probs = jax.nn.softmax(x @ weights["router"])
    gate, expert = jax.lax.top_k(probs, TOP_K)
    order = jnp.argsort(expert.reshape(-1))
    sizes = jnp.bincount(expert.reshape(-1), length=EXPERTS)
    h = jax.nn.gelu(jax.lax.ragged_dot(x[order // TOP_K], weights["up"], sizes))
    h = jax.lax.ragged_dot(h, weights["down"], sizes) * (gate / gate.sum(-1, keepdims=True)).reshape(-1)[order, None]
    return jnp.zeros_like(x).at[order // TOP_K].add(h)


def skewed(moe):
    """Expert 2 is everyone's first choice, expert 0 the second."""
    moe.router.kernel[...] = jnp.zeros((DIM, EXPERTS)).at[0].set(jnp.array([1.0, 0.0, 2.0, -1.0]))
    x = tokens()
    x[:, 0] = 3.0
    return x


ALL = np.ones(TOKENS, bool)


def test_exact_mode_equals_a_loop_over_experts(moe):
    x = tokens()
    y, router = call(moe, x, ALL, exact=True)
    np.testing.assert_allclose(y, by_loops(moe, x)[0], atol=1e-5)
    assert router["dropped"] == pytest.approx(0, abs=1e-6)


def test_generous_capacity_equals_exact_mode(moe):
    moe.capacity, x = EXPERTS, tokens()
    y, router = call(moe, x, ALL, exact=False)
    np.testing.assert_allclose(y, call(moe, x, ALL, exact=True)[0], atol=1e-6)
    assert router["dropped"] == pytest.approx(0, abs=1e-6)


def test_gradients_reach_router_and_experts_alike_in_both_modes(moe):
    moe.capacity, x = EXPERTS, tokens()
    graph, state = nnx.split(moe, nnx.Param)

    def loss(state, exact):
        return (nnx.merge(graph, state)(x, ALL, exact=exact)[0] ** 2).sum()

    gradient = jax.jit(jax.grad(loss), static_argnums=1)

    one, other = (jax.tree.leaves(gradient(state, exact)) for exact in (True, False))
    for g, h in zip(one, other, strict=True):
        assert np.abs(g).max() > 0
        np.testing.assert_allclose(g, h, atol=1e-5)


def gradients_of(moe, x, exact):
    """Of a weighted sum of the outputs, by the names of `numbers` and "x"."""
    graph, state = nnx.split(moe, nnx.Param)

    def loss(state, x):
        return (nnx.merge(graph, state)(x, ALL, exact=exact)[0] * tokens(seed=5)).sum()

    by_state, by_x = jax.jit(jax.grad(loss, argnums=(0, 1)))(state, x)
    return numbers(nnx.merge(graph, by_state)) | {"x": by_x}


def test_values_and_gradients_equal_grouped_matmuls(moe):
    x = tokens()
    np.testing.assert_allclose(call(moe, x, ALL, exact=True)[0], grouped(numbers(moe), x), atol=1e-5)
    gradient = jax.jit(jax.grad(lambda w, x: (grouped(w, x) * tokens(seed=5)).sum(), argnums=(0, 1)))
    by_weights, by_x = gradient(numbers(moe), x)
    for name, value in gradients_of(moe, x, exact=True).items():
        np.testing.assert_allclose(value, (by_weights | {"x": by_x})[name], atol=2e-5, err_msg=name)


@pytest.mark.parametrize("full", [False, True], ids=["nothing dropped", "half dropped"])
def test_gradients_equal_differences_of_the_loop_in_float64(moe, full):
    """Along a random direction of each array, also where an expert has refused tokens."""
    moe.capacity = 1.0
    x, most = (skewed(moe), TOKENS * TOP_K // EXPERTS) if full else (tokens(), None)
    rng = np.random.default_rng(3)
    at = {name: np.asarray(p, np.float64) for name, p in numbers(moe).items()} | {"x": x.astype(np.float64)}
    for name, gradient in gradients_of(moe, x, exact=not full).items():
        way = rng.standard_normal(at[name].shape)

        def along(step, name=name, way=way):
            moved = at | {name: at[name] + step * way}
            return (loops(moved, moved["x"], most)[0] * tokens(seed=5)).sum()

        difference = (along(1e-5) - along(-1e-5)) / 2e-5
        assert (np.asarray(gradient) * way).sum() == pytest.approx(difference, rel=1e-4, abs=1e-4), name


def test_a_full_expert_refuses_the_rest_and_the_dropped_share_says_so(moe):
    moe.capacity = 1.0
    x = skewed(moe)
    most = TOKENS * TOP_K // EXPERTS
    expected, refused = by_loops(moe, x, most)
    y, router = call(moe, x, ALL, exact=False)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    assert refused == 0.5  # two experts of four get everything, and hold half of it
    assert router["dropped"] == pytest.approx(refused, abs=1e-6)
    np.testing.assert_array_equal(y[most:], 0)


def test_masked_tokens_take_no_slot(moe):
    moe.capacity = 1.0
    x = skewed(moe)
    ok = np.arange(TOKENS) >= TOKENS // 2  # the queue begins with tokens that are not there
    y, router = call(moe, x, ok, exact=False)
    np.testing.assert_allclose(y[TOKENS // 2 :], by_loops(moe, x[TOKENS // 2 :])[0], atol=1e-5)
    np.testing.assert_array_equal(y[: TOKENS // 2], 0)
    assert router["dropped"] == pytest.approx(0, abs=1e-6)


def test_statistics_ignore_masked_tokens(moe):
    x = tokens()
    ok = np.arange(TOKENS) < 12
    masked, alone = call(moe, x, ok, exact=True)[1], call(moe, x[:12], ok[:12], exact=True)[1]
    for name in ("balance", "z", "dropped", "busiest", "idlest"):
        assert masked[name] == pytest.approx(float(alone[name]), abs=1e-6), name


def test_exact_results_do_not_depend_on_batch_mates(moe):
    x = tokens()
    alone = np.concatenate([call(moe, x[i : i + 1], ALL[:1], exact=True)[0] for i in range(0, TOKENS, 6)])
    np.testing.assert_allclose(call(moe, x, ALL, exact=True)[0][::6], alone, atol=1e-6)


def test_balance_is_one_for_an_even_router_and_the_number_of_experts_for_the_worst(moe):
    # One token to each expert in turn; its logit leads by so little that the probabilities are even.
    x = np.eye(DIM, dtype=np.float32)[np.arange(TOKENS) % EXPERTS]
    moe.router.kernel[...] = 1e-4 * jnp.eye(DIM, EXPERTS)
    router = call(moe, x, ALL, exact=True)[1]
    assert router["balance"] == pytest.approx(1, abs=1e-4)
    assert router["z"] == pytest.approx(math.log(EXPERTS) ** 2, abs=1e-3)
    moe.router.kernel[...] = jnp.zeros((DIM, EXPERTS)).at[:EXPERTS, 1].set(50.0)
    assert call(moe, x, ALL, exact=True)[1]["balance"] == pytest.approx(EXPERTS, abs=1e-4)


def test_demand_shows_an_even_router_and_a_collapsed_one(moe):
    """In even shares: tokens choose experts (0, 1) or (2, 3) by turns, then all of them 2 and 0."""
    sign = np.where(np.arange(TOKENS) % 2, 1.0, -1.0)
    x = tokens()
    x[:, 0] = sign
    moe.router.kernel[...] = jnp.zeros((DIM, EXPERTS)).at[0].set(jnp.array([-3.0, -2.0, 3.0, 2.0]))
    router = call(moe, x, ALL, exact=True)[1]
    assert (router["busiest"], router["idlest"]) == (1.0, 1.0)
    ok = np.arange(TOKENS) % 4 != 1  # 6 tokens choose (2, 3) and 12 choose (0, 1)
    router = call(moe, x, ok, exact=True)[1]
    assert router["busiest"] == pytest.approx(12 / 9)
    assert router["idlest"] == pytest.approx(6 / 9)
    router = call(moe, skewed(moe), ALL, exact=True)[1]
    assert (router["busiest"], router["idlest"]) == (EXPERTS / TOP_K, 0.0)


def test_statistics_are_those_of_all_devices(layer):
    """The balance of the whole batch is not the mean of the devices' balances."""
    graph, state = nnx.split(layer, nnx.Param)

    def loss(state, batch, keys, axes):
        moe = nnx.merge(graph, state)
        _, router = moe(batch["x"].reshape(-1, DIM), batch["ok"].reshape(-1), axes=axes)
        return router["balance"] + router["z"], router

    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, 3, DIM)) + rng.standard_normal((BATCH, 1, DIM))  # devices see other tokens
    same_on_four(loss, state, {"x": x.astype(np.float32), "ok": rng.random((BATCH, 3)) > 0.3})


def test_nothing_there_is_finite(moe):
    y, router = call(moe, tokens(), ~ALL, exact=False)
    np.testing.assert_array_equal(y, 0)
    assert router["dropped"] == 0
    assert all(np.isfinite(v) for v in router.values())
