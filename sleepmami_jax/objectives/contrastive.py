"""Contrast between the modalities of an epoch over the global batch (as in SleepFM; Thapa et al. 2024).

Each modality of an epoch must be nearer to the mean of that epoch's other modalities, or to each of them, than to
those of other epochs, and the other way round. It sees the private encoders' output, before modalities are mixed. A
modality that is missing asks nothing and is nobody's rival.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_pipeline.night import Modality
from sleepmami_jax.config import ModelConfig
from sleepmami_jax.models.initial import Linear, Rngs
from sleepmami_jax.models.macro import masked_mean
from sleepmami_jax.models.micro import Tokens
from sleepmami_jax.models.transformer import MASKED
from sleepmami_jax.objectives.parts import in_parts
from sleepmami_jax.objectives.reduce import global_index, global_mean
from sleepmami_jax.objectives.ring import around

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
    """The loss over the global batch and the share of questions whose own key is the nearest.

    Each modality against the mean of the epoch's others, both ways.
    """
    return info_nce(_each_and_rest, z, present, log_scale, axes, key_block)


def pairwise(
    z: jax.Array,  # (B, M, P) unit vectors
    present: jax.Array,  # (B, M)
    log_scale: jax.Array,
    axes,
    key_block: int = KEY_BLOCK,
) -> tuple[jax.Array, jax.Array]:
    """As `leave_one_out`, for every pair of modalities that an epoch has, both ways (CLIP; Radford et al. 2021)."""
    return info_nce(_pairs, z, present, log_scale, axes, key_block)


def _each_and_rest(z: jax.Array, present: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Queries and keys (B, 2M, P), which queries are asked and which keys there are (B, 2M)."""
    z = jnp.where(present[..., None], z, 0.0)
    rest = unit(z.sum(1, keepdims=True) - z)
    valid = jnp.tile(present & (present.sum(1, keepdims=True) > 1), (1, 2))
    return jnp.concatenate([z, rest], 1), jnp.concatenate([rest, z], 1), valid, valid


def _pairs(z: jax.Array, present: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """As `_each_and_rest`, with a query for each ordered pair of modalities."""
    ask, answer = np.nonzero(~np.eye(z.shape[1], dtype=bool))
    exists = present[:, answer]
    return z[:, ask], z[:, answer], present[:, ask] & exists, exists


def info_nce(
    questions: Callable,
    z: jax.Array,  # (B, M, P) unit vectors
    present: jax.Array,  # (B, M)
    log_scale: jax.Array,
    axes,
    key_block: int,
) -> tuple[jax.Array, jax.Array]:
    """The mean of -log softmax of each own key among those of the global batch, and how often it is the nearest.

    Keys come around the ring of devices. Logits of `key_block` of them at a time are in memory, (B, Q, key_block)
    float32, and computed again in the backward pass: 65,536 epochs on 64 devices would otherwise take 3 GB on each.

    Args:
      questions: `(z, present) -> queries, keys, asked, exist`, (B, Q, P) and (B, Q).
    """
    scale = jnp.exp(jnp.minimum(log_scale, HOTTEST))
    queries, keys, asked, _ = questions(z, present)
    right = (queries * keys).sum(-1) * scale
    facts = (present, global_index(len(z), axes))
    total, best = around(partial(_against, questions, key_block), scale, z, facts, axes)
    loss, _ = global_mean(jax.nn.logsumexp(total, (0, 1)) - right, asked, axes)
    accuracy, _ = global_mean(right > best.max((0, 1)), asked, axes)
    return loss, accuracy


def _against(questions, key_block, scale, own, guest):
    """(blocks, B, Q): the logsumexp of one's own queries against the guest's keys, and the best rival."""
    (z, (present, place)), (other, (other_present, other_place)) = own, guest
    queries, *_ = questions(z, present)
    _, keys, _, exist = questions(other, other_present)

    def block(keys, exist, their_place):  # (K, Q, P), (K, Q), (K,)
        logits = jnp.einsum("bqp,kqp->bqk", queries, keys, precision="highest") * scale
        logits = jnp.where(exist.T[None], logits, MASKED)
        rivals = jnp.where((their_place == place[:, None])[:, None], MASKED, logits)
        return jax.nn.logsumexp(logits, -1), rivals.max(-1)

    n = len(other)
    size = min(key_block, n)
    rows = jax.tree.map(
        lambda v: jnp.pad(v, [(0, -n % size)] + [(0, 0)] * (v.ndim - 1)), (keys, exist, other_place)
    )
    return in_parts(block, -(-n // size), *rows)
