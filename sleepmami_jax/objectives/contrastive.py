"""Leave-one-modality-out contrast (as in SleepFM; Thapa et al. 2024) over the global batch.

Each modality of an epoch must be nearer to the mean of that epoch's other modalities than to those of other epochs,
and the other way round. It sees the private encoders' output, before modalities are mixed.
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
from sleepmami_jax.objectives.reduce import gather, global_index, global_mean

HOTTEST = math.log(100.0)  # the inverse temperature is learnt up to here, as in CLIP


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
            unit(self.maps[m.value](masked_mean(tokens.private[m], tokens.private_ok[m], 1)))
            for m in Modality
        ]
        return jnp.stack(z, 1), jnp.stack([tokens.private_ok[m].any(1) for m in Modality], 1)


def leave_one_out(
    z: jax.Array,  # (B, M, P) unit vectors
    present: jax.Array,  # (B, M)
    log_scale: jax.Array,
    axes,
) -> tuple[jax.Array, jax.Array]:
    """The loss over the global batch and the share of modalities that find their own epoch first."""
    z = jnp.where(present[..., None], z, 0.0)
    rest = unit(z.sum(1, keepdims=True) - z)
    valid = present & (present.sum(1, keepdims=True) > 1)  # (B, M)
    everyone, everyones_rest, everyone_valid = gather(z, axes), gather(rest, axes), gather(valid, axes)
    own = global_index(z.shape[0], axes)
    scale = jnp.exp(jnp.minimum(log_scale, HOTTEST))

    def nearest(query, keys):  # both (_, M, P)
        logits = jnp.einsum("bmp,gmp->bmg", query, keys) * scale
        logits = jnp.where(everyone_valid.T[None], logits, MASKED)
        right = jnp.take_along_axis(logits, own[:, None, None], axis=-1)[..., 0]
        return jax.nn.logsumexp(logits, -1) - right, logits.argmax(-1) == own[:, None]

    forth, found = nearest(z, everyones_rest)
    back, _ = nearest(rest, everyone)
    loss, _ = global_mean(0.5 * (forth + back), valid, axes)
    accuracy, _ = global_mean(found.astype(jnp.float32), valid, axes)
    return loss, accuracy
