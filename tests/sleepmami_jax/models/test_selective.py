"""Mamba-1's scan against the recurrence it stands for. Its block is tested beside SSD's, in test_ssd.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepmami_jax.models.selective import selective_scan

BATCH, LENGTH, D, N = 2, 7, 3, 2
NAMES = ("x", "dt", "a", "b", "c")

scan = jax.jit(selective_scan, static_argnames="chunk")


def inputs(largest_dt=0.5):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, LENGTH, D))
    dt = rng.uniform(0, largest_dt, (BATCH, LENGTH, D))
    a = -rng.uniform(0.5, 4, (D, N))
    b, c = rng.standard_normal((2, BATCH, LENGTH, N))
    return tuple(v.astype(np.float32) for v in (x, dt, a, b, c))


def recurrence(x, dt, a, b, c):
    """h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t, y_t = C_t h_t, channel by channel in float64."""
    x, dt, a, b, c = (np.asarray(v, np.float64) for v in (x, dt, a, b, c))
    y = np.zeros_like(x)
    for i, d in np.ndindex(BATCH, D):
        state = np.zeros(N)
        for t in range(x.shape[1]):
            state = np.exp(dt[i, t, d] * a[d]) * state + dt[i, t, d] * b[i, t] * x[i, t, d]
            y[i, t, d] = c[i, t] @ state
    return y


@pytest.mark.parametrize("chunk", [1, 4, 7, 64])
def test_equals_the_recurrence_whatever_the_chunk(chunk):
    arguments = inputs()
    np.testing.assert_allclose(scan(*arguments, chunk=chunk), recurrence(*arguments), atol=2e-6, rtol=1e-5)


def test_gradients_equal_differences_of_the_recurrence():
    arguments = inputs()
    weight = np.random.default_rng(9).standard_normal((BATCH, LENGTH, D)).astype(np.float32)
    gradient = jax.jit(jax.grad(lambda *v: (selective_scan(*v, chunk=4) * weight).sum(), range(5)))(*arguments)
    for i, name in enumerate(NAMES):
        expected = np.zeros(arguments[i].shape)
        for place in np.ndindex(expected.shape):
            ends = []
            for sign in (1, -1):
                moved = [v.astype(np.float64) for v in arguments]
                moved[i][place] += sign * 1e-5
                ends.append((recurrence(*moved) * weight).sum())
            expected[place] = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(gradient[i], expected, atol=1e-5, rtol=1e-4, err_msg=name)


def test_large_steps_give_finite_gradients():
    arguments = inputs(largest_dt=1e3)
    square = jax.jit(jax.value_and_grad(lambda *v: (selective_scan(*v, chunk=4) ** 2).sum(), range(5)))
    value, gradients = square(*arguments)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradients)


def test_only_states_between_chunks_are_stored():
    """Every state of (2, 1024, 64) channels would be 16 times as large as x, 8 MiB."""
    wide, narrow = (jax.ShapeDtypeStruct((2, 1024, n), jnp.float32) for n in (64, 16))
    decays = jax.ShapeDtypeStruct((64, 16), jnp.float32)
    step = jax.jit(lambda gradient, *v: jax.vjp(selective_scan, *v)[1](gradient))
    memory = step.lower(wide, wide, wide, decays, narrow, narrow).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 6 * 2**20
