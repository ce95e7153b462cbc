"""Contrast between the modalities of an epoch over the global batch (as in SleepFM; Thapa et al. 2024).

Each modality of an epoch must be nearer to the mean of that epoch's other modalities, or to each of them, than to
those of other people's epochs, and the other way round: two epochs of one person may well be alike, so that they are
nobody's rivals. It sees the private encoders' output, before modalities are mixed. A modality that is missing asks
nothing and is nobody's rival.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sleepmami_jax.config import ModelConfig
from sleepmami_jax.models.initial import Linear, Rngs
from sleepmami_jax.models.macro import masked_mean
from sleepmami_jax.models.micro import Tokens, layout
from sleepmami_jax.models.transformer import MASKED
from sleepmami_jax.objectives.parts import against_all
from sleepmami_jax.objectives.reduce import global_mean

HOTTEST = math.log(100.0)  # the inverse temperature is learnt up to here, as in CLIP
KEYS_AT_ONCE = 1024


def unit(x: jax.Array) -> jax.Array:
    """x / |x| over the last axis, in float32; zero stays zero."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.maximum((x * x).sum(-1, keepdims=True), 1e-12))


class ModalityProjection(nnx.Module):
    """Private tokens of each modality -> a unit vector, and the learnt temperature."""

    def __init__(self, config: ModelConfig, *, rngs: Rngs):
        self.modalities = tuple(layout(config.modalities).tokens)
        self.maps = nnx.Dict(
            {m.value: Linear(config.micro.dim, config.projection_dim, rngs=rngs) for m in self.modalities}
        )
        # A weak type would compile the step twice.
        self.log_scale = nnx.Param(jnp.full((), math.log(10.0), jnp.float32))

    def __call__(self, tokens: Tokens) -> tuple[jax.Array, jax.Array]:  # (B, M, P), (B, M)
        means = (masked_mean(tokens.private[m].astype(jnp.float32), tokens.private_ok[m], 1) for m in self.modalities)
        z = [unit(self.maps[m.value](mean)) for m, mean in zip(self.modalities, means, strict=True)]
        return jnp.stack(z, 1), jnp.stack([tokens.private_ok[m].any(1) for m in self.modalities], 1)


def leave_one_out(z: jax.Array, present: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Each modality against the mean of the epoch's others, both ways.

    Args:
      z: (B, M, P) unit vectors of the modalities.
      present: (B, M) bool.

    Returns:
      queries and the key of each (B, Q, P), which queries are asked and which keys there are (B, Q); Q = 2M.
    """
    z = jnp.where(present[..., None], z, 0.0)
    rest = unit(z.sum(1, keepdims=True) - z)
    valid = jnp.tile(present & (present.sum(1, keepdims=True) > 1), (1, 2))
    return jnp.concatenate([z, rest], 1), jnp.concatenate([rest, z], 1), valid, valid


def pairwise(z: jax.Array, present: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """As `leave_one_out`, for every ordered pair of modalities that an epoch has (CLIP; Radford et al. 2021)."""
    ask, answer = np.nonzero(~np.eye(z.shape[1], dtype=bool))
    exists = present[:, answer]
    return z[:, ask], z[:, answer], present[:, ask] & exists, exists


def info_nce(
    questions: Callable,
    z: jax.Array,  # (B, M, P) unit vectors
    present: jax.Array,  # (B, M)
    person: jax.Array,  # (B,) int, whose epochs they are
    log_scale: jax.Array,
    axes,
    keys: int = 0,
    keys_at_once: int = KEYS_AT_ONCE,
) -> tuple[jax.Array, jax.Array]:
    """The mean of -log softmax of each own key among other people's of the global batch, and how often it is nearest.

    Keys are gathered, and logits computed, about `keys_at_once` at a time (`parts.against_all`), (B, Q, keys_at_once)
    float32, and again in the backward pass: 65,536 epochs on 64 devices would otherwise take 3 GB on each.

    Args:
      questions: `leave_one_out` or `pairwise`.
      log_scale: (), logarithm of the inverse temperature.
      keys: epochs of the global batch that each is told apart from, where they are other people's: a divisor of the
        batch and a multiple of the devices; 0 is all of them.

    Returns:
      The loss and the share of questions whose own key is the nearest, both () float32.
    """
    scale = jnp.exp(jnp.minimum(log_scale, HOTTEST))
    queries, own_keys, asked, _ = questions(z, present)
    right = (queries * own_keys).sum(-1) * scale
    every = _every(len(z) * jax.lax.axis_size(axes), len(z), keys)

    def against(others):  # logsumexp and best rival, (B, Q)
        z, present, whose = others
        _, keys, _, exist = questions(z, present)
        logits = jnp.einsum("bqp,kqp->bqk", queries, keys, precision="highest") * scale
        strangers = person[:, None] != whose  # (B, K)
        rivals = jnp.where(exist.T[None] & strangers[:, None], logits, MASKED)
        return jax.nn.logsumexp(rivals, -1), rivals.max(-1)

    rows = jax.tree.map(lambda v: v[::every], (z, present, person))
    total, best = against_all(against, rows, keys_at_once, axes)
    total = jnp.logaddexp(jax.nn.logsumexp(total, 0), right)
    loss, _ = global_mean(total - right, asked, axes)
    accuracy, _ = global_mean(right > best.max(0), asked, axes)
    return loss, accuracy


def _every(batch: int, rows: int, keys: int) -> int:
    """Every how many-th epoch of the global batch is a key: the same ones, however the batch lies on devices."""
    if not keys:
        return 1
    every = batch // keys
    if batch % keys or rows % every:
        raise ValueError(
            f"objective.contrast_keys={keys}: expected a divisor of the {batch} epochs that are compared "
            f"(objective.batch / accumulate) and a multiple of the {batch // rows} devices, or 0 for all of them"
        )
    return every
