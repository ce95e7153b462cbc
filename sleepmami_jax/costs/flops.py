"""Parameters and FLOPs of the model from its configuration alone.

XLA counts the body of a scan once and knows nothing of what is useful, so these are counted by hand, module by module
in the order of the modules, and tests hold them against the real parameters and the real matmuls. A multiply-add is 2
FLOPs. Matmuls are counted and element-wise work (norms, softmax, GELU, convolutions, decays) is not: it is a few per
cent of the FLOPs of all but the smallest models, whatever it costs in time.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

from data_pipeline.modalities import RATE_HZ, Modality
from data_pipeline.night import EPOCH_S
from data_pipeline.tasks import FAST_HZ, Task, TaskKind
from sleepmami_jax.config import (
    Experiment,
    Finetuning,
    MacroConfig,
    MacroPretraining,
    MicroConfig,
    MicroPretraining,
    ModelConfig,
)
from sleepmami_jax.models.dropless import block_rows, blocks
from sleepmami_jax.models.macro import LOCAL_WIDTH, summary_width
from sleepmami_jax.models.micro import layout, measured_width, token_width
from sleepmami_jax.models.sleepmami import head_width
from sleepmami_jax.models.ssd import CONV_WIDTH
from sleepmami_jax.models.stem import FAST, filters, looks_of, n_features
from sleepmami_jax.objectives.masked import visible_tokens


@dataclass(frozen=True)
class Cost:
    """What a module holds, and what one forward pass of it takes. Costs add up.

    Attributes:
      parameters: numbers in its parameters.
      active: of these, those that one token meets (its experts; its modality).
      flops: useful FLOPs.
      fixed: of these, FLOPs of matmuls with constants, which have no backward pass.
      padding: FLOPs of empty rows of experts, done on top of the useful ones; negative if more tokens are dropped.
    """

    parameters: int = 0
    active: float = 0
    flops: float = 0
    fixed: float = 0
    padding: float = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*map(operator.add, astuple(self), astuple(other)))

    def __mul__(self, times: int) -> Cost:
        return Cost(*(a * times for a in astuple(self)))

    @property
    def training(self) -> float:
        """Forward and backward, which is two forward passes: by inputs and by parameters."""
        return 3 * self.flops - 2 * self.fixed


def total(costs: dict[str, Cost]) -> Cost:
    """The sum of the parts."""
    return sum(costs.values(), Cost())


def _linear(inputs: int, outputs: int, rows: float, bias: bool = True) -> Cost:
    n = inputs * outputs + bias * outputs
    return Cost(n, n, 2 * inputs * outputs * rows)


def _matmul(inputs: int, outputs: int, rows: float) -> Cost:
    """Of activations with activations."""
    return Cost(flops=2 * inputs * outputs * rows)


def _vectors(n: int) -> Cost:
    """Parameters without a matmul: norms, embeddings, biases."""
    return Cost(n, n)


def _filterbank(modality: Modality, token_s: int, epochs: float) -> Cost:
    """`stem.features` of one channel."""
    flops = 0
    for look in looks_of(modality, token_s):
        wave, band, energy = filters(look, RATE_HZ[modality])
        flops += 2 * energy.size + 2 * energy.shape[1] * (wave.size + band.size)
    return Cost(flops=flops * epochs, fixed=flops * epochs)


def _block(dim: int, feedforward: Cost, rows: float, length: int) -> Cost:
    """A transformer block over `rows` tokens in sequences of `length`."""
    attention = _linear(dim, 3 * dim, rows, False) + _linear(dim, dim, rows, False)
    return _vectors(2 * dim) + attention + _matmul(dim, length, rows) * 2 + feedforward


def _mlp(dim: int, hidden: int, rows: float) -> Cost:
    return _linear(dim, hidden, rows) + _linear(hidden, dim, rows)


def expert_rows(micro: MicroConfig, tokens: int, exact: bool) -> int:
    """Rows that the experts of one block compute for so many tokens, empty ones included; of the worst routing."""
    choices = tokens * micro.top_k
    if exact:
        return blocks(choices, micro.experts) * block_rows(choices, micro.experts)
    return micro.experts * min(tokens, math.ceil(micro.capacity * choices / micro.experts))


def _experts(micro: MicroConfig, tokens: int, exact: bool) -> Cost:
    one = 2 * micro.dim * micro.mlp_ratio * micro.dim  # parameters of an expert
    if micro.experts == 1:
        return _mlp(micro.dim, micro.mlp_ratio * micro.dim, tokens)
    router = _linear(micro.dim, micro.experts, tokens, bias=False)
    choices = tokens * micro.top_k
    return router + Cost(
        micro.experts * one,
        micro.top_k * one,
        2 * one * choices,
        padding=2 * one * (expert_rows(micro, tokens, exact) - choices),
    )


def micro_costs(
    config: ModelConfig, epochs: int = 1, visible: dict[Modality, int] | None = None, *, exact: bool = True
) -> dict[str, Cost]:
    """The Micro-Encoder over so many epochs in one batch, all channels there: `private`, `shared`.

    Args:
      visible: tokens of each modality that are encoded; None is all of them.
      exact: without a capacity, as in scoring.
    """
    micro, where = config.micro, layout(config.modalities)
    visible = where.tokens if visible is None else visible
    private, length = Cost(), sum(visible.values())
    for m in where.tokens:
        one = _private(config, m, epochs, visible[m])
        private += replace(one, active=one.active * visible[m] / length)
    block = _block(micro.dim, _experts(micro, epochs * length, exact), epochs * length, length)
    own = Cost(micro.dim * (len(where.tokens) + 1), 2 * micro.dim)  # modality embeddings, last norm
    return {"private": private, "shared": block * micro.shared_depth + own}


def _private(config: ModelConfig, modality: Modality, epochs: int, tokens: int) -> Cost:
    micro, spec = config.micro, config.modalities[modality]
    samples, channels, dim = spec.token_s * RATE_HZ[modality], len(spec.slots), micro.dim
    rows = epochs * channels * tokens
    tokenizer = (
        _linear(samples, dim // 2, rows)
        + _filterbank(modality, spec.token_s, epochs * channels)  # of all tokens, hidden ones too
        + _linear(n_features(modality, spec.token_s), dim - dim // 2, rows)
        + _linear(dim, dim, rows)
        + Cost(channels * dim, dim)
    )
    block = _block(dim, _mlp(dim, micro.mlp_ratio * dim, rows), rows, channels * tokens)
    return tokenizer + block * micro.private_depth + _linear(dim, 1, rows)


def _mixer(dim: int, c: MacroConfig, length: int) -> Cost:
    return (_ssd if c.mixer == "ssd" else _selective)(dim, c, length)


def _selective(dim: int, c: MacroConfig, length: int) -> Cost:
    """Mamba-1; its scan is element-wise and so not counted."""
    inner, rank = 2 * dim, math.ceil(dim / 16)
    direction = (
        _vectors((CONV_WIDTH + 1 + c.state + 2) * inner)
        + _linear(inner, rank + 2 * c.state, length, False)
        + _linear(rank, inner, length, False)
    )
    projections = _linear(dim, 2 * inner, length, False) + _linear(inner, dim, length, False)
    return _vectors(dim) + projections + direction * (1 + c.bidirectional)


def _ssd(dim: int, c: MacroConfig, length: int) -> Cost:
    inner, n = 2 * dim, c.state
    heads, padded = inner // c.head_dim, length + -length % c.chunk
    direction = (
        _vectors((CONV_WIDTH + 1) * (inner + 2 * n) + 3 * heads + inner)
        + _matmul(c.chunk, heads, padded)  # running sums of decays
        + _matmul(n, c.chunk, padded)  # C B^T
        + _matmul(c.chunk, inner, padded)  # within a chunk
        + _matmul(n, inner, padded) * 2  # into the state and out of it
    )
    projections = _linear(dim, 2 * inner + 2 * n + heads, length, False) + _linear(inner, dim, length, False)
    return _vectors(dim) + projections + direction * (1 + c.bidirectional)


def night_costs(config: ModelConfig, epochs: int, tasks: Sequence[Task] = ()) -> dict[str, Cost]:
    """All but the Micro-Encoder over one night of so many epochs.

    `context` is the way up to the last level of the Macro-Encoder, `vector` its vector of the night, `epochs` the way
    back down; `seconds`, `fast` and `heads` follow.
    """
    c, tokens = config.macro, layout(config.modalities).tokens
    measured, summary = measured_width(config.modalities), summary_width(config)
    downs = max(0, c.levels - 1)
    top = -(-epochs // c.merge**downs)
    lengths = [top * c.merge ** (downs - i) for i in range(c.levels)]
    context = _linear(summary + 2 * measured, c.dim, top * c.merge**downs) * len(tokens)
    for length in lengths:
        context += _mixer(c.dim, c, length) * c.blocks_per_level
    for length in lengths[1:]:
        context += _linear(c.merge * c.dim, c.dim, length)
    pooled = 2 * c.pool_heads * c.dim + 2 * len(tokens) * summary
    vector = _linear(c.dim, c.pool_heads, top) + _matmul(c.pool_heads, c.dim, top) * 2 + _linear(pooled, c.dim, 1)
    back = _vectors(c.dim)
    for length in lengths[:-1]:
        back += _linear(c.dim, c.dim, length)
    width = token_width(config) + measured
    enter = sum((_linear(width, c.seconds_dim, epochs * n) for n in tokens.values()), Cost())
    context_of_seconds = _linear(c.dim, c.seconds_dim, epochs) + _vectors(c.seconds_dim if c.seconds_depth else 0)
    seconds = _mixer(c.seconds_dim, c, EPOCH_S * epochs) * c.seconds_depth
    stages = sum(head_width(task) for task in tasks if task.kind is TaskKind.STAGES)
    events = sum(head_width(task) for task in tasks if task.kind is TaskKind.EVENTS and task.rate_hz == 1)
    waves = sum(head_width(task) for task in tasks if task.rate_hz > 1)
    looks = EPOCH_S * FAST_HZ * epochs
    fast = Cost()
    if waves:
        fast += _linear(2 * len(FAST.bands_hz), c.fast_dim, looks) + _vectors(c.fast_dim)
        local = _vectors(c.fast_dim) + _linear(LOCAL_WIDTH * c.fast_dim, c.fast_dim, looks)
        fast += _linear(c.seconds_dim, c.fast_dim, EPOCH_S * epochs)
        fast += (local + _linear(c.fast_dim, c.fast_dim, looks)) * 2
    heads = _linear(c.dim, stages, epochs) + _linear(c.seconds_dim, events, EPOCH_S * epochs)
    return {
        "context": context,
        "vector": vector,
        "epochs": back,
        "seconds": enter + context_of_seconds + seconds,
        "fast": fast,
        "heads": heads + _linear(c.fast_dim, waves, looks),
    }


def decoder_cost(
    config: ModelConfig,
    dim: int,
    epochs: int,
    visible: dict[Modality, int],
    *,
    spectral: bool = True,
    teacher: bool = False,
) -> Cost:
    """The decoder of masked autoencoding, `dim` wide, and if `spectral` or of a `teacher` what it is to rebuild."""
    where = layout(config.modalities)
    rows = epochs * where.total
    cost = _linear(token_width(config), dim, epochs * sum(visible.values())) + _vectors(dim * (1 + len(where.tokens)))
    cost += _block(dim, _mlp(dim, 2 * dim, rows), rows, where.total)
    for m in where.tokens:
        samples, channels = where.token_s[m] * RATE_HZ[m], len(config.modalities[m].slots)
        rows = epochs * channels * where.tokens[m]
        cost += _vectors(channels * dim) + _linear(dim, dim, rows) + _linear(dim, samples, rows)
        if spectral:
            cost += _linear(dim, n_features(m, where.token_s[m]), rows)
            cost += _filterbank(m, where.token_s[m], epochs * channels)  # of what is hidden too
    if teacher:
        forward = total(micro_costs(config, epochs, exact=False)).flops  # of all that was recorded, and never back
        cost += _linear(dim, config.micro.dim, epochs * where.total) + Cost(flops=forward, fixed=forward)
    return cost


def step_flops(experiment: Experiment) -> float:
    """Useful FLOPs of one training step over the global batch, forward and backward, on all devices together.

    What is frozen and done before the run (micro tokens) is no part of a step; what is computed again to save memory
    and the empty rows of experts are not useful.
    """
    model, objective = experiment.model, experiment.objective
    batch, out = objective.batch, model.projection_dim
    match objective:
        case MicroPretraining():
            visible = visible_tokens(layout(model.modalities), objective.mask)
            kinds = len(visible)
            cost = total(micro_costs(model, batch, visible, exact=False))
            parts = {"spectral": objective.spectral_weight > 0, "teacher": objective.teacher_weight > 0}
            cost += decoder_cost(model, objective.decoder_dim, batch, visible, **parts)
            if objective.contrast_weight:
                contrasts = 2 if objective.contrast == "leave_one_out" else kinds - 1
                cost += _linear(model.micro.dim, out, batch * kinds)
                keys = objective.contrast_keys or batch
                cost += _matmul(out, keys, batch * kinds) * contrasts
        case MacroPretraining():
            night = night_costs(model, objective.night_epochs)
            views = 2 * batch
            cost = (night["context"] + night["vector"]) * views
            cost += _linear(model.macro.dim, out, views) + _matmul(out, views, views)
            if not objective.freeze_micro:
                cost += total(micro_costs(model, batch * objective.night_epochs, exact=False))
        case Finetuning():
            night = night_costs(model, objective.epochs, objective.tasks)
            cost = (night["context"] + night["epochs"] + night["seconds"] + night["fast"] + night["heads"]) * batch
            if not objective.freeze_micro:
                cost += total(micro_costs(model, batch * objective.epochs, exact=False))
    return cost.training
