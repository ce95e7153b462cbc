"""Epochs and nights as arrays: normalised signals with a mask, labels with a mask, demographics with a mask.

Whether the samples come from records or from a `Night` in memory, they pass through `normalise` and end in
the same dictionary, leading axis E = 30-second epochs:

    EEG, EOG, EMG, ECG, RESP, SPO2: {
        "signal":  (E, C, 30 * rate) float32, 0 where unusable; C is the number of slots,
        "usable":  (E, C, 30) bool, second by second,
        "present": (E, C) bool, any usable second,
    }
    "stage": (E,) int32, -1 unknown
    "seconds": {"respiratory": (E, 30) int8, "arousal": (E, 30) int8}, -1 not scored
    "epoch_mask": (E,) bool, False for padding
    "demographics": {"age_years", "bmi", "sex" (F 0, M 1): () float32, and "..._known": () bool}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_pipeline.manifest import ChannelEntry, channel_entry
from data_pipeline.night import EPOCH_S, RATE_HZ, SLOTS, UNKNOWN_STAGE, Demographics, Modality, Night, Quality
from data_pipeline.records import Epoch
from data_pipeline.scale import channel_scale, second_quality
from sleepmami_jax.data.labels import NOT_SCORED, SECOND_LABELS, second_labels

Slots = Mapping[Modality, tuple[str, ...]]
MIN_GOOD_SHARE = 0.05
"""A channel with fewer good seconds in a night is treated as missing: too little to measure its spread by."""
BUCKET_EPOCHS = 240
_GOOD = int(Quality.GOOD)
_IQR_OF_NORMAL = 1.349  # interquartile range of a standard normal distribution


def normalise(
    samples: np.ndarray,
    modality: Modality,
    median: float | np.ndarray | None,
    iqr: float | np.ndarray | None,
    *,
    scale: float | np.ndarray = 1.0,
    offset: float | np.ndarray = 0.0,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Brings samples to the scale the model sees; the only place where this is done.

    With x = samples * scale + offset in the channel's unit: EEG, EOG, EMG, ECG and RESP become
    `(x - median) / (iqr / 1.349)` of the night's channel, clipped to +-20 (for a normal signal, standard
    deviations; robust to movement); SPO2, whose values mean something, becomes `(x - 95) / 5`, clipped to
    +-10.

    Args:
      samples: (...), float32 in the channel's unit, or int16 as stored.
      modality: decides the rule.
      median, iqr: over the channel's good seconds, see `channel_scale`; not used for SPO2. Broadcast to
        `samples`.
      scale, offset: as stored in a record. Broadcast to `samples`.
      out: where to put the result, (...) float32; a new array when None.

    Returns:
      (...) float32, `out` if it was given.

    Raises:
      ValueError: an IQR that is not positive: the channel never moves, and `ChannelEntry.normalisable` says
        so.
    """
    if modality is Modality.SPO2:
        centre, spread, limit = 95.0, 5.0, 10.0
    else:
        if median is None or iqr is None or np.min(iqr) <= 0:
            raise ValueError(
                f"{modality} with median {median} and IQR {iqr} has no scale; leave such a channel out"
            )
        centre, spread, limit = median, iqr / _IQR_OF_NORMAL, 20.0
    values = np.multiply(samples, np.asarray(scale / spread, np.float32), out=out, dtype=np.float32)
    values += np.asarray((offset - centre) / spread, np.float32)
    return np.clip(values, -limit, limit, out=values)


def usable_channels(channels: Sequence[ChannelEntry], slots: Slots) -> dict[str, tuple[int, ChannelEntry]]:
    """The channels of a night that reach the model: slot -> place on the C axis, entry."""
    places = {slot: place for names in slots.values() for place, slot in enumerate(names)}
    return {
        c.slot: (places[c.slot], c) for c in channels if c.slot in places and c.normalisable(MIN_GOOD_SHARE)
    }


def epochs_arrays(
    epochs: Sequence[Epoch],
    channels: Sequence[ChannelEntry],
    slots: Slots = SLOTS,
    *,
    length: int | None = None,
) -> dict[str, Any]:
    """Consecutive records of one night as arrays, without demographics.

    Args:
      epochs: records of one night.
      channels: the night's channels in the manifest.
      slots: which channels, and their order on the C axis.
      length: E, padded with masked epochs; as many as there are records when None.
    """
    arrays = blank_arrays(len(epochs) if length is None else length, slots)
    wanted = usable_channels(channels, slots)
    # All records of a night hold the same channels, so each modality is one array over the epochs.
    for stored in zip(*(epoch.signals for epoch in epochs), strict=True):
        first = stored[0]
        kept = [i for i, slot in enumerate(first.slots) if slot in wanted]
        if kept:
            kept_slice = _as_slice(kept)
            _fill(
                arrays[first.modality.value],
                first.modality,
                [wanted[first.slots[i]] for i in kept],
                _stack([s.samples[kept_slice] for s in stored]),
                _stack([s.quality[kept_slice] for s in stored]),
                scale=first.scale[kept],
                offset=first.offset[kept],
            )
    for row, epoch in enumerate(epochs):
        for task, labels in second_labels(epoch.events, epoch.scored, 0.0, EPOCH_S).items():
            arrays["seconds"][task][row] = labels
        arrays["stage"][row] = epoch.stage
        arrays["epoch_mask"][row] = True
    return _with_present(arrays, slots)


def night_arrays(
    night: Night,
    slots: Slots = SLOTS,
    *,
    length: int | None = None,
) -> dict[str, Any]:
    """A night in memory as arrays: what its shard would give, but for the rounding to int16.

    Arguments as in `epochs_arrays`; a tail shorter than an epoch is left out.
    """
    n_epochs = night.n_epochs
    arrays = blank_arrays(n_epochs if length is None else length, slots)
    entries = {c.slot: (c, channel_entry(c, channel_scale(c))) for c in night.channels}
    wanted = usable_channels([entry for _, entry in entries.values()], slots)
    for slot, place in wanted.items():
        channel = entries[slot][0]
        samples = channel.samples[: n_epochs * EPOCH_S * channel.rate_hz].reshape(n_epochs, 1, -1)
        quality = second_quality(channel)[: n_epochs * EPOCH_S].reshape(n_epochs, 1, EPOCH_S)
        _fill(arrays[channel.modality.value], channel.modality, [place], samples, quality)
    arrays["epoch_mask"][:n_epochs] = True
    if night.scoring is not None:
        arrays["stage"][:n_epochs] = night.scoring.stages
        labels = second_labels(night.scoring.events, night.scoring.scored, 0.0, n_epochs * EPOCH_S)
        for task, seconds in labels.items():
            arrays["seconds"][task][:n_epochs] = seconds.reshape(n_epochs, EPOCH_S)
    arrays["demographics"] = demographics_arrays(night.demographics)
    return _with_present(arrays, slots)


def demographics_arrays(person: Demographics) -> dict[str, np.ndarray]:
    """Age, BMI and sex (F 0, M 1) as () float32, 0 where unknown, each with a () bool: is it known."""
    sex = None if person.sex is None else {"F": 0.0, "M": 1.0}[person.sex]
    values = {"age_years": person.age_years, "bmi": person.bmi, "sex": sex}
    arrays = {name: np.float32(0 if value is None else value) for name, value in values.items()}
    return arrays | {f"{name}_known": np.bool_(value is not None) for name, value in values.items()}


def bucket_length(n_epochs: int) -> int:
    """The padded length of a night: the next multiple of 240 epochs (2 h), so that few shapes compile."""
    return max(-(-n_epochs // BUCKET_EPOCHS), 1) * BUCKET_EPOCHS


def blank_arrays(n_epochs: int, slots: Slots) -> dict[str, Any]:
    """The dictionary with nothing in it: no channel present, nothing scored, all epochs padding."""
    arrays: dict[str, Any] = {
        modality.value: {
            "signal": np.zeros((n_epochs, len(names), EPOCH_S * RATE_HZ[modality]), np.float32),
            "usable": np.zeros((n_epochs, len(names), EPOCH_S), bool),
        }
        for modality, names in slots.items()
    }
    arrays["stage"] = np.full(n_epochs, UNKNOWN_STAGE, np.int32)
    arrays["seconds"] = {task: np.full((n_epochs, EPOCH_S), NOT_SCORED, np.int8) for task in SECOND_LABELS}
    arrays["epoch_mask"] = np.zeros(n_epochs, bool)
    return arrays


def epoch_bytes(slots: Slots) -> int:
    """Memory of one epoch's signals and masks, in bytes."""
    return sum(
        len(names) * (EPOCH_S * RATE_HZ[modality] * 4 + EPOCH_S + 1) for modality, names in slots.items()
    )


def _fill(
    arrays: dict[str, np.ndarray],
    modality: Modality,
    wanted: list[tuple[int, ChannelEntry]],
    samples: np.ndarray,
    quality: np.ndarray,
    scale: np.ndarray | float = 1.0,
    offset: np.ndarray | float = 0.0,
) -> None:
    """Normalises samples (n, c, 30 * rate) of c channels into their places in the first n epochs.

    They are 0 in seconds that quality (n, c, 30) condemns. `scale` and `offset` are (c,), as stored.
    """
    places = _as_slice([place for place, _ in wanted])
    n, usable = len(samples), quality == _GOOD
    signal = arrays["signal"][:n, places]  # a view, unless the night lacks a channel in the middle
    values = normalise(
        samples,
        modality,
        np.array([[entry.median] for _, entry in wanted]),
        np.array([[entry.iqr] for _, entry in wanted]),
        scale=np.reshape(scale, (-1, 1)),
        offset=np.reshape(offset, (-1, 1)),
        out=signal,
    )
    if not usable.all():
        values.reshape(*usable.shape, -1)[~usable] = 0
    if not isinstance(places, slice):
        arrays["signal"][:n, places] = values
    arrays["usable"][:n, places] = usable


def _as_slice(places: list[int]) -> slice | list[int]:
    """Indices as a slice where they are consecutive: a view instead of a copy."""
    consecutive = places == list(range(places[0], places[0] + len(places)))
    return slice(places[0], places[0] + len(places)) if consecutive else places


def _stack(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


def _with_present(arrays: dict[str, Any], slots: Slots) -> dict[str, Any]:
    for modality in slots:
        arrays[modality.value]["present"] = arrays[modality.value]["usable"].any(-1)
    return arrays
