"""The named sizes of the model: one number, the depth of the shared blocks, decides everything else.

Width grows with depth at a constant ratio, as is usual for transformers (Kaplan et al. 2020 found the ratio to matter
little over a wide range). Parameters go where they cost little to use: a token meets two of eight experts, and the
private blocks, which see every channel, stay shallow. The paper publishes no sizes; these are ours.
"""

from __future__ import annotations

from data_pipeline.night import EPOCH_S
from sleepmami_jax.config import ConfigError, Finetuning, MacroConfig, MicroConfig, ModelConfig
from sleepmami_jax.costs.flops import micro_costs, night_costs, total

DEPTH = {"tiny": 2, "small": 4, "base": 6, "large": 12, "xl": 18}
"""Shared blocks of each size. `tiny` is `ModelConfig()`."""


def size(name: str) -> ModelConfig:
    """The model of a name in `DEPTH`. Raises ConfigError for another one.

    >>> size("small").micro.dim
    128
    """
    if name not in DEPTH:
        raise ConfigError(f"size {name!r}: expected one of {', '.join(DEPTH)}")
    return model_of_depth(DEPTH[name])


def model_of_depth(depth: int) -> ModelConfig:
    """The model of so many shared blocks, an even number.

    A private block costs six times the parameters of a shared one's attention and is passed by every channel's tokens,
    so there is one for six shared blocks. The Macro-Encoder is as wide as the Micro-Encoder; each second is 3/4 as
    wide, because a night has 28,800 of them. States, heads and experts grow up to the sizes that others settled on
    (attention heads of 64, Mamba-2 heads of 64, 8 experts).
    """
    if depth < 2 or depth % 2:
        raise ConfigError(f"depth {depth}: expected an even number from 2 on")
    dim, blocks, state, head_dim = 32 * depth, max(1, depth // 6), min(64, 8 * depth), min(64, 16 * depth)
    half_head = head_dim // 2  # an SSD block is twice as wide inside
    return ModelConfig(
        micro=MicroConfig(
            dim=dim, heads=max(4, depth // 2), private_depth=blocks, shared_depth=depth, experts=min(8, 2 * depth)
        ),
        macro=MacroConfig(
            dim=dim,
            levels=min(5, 2 + depth // 2),
            blocks_per_level=blocks,
            state=state,
            head_dim=head_dim,
            chunk=state,
            seconds_dim=3 * dim // 4 // half_head * half_head,
        ),
        projection_dim=dim,
    )


def sizes_table(night_h: float) -> str:
    """What each size holds and takes, one line a size: parameters in all and those one token meets, useful FLOPs of
    the forward pass of an epoch and of a night of `night_h` hours, float32 weights, and these with AdamW's two moments.

    Raises:
      ValueError: a night shorter than an epoch, or without an end.
    """
    if not EPOCH_S <= night_h * 3600 < float("inf"):
        raise ValueError(f"a night of {night_h} h: expected at least one epoch of {EPOCH_S} s, and an end")
    epochs = int(night_h * 3600 / EPOCH_S)
    night = f"night of {night_h:g} h, GFLOP"
    lines = [
        f"{'':20}{'parameters, M':>18}{'':16}{night:>24}{'memory, MB':>18}",
        f"{'size':7}{'dim':>6}{'depth':>7}{'total':>9}{'active':>9}{'MFLOP an epoch':>16}{'micro':>12}{'macro':>12}"
        f"{'weights':>9}{'+ AdamW':>9}",
    ]
    for name in DEPTH:
        config = size(name)
        epoch, night = total(micro_costs(config)), total(night_costs(config, epochs, Finetuning().tasks))
        parameters, active = epoch.parameters + night.parameters, epoch.active + night.active
        lines.append(
            f"{name:7}{config.micro.dim:>6}{config.micro.shared_depth:>7}{parameters / 1e6:>9.1f}{active / 1e6:>9.1f}"
            f"{epoch.flops / 1e6:>16.0f}{epoch.flops * epochs / 1e9:>12.0f}{night.flops / 1e9:>12.1f}"
            f"{parameters * 4 / 1e6:>9.0f}{parameters * 12 / 1e6:>9.0f}"
        )
    return "\n".join([*lines, "", _NOTES])


_NOTES = """active: parameters that one token meets, which passes some of the experts only
FLOP: useful ones of the forward pass; forward and backward together take about three times as many
memory: float32 weights, and with AdamW's two moments; gradients and activations come on top
In an experiment file: Experiment(…, model=size("small")), with `from sleepmami_jax.costs.sizes import size`."""
