"""Masked autoencoding of micro tokens (He et al. 2022): encode the visible tokens only, rebuild the hidden ones.

Hidden are runs of time, runs and single tokens of single channels (`config.Masking`), and whole modalities. What is
rebuilt is the patch of every channel, as samples and as log power in bands: an error of samples alone spends itself on
slow, large waves and ignores spindles. Where a teacher is asked for, it is also what an encoder that sees everything
makes of the hidden places (data2vec; Baevski et al. 2022).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_pipeline.modalities import RATE_HZ, Modality
from sleepmami_jax.config import ComputeConfig, Masking, ModelConfig
from sleepmami_jax.models.initial import Linear, Rngs, normal
from sleepmami_jax.models.micro import Layout, Tokens, Visible, layout, patches, token_width
from sleepmami_jax.models.sleepmami import PLAIN
from sleepmami_jax.models.stack import apply_blocks
from sleepmami_jax.models.stem import features, n_features
from sleepmami_jax.models.tokenizer import time_code
from sleepmami_jax.models.transformer import Block, Mlp
from sleepmami_jax.objectives.reduce import global_mean, standardise


def recorded(batch, where: Layout) -> dict[Modality, jax.Array]:
    """{modality: (B, C, n) bool}, tokens of each channel that are wholly usable."""
    return {m: patches(batch[m.value]["signal"], batch[m.value]["usable"], s)[1] for m, s in where.token_s.items()}


def places_there(there: dict[Modality, jax.Array], where: Layout) -> jax.Array:
    """`recorded` -> (B, L) bool: tokens for which some channel of their modality was recorded."""
    return jnp.concatenate([there[m].any(1) for m in where.tokens], 1)


def visible_tokens(where: Layout, mask: Masking) -> dict[Modality, int]:
    """How many tokens of each modality are encoded; at least one."""
    return {m: max(1, round((1 - mask.time) * n)) for m, n in where.tokens.items()}


def sample_visible(
    keys: jax.Array, there: dict[Modality, jax.Array], where: Layout, mask: Masking
) -> dict[Modality, Visible]:
    """(B,) keys and what was `recorded` -> what of it is encoded; places are sorted.

    What is hidden of single channels stays visible where nothing of a modality would be left.
    """
    keep = visible_tokens(where, mask)
    shapes = {m: (1 + there[m].shape[1], 2 * n + 1) for m, n in where.tokens.items()}
    # One draw for all modalities: each random call is a large program to compile.
    sizes = [rows * columns for rows, columns in shapes.values()]
    draws = jax.vmap(lambda key: jax.random.uniform(key, (sum(sizes),)))(keys)
    visible = {}
    for m, draw in zip(where.tokens, jnp.split(draws, np.cumsum(sizes)[:-1], axis=1), strict=True):
        n, token_s = where.tokens[m], where.token_s[m]
        draw = draw.reshape(-1, *shapes[m])  # of the modality, then of each of its channels
        run, single, shift = draw[..., :n], draw[..., n : 2 * n], draw[..., -1]
        # Of the last run only the end is hidden where it would be too much: a run stays one.
        score = _in_runs(run[:, 0], shift[:, 0], min(mask.time_s / token_s, n - keep[m]))
        place = jnp.sort(jnp.argsort(score, axis=1)[:, : keep[m]], axis=1)
        encoded = (place[..., None] == jnp.arange(n)).any(1)[:, None]  # (B, 1, n)
        # The shares are of all tokens, and what is drawn here is of those that are left.
        hidden = _in_runs(run[:, 1:], shift[:, 1:], mask.channel_s / token_s) < mask.channel / (1 - mask.time)
        hidden |= single[:, 1:] < mask.token / (1 - mask.time - mask.channel)
        some = (there[m] & encoded & ~hidden).any((1, 2), keepdims=True)
        visible[m] = Visible(place, encoded & ~(hidden & some))
    return visible


def _in_runs(draw: jax.Array, shift: jax.Array, tokens: float) -> jax.Array:
    """(..., n) and (...) -> (..., n): one number for each run of about so many tokens, which begin somewhere."""
    n, run = draw.shape[-1], max(1, round(tokens))
    first = (shift * min(run, n - run + 1)).astype(jnp.int32)  # a run as long as the epoch is not cut
    return jnp.take_along_axis(draw, (jnp.arange(n) + first[..., None]) // run, axis=-1)


def shown_modalities(there: dict[Modality, jax.Array], visible: dict[Modality, Visible], where: Layout) -> jax.Array:
    """What was `recorded` and what is encoded -> (B, M) bool: modalities of which something is encoded."""
    return jnp.stack([(there[m] & visible[m].shown).any((1, 2)) for m in where.tokens], 1)


def sample_hidden(keys: jax.Array, present: jax.Array, chance: float) -> jax.Array:
    """(B,) keys, (B, M) -> (B, M) bool: modalities hidden whole. One that is present always stays."""
    draw = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 1), (2, present.shape[1])))(keys)
    stays = jnp.argmax(jnp.where(present, draw[:, 1], -1.0), axis=1)
    return (draw[:, 0] < chance) & (jnp.arange(present.shape[1]) != stays[:, None])


class Rebuilt(NamedTuple):
    """What `MaskedDecoder` gives of every place, hidden or not.

    Attributes:
      patches: {modality: (samples (B, C, n, P), standardised `stem.features` (B, C, n, F) or None)}.
      tokens: (B, L, dim) the learnt part of the encoder's tokens, standardised; None where no teacher is asked for.
    """

    patches: dict[Modality, tuple[jax.Array, jax.Array | None]]
    tokens: jax.Array | None


class MaskedDecoder(nnx.Module):
    """One narrow block over all places, then per modality a map to patches, told apart by channel.

    Without `spectral` the patches are rebuilt as samples only; with `teacher` so are the tokens of a teacher.
    """

    def __init__(
        self,
        config: ModelConfig,
        dim: int,
        *,
        spectral: bool = True,
        teacher: bool = False,
        compute: ComputeConfig = PLAIN,
        rngs: Rngs,
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
        self.teacher = Linear(dim, config.micro.dim, rngs=rngs) if teacher else None

    def __call__(
        self,
        tokens: Tokens,
        visible: dict[Modality, Visible],
        there: jax.Array,  # (B, L) bool, places where some channel was recorded
    ) -> Rebuilt:
        where = self.layout
        place = jnp.concatenate([visible[m].place + where.offset[m] for m in where.tokens], 1)  # (B, K_total)
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
        return Rebuilt(rebuilt, None if self.teacher is None else self.teacher(h))


def teacher_loss(
    guess: jax.Array,  # (B, L, dim) `Rebuilt.tokens`
    teacher: Tokens,  # of the same epochs, nothing hidden
    visible: dict[Modality, Visible],
    hidden: jax.Array,  # (B, M)
    where: Layout,
    axes,
) -> jax.Array:
    """Mean squared error of the teacher's tokens, over places of which nothing was encoded.

    Each number of a token has unit variance over what the batch holds of it, so that guessing its mean costs 1, and a
    teacher that gives every epoch the same tokens gains nothing by it.
    """
    learnt = jax.lax.stop_gradient(teacher.x[..., : guess.shape[-1]])
    wanted = standardise(learnt, teacher.ok, axes)
    seen = [visible[m].shown.any(1) & ~hidden[:, i, None] for i, m in enumerate(where.tokens)]
    error = jnp.square(guess.astype(jnp.float32) - wanted).mean(-1)
    return global_mean(error, teacher.ok & ~jnp.concatenate(seen, 1), axes)[0]


def masked_loss(rebuilt, batch, visible, hidden, where: Layout, axes) -> tuple[jax.Array, jax.Array]:
    """Mean absolute error of samples, mean squared error of log power, over hidden and recorded patches.

    Each band has unit variance over what the batch holds of it, so that guessing its mean costs 1 and no band counts
    for more because it varies more. Every modality weighs the same, however many channels and tokens it has. Band
    power that nobody rebuilt costs nothing: the second loss is then 0.

    Args:
      rebuilt: `Rebuilt.patches`.
      batch: signals, as the encoder had them.
      visible, hidden: what was encoded of each modality, and which were hidden whole (B, M).
    """
    amplitude, spectral, count = 0.0, 0.0, 0.0
    for i, m in enumerate(where.tokens):
        signal, usable = batch[m.value]["signal"], batch[m.value]["usable"]
        target, ok = patches(signal, usable, where.token_s[m])
        weight = ok & ~(visible[m].shown & ~hidden[:, i, None, None])  # (B, C, n)
        samples, bands = rebuilt[m]
        error = jnp.abs(samples.astype(jnp.float32) - target).mean(-1)
        a, n = global_mean(error, weight, axes)
        amplitude, count = amplitude + a, count + (n > 0)
        if bands is not None:
            measured = standardise(features(signal, usable, m, where.token_s[m]), ok, axes)
            log_error = jnp.square(bands.astype(jnp.float32) - measured).mean(-1)
            spectral += global_mean(log_error, weight, axes)[0]
    return amplitude / jnp.maximum(count, 1.0), spectral / jnp.maximum(count, 1.0)
