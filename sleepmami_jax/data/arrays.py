"""Epochs and nights as arrays: normalised signals with a mask, labels with a mask, demographics with a mask.

Whether the samples come from records or from a `Night` in memory, they pass through a `Normaliser` and end in
the same dictionary, leading axis E = 30-second epochs:

    EEG, EOG, EMG, ECG, RESP, SPO2: {
        "signal":  (E, C, 30 * rate) float32, 0 where unusable; C is the number of slots,
        "usable":  (E, C, 30) bool, second by second,
        "present": (E, C) bool, any usable second,
    }
    "stage": (E,) int32, -1 unknown
    "seconds": {task: (E, 30 * rate) int8} of the tasks of events that are asked for, -1 not scored
    "epoch_mask": (E,) bool, False for padding
    "demographics": {"age_years", "bmi", "sex" (F 0, M 1): () float32, and "..._known": () bool}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_pipeline.modalities import RATE_HZ, Modality
from data_pipeline.night import EPOCH_S, UNKNOWN_STAGE, Channel, Demographics, Night, Quality, blocks
from data_pipeline.shards.epochs import Epoch
from data_pipeline.shards.manifest import ChannelEntry, channel_entry
from data_pipeline.shards.scale import IQR_OF_NORMAL, channel_scale, second_quality
from data_pipeline.tasks import Task
from sleepmami_jax.data.labels import NOT_SCORED, event_labels

Slots = Mapping[Modality, tuple[str, ...]]
MIN_GOOD_SHARE = 0.05
"""A channel with fewer good seconds in a night is treated as missing: too little to measure its spread by."""
BUCKET_EPOCHS = 240
_GOOD = int(Quality.GOOD)
_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True, eq=False)
class Normaliser:
    """Brings the samples of a channel to the scale the model sees; the only place where this is done.

    With x = samples * scale + offset in the channel's unit: EEG, EOG, EMG, ECG and RESP become
    `(x - median) / (iqr / 1.349)` of the night's channel, clipped to +-20 (for a normal signal, standard
    deviations; robust to movement); SPO2, whose values mean something, becomes `(x - 95) / 5`, clipped to
    +-10. All of it as clip(samples * gain + shift, -limit, limit); `lowest` and `highest` are the limits in
    stored steps, None where no int16 reaches them.
    """

    gain: np.ndarray
    shift: np.ndarray
    limit: np.float32
    lowest: np.ndarray | None
    highest: np.ndarray | None

    @classmethod
    def fit(
        cls,
        modality: Modality,
        median: float | np.ndarray | None,
        iqr: float | np.ndarray | None,
        scale: float | np.ndarray = 1.0,
        offset: float | np.ndarray = 0.0,
    ) -> Normaliser:
        """What normalises one modality, or some channels of it.

        Args:
          modality: decides the rule.
          median, iqr: over the channel's good seconds, see `channel_scale`; not used where the modality has its own.
            Broadcast to the samples, as are the others.
          scale, offset: as stored in a record.

        Raises:
          ValueError: an IQR that is not positive: the channel never moves, and `ChannelEntry.normalisable` says so.
        """
        facts = modality.facts
        if facts.normalised_by is not None:
            centre, spread = facts.normalised_by
        else:
            if median is None or iqr is None or np.min(iqr) <= 0:
                raise ValueError(
                    f"{modality} with median {median} and IQR {iqr} has no scale; leave such a channel out"
                )
            centre, spread = median, iqr / IQR_OF_NORMAL
        gain, shift = (np.asarray(x, np.float32) for x in (scale / spread, (offset - centre) / spread))
        lowest, highest = np.ceil((-facts.clip - shift) / gain), np.floor((facts.clip - shift) / gain)
        if (lowest > _INT16.min).any() or (highest < _INT16.max).any():
            bounds = [np.clip(bound, _INT16.min, _INT16.max).astype(np.int16) for bound in (lowest, highest)]
        else:
            bounds = [None, None]
        return cls(gain, shift, np.float32(facts.clip), *bounds)

    def __call__(self, samples: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Samples (...), float32 in the channel's unit or int16 as stored -> (...) float32, `out` if it is given."""
        if samples.dtype != np.int16:
            values = np.multiply(samples, self.gain, out=out, dtype=np.float32)
            values += self.shift
            return np.clip(values, -self.limit, self.limit, out=values)
        if self.lowest is not None:  # half the bytes of clipping afterwards
            samples = np.minimum(samples, self.highest)
            np.maximum(samples, self.lowest, out=samples)
        values = np.multiply(samples, self.gain, out=out, dtype=np.float32)
        values += self.shift
        return values


def usable_channels(channels: Sequence[ChannelEntry], slots: Slots) -> dict[str, tuple[int, ChannelEntry]]:
    """The channels of a night that reach the model: slot -> place on the C axis, entry."""
    places = {slot: place for names in slots.values() for place, slot in enumerate(names)}
    return {c.slot: (places[c.slot], c) for c in channels if c.slot in places and c.normalisable(MIN_GOOD_SHARE)}


@dataclass(frozen=True, eq=False)
class _Wanted:
    """Which channels of one modality are taken, from where to where, and how they are normalised."""

    modality: Modality
    rows: slice | list[int]
    places: slice | list[int]
    normaliser: Normaliser


Plan = tuple[_Wanted | None, ...]
"""What is done with the signals of a night's records, modality by modality; None where nothing is taken."""


def plan_of(epoch: Epoch, channels: Sequence[ChannelEntry], slots: Slots) -> Plan:
    """How the records of a night are read, by one of them: all of them hold the same channels."""
    wanted = usable_channels(channels, slots)
    plan: list[_Wanted | None] = []
    for stored in epoch.signals:
        kept = [i for i, slot in enumerate(stored.slots) if slot in wanted]
        if kept:
            entries = [wanted[stored.slots[i]] for i in kept]
            plan.append(_wanted(stored.modality, kept, entries, stored.scale[kept], stored.offset[kept]))
        else:
            plan.append(None)
    return tuple(plan)


def fill_epochs(arrays: dict[str, Any], epochs: Sequence[Epoch], plan: Plan, tasks: Sequence[Task]) -> None:
    """Writes consecutive records of one night into blank arrays, from the first row on."""
    for taken, stored in zip(plan, zip(*(epoch.signals for epoch in epochs), strict=True), strict=True):
        if taken is not None:
            samples = _stack([s.samples[taken.rows] for s in stored])
            _fill(arrays, 0, taken, samples, _stack([s.quality[taken.rows] for s in stored]))
    for row, epoch in enumerate(epochs):
        for task, labels in event_labels(epoch.events, epoch.scored, tasks, 0.0, EPOCH_S).items():
            arrays["seconds"][task][row] = labels
        arrays["stage"][row] = epoch.stage
        arrays["epoch_mask"][row] = True


def night_signals(
    night: Night, slots: Slots, length: int, channels: Sequence[ChannelEntry] | None = None
) -> Iterator[dict[str, Any]]:
    """The signals of a night, as its shard would give them but for the rounding to int16.

    `length` epochs at a time, the last ones padded: never all of them at once. A tail shorter than an epoch is left
    out.

    Args:
      night: in memory, or what `read`s as it would (`load.open_night`).
      channels: what is known of its channels; measured when None, which takes a night in memory.
    """
    if channels is None:
        channels = [channel_entry(c, channel_scale(c)) for c in night.channels]
    wanted = [
        _wanted(entry.modality, [0], [(place, entry)]) if entry else None
        for place, entry in ((usable_channels(channels, slots)).get(c.slot, (0, None)) for c in channels)
    ]
    arrays, filled = blank_signals(length, slots), 0
    for span in blocks(night.duration_s):
        pieces = [(w, *_by_epoch(c)) for w, c in zip(wanted, night.read(*span), strict=True) if w is not None]
        start, n = 0, (span[1] - span[0]) // EPOCH_S
        while start < n:
            stop = min(start + length - filled, n)
            for taken, samples, quality in pieces:
                _fill(arrays, filled, taken, samples[start:stop], quality[start:stop])
            start, filled = stop, filled + stop - start
            if filled == length:
                yield with_present(arrays, slots)
                arrays, filled = blank_signals(length, slots), 0
    if filled:
        yield with_present(arrays, slots)


def _by_epoch(channel: Channel) -> tuple[np.ndarray, np.ndarray]:
    """Its whole epochs: samples (n, 1, 30 * rate) and quality (n, 1, 30)."""
    n = len(channel.quality) // EPOCH_S
    samples, quality = channel.samples[: n * EPOCH_S * channel.rate_hz], second_quality(channel)[: n * EPOCH_S]
    return samples.reshape(n, 1, EPOCH_S * channel.rate_hz), quality.reshape(n, 1, EPOCH_S)


def demographics_arrays(person: Demographics) -> dict[str, np.ndarray]:
    """Age, BMI and sex (F 0, M 1) as () float32, 0 where unknown, each with a () bool: is it known."""
    sex = None if person.sex is None else {"F": 0.0, "M": 1.0}[person.sex]
    values = {"age_years": person.age_years, "bmi": person.bmi, "sex": sex}
    arrays = {name: np.float32(0 if value is None else value) for name, value in values.items()}
    return arrays | {f"{name}_known": np.bool_(value is not None) for name, value in values.items()}


def bucket_length(n_epochs: int) -> int:
    """The padded length of a night: the next multiple of 240 epochs (2 h), so that few shapes compile."""
    return max(-(-n_epochs // BUCKET_EPOCHS), 1) * BUCKET_EPOCHS


def blank_arrays(n_epochs: int, slots: Slots, tasks: Sequence[Task] = ()) -> dict[str, Any]:
    """The dictionary with nothing in it: no channel present, nothing scored, all epochs padding."""
    return blank_signals(n_epochs, slots) | blank_labels(n_epochs, tasks)


def blank_labels(n_epochs: int, tasks: Sequence[Task] = ()) -> dict[str, Any]:
    """Of `blank_arrays` all but the signals."""
    return {
        "stage": np.full(n_epochs, UNKNOWN_STAGE, np.int32),
        "seconds": {t.name: np.full((n_epochs, t.per_epoch), NOT_SCORED, np.int8) for t in tasks},
        "epoch_mask": np.zeros(n_epochs, bool),
    }


def blank_signals(n_epochs: int, slots: Slots) -> dict[str, Any]:
    """Of `blank_arrays` the signals alone; `present` is added by `with_present`, once they are filled."""
    return {
        modality.value: {
            "signal": np.zeros((n_epochs, len(names), EPOCH_S * RATE_HZ[modality]), np.float32),
            "usable": np.zeros((n_epochs, len(names), EPOCH_S), bool),
        }
        for modality, names in slots.items()
    }


def _wanted(
    modality: Modality,
    rows: list[int],
    entries: list[tuple[int, ChannelEntry]],
    scale: np.ndarray | float = 1.0,
    offset: np.ndarray | float = 0.0,
) -> _Wanted:
    """`entries` as in `usable_channels`, for each of `rows`; `scale` and `offset` are (rows,), as stored."""
    median, iqr = (
        None if modality.facts.normalised_by else np.array([[getattr(entry, name)] for _, entry in entries])
        for name in ("median", "iqr")
    )
    normaliser = Normaliser.fit(modality, median, iqr, np.reshape(scale, (-1, 1)), np.reshape(offset, (-1, 1)))
    return _Wanted(modality, _as_slice(rows), _as_slice([place for place, _ in entries]), normaliser)


def _fill(arrays: dict[str, Any], first: int, taken: _Wanted, samples: np.ndarray, quality: np.ndarray) -> None:
    """Normalises samples (n, c, 30 * rate) of c channels into their places in n epochs, from `first` on.

    They are 0 in seconds that quality (n, c, 30) condemns.
    """
    into, usable = arrays[taken.modality.value], quality == _GOOD
    rows = slice(first, first + len(samples))
    signal = into["signal"][rows, taken.places]  # a view, unless the night lacks a channel in the middle
    values = taken.normaliser(samples, signal)
    if not usable.all():
        values.reshape(*usable.shape, -1)[~usable] = 0
    if not isinstance(taken.places, slice):
        into["signal"][rows, taken.places] = values
    into["usable"][rows, taken.places] = usable


def _as_slice(places: list[int]) -> slice | list[int]:
    """Indices as a slice where they are consecutive: a view instead of a copy."""
    consecutive = places == list(range(places[0], places[0] + len(places)))
    return slice(places[0], places[0] + len(places)) if consecutive else places


def _stack(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


def with_present(arrays: dict[str, Any], slots: Slots) -> dict[str, Any]:
    """The same dictionary, with what `usable` says of whole epochs added."""
    for modality in slots:
        arrays[modality.value]["present"] = arrays[modality.value]["usable"].any(-1)
    return arrays
