"""Contrast between the modalities of an epoch over the global batch (as in SleepFM; Thapa et al. 2024).

Each modality of an epoch must be nearer to the mean of that epoch's other modalities, or to each of them, than to
those of other epochs, and the other way round. It sees the private encoders' output, before modalities are mixed. A
modality that is missing asks nothing and is nobody's rival.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx

from data_pipeline.night import Modality
from sleepmami_jax.config import ModelConfig
from sleepmami_jax.models.initial import Linear, Rngs
from sleepmami_jax.models.macro import masked_mean
from sleepmami_jax.models.micro import Tokens
from sleepmami_jax.models.transformer import MASKED
from sleepmami_jax.objectives.parts import in_parts
from sleepmami_jax.objectives.reduce import gather, global_index, global_mean

HOTTEST = math.log(100.0)  # the inverse temperature is learnt up to here, as in CLIP
KEY_BLOCK = 1024  # keys compared at once


def unit(x: jax.Array) -> jax.Array:
    """x / |x| over the last axis, in float32; zero stays zero."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.maximum((x * x).sum(-1, keepdims=True), 1e-12))


class ModalityProjection(nnx.Module):
    """Private tokens of each modality -> a unit vector, and the learnt temperature."""

    def __init__(self, config: ModelConfig, *, rngs: Rngs):
        self.maps = nnx.Dict(
            {m.value: Linear(config.micro.dim, config.projection_dim, rngs=rngs) for m in Modality}
        )
        self.log_scale = nnx.Param(
            jnp.full((), math.log(10.0), jnp.float32)
        )  # a weak type would compile the step twice

    def __call__(self, tokens: Tokens) -> tuple[jax.Array, jax.Array]:  # (B, M, P), (B, M)
        z = [
            unit(
                self.maps[m.value](
                    masked_mean(tokens.private[m].astype(jnp.float32), tokens.private_ok[m], 1)
                )
            )
            for m in Modality
        ]
        return jnp.stack(z, 1), jnp.stack([tokens.private_ok[m].any(1) for m in Modality], 1)


def leave_one_out(
    z: jax.Array,  # (B, M, P) unit vectors
    present: jax.Array,  # (B, M)
    log_scale: jax.Array,
    axes,
    key_block: int = KEY_BLOCK,
) -> tuple[jax.Array, jax.Array]:
    """The loss over the global batch and the share of modalities that find their own epoch first.

    Each modality against the mean of the epoch's others, both ways.
    """
    z = jnp.where(present[..., None], z, 0.0)
    rest = unit(z.sum(1, keepdims=True) - z)
    valid = present & (present.sum(1, keepdims=True) > 1)  # (B, M)
    everyone_valid = gather(valid, axes)
    forth, found = info_nce(z, rest, gather(rest, axes), everyone_valid, log_scale, axes, key_block)
    back, _ = info_nce(rest, z, gather(z, axes), everyone_valid, log_scale, axes, key_block)
    loss, _ = global_mean(0.5 * (forth + back), valid, axes)
    accuracy, _ = global_mean(found, valid, axes)
    return loss, accuracy


def pairwise(
    z: jax.Array,  # (B, M, P) unit vectors
    present: jax.Array,  # (B, M)
    log_scale: jax.Array,
    axes,
    key_block: int = KEY_BLOCK,
) -> tuple[jax.Array, jax.Array]:
    """As `leave_one_out`, for every pair of modalities that an epoch has, both ways (CLIP; Radford et al. 2021)."""
    everyone, exists = gather(z, axes), gather(present, axes)

    def against(shift):  # each modality asks the one so many places further on
        queries = jnp.roll(z, shift, 1)
        loss, found = info_nce(queries, z, everyone, exists, log_scale, axes, key_block)
        return loss, found, jnp.roll(present, shift, 1) & present

    losses, found, valid = jax.lax.map(against, jnp.arange(1, z.shape[1]))
    loss, _ = global_mean(losses, valid, axes)
    accuracy, _ = global_mean(found, valid, axes)
    return loss, accuracy


def info_nce(
    queries: jax.Array,  # (B, M, P) unit vectors
    keys: jax.Array,  # (B, M, P) unit vectors, to each query its own
    everyone: jax.Array,  # (G, M, P) keys of the global batch
    exists: jax.Array,  # (G, M) which of them there are
    log_scale: jax.Array,
    axes,
    key_block: int,
) -> tuple[jax.Array, jax.Array]:
    """-log softmax of each query's own key among those of the global batch (B, M), and is it the nearest (B, M).

    Logits of `key_block` keys at a time are in memory, (B, M, key_block) float32, and computed again in the backward
    pass: 65,536 epochs on 64 devices would otherwise take 1.6 GB each way on each.
    """
    scale = jnp.exp(jnp.minimum(log_scale, HOTTEST))
    own = global_index(len(queries), axes)
    right = (queries * keys).sum(-1) * scale

    def block(keys, exists, place):  # (K, M, P), (K, M), (K,) -> logsumexp and best rival, (B, M)
        logits = jnp.einsum("bmp,kmp->bmk", queries, keys, precision="highest") * scale
        logits = jnp.where(exists.T[None], logits, MASKED)
        rivals = jnp.where((place == own[:, None])[:, None], MASKED, logits)
        return jax.nn.logsumexp(logits, -1), rivals.max(-1)

    n = len(everyone)
    pad = -n % min(key_block, n)
    rows = (everyone, exists, jnp.arange(n))
    rows = jax.tree.map(lambda v: jnp.pad(v, [(0, pad)] + [(0, 0)] * (v.ndim - 1)), rows)
    total, best = in_parts(block, (n + pad) // min(key_block, n), *rows)
    return jax.nn.logsumexp(total, 0) - right, right > best.max(0)
