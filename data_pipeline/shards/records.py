"""The shard codec: one record is one 30-second epoch, all its channels, and what a scorer said of it.

Layout, little-endian: magic `SMEP`, version (uint16), the lengths of the next three parts (uint32 each), CRC-32 of
everything after these 22 bytes (uint32); a JSON header with what all records of the night share; a JSON header with
what is this epoch's own; the high bytes of all int16 samples as one Zstandard frame; their low bytes; one uint8 of
`Quality` flags per channel and second. Samples and flags stand in the order of the channel table, which is the order
of `Modality`. Low bytes are noise, so only the high bytes are compressed: a quarter less in all, and a third of the
time that Zstandard takes for the whole. A record explains itself; what is true of the whole night is in the manifest.
A shard is one ArrayRecord file with the records of one night.
"""

from __future__ import annotations

import hashlib
import json
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
import zstandard
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from data_pipeline.modalities import Modality
from data_pipeline.night import EPOCH_S, STAGES, UNKNOWN_STAGE, Channel, Event, Night, event_kind
from data_pipeline.shards.scale import INT16_MAX, second_quality, storage_ranges
from data_pipeline.whole_files import whole_file

RECORD_VERSION = 2
MAGIC = b"SMEP"
_PREFIX = struct.Struct("<4sHIIII")
SHARD_OPTIONS = "group_size:1,uncompressed"
"""Any record can be read alone, and compresses itself."""
_ZSTD_LEVEL = 1


@dataclass(frozen=True, eq=False)
class PackedSignals:
    """The channels of one modality in one epoch, as stored.

    Attributes:
      modality: their kind.
      slots: their names, n of them, in the order of `modality.facts.slots`.
      scale, offset: (n,) float64; a stored value is `stored * scale + offset` in the channel's unit.
      samples: (n, 30 * modality.facts.rate_hz) int16.
      quality: (n, 30) uint8 of `Quality` flags.
    """

    modality: Modality
    slots: tuple[str, ...]
    scale: np.ndarray
    offset: np.ndarray
    samples: np.ndarray
    quality: np.ndarray

    def physical(self) -> np.ndarray:
        """Samples in the channels' unit, (n, 30 * modality.facts.rate_hz) float32.

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
      signals: one entry a modality that the night has, in the order of `Modality`.
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


def night_epochs(
    night: Night,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    pieces: Iterable[tuple[Channel, ...]] | None = None,
) -> Iterator[Epoch]:
    """The epochs of a night in order, quantised; a tail shorter than an epoch is left out.

    Args:
      night: a prepared night; anything with its fields, and `read` where `ranges` are not given.
      ranges: scale and offset to store each slot with; `storage_ranges(night)` when None.
      pieces: the night's channels in consecutive stretches of whole epochs, the last with the tail; as one
        stretch, `night.channels`, when None.

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
    ranges = storage_ranges(night) if ranges is None else ranges
    index = 0
    for channels in (night.channels,) if pieces is None else pieces:
        by_modality = [(m, tuple(c for c in channels if c.modality is m)) for m in Modality]
        stored = [_quantised(m, of_modality, ranges) for m, of_modality in by_modality if of_modality]
        for signals in zip(*(_by_epoch(s) for s in stored), strict=True):
            yield Epoch(
                night_id=night.night_id,
                index=index,
                n_epochs=n_epochs,
                stage=int(stages[index]),
                signals=signals,
                events=tuple(events[index]),
                scored=scored,
            )
            index += 1


def night_events(epochs: Iterable[Epoch]) -> tuple[Event, ...]:
    """The events of a night, or of consecutive epochs of it, each once; onset from second 0."""
    events = [_shifted(e, epoch.index * EPOCH_S) for epoch in epochs for e in epoch.events if epoch.owns(e)]
    return tuple(sorted(events, key=lambda event: event.onset_s))


def encode_epoch(epoch: Epoch) -> bytes:
    """The bytes of a record; the same epoch always gives the same bytes."""
    shared = {
        "night": epoch.night_id,
        "of": epoch.n_epochs,
        "channels": [
            [slot, s.modality, s.modality.facts.rate_hz, float(scale), float(offset)]
            for s in epoch.signals
            for slot, scale, offset in zip(s.slots, s.scale, s.offset, strict=True)
        ],
        "scored": sorted(epoch.scored),
    }
    own = {
        "epoch": epoch.index,
        "stage": epoch.stage,
        "events": [[e.kind, e.onset_s, e.duration_s, e.source, e.rule] for e in epoch.events],
    }
    headers = [json.dumps(h, separators=(",", ":"), allow_nan=False).encode() for h in (shared, own)]
    samples = np.concatenate([s.samples.ravel() for s in epoch.signals]).astype("<i2", copy=False)
    low, high = samples.view(np.uint8).reshape(-1, 2).T
    parts = [*headers, zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(high.tobytes())]
    body = b"".join(
        [*parts, low.tobytes()] + [s.quality.astype(np.uint8, copy=False).tobytes() for s in epoch.signals]
    )
    return _PREFIX.pack(MAGIC, RECORD_VERSION, *map(len, parts), zlib.crc32(body)) + body


def decode_epoch(record: bytes) -> Epoch:
    """Reads a record.

    Raises:
      ValueError: not a record, another version, or damaged; the message says which.
    """
    if len(record) < _PREFIX.size or not record.startswith(MAGIC):
        raise ValueError(
            f"not an epoch record: {len(record)} bytes, beginning with {record[:4]!r} not {MAGIC!r}"
        )
    _, version, shared_bytes, own_bytes, high_bytes, checksum = _PREFIX.unpack_from(record)
    if version != RECORD_VERSION:
        raise ValueError(
            f"epoch record of version {version}, this code reads {RECORD_VERSION}: prepare it again"
        )
    if zlib.crc32(memoryview(record)[_PREFIX.size :]) != checksum:
        raise ValueError("damaged epoch record: its checksum does not match its content")
    own_start = _PREFIX.size + shared_bytes
    start = own_start + own_bytes
    try:
        shared = _shared(record[_PREFIX.size : own_start])
        own = json.loads(record[own_start:start])
        events = tuple(
            Event(event_kind(kind), onset_s, duration_s, source, rule)
            for kind, onset_s, duration_s, source, rule in own["events"]
        )
        index, stage = own["epoch"], own["stage"]
        if stage != UNKNOWN_STAGE and stage not in range(len(STAGES)):
            raise ValueError(f"stage {stage} is not a code of {STAGES}")
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"damaged epoch record: its header makes no sense ({error})") from error
    n, n_quality, low_start = shared.n_samples, shared.n_channels * EPOCH_S, start + high_bytes
    frame = memoryview(record)[start:low_start]
    try:
        if len(record) != low_start + n + n_quality or zstandard.frame_content_size(frame) != n:
            raise ValueError(
                f"damaged epoch record: {len(record)} bytes do not hold the {n} samples that its channel table asks for"
            )
        high = _decompressor().decompress(frame)
    except zstandard.ZstdError as error:
        raise ValueError(f"damaged epoch record: its samples do not decompress ({error})") from error
    samples = np.frombuffer(high, np.int8).astype(np.int16)
    samples <<= 8
    samples |= np.frombuffer(record, np.uint8, n, low_start)
    quality = np.frombuffer(record, np.uint8, n_quality, low_start + n).reshape(-1, EPOCH_S)
    signals, at, row = [], 0, 0
    for modality, slots, scale, offset in shared.table:
        size = len(slots) * EPOCH_S * modality.facts.rate_hz
        signals.append(
            PackedSignals(
                modality,
                slots,
                scale,
                offset,
                samples[at : at + size].reshape(len(slots), -1),
                quality[row : row + len(slots)],
            )
        )
        at, row = at + size, row + len(slots)
    return Epoch(shared.night_id, index, shared.n_epochs, stage, tuple(signals), events, shared.scored)


_of_thread = threading.local()


def _decompressor() -> zstandard.ZstdDecompressor:
    """One a thread: to make one costs as much as to use it."""
    if not hasattr(_of_thread, "decompressor"):
        _of_thread.decompressor = zstandard.ZstdDecompressor()
    return _of_thread.decompressor


@dataclass(frozen=True)
class _Shared:
    """What the records of a night have in common: `table` is (modality, slots, scale (n,), offset (n,)) in order."""

    night_id: str
    n_epochs: int
    table: tuple[tuple[Modality, tuple[str, ...], np.ndarray, np.ndarray], ...]
    scored: frozenset[str]
    n_channels: int
    n_samples: int


@lru_cache(maxsize=4096)  # the same bytes in every record of a night
def _shared(text: bytes) -> _Shared:
    header = json.loads(text)
    table = []
    for name, rows in groupby(header["channels"], key=lambda row: row[1]):
        slots, _, rates, scale, offset = zip(*rows, strict=True)
        modality = Modality(name)
        facts = modality.facts
        if set(rates) != {facts.rate_hz} or not set(slots) <= set(facts.slots):
            raise ValueError(f"{modality} {slots} at {rates} Hz, expected {facts.slots} at {facts.rate_hz}")
        scale, offset = np.array(scale, np.float64), np.array(offset, np.float64)
        scale.flags.writeable = offset.flags.writeable = False  # many epochs share them
        table.append((modality, slots, scale, offset))
    return _Shared(
        header["night"],
        header["of"],
        tuple(table),
        frozenset(header["scored"]),
        len(header["channels"]),
        sum(len(slots) * EPOCH_S * modality.facts.rate_hz for modality, slots, *_ in table),
    )


def write_shard(path: Path, records: Iterable[bytes]) -> str:
    """Writes the records of one night: whole or not at all.

    Returns:
      The SHA-256, hexadecimal, of the records, each preceded by its length (uint32, little-endian).
    """
    checksum = hashlib.sha256()
    with whole_file(path) as half:
        writer = ArrayRecordWriter(str(half), SHARD_OPTIONS)
        for record in records:
            add_record(checksum, record)
            writer.write(record)
        writer.close()
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
    modality: Modality, channels: tuple[Channel, ...], ranges: Mapping[str, tuple[float, float]]
) -> PackedSignals:
    """The whole epochs of the channels of a modality: `PackedSignals` whose arrays lead with n epochs."""
    n_epochs = len(channels[0].quality) // EPOCH_S
    n_samples = n_epochs * EPOCH_S * modality.facts.rate_hz
    stored = np.empty((n_epochs, len(channels), EPOCH_S * modality.facts.rate_hz), np.int16)
    for place, channel in enumerate(channels):
        scale, offset = ranges[channel.slot]
        steps = channel.samples[:n_samples] - np.float32(offset)
        steps /= np.float32(scale)
        np.rint(steps, out=steps)
        if not np.isfinite(steps.sum()):
            steps[~np.isfinite(channel.samples[:n_samples])] = 0
        np.clip(steps, -INT16_MAX, INT16_MAX, out=steps)
        stored[:, place] = steps.reshape(stored[:, place].shape)
    quality = [
        second_quality(channel)[: n_epochs * EPOCH_S].reshape(n_epochs, EPOCH_S) for channel in channels
    ]
    scale, offset = np.array([ranges[channel.slot] for channel in channels]).T
    return PackedSignals(
        modality, tuple(channel.slot for channel in channels), scale, offset, stored, np.stack(quality, 1)
    )


def _by_epoch(stored: PackedSignals) -> Iterator[PackedSignals]:
    for samples, quality in zip(stored.samples, stored.quality, strict=True):
        yield replace(stored, samples=samples, quality=quality)
