"""Precision, scanning and recomputing change how the model is computed and nothing else."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from data_pipeline.night import EPOCH_S
from sleepmami_jax.config import ComputeConfig, Finetuning
from sleepmami_jax.models.initial import RMSNorm, Rngs
from sleepmami_jax.models.moe import MixtureOfExperts
from sleepmami_jax.models.precision import compute_dtype
from sleepmami_jax.models.sleepmami import merge, split, structure
from sleepmami_jax.models.stack import apply_blocks
from sleepmami_jax.models.transformer import Block

N, LENGTH, DIM, DEPTH = 2, 12, 16, 2
TASKS = Finetuning().tasks


def cast(params, dtype):
    return {name: value.astype(compute_dtype(name, dtype)) for name, value in params.items()}


@pytest.fixture(scope="module")
def stack():
    """Two blocks with experts, not alike: (graph, parameters)."""
    rngs = Rngs(0)
    graph, params = split(
        nnx.List(Block(DIM, 2, MixtureOfExperts(DIM, 32, 4, 2, 1.0, rngs=rngs), rngs=rngs) for _ in range(DEPTH))
    )
    return graph, {name: jnp.asarray(value) for name, value in params.items()}


@pytest.fixture(scope="module")
def learn(stack):
    """`learn(compute)`: the tokens and statistics of the stack, and the gradients of a loss of both."""
    graph, params = stack
    rng = np.random.default_rng(1)
    x = rng.standard_normal((N, LENGTH, DIM)).astype(np.float32)
    ok = rng.random((N, LENGTH)) > 0.2

    def run(compute: ComputeConfig):
        def loss(params):
            blocks = merge(graph, cast(params, compute.dtype))
            y, router = apply_blocks(blocks, x.astype(compute.dtype), ok, compute=compute, exact=False)
            total = (jnp.square(y.astype(jnp.float32)) * ok[..., None]).mean()
            return total + router["balance"].mean() + router["z"].mean(), (y, router)

        (_, out), gradients = jax.device_get(jax.jit(jax.value_and_grad(loss, has_aux=True))(params))
        return out, gradients

    return run


@pytest.fixture(scope="module")
def plain(learn):
    return learn(ComputeConfig())


@pytest.mark.parametrize(
    "compute",
    [ComputeConfig(scan=True), ComputeConfig(remat="full"), ComputeConfig(remat="names", scan=True)],
    ids=["scan", "full", "names and scan"],
)
def test_scanning_and_recomputing_change_neither_values_nor_gradients(learn, plain, compute):
    (y, router), gradients = plain
    assert all(value.shape == (DEPTH,) and len(set(value)) == DEPTH for value in router.values())
    assert y.shape == (N, LENGTH, DIM)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), learn(compute), plain)
    assert all(np.abs(g).max() > 1e-4 for g in gradients.values())


def test_bfloat16_is_near_float32_and_its_gradients_are_float32(learn, plain):
    (y, router), gradients = learn(ComputeConfig("bfloat16"))
    (exact, _), exact_gradients = plain
    assert y.dtype == jnp.bfloat16
    assert {v.dtype for v in [*router.values(), *gradients.values()]} == {np.dtype(np.float32)}
    # A rounded token may go to another expert, so single tokens may differ; all together say the same.
    assert 1e-3 < np.linalg.norm(y.astype(np.float32) - exact) / np.linalg.norm(exact) < 0.05
    one, other = (np.concatenate([g[n].ravel() for n in sorted(g)]) for g in (gradients, exact_gradients))
    assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.99


def test_a_norm_of_bfloat16_rounds_once():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((50, 33)), jnp.bfloat16)
    wide = np.asarray(x, np.float64)
    exact = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-6)
    y = RMSNorm(33, rngs=Rngs(0))(x)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(y, np.float64), exact, rtol=1.001 * 2**-8, atol=0)


def computed(config, compute, epochs_of, read):
    """`read(function, weights)` of the whole model on one night of two epochs, traced and not run."""
    graph, shapes = structure(config, compute, TASKS)

    def run(params):
        model = merge(graph, cast(params, compute.dtype))
        tokens = model.micro(epochs_of(config, N), exact=False)
        return tokens, model(tokens.x[None], tokens.ok[None])

    return read(run)(shapes)


@pytest.fixture(scope="module")
def deep(tiny):
    """The tiny model with two blocks in every stack, where there is something to scan."""
    micro = replace(tiny.micro, private_depth=2, shared_depth=2)
    macro = replace(tiny.macro, levels=1, blocks_per_level=2, seconds_depth=2)
    return replace(tiny, micro=micro, macro=macro)


@pytest.mark.parametrize("remat", ["none", "full", "names"])
def test_every_stack_of_the_model_is_computed_as_told(deep, epochs_of, remat):
    """Six private stacks, the shared one, the macro level, and the seconds'."""
    jaxpr = computed(deep, ComputeConfig(remat=remat, scan=True), epochs_of, jax.make_jaxpr)
    scanned = [e for e in jaxpr.eqns if e.primitive.name == "scan" and e.params["length"] == 2]
    assert len(scanned) == 9
    for body in (e.params["jaxpr"] for e in scanned):
        recomputed = [e for e in body.eqns if "policy" in e.params]
        assert len(recomputed) == (remat != "none")
        assert all((e.params["policy"] is None) == (remat == "full") for e in recomputed)


def test_heads_and_statistics_are_float32_and_tokens_are_not(deep, epochs_of):
    tokens, night = computed(deep, ComputeConfig("bfloat16"), epochs_of, lambda run: lambda w: jax.eval_shape(run, w))
    assert tokens.x.dtype == jnp.bfloat16
    assert {v.dtype for v in [*tokens.router.values(), *night.heads.values()]} == {np.dtype(np.float32)}


@pytest.mark.parametrize("remat", ["full", "names"])
def test_parameters_have_the_same_names_shapes_and_types_however_computed(deep, remat):
    shapes = structure(deep, ComputeConfig("bfloat16", remat, scan=True))[1]
    assert shapes == structure(deep)[1]
    assert "micro/shared/1/attention/qkv/kernel" in shapes


def test_cast_leaves_what_is_exponentiated_thresholded_or_routed(deep):
    params = {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in structure(deep, tasks=TASKS)[1].items()}
    params["projection/log_scale"] = np.zeros((), np.float32)
    narrow = cast(params, "bfloat16")
    kept = {name for name, value in narrow.items() if value.dtype == jnp.float32}
    assert {narrow[name].dtype for name in narrow.keys() - kept} == {jnp.dtype(jnp.bfloat16)}
    for name in (
        "micro/shared/0/feedforward/up",
        "macro/enter/maps/EEG/kernel",
        "micro/private/EEG/tokenizer/slot",
    ):
        assert name in narrow.keys() - kept
    for name in ("micro/shared/1/feedforward/router/kernel", "micro/norm/scale", "projection/log_scale"):
        assert name in kept
    for name in ("heads/stages/kernel", "heads/arousal/bias"):
        assert name in kept
    for name in ("a_log", "dt_bias", "d"):
        assert f"macro/levels/0/1/forward/{name}" in kept
    assert {value.dtype for value in cast(params, "float32").values()} == {np.dtype(np.float32)}


def test_one_expert_is_a_plain_mlp_without_a_router(deep, epochs_of):
    dense = replace(deep, micro=replace(deep.micro, experts=1))
    shapes = structure(dense)[1]
    assert shapes["micro/shared/0/feedforward/up/kernel"].shape == (DIM, 2 * DIM)
    assert not [name for name in shapes if "router" in name]
    tokens, night = computed(dense, ComputeConfig(), epochs_of, lambda run: lambda w: jax.eval_shape(run, w))
    assert tokens.router == {}
    assert night.heads["arousal"].shape == (1, N * EPOCH_S, 1)
