"""Analytic counts against the real parameters, the matmuls of the real program, and XLA."""

import math
from collections import Counter
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from data_pipeline.modalities import RATE_HZ, SLOTS
from data_pipeline.night import EPOCH_S
from data_pipeline.tasks import SPINDLE
from sleepmami_jax.config import (
    Experiment,
    Finetuning,
    MacroConfig,
    MacroPretraining,
    Masking,
    MicroConfig,
    MicroPretraining,
    ModelConfig,
    OptimizerConfig,
)
from sleepmami_jax.costs.chips import peak_flops
from sleepmami_jax.costs.flops import (
    decoder_cost,
    expert_rows,
    micro_costs,
    night_costs,
    step_flops,
    total,
)
from sleepmami_jax.costs.sizes import DEPTH, size
from sleepmami_jax.models.initial import Rngs
from sleepmami_jax.models.micro import Visible, layout, token_width
from sleepmami_jax.models.sleepmami import merge, split, structure
from sleepmami_jax.objectives.masked import MaskedDecoder, masked_loss, visible_tokens

STATISTICS = 1e-4  # of the router, which are not counted
B, EPOCHS = 2, 45  # no multiple of a chunk, nor of the merged epochs
TASKS = (*Finetuning().tasks, SPINDLE)


def matmuls(jaxpr) -> float:
    """FLOPs of every matmul and filter of a program, scans multiplied out, the dearest branch of every condition."""
    flops = 0.0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            inner = math.prod(eqn.invars[0].aval.shape[i] for i in contracted)
            flops += 2 * inner * math.prod(eqn.outvars[0].aval.shape)
        elif eqn.primitive.name == "conv_general_dilated":
            flops += 2 * math.prod(eqn.invars[1].aval.shape[:-1]) * math.prod(eqn.outvars[0].aval.shape)
        elif eqn.primitive.name == "cond":
            flops += max(matmuls(branch.jaxpr) for branch in eqn.params["branches"])
        else:
            times = eqn.params.get("length", 1) if eqn.primitive.name == "scan" else 1
            for inner in jaxprs_in_params(eqn.params):
                flops += times * matmuls(inner)
    return flops


def counted(function, *arguments) -> float:
    return matmuls(jax.make_jaxpr(function)(*arguments).jaxpr)


def signals(config: ModelConfig, n: int) -> dict:
    shape = jax.ShapeDtypeStruct
    return {
        m.value: {
            "signal": shape((n, len(config.modalities[m].slots), EPOCH_S * RATE_HZ[m]), jnp.float32),
            "usable": shape((n, len(config.modalities[m].slots), EPOCH_S), bool),
        }
        for m in SLOTS
    }


@pytest.mark.parametrize("name", DEPTH)
def test_parameters_are_those_of_the_model(name):
    config = size(name)
    real = Counter()
    for path, leaf in structure(config, tasks=TASKS)[1].items():
        part = path.split("/")
        real[part[1] if part[0] == "micro" else part[0]] += math.prod(leaf.shape)
    micro, night = micro_costs(config), night_costs(config, 960, TASKS)
    assert micro["private"].parameters == real["private"]
    assert micro["shared"].parameters == real["shared"] + real["modality"] + real["norm"]
    macro = night["context"] + night["vector"] + night["epochs"]
    assert macro.parameters == real["macro"]
    for part in ("seconds", "fast", "heads"):
        assert night[part].parameters == real[part] > 0


@pytest.mark.parametrize("name", ["tiny", "base"])
def test_flops_of_the_micro_encoder_are_its_matmuls(name):
    config = size(name)
    graph, params = structure(config)
    for exact in (True, False):
        cost = total(micro_costs(config, B, exact=exact))
        real = counted(lambda p, s, exact=exact: merge(graph, p).micro(s, exact=exact).x, params, signals(config, B))
        assert cost.flops + cost.padding == pytest.approx(real, rel=STATISTICS)
    assert cost.padding > 0


def test_flops_of_visible_tokens_and_the_decoder(tiny):
    graph, params = structure(tiny)
    visible = visible_tokens(layout(tiny.modalities), Masking(time=0.6))
    decoder_graph, decoder = split(MaskedDecoder(tiny, 16, rngs=Rngs(0)))
    where = layout(tiny.modalities)
    hidden, there = np.zeros((B, len(SLOTS)), bool), np.ones((B, where.total), bool)
    places = {
        m: Visible(
            jax.ShapeDtypeStruct((B, k), jnp.int32),
            jax.ShapeDtypeStruct((B, len(tiny.modalities[m].slots), where.tokens[m]), bool),
        )
        for m, k in visible.items()
    }

    def loss(params, decoder, signals, places):
        tokens = merge(graph, params).micro(signals, places, exact=False)
        rebuilt = merge(decoder_graph, decoder)(tokens, places, there)
        return sum(masked_loss(rebuilt.patches, signals, places, hidden, where, ()))

    cost = total(micro_costs(tiny, B, visible, exact=False)) + decoder_cost(tiny, 16, B, visible)
    arguments = params, decoder, signals(tiny, B), places
    assert cost.flops + cost.padding == pytest.approx(counted(loss, *arguments), rel=STATISTICS)
    assert decoder_cost(tiny, 16, B, visible).parameters == sum(v.size for v in decoder.values())

    # The backward pass is two forward passes, less the gradient of signals, which nobody asks for.
    training = cost.training + 3 * cost.padding
    assert 0.85 < counted(jax.grad(loss, (0, 1)), *arguments) / training < 1


@pytest.mark.parametrize("name", ["tiny", "base"])
def test_flops_of_a_night_are_its_matmuls(name):
    config = size(name)
    graph, params = structure(config, tasks=TASKS)
    tokens = jax.ShapeDtypeStruct((1, EPOCHS, 87, token_width(config)), jnp.float32)
    ok = jax.ShapeDtypeStruct((1, EPOCHS, 87), bool)
    real = counted(lambda *a: merge(graph, a[0])(*a[1:]), params, tokens, ok)
    assert total(night_costs(config, EPOCHS, TASKS)).flops == real


def test_xla_counts_the_same_where_matmuls_dominate(tiny):
    """XLA also counts element-wise work, which grows with the width and not with its square."""
    config = replace(
        tiny,
        micro=MicroConfig(dim=512, heads=4, experts=2, top_k=2, capacity=1, shared_depth=1),
        macro=MacroConfig(dim=256, levels=2, seconds_dim=256, head_dim=64, seconds_depth=1, state=64, chunk=64),
    )
    graph, params = structure(config, tasks=TASKS)
    micro = jax.jit(lambda p, s: merge(graph, p).micro(s, exact=False).x).lower(params, signals(config, 8))
    assert total(micro_costs(config, 8)).flops == pytest.approx(micro.cost_analysis()["flops"], rel=0.04)
    length = layout(config.modalities).total
    tokens = jax.ShapeDtypeStruct((1, 64, length, token_width(config)), jnp.float32)
    ok = jax.ShapeDtypeStruct((1, 64, length), bool)
    night = jax.jit(lambda *a: merge(graph, a[0])(*a[1:])).lower(params, tokens, ok)
    assert total(night_costs(config, 64, TASKS)).flops == pytest.approx(night.cost_analysis()["flops"], rel=0.04)


def test_active_parameters_are_those_one_token_meets():
    config = ModelConfig(micro=MicroConfig(private_depth=0, shared_depth=1, experts=4, top_k=1))
    more = replace(config, micro=replace(config.micro, experts=8))
    one, other = (total(micro_costs(c)) for c in (config, more))
    assert other.parameters - one.parameters == 4 * (4 * 64 * 64 + 64)  # four experts and their routes
    assert other.active - one.active == 4 * 64  # the routes
    assert one.active < one.parameters / 2


def test_one_expert_is_a_plain_mlp(tiny):
    config = replace(tiny, micro=replace(tiny.micro, experts=1))
    graph, params = structure(config)
    cost = total(micro_costs(config, B))
    assert cost.parameters == sum(v.size for n, v in params.items() if n.startswith("micro/"))
    real = counted(lambda p, s: merge(graph, p).micro(s).x, params, signals(config, B))
    assert cost.flops == real and cost.padding == 0


def test_rows_of_experts(tiny):
    assert expert_rows(tiny.micro, 10, exact=False) == 3 * 4  # capacity 0.5 of 10 x 2 / 3 slots, rounded up
    assert expert_rows(tiny.micro, 1000, exact=True) == (3 + 1997 // 167) * 167  # blocks of a quarter of an even share


def test_a_step_counts_what_it_trains():
    def step(objective, **model):
        experiment = Experiment("x", objective, model=ModelConfig(**model), optimizer=OptimizerConfig(ema=0.9))
        return step_flops(experiment)

    micro = MicroPretraining(batch=32)
    assert 1.9 < step(MicroPretraining(batch=64)) / step(micro) < 2.1
    assert step(MicroPretraining(mask=Masking(time=0.6))) < step(MicroPretraining(mask=Masking(time=0.4)))
    assert step(micro) < step(MicroPretraining(mask=Masking(time=0.0)))
    assert step(MicroPretraining(mask=Masking(channel=0.3))) == step(micro)  # what is hidden in one channel is encoded
    assert step(MicroPretraining(contrast="pairwise")) > step(micro)
    assert step(MicroPretraining(contrast_weight=0.0)) < step(micro)
    assert 1.2 < step(MicroPretraining(teacher_weight=1.0)) / step(micro) < 2  # forward only, but of all tokens
    assert step(MicroPretraining(spectral_weight=0.0)) < step(micro)

    frozen, both = MacroPretraining(), MacroPretraining(freeze_micro=False)
    whole = total(micro_costs(ModelConfig(), 16 * 1152))
    assert step(both) - step(frozen) == pytest.approx(whole.training)
    night = night_costs(ModelConfig(), 1152)
    assert step(frozen) == pytest.approx(3 * 2 * 16 * (night["context"] + night["vector"]).flops, rel=0.01)

    windows = step(Finetuning(batch=4, epochs=30, freeze_micro=False)) - step(Finetuning(batch=4, epochs=30))
    assert windows == pytest.approx(total(micro_costs(ModelConfig(), 120)).training)


def test_a_cpu_has_no_peak():
    assert peak_flops("cpu") is None
    assert peak_flops("TPU v5 lite") == 1.97e14
