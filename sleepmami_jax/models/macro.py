"""The Macro-Encoder: a whole night of micro tokens -> one vector, and features of every epoch and second.

Bidirectional SSD blocks read the night at full rate; M neighbours are merged into one between levels, so that the
last level sees hours; the night's vector is pooled there and from the tokens themselves; on the way back up each
level is added to the finer one. Without levels and without blocks of seconds nothing is mixed over time but what
`within_night` knows of the night: a head is then a probe of the Micro-Encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from data_pipeline.modalities import Modality
from data_pipeline.night import EPOCH_S
from data_pipeline.tasks import FAST_HZ
from sleepmami_jax.config import ComputeConfig, MacroConfig, ModelConfig
from sleepmami_jax.models.initial import Linear, RMSNorm, Rngs
from sleepmami_jax.models.micro import layout, measured_width, token_width
from sleepmami_jax.models.selective import BidirectionalSelective
from sleepmami_jax.models.ssd import BidirectionalSSD
from sleepmami_jax.models.stack import apply_blocks
from sleepmami_jax.models.stem import FAST
from sleepmami_jax.models.stretches import DAY_EPOCHS, by_stretches
from sleepmami_jax.models.transformer import MASKED
from sleepmami_jax.models.within_night import Moments, by_parts, moments, within_night

LOCAL_WIDTH = 9  # looks that a convolution of the fast path sees


def summary_width(config: ModelConfig) -> int:
    """W: how many numbers `epoch_summary` says of a modality.

    >>> summary_width(ModelConfig())
    190
    """
    return token_width(config) + measured_width(config.modalities)


def epoch_summary(tokens: jax.Array, ok: jax.Array, config: ModelConfig) -> tuple[jax.Array, jax.Array]:
    """What the Macro-Encoder reads of an epoch: the mean token of each modality, and how much its measured part varies.

    Args:
      tokens: (..., L, D).
      ok: (..., L) which tokens are there.

    Returns:
      (..., M, W), the mean and then the standard deviation, and which modalities are there (..., M).
    """
    where, measured = layout(config.modalities), measured_width(config.modalities)
    summaries, present = [], []
    for m in where.tokens:
        x, there = tokens[..., where.span(m), :], ok[..., where.span(m)]
        mean = masked_mean(x, there, -2)
        power, level = (v[..., -measured:].astype(jnp.float32) for v in (x, mean))
        spread = jnp.sqrt(masked_mean(jnp.square(power - level[..., None, :]), there, -2) + 1e-6)
        summaries.append(jnp.concatenate([mean, spread.astype(mean.dtype)], -1))
        present.append(there.any(-1))
    return jnp.stack(summaries, -2), jnp.stack(present, -1)


def masked_mean(x: jax.Array, ok: jax.Array, axis: int) -> jax.Array:
    """The mean of x (..., D) over `axis` where ok (...) holds; 0 where nothing does. Summed in float32."""
    weight = ok.astype(jnp.float32)[..., None]
    return ((x * weight).sum(axis) / jnp.maximum(weight.sum(axis), 1.0)).astype(x.dtype)


def token_statistics(x: jax.Array, present: jax.Array, known: Moments | None = None) -> jax.Array:
    """(N, E, M, W), (N, E, M) -> (N, 2 M W): mean and standard deviation over the night of each modality's epochs.

    What a night is made of, whatever the order: the vector's short way to the micro tokens, which a few nights are
    enough to learn from. 0 where a modality is missing.
    """
    if known is None:
        wide = x.astype(jnp.float32)
        mean = masked_mean(wide, present, 1)
        variance = masked_mean(jnp.square(wide - mean[:, None]), present, 1)
    else:  # the same, of a long night
        mean, variance = known.mean[:, 0], known.variance[:, 0]
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
        self.causal, width = not c.bidirectional, summary_width(config)
        self.learnt, self.measured = config.micro.dim, measured_width(config.modalities)
        self.enter = ModalityMerge(layout(config.modalities).tokens, width + 2 * self.measured, c.dim, rngs=rngs)
        self.levels = nnx.List(
            nnx.List(_block(c, c.dim, rngs) for _ in range(c.blocks_per_level)) for _ in range(c.levels)
        )
        self.down = nnx.List(Linear(c.merge * c.dim, c.dim, rngs=rngs) for _ in range(c.levels - 1))
        self.up = nnx.List(Linear(c.dim, c.dim, rngs=rngs) for _ in range(c.levels - 1))
        self.norm = RMSNorm(c.dim, rngs=rngs)
        self.pool = Linear(c.dim, c.pool_heads, rngs=rngs)
        pooled = 2 * c.pool_heads * c.dim + 2 * len(layout(config.modalities).tokens) * width
        self.vector = Linear(pooled, c.dim, rngs=rngs)

    @jax.named_scope("macro")
    def __call__(
        self,
        x: jax.Array,  # (N, E, M, W) of each modality in each epoch, see `epoch_summary`
        present: jax.Array,  # (N, E, M) bool
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the night's vector (N, Dm) and the features of its epochs (N, E, Dm)."""
        length = x.shape[1]
        step = self.merge ** len(self.down)
        pad = -length % step
        x = jnp.pad(x, ((0, 0), (0, pad), (0, 0), (0, 0)))
        present = jnp.pad(present, ((0, 0), (0, pad), (0, 0)))
        ok = present.any(-1)
        known = None if self.causal or length <= DAY_EPOCHS else by_parts(moments, x, present)
        power = within_night(x[..., self.learnt :], present, self.causal, known and known.of(slice(self.learnt, None)))
        both = jnp.concatenate([x, power], -1)
        h = self.enter([both[..., i, :] for i in range(x.shape[-2])], present)

        skips = []
        for i, blocks in enumerate(self.levels):
            h, _ = apply_blocks(blocks, h, ok, compute=self.compute)
            if i < len(self.down):
                skips.append(h)
                n, e, d = h.shape
                h = self.down[i]((h * ok[..., None]).reshape(n, e // self.merge, self.merge * d))
                ok = ok.reshape(n, e // self.merge, self.merge).any(-1)

        vector = self.vector(jnp.concatenate([self._pool(h, ok), token_statistics(x, present, known)], -1))

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
        self.causal, self.learnt = not c.bidirectional, config.micro.dim
        self.layout, measured = layout(config.modalities), measured_width(config.modalities)
        self.enter = ModalityMerge(self.layout.tokens, token_width(config) + measured, c.seconds_dim, rngs=rngs)
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
        if self.causal or tokens.shape[1] <= DAY_EPOCHS:  # causal: what is known of the night differs by the epoch
            h, seen = self._entered(tokens, ok, epochs)
        else:
            known = {m: by_parts(lambda *v, m=m: moments(*self._power(*v, m)), tokens, ok) for m in self.layout.tokens}
            h, seen = by_stretches(partial(self._entered, known=known), tokens, ok, epochs)
        n, e = tokens.shape[:2]
        h, seen = h.reshape(n, e * EPOCH_S, -1), seen.reshape(n, e * EPOCH_S)
        h, _ = apply_blocks(self.blocks, h, seen, compute=self.compute)
        return h if self.norm is None else self.norm(h)

    def _power(self, tokens: jax.Array, ok: jax.Array, modality: Modality) -> tuple[jax.Array, jax.Array]:
        """What was measured of a modality, its tokens end to end: (N, E * tokens, F), and where (N, E * tokens)."""
        x, there = (v[:, :, self.layout.span(modality)] for v in (tokens, ok))
        return x[..., self.learnt :].reshape(len(x), -1, x.shape[-1] - self.learnt), there.reshape(len(x), -1)

    def _entered(
        self, tokens: jax.Array, ok: jax.Array, epochs: jax.Array, known: Mapping[Modality, Moments] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """The seconds of each epoch before they hear of their neighbours (N, E, 30, Ds), and where anything is there
        (N, E, 30). `known`: of the night, where these are a stretch of it."""
        total = count = jnp.zeros((), jnp.float32)
        for m, token_s in self.layout.token_s.items():
            x, there = tokens[:, :, self.layout.span(m)], ok[:, :, self.layout.span(m)]
            power = within_night(*self._power(tokens, ok, m), self.causal, known and known[m])
            power = power.reshape(*x.shape[:-1], -1)
            part = self.enter.maps[m.value](jnp.concatenate([x, power], -1))
            weight = there[..., None].astype(part.dtype)
            total = total + jnp.repeat(part * weight, token_s, axis=2)
            count = count + jnp.repeat(weight, token_s, axis=2)
        h = (total / jnp.maximum(count, 1.0)).astype(tokens.dtype) + self.context(epochs)[:, :, None]
        return h, count[..., 0] > 0


class LocalMix(nnx.Module):
    """A look and its neighbours `dilation` apart: norm, convolution, GELU, linear, behind a residual.

    `causal` sees those before it alone, twice as far.
    """

    def __init__(self, dim: int, dilation: int, causal: bool, *, rngs: Rngs):
        self.dilation, self.causal = dilation, causal
        self.norm = RMSNorm(dim, rngs=rngs)
        self.conv = Linear(LOCAL_WIDTH * dim, dim, rngs=rngs)
        self.out = Linear(dim, dim, rngs=rngs)

    def __call__(self, x: jax.Array, ok: jax.Array) -> jax.Array:  # (N, T, D), (N, T)
        h, reach = self.norm(x) * ok[..., None].astype(x.dtype), self.dilation * (LOCAL_WIDTH // 2)
        around = (2 * reach, 0) if self.causal else (reach, reach)
        kernel = self.conv.kernel[...].reshape(LOCAL_WIDTH, x.shape[-1], -1)
        h = jax.lax.conv_general_dilated(
            h.astype(kernel.dtype), kernel, (1,), [around], None, (self.dilation,), ("NWC", "WIO", "NWC")
        )
        return x + self.out(jax.nn.gelu(h + self.conv.bias[...]))


def _end_to_end(x: jax.Array) -> jax.Array:
    """(N, E, k, ...) -> (N, E * k, ...)."""
    return x.reshape(len(x), -1, *x.shape[3:])


class FastDecoder(nnx.Module):
    """From seconds on to `FAST_HZ` parts of each: the EEG's power as it was measured there, and what surrounds it.

    Waves are local: two convolutions see three seconds to both sides, at a tenth of the cost of a scan over a night of
    230,000 looks. What lies further away comes with the seconds.
    """

    def __init__(self, config: ModelConfig, compute: ComputeConfig, *, rngs: Rngs):
        c = config.macro
        self.compute, self.causal, self.learnt = compute, not c.bidirectional, config.micro.dim
        self.layout = layout(config.modalities)
        self.bands, self.looks = len(FAST.bands_hz), FAST_HZ * self.layout.token_s[Modality.EEG]
        self.enter = Linear(2 * self.bands, c.fast_dim, rngs=rngs)
        self.context = Linear(c.seconds_dim, c.fast_dim, rngs=rngs)
        self.mix = nnx.List(LocalMix(c.fast_dim, dilation, self.causal, rngs=rngs) for dilation in (1, 5))
        self.norm = RMSNorm(c.fast_dim, rngs=rngs)

    @jax.named_scope("fast")
    def __call__(
        self,
        tokens: jax.Array,  # (N, E, L, D)
        ok: jax.Array,  # (N, E, L)
        seconds: jax.Array,  # (N, 30 E, Ds)
        read: Callable[[jax.Array], Any] = lambda features: features,
    ) -> Any:
        """What `read` makes of the features (N, T, Df), look by look: a tree of (N, T, ...). T is 30 E * FAST_HZ."""
        (n, e), span = tokens.shape[:2], self.layout.span(Modality.EEG)
        power = tokens[:, :, span, self.learnt :][..., : self.looks * self.bands].reshape(n, e, -1, self.bands)
        there = jnp.repeat(ok[:, :, span], self.looks, axis=2).reshape(n, e, -1)
        parts = power, there, seconds.reshape(n, e, EPOCH_S, -1)
        if self.causal or e <= DAY_EPOCHS:
            return read(self._mixed(*parts))
        known = by_parts(lambda *v: moments(*map(_end_to_end, v)), power, there)

        def of_stretch(*parts: jax.Array) -> Any:
            out = read(self._mixed(*parts, known))
            return jax.tree.map(lambda v: v.reshape(n, len(parts[0][0]), -1, *v.shape[2:]), out)

        out = by_stretches(of_stretch, *parts, around=1)  # an epoch holds all that convolutions see to a side
        return jax.tree.map(_end_to_end, out)

    def _mixed(self, power: jax.Array, there: jax.Array, seconds: jax.Array, known: Moments | None = None) -> jax.Array:
        """(N, e, looks, bands), (N, e, looks), (N, e, 30, Ds) -> (N, e * looks, Df). `known` as in `within_night`."""
        power, there, seconds = map(_end_to_end, (power, there, seconds))
        h = self.enter(jnp.concatenate([power, within_night(power, there, self.causal, known)], -1))
        h = h + jnp.repeat(self.context(seconds), FAST_HZ, axis=1)
        for mix in self.mix:
            h = mix(h, there)
        return self.norm(h)
