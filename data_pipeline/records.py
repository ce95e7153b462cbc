"""The shard codec: one record is one 30-second epoch, all its channels, and what a scorer said of it.

Layout, little-endian: magic `SMEP`, version (uint16), header length (uint32), CRC-32 of everything after
these 14 bytes (uint32), a JSON header, then the int16 samples of each channel in the order of the header's
channel table (which is the order of `SLOTS`), then one uint8 of `Quality` flags per channel and second. A
record explains itself; what is true of the whole night is in the manifest. A shard is one ArrayRecord file
with the records of one night.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from data_pipeline.night import (
    EPOCH_S,
    RATE_HZ,
    SLOTS,
    STAGES,
    UNKNOWN_STAGE,
    Channel,
    Event,
    EventKind,
    Modality,
    Night,
    Quality,
)

RECORD_VERSION = 1
MAGIC = b"SMEP"
_PREFIX = struct.Struct("<4sHII")
SHARD_OPTIONS = "group_size:1,uncompressed"
"""Any record can be read alone. Zstandard saves 5 to 11 % and makes reading 2 to 3 times slower."""
_INT16_MAX = 32767
_HEADROOM = 4.0
"""The int16 range reaches this many times as far as the middle 99.9 % of good samples: steps stay near a
thousandth of the signal's own spread, and only movement and lead-off transients can be cut."""


_PERCENTILE_SAMPLES = 250_000
"""Percentiles of a night are those of about so many of its samples, evenly spaced: the middle 50 % is known to a
fifth of a per cent, in a tenth of the time."""


@dataclass(frozen=True)
class ChannelScale:
    """How one channel of one night is measured: for normalising (median, IQR) and for storing (scale,
    offset).

    Attributes:
      median, iqr: of the finite samples of good seconds, in the channel's unit; None when there are none.
      scale, offset: a stored value is `stored * scale + offset` in the channel's unit.
      clipped_samples: finite samples of good seconds that lie outside what int16 reaches at this scale.
    """

    median: float | None
    iqr: float | None
    scale: float
    offset: float
    clipped_samples: int


@dataclass(frozen=True, eq=False)
class PackedSignals:
    """The channels of one modality in one epoch, as stored.

    Attributes:
      modality: their kind.
      slots: their names, n of them, in the order of `SLOTS`.
      scale, offset: (n,) float64; a stored value is `stored * scale + offset` in the channel's unit.
      samples: (n, 30 * RATE_HZ[modality]) int16.
      quality: (n, 30) uint8 of `Quality` flags.
    """

    modality: Modality
    slots: tuple[str, ...]
    scale: np.ndarray
    offset: np.ndarray
    samples: np.ndarray
    quality: np.ndarray

    def physical(self) -> np.ndarray:
        """Samples in the channels' unit, (n, 30 * RATE_HZ[modality]) float32.

        Within `scale / 2` (and float32 rounding) of what was recorded, unless it was clipped; where nothing
        was recorded (`Quality.GAP`) the value means nothing.
        """
        return (self.samples * self.scale[:, None] + self.offset[:, None]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Epoch:
    """One 30-second epoch of a night.

    Attributes:
      night_id: the night it belongs to.
      index, n_epochs: its place, and how many epochs the night has.
      stage: code of `STAGES`, or `UNKNOWN_STAGE`.
      signals: one entry a modality that the night has, in the order of `SLOTS`.
      events: every event that touches this epoch, onset relative to its first second, so it may be negative.
        An event *belongs* to the epoch in which it begins; one that begins before second 0 belongs to the
        first epoch, one that begins after the last whole epoch to the last.
      scored: as in `Scoring`.
    """

    night_id: str
    index: int
    n_epochs: int
    stage: int
    signals: tuple[PackedSignals, ...]
    events: tuple[Event, ...] = ()
    scored: frozenset[str] = frozenset()

    def owns(self, event: Event) -> bool:
        """Whether one of this epoch's `events` belongs to it."""
        after_start = event.onset_s >= 0 or self.index == 0
        return after_start and (event.onset_s < EPOCH_S or self.index == self.n_epochs - 1)


def second_quality(channel: Channel) -> np.ndarray:
    """(duration_s,) uint8 flags of each second, with `Quality.GAP` added where any sample is not finite."""
    finite = np.isfinite(channel.samples).reshape(len(channel.quality), channel.rate_hz).all(-1)
    return np.where(finite, channel.quality, channel.quality | Quality.GAP).astype(np.uint8)


def channel_scale(channel: Channel) -> ChannelScale:
    """Robust scale of a channel over its good seconds. Deterministic; a constant channel gets scale 1."""
    seconds = channel.samples.reshape(len(channel.quality), channel.rate_hz)
    good = seconds[second_quality(channel) == Quality.GOOD].ravel()
    values = good if good.size else channel.samples[np.isfinite(channel.samples)]
    if not values.size:
        return ChannelScale(None, None, 1.0, 0.0, 0)
    sample = values[:: max(1, values.size // _PERCENTILE_SAMPLES)]
    robust_low, q25, q50, q75, robust_high = map(float, np.percentile(sample, (0.05, 25, 50, 75, 99.95)))
    median, iqr = (q50, q75 - q25) if good.size else (None, None)
    lowest, highest = float(values.min()), float(values.max())
    offset = (robust_low + robust_high) / 2
    furthest = max(highest - offset, offset - lowest)
    robust_reach = _HEADROOM * (robust_high - robust_low) / 2
    reach = min(furthest, robust_reach) if robust_reach > 0 else furthest
    scale = reach / _INT16_MAX if reach > 0 else 1.0
    half_step = scale / 2
    clipped = np.count_nonzero(np.abs(good - np.float32(offset)) > reach + half_step)
    return ChannelScale(median, iqr, scale, offset, int(clipped))


def night_epochs(night: Night, scales: Mapping[str, ChannelScale] | None = None) -> Iterator[Epoch]:
    """The epochs of a night in order, quantised; a tail shorter than an epoch is left out.

    Args:
      night: a prepared night.
      scales: `channel_scale` of each slot, when it is known already.

    Raises:
      ValueError: the scorer gave another number of stages than the night has whole epochs.
    """
    n_epochs = night.n_epochs
    stages = np.full(n_epochs, UNKNOWN_STAGE, np.int8)
    events: list[list[Event]] = [[] for _ in range(n_epochs)]
    scored: frozenset[str] = frozenset()
    if night.scoring is not None:
        if len(night.scoring.stages) != n_epochs:
            raise ValueError(
                f"night {night.night_id}: {len(night.scoring.stages)} stages for {n_epochs} whole epochs; "
                "give one stage an epoch, -1 where unscored"
            )
        stages, scored = night.scoring.stages, night.scoring.scored
        for event in night.scoring.events if n_epochs else ():
            first = min(max(int(event.onset_s // EPOCH_S), 0), n_epochs - 1)
            last = max(first, min(int(-(-event.end_s // EPOCH_S)) - 1, n_epochs - 1))
            for index in range(first, last + 1):
                events[index].append(_shifted(event, -index * EPOCH_S))
    by_modality = [(m, tuple(c for c in night.channels if c.modality is m)) for m in SLOTS]
    stored = [_quantised(m, channels, scales or {}, n_epochs) for m, channels in by_modality if channels]
    for index in range(n_epochs):
        yield Epoch(
            night_id=night.night_id,
            index=index,
            n_epochs=n_epochs,
            stage=int(stages[index]),
            signals=tuple(replace(s, samples=s.samples[index], quality=s.quality[index]) for s in stored),
            events=tuple(events[index]),
            scored=scored,
        )


def night_events(epochs: Iterable[Epoch]) -> tuple[Event, ...]:
    """The events of a night, or of consecutive epochs of it, each once; onset from second 0."""
    events = [_shifted(e, epoch.index * EPOCH_S) for epoch in epochs for e in epoch.events if epoch.owns(e)]
    return tuple(sorted(events, key=lambda event: event.onset_s))


def encode_epoch(epoch: Epoch) -> bytes:
    """The bytes of a record; the same epoch always gives the same bytes."""
    header = {
        "night": epoch.night_id,
        "epoch": epoch.index,
        "of": epoch.n_epochs,
        "stage": epoch.stage,
        "channels": [
            [slot, s.modality, RATE_HZ[s.modality], float(scale), float(offset)]
            for s in epoch.signals
            for slot, scale, offset in zip(s.slots, s.scale, s.offset, strict=True)
        ],
        "events": [[e.kind, e.onset_s, e.duration_s, e.source, e.rule] for e in epoch.events],
        "scored": sorted(epoch.scored),
    }
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-(_PREFIX.size + len(text)) % 8)  # samples begin on a multiple of 8 bytes
    body = b"".join(
        [text]
        + [s.samples.astype("<i2").tobytes() for s in epoch.signals]
        + [s.quality.astype(np.uint8).tobytes() for s in epoch.signals]
    )
    return _PREFIX.pack(MAGIC, RECORD_VERSION, len(text), zlib.crc32(body)) + body


def decode_epoch(record: bytes) -> Epoch:
    """Reads a record. Its arrays are read-only views of the bytes.

    Raises:
      ValueError: not a record, another version, or damaged; the message says which.
    """
    if len(record) < _PREFIX.size or not record.startswith(MAGIC):
        raise ValueError(
            f"not an epoch record: {len(record)} bytes, beginning with {record[:4]!r} not {MAGIC!r}"
        )
    _, version, header_bytes, checksum = _PREFIX.unpack_from(record)
    if version != RECORD_VERSION:
        raise ValueError(
            f"epoch record of version {version}, this code reads {RECORD_VERSION}: prepare it again"
        )
    if zlib.crc32(memoryview(record)[_PREFIX.size :]) != checksum:
        raise ValueError("damaged epoch record: its checksum does not match its content")
    start = _PREFIX.size + header_bytes
    try:
        header = json.loads(record[_PREFIX.size : start])
        table = [(name, list(rows)) for name, rows in groupby(header["channels"], key=lambda row: row[1])]
        layout = [(Modality(name), *zip(*rows, strict=True)) for name, rows in table]
        events = tuple(
            Event(EventKind(kind), onset_s, duration_s, source, rule)
            for kind, onset_s, duration_s, source, rule in header["events"]
        )
        place = header["night"], header["epoch"], header["of"]
        stage, scored = header["stage"], frozenset(header["scored"])
        for modality, slots, _, rates, _, _ in layout:
            if set(rates) != {RATE_HZ[modality]} or not set(slots) <= set(SLOTS[modality]):
                raise ValueError(
                    f"{modality} {slots} at {rates} Hz, expected {SLOTS[modality]} at {RATE_HZ[modality]}"
                )
        if stage != UNKNOWN_STAGE and stage not in range(len(STAGES)):
            raise ValueError(f"stage {stage} is not a code of {STAGES}")
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"damaged epoch record: its header makes no sense ({error})") from error
    quality_start = start + sum(
        len(slots) * EPOCH_S * RATE_HZ[modality] * 2 for modality, slots, *_ in layout
    )
    expected = quality_start + sum(len(slots) * EPOCH_S for _, slots, *_ in layout)
    if len(record) != expected:
        raise ValueError(f"damaged epoch record: {len(record)} bytes, its channel table asks for {expected}")
    signals = []
    for modality, slots, _, _, scale, offset in layout:
        samples = np.frombuffer(record, "<i2", len(slots) * EPOCH_S * RATE_HZ[modality], start)
        quality = np.frombuffer(record, np.uint8, len(slots) * EPOCH_S, quality_start)
        start, quality_start = start + samples.nbytes, quality_start + quality.nbytes
        signals.append(
            PackedSignals(
                modality,
                slots,
                np.array(scale, np.float64),
                np.array(offset, np.float64),
                samples.reshape(len(slots), -1),
                quality.reshape(len(slots), -1),
            )
        )
    return Epoch(*place, stage, tuple(signals), events, scored)


def write_shard(path: Path, records: Iterable[bytes]) -> str:
    """Writes the records of one night under a temporary name, then renames: whole or not at all.

    Returns:
      The SHA-256, hexadecimal, of the records, each preceded by its length (uint32, little-endian).
    """
    half = path.with_name(path.name + ".half")
    checksum = hashlib.sha256()
    writer = ArrayRecordWriter(str(half), SHARD_OPTIONS)
    for record in records:
        add_record(checksum, record)
        writer.write(record)
    writer.close()
    with half.open("rb") as file:
        os.fsync(file.fileno())
    half.replace(path)
    return checksum.hexdigest()


def open_shard(path: Path, n_epochs: int) -> ArrayRecordReader:
    """A reader of a shard, for reading single records in any order from any thread.

    Raises:
      ValueError: missing, damaged, or with another number of records; the message names the file.
    """
    if not path.is_file():
        raise ValueError(
            f"shard {path} is missing; `sleepmami verify` lists what else is, `prepare` makes it again"
        )
    try:
        reader = ArrayRecordReader(str(path), "readahead_buffer_size:0,max_parallelism:0")
        n_records = reader.num_records()  # 0 for a file that was cut or is not an ArrayRecord file
    except RuntimeError as error:
        raise ValueError(f"shard {path} is damaged ({error}); run `sleepmami verify`") from error
    if n_records != n_epochs:
        raise ValueError(
            f"shard {path} is damaged: {n_records} records, expected {n_epochs}; run `sleepmami verify`"
        )
    return reader


def read_epochs(reader: ArrayRecordReader, path: Path, start: int, stop: int) -> list[Epoch]:
    """Epochs [start, stop) of an open shard.

    Raises:
      ValueError: a record is damaged; the message names the file and the epoch.
    """
    epochs = []
    for index in range(start, stop):
        try:
            (record,) = reader.read([index])
            epochs.append(decode_epoch(record))
        except (RuntimeError, IndexError, ValueError) as error:
            raise ValueError(f"shard {path}, epoch {index}: {error}; run `sleepmami verify`") from error
    return epochs


def add_record(checksum: hashlib._Hash, record: bytes) -> None:
    """Adds one record to the SHA-256 of a shard's records."""
    checksum.update(struct.pack("<I", len(record)))
    checksum.update(record)


def _shifted(event: Event, seconds: float) -> Event:
    return Event(event.kind, event.onset_s + seconds, event.duration_s, event.source, event.rule)


def _quantised(
    modality: Modality, channels: tuple[Channel, ...], scales: Mapping[str, ChannelScale], n_epochs: int
) -> PackedSignals:
    """The whole epochs of the channels of a modality: `PackedSignals` whose arrays lead with n_epochs."""
    n_seconds = n_epochs * EPOCH_S
    scale, offset, samples, quality = [], [], [], []
    for channel in channels:
        measured = scales.get(channel.slot) or channel_scale(channel)
        values = channel.samples[: n_seconds * channel.rate_hz]
        steps = np.rint((values - measured.offset) / measured.scale)
        steps = np.where(np.isfinite(values), steps, 0).clip(-_INT16_MAX, _INT16_MAX).astype(np.int16)
        scale.append(measured.scale)
        offset.append(measured.offset)
        samples.append(steps.reshape(n_epochs, -1))
        quality.append(second_quality(channel)[:n_seconds].reshape(n_epochs, EPOCH_S))
    return PackedSignals(
        modality,
        tuple(channel.slot for channel in channels),
        np.array(scale),
        np.array(offset),
        np.stack(samples, 1),
        np.stack(quality, 1),
    )
