"""The named sizes of the model: one number, the depth of the shared blocks, decides everything else.

Width grows with depth at a constant ratio, as is usual for transformers (Kaplan et al. 2020 found the ratio to matter
little over a wide range). Parameters go where they cost little to use: a token meets two of eight experts, and the
private blocks, which see every channel, stay shallow. The paper publishes no sizes; these are ours.
"""

from __future__ import annotations

from sleepmami_jax.config import ConfigError, MacroConfig, MicroConfig, ModelConfig

DEPTH = {"tiny": 2, "small": 4, "base": 6, "large": 12, "xl": 18}
"""Shared blocks of each size. `tiny` is `ModelConfig()`."""


def size(name: str) -> ModelConfig:
    """The model of a name in `DEPTH`. Raises ConfigError for another one."""
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
            dim=dim,
            heads=max(4, depth // 2),
            private_depth=blocks,
            shared_depth=depth,
            experts=min(8, 2 * depth),
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
