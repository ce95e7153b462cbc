"""The Micro-Encoder: one 30-second epoch of any non-empty set of channels -> tokens of a few seconds.

Private blocks see the channels of one modality, every second of every channel at once, a learned pooling makes one
sequence of them, and shared blocks with a mixture of experts see all modalities together (SleepMaMi, section on the
Micro-Encoder; sizes are ours). What is missing or unusable is masked, never zero.

A token has two parts, side by side: what the blocks made of it, and the log power that was measured (`models.stem`),
the mean over the modality's channels. Attention and pooling blur what lasts a second; a spindle must still be told from
the token, whatever the blocks have learnt.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_pipeline.modalities import RATE_HZ, Modality
from data_pipeline.night import EPOCH_S
from sleepmami_jax.config import ComputeConfig, MicroConfig, ModalitiesConfig, ModelConfig
from sleepmami_jax.models.initial import Linear, RMSNorm, Rngs, normal
from sleepmami_jax.models.moe import MixtureOfExperts
from sleepmami_jax.models.stack import apply_blocks
from sleepmami_jax.models.stem import features, n_features
from sleepmami_jax.models.tokenizer import Tokenizer
from sleepmami_jax.models.transformer import MASKED, Block, Mlp


class Layout(NamedTuple):
    """Where each modality's tokens lie in the sequence of an epoch."""

    tokens: dict[Modality, int]
    token_s: dict[Modality, int]
    offset: dict[Modality, int]
    total: int

    def span(self, modality: Modality) -> slice:
        """The places of a modality's tokens."""
        return slice(self.offset[modality], self.offset[modality] + self.tokens[modality])

    def modality_of_token(self) -> np.ndarray:
        """(total,) index of each token's modality."""
        return np.repeat(np.arange(len(self.tokens)), list(self.tokens.values()))


def layout(modalities: ModalitiesConfig) -> Layout:
    """The token layout of the modalities that a configuration has.

    >>> layout(ModelConfig().modalities).total  # tokens of an epoch
    87
    """
    token_s = {Modality(name): spec.token_s for name, spec in vars(modalities).items() if spec is not None}
    tokens = {m: EPOCH_S // s for m, s in token_s.items()}
    ends = np.cumsum(list(tokens.values()))
    offset = {m: int(e) - tokens[m] for m, e in zip(tokens, ends, strict=True)}
    return Layout(tokens, token_s, offset, int(ends[-1]))


def measured_width(modalities: ModalitiesConfig) -> int:
    """How many numbers of a token are log power as it was measured: the last ones; 0 where a modality has fewer.

    >>> measured_width(ModelConfig().modalities)
    63
    """
    return max(n_features(m, token_s) for m, token_s in layout(modalities).token_s.items())


def token_width(config: ModelConfig) -> int:
    """D: how wide a token is, what is learnt and what is measured together.

    >>> token_width(ModelConfig())
    127
    """
    return config.micro.dim + measured_width(config.modalities)


class Tokens(NamedTuple):
    """What the Micro-Encoder gives.

    Attributes:
      x: (B, L, D) tokens, the modalities one after another as `Layout` says; D is `token_width`.
      ok: (B, L) bool, True where a token is there.
      private: {modality: (B, K, dim)} what each modality's private blocks saw, before any mixing.
      private_ok: {modality: (B, K)} bool.
      router: the routers' statistics over the shared blocks, as `over_blocks` has them; none without experts.
    """

    x: jax.Array
    ok: jax.Array
    private: dict[Modality, jax.Array]
    private_ok: dict[Modality, jax.Array]
    router: dict[str, jax.Array]


class Visible(NamedTuple):
    """What of one modality is encoded, of its n tokens.

    Attributes:
      place: (B, K) int, the tokens that are encoded; the others are hidden in all channels, and cost little.
      shown: (B, C, n) bool, the tokens of each channel that are seen: some of those at `place`, no others.
    """

    place: jax.Array
    shown: jax.Array


def patches(signal: jax.Array, usable: jax.Array, token_s: int) -> tuple[jax.Array, jax.Array]:
    """(B, C, T), (B, C, 30) -> patches (B, C, n, P) and which are wholly usable (B, C, n)."""
    b, c, _ = signal.shape
    n = EPOCH_S // token_s
    return signal.reshape(b, c, n, -1), usable.reshape(b, c, n, token_s).all(-1)


def take_tokens(x: jax.Array, place: jax.Array) -> jax.Array:
    """(B, C, n, ...) and (B, K) -> (B, C, K, ...): the chosen tokens of every channel."""
    return jax.vmap(lambda row, p: row[:, p])(x, place)


class ModalityEncoder(nnx.Module):
    """The private part: channels of one modality -> one sequence of tokens, and of what was measured there."""

    def __init__(self, modality: Modality, config: ModelConfig, compute: ComputeConfig, *, rngs: Rngs):
        micro, spec = config.micro, config.modalities[modality]
        self.compute, self.modality, self.token_s = compute, modality, spec.token_s
        samples, bands = spec.token_s * RATE_HZ[modality], n_features(modality, spec.token_s)
        self.tokenizer = Tokenizer(samples, bands, len(spec.slots), EPOCH_S // spec.token_s, micro.dim, rngs=rngs)
        self.blocks = nnx.List(
            Block(micro.dim, micro.heads, Mlp(micro.dim, micro.mlp_ratio * micro.dim, rngs=rngs), rngs=rngs)
            for _ in range(micro.private_depth)
        )
        self.pool = Linear(micro.dim, 1, rngs=rngs)

    def __call__(
        self,
        signal: jax.Array,  # (B, C, T)
        usable: jax.Array,  # (B, C, 30)
        visible: Visible | None,  # None is all
    ) -> tuple[jax.Array, jax.Array, jax.Array]:  # (B, K, dim), (B, K, F), (B, K)
        if visible is not None:
            # Windows reach over their token's ends; nobody may look there into what is hidden.
            usable = usable & jnp.repeat(visible.shown, self.token_s, axis=2)
        x, ok = patches(signal, usable, self.token_s)
        bands = features(signal, usable, self.modality, self.token_s)
        if visible is None:
            place = jnp.broadcast_to(jnp.arange(x.shape[2]), (x.shape[0], x.shape[2]))
        else:
            place = visible.place
            x, bands, ok = (take_tokens(v, place) for v in (x, bands, ok))
        b, c, k, _ = x.shape
        # The channels of a modality lie end to end: a spindle is seen in all of them at once.
        h = self.tokenizer(x, bands, place).reshape(b, c * k, -1)
        h, _ = apply_blocks(self.blocks, h, ok.reshape(b, c * k), compute=self.compute)
        h = h.reshape(b, c, k, -1)
        logits = jnp.where(ok, self.pool(h)[..., 0].astype(jnp.float32), MASKED)
        weight = jnp.where(ok, jax.nn.softmax(logits, axis=1), 0.0)  # over channels: a set
        mean = (bands * ok[..., None]).sum(1) / jnp.maximum(ok.sum(1), 1)[..., None]
        return (weight[..., None].astype(h.dtype) * h).sum(1), mean, ok.any(1)


def feedforward(config: MicroConfig, *, rngs: Rngs) -> Mlp | MixtureOfExperts:
    """What a shared block has after its attention: one expert is a plain MLP, without a router."""
    hidden = config.mlp_ratio * config.dim
    if config.experts == 1:
        return Mlp(config.dim, hidden, rngs=rngs)
    return MixtureOfExperts(config.dim, hidden, config.experts, config.top_k, config.capacity, rngs=rngs)


def over_blocks(router: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """{name: (blocks,)} -> scalars: means of the two losses, and the worst block of what a person watches.

    A mean over blocks would hide one whose router has collapsed.
    """
    worst = {"balance": jnp.mean, "z": jnp.mean, "dropped": jnp.max, "busiest": jnp.max, "idlest": jnp.min}
    return {name: worst[name](value) for name, value in router.items()}


class MicroEncoder(nnx.Module):
    """Private encoders of the modalities, then shared blocks over all of their tokens."""

    def __init__(self, config: ModelConfig, compute: ComputeConfig, *, rngs: Rngs):
        micro = config.micro
        self.compute = compute
        self.layout = where = layout(config.modalities)
        self.measured = measured_width(config.modalities)
        self.private = nnx.Dict({m.value: ModalityEncoder(m, config, compute, rngs=rngs) for m in where.tokens})
        self.modality = nnx.Param(normal(rngs.params(), (len(where.tokens), micro.dim), 0.02))
        self.shared = nnx.List(
            Block(micro.dim, micro.heads, feedforward(micro, rngs=rngs), rngs=rngs) for _ in range(micro.shared_depth)
        )
        self.norm = RMSNorm(micro.dim, rngs=rngs)

    @jax.named_scope("micro")
    def __call__(
        self,
        batch: dict,  # {modality: {"signal": (B, C, T), "usable": (B, C, 30)}}
        visible: dict[Modality, Visible] | None = None,  # None is all
        hidden: jax.Array | None = None,  # (B, M) bool, modalities hidden from the shared blocks
        *,
        exact: bool = True,
        axes=(),
    ) -> Tokens:
        """See `MixtureOfExperts` for `exact` and `axes`."""
        xs, oks, measured, private, private_ok = [], [], [], {}, {}
        for i, m in enumerate(self.layout.tokens):
            signal, usable = batch[m.value]["signal"], batch[m.value]["usable"]
            h, bands, there = self.private[m.value](signal, usable, None if visible is None else visible[m])
            private[m], private_ok[m] = h, there
            xs.append(h + self.modality[...][i])
            oks.append(there if hidden is None else there & ~hidden[:, i, None])
            measured.append(jnp.pad(bands, ((0, 0), (0, 0), (0, self.measured - bands.shape[-1]))))
        x, ok = jnp.concatenate(xs, 1), jnp.concatenate(oks, 1)
        x, router = apply_blocks(self.shared, x, ok, compute=self.compute, exact=exact, axes=axes)
        x = jnp.concatenate([self.norm(x), jnp.concatenate(measured, 1).astype(x.dtype)], -1)
        return Tokens(jnp.where(ok[..., None], x, 0.0), ok, private, private_ok, over_blocks(router))
