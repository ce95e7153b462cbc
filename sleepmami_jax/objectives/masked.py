"""Masked autoencoding of micro tokens (He et al. 2022): encode the visible tokens only, rebuild the hidden ones.

Runs of time and whole modalities are hidden. What is rebuilt is the patch of every channel, as samples and as log
power in bands: a squared error on samples alone spends itself on slow, large waves and ignores spindles.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_pipeline.modalities import RATE_HZ, Modality
from sleepmami_jax.config import ComputeConfig, MicroPretraining, ModelConfig
from sleepmami_jax.models.initial import Linear, Rngs, normal
from sleepmami_jax.models.micro import Layout, Tokens, layout, patches, token_width
from sleepmami_jax.models.sleepmami import PLAIN
from sleepmami_jax.models.stack import apply_blocks
from sleepmami_jax.models.stem import features, n_features
from sleepmami_jax.models.tokenizer import time_code
from sleepmami_jax.models.transformer import Block, Mlp
from sleepmami_jax.objectives.reduce import global_mean


def visible_tokens(where: Layout, mask_ratio: float) -> dict[Modality, int]:
    """How many tokens of each modality stay visible; at least one."""
    return {m: max(1, round((1 - mask_ratio) * n)) for m, n in where.tokens.items()}


def sample_visible(keys: jax.Array, where: Layout, config: MicroPretraining) -> dict[Modality, jax.Array]:
    """(B,) keys -> {modality: (B, K)} sorted places of the tokens to encode; the rest is hidden in runs of time."""
    keep = visible_tokens(where, config.mask_ratio)
    # One draw for all modalities: each random call is a large program to compile.
    draw = jax.vmap(lambda key: jax.random.uniform(key, (2 * where.total + len(where.tokens),)))(keys)
    run_draw, tie_draw, shift_draw = jnp.split(draw, [where.total, 2 * where.total], axis=1)
    visible = {}
    for i, m in enumerate(where.tokens):
        n, run = where.tokens[m], max(1, round(config.mask_block_s / where.token_s[m]))
        span = where.span(m)
        shift = (shift_draw[:, i, None] * run).astype(jnp.int32)
        score = jnp.take_along_axis(run_draw[:, span], (jnp.arange(n) + shift) // run, axis=1)
        visible[m] = jnp.sort(jnp.argsort(score + 1e-3 * tie_draw[:, span], axis=1)[:, : keep[m]], axis=1)
    return visible


def shown_modalities(there: jax.Array, visible: dict[Modality, jax.Array], where: Layout) -> jax.Array:
    """Places that are there (B, L) and places to encode -> (B, M) bool: modalities of which something is encoded."""
    return jnp.stack([jnp.take_along_axis(there, where.offset[m] + visible[m], axis=1).any(1) for m in where.tokens], 1)


def sample_hidden(keys: jax.Array, present: jax.Array, chance: float) -> jax.Array:
    """(B,) keys, (B, M) -> (B, M) bool: modalities hidden whole. One that is present always stays."""
    draw = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 1), (2, present.shape[1])))(keys)
    stays = jnp.argmax(jnp.where(present, draw[:, 1], -1.0), axis=1)
    return (draw[:, 0] < chance) & (jnp.arange(present.shape[1]) != stays[:, None])


class MaskedDecoder(nnx.Module):
    """One narrow block over all places, then per modality a map to patches, told apart by channel.

    Without `spectral` the patches are rebuilt as samples only.
    """

    def __init__(
        self, config: ModelConfig, dim: int, *, spectral: bool = True, compute: ComputeConfig = PLAIN, rngs: Rngs
    ):
        self.compute = compute
        self.layout = where = layout(config.modalities)
        heads = max(1, dim // 16)
        self.enter = Linear(token_width(config), dim, rngs=rngs)
        self.hidden_token = nnx.Param(normal(rngs.params(), (dim,), 0.02))
        self.modality = nnx.Param(normal(rngs.params(), (len(where.tokens), dim), 0.02))
        self.block = Block(dim, heads, Mlp(dim, 2 * dim, rngs=rngs), rngs=rngs)
        self.slots = nnx.Dict(
            {
                m.value: nnx.Param(normal(rngs.params(), (len(config.modalities[m].slots), dim), 0.02))
                for m in where.tokens
            }
        )
        self.mix = nnx.Dict({m.value: Linear(dim, dim, rngs=rngs) for m in where.tokens})
        samples = {m: seconds * RATE_HZ[m] for m, seconds in where.token_s.items()}
        self.samples = nnx.Dict({m.value: Linear(dim, samples[m], rngs=rngs) for m in where.tokens})
        self.spectral = spectral
        if spectral:
            self.bands = nnx.Dict({m.value: Linear(dim, n_features(m, s), rngs=rngs) for m, s in where.token_s.items()})

    def __call__(
        self,
        tokens: Tokens,
        visible: dict[Modality, jax.Array],  # {modality: (B, K)}
        there: jax.Array,  # (B, L) bool, places where some channel was recorded
    ) -> dict[Modality, tuple[jax.Array, jax.Array | None]]:
        """Returns {modality: (patches (B, C, n, P), `stem.features` (B, C, n, F) or None)}."""
        where = self.layout
        place = jnp.concatenate([visible[m] + where.offset[m] for m in where.tokens], 1)  # (B, K_total)
        seen = jnp.where(tokens.ok[..., None], self.enter(tokens.x), self.hidden_token[...])
        full = jnp.broadcast_to(self.hidden_token[...], (place.shape[0], where.total, seen.shape[-1]))
        full = jax.vmap(lambda f, p, s: f.at[p].set(s))(full, place, seen)
        times = np.concatenate([time_code(n, seen.shape[-1]) for n in where.tokens.values()])
        full = full + times.astype(seen.dtype) + self.modality[...][where.modality_of_token()]
        h, _ = apply_blocks([self.block], full, there, compute=self.compute)
        rebuilt = {}
        for m in where.tokens:
            channel = h[:, None, where.span(m)] + self.slots[m.value][...][:, None, :]  # (B, C, n, D)
            channel = jax.nn.gelu(self.mix[m.value](channel))
            bands = self.bands[m.value](channel) if self.spectral else None
            rebuilt[m] = self.samples[m.value](channel), bands
        return rebuilt


def masked_loss(rebuilt, batch, visible, hidden, where: Layout, axes) -> tuple[jax.Array, jax.Array]:
    """Mean Huber loss of samples and mean squared error of log band power, over hidden and recorded patches.

    Every modality weighs the same, however many channels and tokens it has. Band power that nobody rebuilt costs
    nothing: the second loss is then 0.
    """
    amplitude, spectral, count = 0.0, 0.0, 0.0
    for i, m in enumerate(where.tokens):
        target, ok = patches(batch[m.value]["signal"], batch[m.value]["usable"], where.token_s[m])
        shown = jax.vmap(lambda v, n=where.tokens[m]: jnp.zeros(n, bool).at[v].set(True))(visible[m])
        weight = ok & ~(shown & ~hidden[:, i, None])[:, None, :]  # (B, C, n)
        samples, bands = rebuilt[m]
        error = samples.astype(jnp.float32) - target
        huber = jnp.where(jnp.abs(error) < 1.0, 0.5 * error**2, jnp.abs(error) - 0.5).mean(-1)
        a, n = global_mean(huber, weight, axes)
        amplitude, count = amplitude + a, count + (n > 0)
        if bands is not None:
            measured = features(batch[m.value]["signal"], batch[m.value]["usable"], m, where.token_s[m])
            log_error = jnp.square(bands.astype(jnp.float32) - measured).mean(-1)
            spectral += global_mean(log_error, weight, axes)[0]
    return amplitude / jnp.maximum(count, 1.0), spectral / jnp.maximum(count, 1.0)


def places_there(batch, where: Layout) -> jax.Array:
    """(B, L) bool: tokens for which some channel of their modality was recorded."""
    of_channels = [patches(*(batch[m.value][k] for k in ("signal", "usable")), s)[1] for m, s in where.token_s.items()]
    return jnp.concatenate([ok.any(1) for ok in of_channels], 1)
