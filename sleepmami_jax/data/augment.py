"""What training does to signals so that a model meets more amplifiers, electrodes and montages than were recorded.

On the device, from the key of each example alone: the same on any number of devices, in any number of parts, and when
a run goes on. What is absent stays absent: all that is changed is zero where it is not usable.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_pipeline.modalities import Facts, Modality
from data_pipeline.night import UNKNOWN_STAGE
from sleepmami_jax.config import Augmentation
from sleepmami_jax.data.labels import NOT_SCORED

KNOTS_HZ = (0.7, 2.5, 7.0, 14.0, 28.0)
"""Where the equaliser's curve is drawn: in each band of the EEG, delta to beta. Between them it is linear in dB over
log frequency, beyond them level. Assumed: as in trials of learning from simulated nights."""
EQUALISED = (Modality.EEG, Modality.EOG, Modality.EMG)
"""Whose spectrum depends on electrodes and filters that nobody notes."""
FLIPPED = (Modality.RESP, Modality.ECG, Modality.EMG, Modality.EOG)
"""Whose sign is a matter of how the leads were plugged. Eyes move together, so that the EOG keeps what its channels are
to each other."""


class _Draws(NamedTuple):
    """The numbers drawn for an example, C channels of all M modalities one after another; uniform but for the first."""

    curve: jax.Array  # (C, knots) normal: what of the equaliser is a channel's own
    shared: jax.Array  # (M, knots) normal: what its modality's channels have in common
    gain: jax.Array  # (C,) normal
    flip: jax.Array  # (C,)
    drop: jax.Array  # (C,)
    stay: jax.Array  # (C,)
    amount: jax.Array  # (C,) of noise
    pink: jax.Array  # (C,)
    only_eeg: jax.Array  # ()
    length: jax.Array  # ()
    start: jax.Array  # ()


def augmented(batch: dict[str, Any], keys: jax.Array, config: Augmentation) -> dict[str, Any]:
    """The batch as one step sees it; the very same where there is nothing to do.

    Args:
      batch: as `data.batches.signal_batches` gives it, of single epochs or of windows.
      keys: (B,), one an example.

    Returns:
      `signal`, `usable` and `present` of every modality, and of windows that are cropped `stage`, `seconds` and
      `epoch_mask`, changed; of the same shapes and types. Where not usable the signal is 0.
    """
    if config == Augmentation():
        return batch
    signals = {m: batch[m.value] for m in Modality if m.value in batch}
    channels = {m: arrays["usable"].shape[-2] for m, arrays in signals.items()}
    draws = jax.vmap(partial(_draw, channels=sum(channels.values()), modalities=len(channels)))(keys)
    single = batch["stage"].ndim == 1
    if single:
        signals = {m: {name: v[:, None] for name, v in arrays.items()} for m, arrays in signals.items()}
    else:
        kept = _crop(batch["epoch_mask"], draws, config.shortest_crop)
        signals = {m: arrays | {"usable": arrays["usable"] & kept[..., None, None]} for m, arrays in signals.items()}
        batch = batch | {
            "stage": jnp.where(kept, batch["stage"], UNKNOWN_STAGE),
            "seconds": {task: jnp.where(kept[..., None], v, NOT_SCORED) for task, v in batch["seconds"].items()},
            "epoch_mask": kept,
        }
    present = jnp.concatenate([arrays["usable"].any((1, 3)) for arrays in signals.values()], 1)
    shown = _shown(present, draws, config, channels.get(Modality.EEG, 0))
    white = _white(keys, {m: arrays["signal"].shape for m, arrays in signals.items() if config.noise})
    changed, first = {}, 0
    for i, (m, arrays) in enumerate(signals.items()):
        own = slice(first, first + channels[m])
        usable = arrays["usable"] & shown[:, None, own, None]
        change = jax.vmap(partial(_changed, config=config, modality=m, place=i, own=own))
        signal = change(arrays["signal"], usable, draws, white.get(m))
        changed[m.value] = {"signal": signal, "usable": usable, "present": usable.any(-1)}
        first = own.stop
    return batch | (jax.tree.map(lambda v: v[:, 0], changed) if single else changed)


def _draw(key: jax.Array, channels: int, modalities: int) -> _Draws:
    # Two calls for everything: each random call is a large program to compile.
    normal_key, uniform_key = jax.random.split(jax.random.fold_in(key, 2))
    knots = len(KNOTS_HZ)
    normal = jax.random.normal(normal_key, (channels * (knots + 1) + modalities * knots,))
    curve, gain, shared = jnp.split(normal, [channels * knots, channels * (knots + 1)])
    uniform = jax.random.uniform(uniform_key, (5 * channels + 3,))
    return _Draws(
        curve.reshape(channels, knots),
        shared.reshape(modalities, knots),
        gain,
        *uniform[:-3].reshape(5, channels),
        *uniform[-3:],
    )


def _crop(epoch_mask: jax.Array, draws: _Draws, shortest: float) -> jax.Array:
    """(N, E) -> (N, E) bool: a part of consecutive epochs, at least a share `shortest` of those that are there."""
    n = epoch_mask.sum(1)
    length = jnp.ceil(n * (shortest + (1 - shortest) * draws.length))
    start = jnp.floor(draws.start * (n - length + 1))[:, None]
    place = jnp.cumsum(epoch_mask, 1) - 1
    return epoch_mask & (place >= start) & (place < start + length[:, None])


def _shown(present: jax.Array, draws: _Draws, config: Augmentation, eeg: int) -> jax.Array:
    """(N, C) -> (N, C) bool: channels that are not hidden. The first `eeg` of them are of the EEG."""
    order = jnp.where(present, draws.stay, -1.0)
    places = jnp.arange(present.shape[1])
    shown = (draws.drop >= config.drop_channel) | (places == order.argmax(1)[:, None])
    if eeg and config.only_eeg:
        alone = (draws.only_eeg < config.only_eeg) & present[:, :eeg].any(1)
        shown = jnp.where(alone[:, None], places == order[:, :eeg].argmax(1)[:, None], shown)
    return shown


def _white(keys: jax.Array, shapes: dict[Modality, tuple[int, ...]]) -> dict[Modality, jax.Array]:
    """(N, 2, C, F) normal: real and imaginary parts of the noise in signals of shapes (N, E, C, T)."""
    if not shapes:
        return {}
    parts = {m: (2, c, e * t // 2 + 1) for m, (_, e, c, t) in shapes.items()}
    ends = np.cumsum([math.prod(shape) for shape in parts.values()])
    draw = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, 3), (int(ends[-1]),)))(keys)
    each = jnp.split(draw, ends[:-1], axis=1)
    return {m: v.reshape(len(keys), *shape) for (m, shape), v in zip(parts.items(), each, strict=True)}


def _changed(signal, usable, draws: _Draws, white, *, config: Augmentation, modality: Modality, place: int, own: slice):
    """Samples (E, C, T) of the modality that is number `place`, `own` its channels, usable (E, C, 30) -> samples."""
    facts, (e, c, t) = modality.facts, signal.shape

    def where_usable(x):
        return jnp.where(usable[..., None], x.reshape(*usable.shape, -1), 0.0).reshape(e, c, t)

    signal = where_usable(signal)  # before the filter, which would smear what is not usable
    if facts.is_value or facts.normalised_by is not None:
        return signal
    x = signal.swapaxes(0, 1).reshape(c, e * t)
    if config.equaliser_db and modality in EQUALISED:
        curve_db = config.equaliser_db * (draws.curve[own] + draws.shared[place]) / np.sqrt(2)
        x = _equalised(x, curve_db, facts.rate_hz)
    sign = draws.flip[own][:1] if modality is Modality.EOG else draws.flip[own]
    sign = jnp.where(sign < config.flip, -1.0, 1.0) if modality in FLIPPED else jnp.ones(1)
    x *= (sign * 10 ** (config.gain_db * draws.gain[own] / 20))[:, None]
    if config.noise:
        x += config.noise * draws.amount[own, None] * _noise(white, draws.pink[own] < 0.5, e * t, facts)
    x = jnp.clip(x, -facts.clip, facts.clip)  # as the signals of a night are
    return where_usable(x.reshape(c, e, t).swapaxes(0, 1))


def _equalised(x: jax.Array, curve_db: jax.Array, rate_hz: int) -> jax.Array:
    """Samples (C, n) with a gain (C, knots) in dB at `KNOTS_HZ`."""
    log_hz = jnp.log(jnp.maximum(_frequencies(x.shape[-1], rate_hz), KNOTS_HZ[0]))
    gain_db = jax.vmap(lambda db: jnp.interp(log_hz, jnp.log(np.array(KNOTS_HZ)), db))(curve_db)
    return jnp.fft.irfft(jnp.fft.rfft(x) * 10 ** (gain_db / 20), x.shape[-1])


def _noise(white: jax.Array, pink: jax.Array, n: int, facts: Facts) -> jax.Array:
    """Noise (C, n) of variance 1 above the modality's high-pass: pink (C,) falls by 3 dB an octave, else white.

    `white` (2, C, F) is normal, the real and imaginary parts of its spectrum.
    """
    hz = _frequencies(n, facts.rate_hz)
    power = jnp.where(pink[:, None], 1 / jnp.maximum(hz, facts.high_pass_hz), 1.0) * (hz >= facts.high_pass_hz)
    amplitude = n / 2 * jnp.sqrt(power / power.sum(-1, keepdims=True))
    return jnp.fft.irfft(amplitude * jax.lax.complex(*white), n)


def _frequencies(n: int, rate_hz: int) -> jax.Array:
    """(n // 2 + 1,) of a real Fourier transform, made on the device: a long window's would be megabytes of program."""
    return jnp.arange(n // 2 + 1) * (rate_hz / n)
