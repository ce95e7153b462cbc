"""The shard codec: one record is one 30-second epoch, all its channels, and what a scorer said of it.

Layout, little-endian: magic `SMEP`, version (uint16), the lengths of the next three parts (uint32 each), CRC-32 of
everything after these 22 bytes (uint32); a JSON header with what all records of the night share; a JSON header with
what is this epoch's own; the high bytes of all int16 samples as one Zstandard frame; their low bytes; one uint8 of
`Quality` flags per channel and second. Samples and flags stand in the order of the channel table, which is the order
of `Modality`. Low bytes are noise, so only the high bytes are compressed: a quarter less in all, and a third of the
time that Zstandard takes for the whole. A record explains itself; what is true of the whole night is in the manifest.
"""

import json
import struct
import threading
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
import zstandard

from data_pipeline.modalities import Modality
from data_pipeline.night import EPOCH_S, STAGES, UNKNOWN_STAGE, Event, event_kind
from data_pipeline.shards.epochs import Epoch, PackedSignals

RECORD_VERSION = 2
MAGIC = b"SMEP"
_PREFIX = struct.Struct("<4sHIIII")
_ZSTD_LEVEL = 1


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
    headers = [_text(shared), own_header(epoch)]
    samples = np.concatenate([s.samples.ravel() for s in epoch.signals]).astype("<i2", copy=False)
    low, high = samples.view(np.uint8).reshape(-1, 2).T
    parts = [*headers, zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(high.tobytes())]
    body = b"".join([*parts, low.tobytes()] + [s.quality.astype(np.uint8, copy=False).tobytes() for s in epoch.signals])
    return _PREFIX.pack(MAGIC, RECORD_VERSION, *map(len, parts), zlib.crc32(body)) + body


def own_header(epoch: Epoch) -> bytes:
    """What is an epoch's own in its record but for the signals; `read_own` reads it."""
    events = [[e.kind, e.onset_s, e.duration_s, e.source, e.rule] for e in epoch.events]
    return _text({"epoch": epoch.index, "stage": epoch.stage, "events": events})


def read_own(header: bytes) -> tuple[int, int, tuple[Event, ...]]:
    """Index, stage and events of an epoch. Raises ValueError where the header makes no sense."""
    try:
        own = json.loads(header)
        index, stage = own["epoch"], own["stage"]
        if stage != UNKNOWN_STAGE and stage not in range(len(STAGES)):
            raise ValueError(f"stage {stage} is not a code of {STAGES}")
        return index, stage, read_events(own["events"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"damaged epoch record: its header makes no sense ({error})") from error


def read_events(rows: list[list]) -> tuple[Event, ...]:
    """Events of (kind, onset_s, duration_s, source, rule). Raises ValueError or TypeError where they are no such."""
    return tuple(Event(event_kind(kind), *rest) for kind, *rest in rows)


def _text(header: dict) -> bytes:
    return json.dumps(header, separators=(",", ":"), allow_nan=False).encode()


def decode_epoch(record: bytes) -> Epoch:
    """Reads a record.

    Raises:
      ValueError: not a record, another version, or damaged; the message says which.
    """
    prefix = _prefix(record)
    if zlib.crc32(memoryview(record)[_PREFIX.size :]) != prefix.checksum:
        raise ValueError("damaged epoch record: its checksum does not match its content")
    shared, epoch = _headers(record, prefix)
    return replace(epoch, signals=_signals(record, prefix, shared))


def decode_scoring(record: bytes) -> Epoch:
    """Reads what a scorer said: the epoch without signals, whose bytes, damaged or not, are not looked at.

    Raises:
      ValueError: not a record, another version, or its header makes no sense.
    """
    return _headers(record, _prefix(record))[1]


class _Prefix(NamedTuple):
    magic: bytes
    version: int
    shared_bytes: int
    own_bytes: int
    high_bytes: int
    checksum: int

    @property
    def own_start(self) -> int:
        return _PREFIX.size + self.shared_bytes

    @property
    def start(self) -> int:
        """Where the samples' high bytes begin."""
        return self.own_start + self.own_bytes


def _prefix(record: bytes) -> _Prefix:
    if len(record) < _PREFIX.size or not record.startswith(MAGIC):
        raise ValueError(f"not an epoch record: {len(record)} bytes, beginning with {record[:4]!r} not {MAGIC!r}")
    prefix = _Prefix(*_PREFIX.unpack_from(record))
    if prefix.version != RECORD_VERSION:
        raise ValueError(
            f"epoch record of version {prefix.version}, this code reads {RECORD_VERSION}: prepare it again"
        )
    return prefix


def _headers(record: bytes, prefix: _Prefix) -> tuple["_Shared", Epoch]:
    """What the night's records share, and the epoch without its signals."""
    try:
        shared = _shared(record[_PREFIX.size : prefix.own_start])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"damaged epoch record: its header makes no sense ({error})") from error
    index, stage, events = read_own(record[prefix.own_start : prefix.start])
    return shared, Epoch(shared.night_id, index, shared.n_epochs, stage, (), events, shared.scored)


def _signals(record: bytes, prefix: _Prefix, shared: "_Shared") -> tuple[PackedSignals, ...]:
    n, n_quality, low_start = shared.n_samples, shared.n_channels * EPOCH_S, prefix.start + prefix.high_bytes
    frame = memoryview(record)[prefix.start : low_start]
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
        own_samples = samples[at : at + size].reshape(len(slots), -1)
        signals.append(PackedSignals(modality, slots, scale, offset, own_samples, quality[row : row + len(slots)]))
        at, row = at + size, row + len(slots)
    return tuple(signals)


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
