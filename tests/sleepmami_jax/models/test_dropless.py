"""Experts by blocks of rows against a float64 loop over tokens and experts."""

import math

import jax
import numpy as np
import pytest

from sleepmami_jax.models import dropless as module
from sleepmami_jax.models.dropless import block_rows, blocks, dropless

TOKENS, TOP_K, EXPERTS, DIM, HIDDEN = 40, 2, 5, 6, 8


@pytest.fixture(scope="module")
def run():
    """Compiled with blocks of 4 rows, so that experts have whole blocks, parts of one, and none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_ROWS", 4)
        assert block_rows(TOKENS * TOP_K, EXPERTS) == 4
        yield jax.jit(dropless)


def weights():
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s).astype(np.float32) for s in ((EXPERTS, DIM, HIDDEN), (EXPERTS, HIDDEN, DIM))]


def gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def by_loops(x, expert, weight, up, down):
    y = np.zeros(x.shape)
    for t, row in enumerate(x.astype(np.float64)):
        for e, w in zip(expert[t], weight[t], strict=True):
            if e < EXPERTS:
                y[t] += w * (gelu(row @ up[e].astype(np.float64)) @ down[e].astype(np.float64))
    return y


def routings():
    rng = np.random.default_rng(1)
    some = np.argsort(rng.random((TOKENS, EXPERTS)), -1)[:, :TOP_K]
    skewed = np.tile([3, 1], (TOKENS, 1))
    nowhere = np.where(rng.random((TOKENS, 1)) < 0.4, EXPERTS, some)
    # Every expert has one choice more than fills its blocks: 17 each of four experts, 12 of the last.
    worst = np.concatenate([np.full(17, e) for e in range(4)] + [np.full(12, 4)]).reshape(TOP_K, TOKENS).T
    return {
        "some": some,
        "skewed": skewed,
        "nowhere": nowhere,
        "worst": worst,
        "none": np.full_like(some, EXPERTS),
    }


@pytest.mark.parametrize("name", routings())
def test_equals_a_loop_over_tokens_and_experts(run, name):
    rng = np.random.default_rng(2)
    expert = routings()[name]
    x = rng.standard_normal((TOKENS, DIM)).astype(np.float32)
    weight = rng.random((TOKENS, TOP_K)).astype(np.float32)
    y = run(x, expert, weight, *weights())
    np.testing.assert_allclose(y, by_loops(x, expert, weight, *weights()), atol=2e-5)


def test_a_token_has_the_same_bits_whatever_its_neighbours(run):
    rng = np.random.default_rng(3)
    x, weight = rng.standard_normal((TOKENS, DIM)).astype(np.float32), np.ones((TOKENS, TOP_K), np.float32)
    expert = routings()["some"]
    others, routed = 100 * x[::-1], routings()["skewed"].copy()
    others[-3:], routed[-3:] = x[-3:], expert[-3:]
    np.testing.assert_array_equal(run(others, routed, weight, *weights())[-3:], run(x, expert, weight, *weights())[-3:])


@pytest.mark.parametrize(("choices", "experts"), [(1, 4), (7, 8), (8, 8), (200, 8), (256, 8), (2784, 8), (100_000, 3)])
def test_blocks_are_enough_for_the_worst_routing_and_no_more(choices, experts):
    rows = block_rows(choices, experts)
    full = max(0, choices - experts) // rows
    loads = np.zeros(experts, int)
    loads[: min(choices, experts)] = 1  # one row in a block of its own
    loads[0] += full * rows
    assert loads.sum() <= choices
    assert blocks(choices, experts) == (-(-loads // rows)).sum()
    rng = np.random.default_rng(0)
    for _ in range(50):
        drawn = rng.multinomial(choices, rng.dirichlet(np.full(experts, 0.5)))
        assert (-(-drawn // rows)).sum() <= blocks(choices, experts)
