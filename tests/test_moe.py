"""The mixture of experts against a loop over tokens and experts."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sleepmami_jax.models.initial import Rngs
from sleepmami_jax.models.moe import MixtureOfExperts

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


def by_loops(moe, x, most=None):
    """Every token through its experts one at a time, float64; an expert takes the first `most` that come."""
    router, up, down = (np.asarray(p[...], np.float64) for p in (moe.router.kernel, moe.up, moe.down))
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
    for name in ("balance", "z", "dropped"):
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


def test_nothing_there_is_finite(moe):
    y, router = call(moe, tokens(), ~ALL, exact=False)
    np.testing.assert_array_equal(y, 0)
    assert all(np.isfinite(v) for v in router.values())


@pytest.mark.parametrize("top_k", [0, EXPERTS + 1])
def test_top_k_beyond_the_experts_is_refused(top_k):
    with pytest.raises(ValueError, match=f"between 1 and experts={EXPERTS}, found {top_k}"):
        MixtureOfExperts(DIM, HIDDEN, EXPERTS, top_k, 1.5, rngs=Rngs(0))
