"""The Macro-Encoder: a whole night of micro tokens -> one vector, and features of every epoch and second.

Bidirectional SSD blocks read the night at full rate; M neighbours are merged into one between levels, so that the
last level sees hours; the night's vector is pooled there and from the tokens themselves; on the way back up each
level is added to the finer one. Without levels and without blocks of seconds nothing is mixed over time: a head is
then a probe of the Micro-Encoder.
"""

from __future__ import annotations

from collections.abc import Iterable

import jax
import jax.numpy as jnp
from flax import nnx

from data_pipeline.modalities import Modality
from data_pipeline.night import EPOCH_S
from sleepmami_jax.config import ComputeConfig, MacroConfig, ModelConfig
from sleepmami_jax.models.initial import Linear, RMSNorm, Rngs
from sleepmami_jax.models.micro import Layout, layout
from sleepmami_jax.models.selective import BidirectionalSelective
from sleepmami_jax.models.ssd import BidirectionalSSD
from sleepmami_jax.models.stack import apply_blocks
from sleepmami_jax.models.transformer import MASKED


def epoch_means(tokens: jax.Array, ok: jax.Array, where: Layout) -> tuple[jax.Array, jax.Array]:
    """(..., L, D), (..., L) -> the mean token of each modality (..., M, D) and which are there (..., M)."""
    means, present = [], []
    for m in where.tokens:
        means.append(masked_mean(tokens[..., where.span(m), :], ok[..., where.span(m)], -2))
        present.append(ok[..., where.span(m)].any(-1))
    return jnp.stack(means, -2), jnp.stack(present, -1)


def masked_mean(x: jax.Array, ok: jax.Array, axis: int) -> jax.Array:
    """The mean of x (..., D) over `axis` where ok (...) holds; 0 where nothing does. Summed in float32."""
    weight = ok.astype(jnp.float32)[..., None]
    return ((x * weight).sum(axis) / jnp.maximum(weight.sum(axis), 1.0)).astype(x.dtype)


def token_statistics(x: jax.Array, present: jax.Array) -> jax.Array:
    """(N, E, M, D), (N, E, M) -> (N, 2 M D): mean and standard deviation over the night of each modality's tokens.

    What a night is made of, whatever the order: the vector's short way to the micro tokens, which a few nights are
    enough to learn from. 0 where a modality is missing.
    """
    wide = x.astype(jnp.float32)
    mean = masked_mean(wide, present, 1)
    variance = masked_mean(jnp.square(wide - mean[:, None]), present, 1)
    spread = jnp.sqrt(variance + 1e-4) * present.any(1)[..., None]
    return jnp.concatenate([mean, spread], -1).reshape(x.shape[0], -1).astype(x.dtype)


class ModalityMerge(nnx.Module):
    """A linear map per modality, then the mean of those that are there."""

    def __init__(self, modalities: Iterable[Modality], inputs: int, dim: int, *, rngs: Rngs):
        self.modalities = tuple(modalities)
        self.maps = nnx.Dict({m.value: Linear(inputs, dim, rngs=rngs) for m in self.modalities})

    def __call__(self, x: list[jax.Array], ok: jax.Array) -> jax.Array:  # M x (..., D), (..., M) -> (..., dim)
        h = jnp.stack([self.maps[m.value](v) for m, v in zip(self.modalities, x, strict=True)], -2)
        return masked_mean(h, ok, -2)


def _block(config: MacroConfig, dim: int, rngs: Rngs) -> BidirectionalSSD | BidirectionalSelective:
    """The block that mixes a sequence of this width over time."""
    c = config
    if c.mixer == "selective":
        return BidirectionalSelective(dim, c.state, bidirectional=c.bidirectional, rngs=rngs)
    return BidirectionalSSD(dim, c.state, c.head_dim, c.chunk, bidirectional=c.bidirectional, rngs=rngs)


class MacroEncoder(nnx.Module):
    """See the module's docstring. `merge` neighbours become one between levels; a level's mask is any of them."""

    def __init__(self, config: ModelConfig, compute: ComputeConfig, *, rngs: Rngs):
        c = config.macro
        self.compute = compute
        self.merge = c.merge
        self.enter = ModalityMerge(layout(config.modalities).tokens, config.micro.dim, c.dim, rngs=rngs)
        self.levels = nnx.List(
            nnx.List(_block(c, c.dim, rngs) for _ in range(c.blocks_per_level)) for _ in range(c.levels)
        )
        self.down = nnx.List(Linear(c.merge * c.dim, c.dim, rngs=rngs) for _ in range(c.levels - 1))
        self.up = nnx.List(Linear(c.dim, c.dim, rngs=rngs) for _ in range(c.levels - 1))
        self.norm = RMSNorm(c.dim, rngs=rngs)
        self.pool = Linear(c.dim, c.pool_heads, rngs=rngs)
        pooled = 2 * c.pool_heads * c.dim + 2 * len(layout(config.modalities).tokens) * config.micro.dim
        self.vector = Linear(pooled, c.dim, rngs=rngs)

    @jax.named_scope("macro")
    def __call__(
        self,
        x: jax.Array,  # (N, E, M, D) mean token of each modality in each epoch
        present: jax.Array,  # (N, E, M) bool
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the night's vector (N, Dm) and the features of its epochs (N, E, Dm)."""
        length = x.shape[1]
        step = self.merge ** len(self.down)
        pad = -length % step
        x = jnp.pad(x, ((0, 0), (0, pad), (0, 0), (0, 0)))
        present = jnp.pad(present, ((0, 0), (0, pad), (0, 0)))
        ok = present.any(-1)
        h = self.enter([x[..., i, :] for i in range(x.shape[-2])], present)

        skips = []
        for i, blocks in enumerate(self.levels):
            h, _ = apply_blocks(blocks, h, ok, compute=self.compute)
            if i < len(self.down):
                skips.append(h)
                n, e, d = h.shape
                h = self.down[i]((h * ok[..., None]).reshape(n, e // self.merge, self.merge * d))
                ok = ok.reshape(n, e // self.merge, self.merge).any(-1)

        vector = self.vector(jnp.concatenate([self._pool(h, ok), token_statistics(x, present)], -1))

        for skip, up in zip(reversed(skips), reversed(self.up), strict=True):
            h = skip + up(jnp.repeat(h, self.merge, axis=1))
        return vector, self.norm(h)[:, :length]

    def _pool(self, h: jax.Array, ok: jax.Array) -> jax.Array:
        """(N, E, D), (N, E) -> (N, 2 * heads * D): attentive statistics pooling (Okabe et al. 2018).

        Each head's mean and standard deviation over the night; a head can learn to look at one kind of sleep.
        """
        score = jnp.where(ok[..., None], self.pool(h).astype(jnp.float32), MASKED)
        weight = jax.nn.softmax(score, axis=1) * ok[..., None]
        dtype, h = h.dtype, self.norm(h).astype(jnp.float32)
        mean = jnp.einsum("neh,ned->nhd", weight, h)
        variance = jnp.einsum("neh,ned->nhd", weight, h * h) - mean * mean
        spread = jnp.sqrt(jnp.maximum(variance, 0.0) + 1e-4)
        return jnp.concatenate([mean, spread], axis=-1).reshape(h.shape[0], -1).astype(dtype)


class SecondsDecoder(nnx.Module):
    """The dense path back to seconds: micro tokens of each second, the epoch they lie in, and their neighbours.

    With `seconds_depth=0` it is linear in the tokens of the second and in the features of its epoch.
    """

    def __init__(self, config: ModelConfig, compute: ComputeConfig, *, rngs: Rngs):
        c = config.macro
        self.compute = compute
        self.layout = layout(config.modalities)
        self.enter = ModalityMerge(self.layout.tokens, config.micro.dim, c.seconds_dim, rngs=rngs)
        self.context = Linear(c.dim, c.seconds_dim, rngs=rngs)
        self.blocks = nnx.List(_block(c, c.seconds_dim, rngs) for _ in range(c.seconds_depth))
        self.norm = RMSNorm(c.seconds_dim, rngs=rngs) if c.seconds_depth else None

    @jax.named_scope("seconds")
    def __call__(
        self,
        tokens: jax.Array,  # (N, E, L, D)
        ok: jax.Array,  # (N, E, L)
        epochs: jax.Array,  # (N, E, Dm)
    ) -> jax.Array:  # (N, 30 E, Ds)
        n, e = tokens.shape[:2]
        total = count = jnp.zeros((), jnp.float32)
        for m, token_s in self.layout.token_s.items():
            span = self.layout.span(m)
            part = self.enter.maps[m.value](tokens[:, :, span])
            weight = ok[:, :, span, None].astype(part.dtype)
            total = total + jnp.repeat(part * weight, token_s, axis=2)
            count = count + jnp.repeat(weight, token_s, axis=2)
        h = (total / jnp.maximum(count, 1.0)).astype(tokens.dtype) + self.context(epochs)[:, :, None]
        seen = (count[..., 0] > 0).reshape(n, e * EPOCH_S)
        h = h.reshape(n, e * EPOCH_S, -1)
        h, _ = apply_blocks(self.blocks, h, seen, compute=self.compute)
        return h if self.norm is None else self.norm(h)
