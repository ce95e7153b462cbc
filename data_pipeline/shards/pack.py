"""A pack: the epochs of a prepared folder once more, in rows of one size, to be read without being decoded.

It lies on a local disk, in a folder named by the digest of the manifest that it was made from; another manifest has
another one. A row is written when its epoch is first read, or beforehand by `sleepmami pack`; a killed process leaves
whole rows only, and any number of processes may read and write the same pack, since all write the same bytes.

    pack.json     the layout, written last: a pack without it is none
    rows.bin      one row an epoch, nights in the order of the manifest; a hole in the file where none is yet
    marks.bin     one uint64, little-endian, a row: 0 while it is not there, else 2**32 + the CRC-32 of its bytes
    events.txt    a line a night whose rows are all there: CRC-32 of the rest, the night's id, its events as JSON

A row is, little-endian: int16 samples of every slot that any night has, in the order of `Modality` (0 where this night
has none); `Quality` flags of each slot and second (`GAP` where it has none); uint16 length of a JSON header, and the
header: what is the epoch's own, as in its record.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import struct
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from data_pipeline.from_json import from_json
from data_pipeline.modalities import MODALITIES, MODALITY_OF, RATE_HZ
from data_pipeline.night import EPOCH_S, Event, Quality
from data_pipeline.shards.epochs import Epoch
from data_pipeline.shards.manifest import Manifest, NightEntry
from data_pipeline.shards.records import own_header, read_events, read_own
from data_pipeline.whole_files import HALF, write_whole

FORMAT, VERSION = "sleepmami-pack", 1
HEADER_BYTES = 2048
"""Room for a header: 30 events of an epoch, twice what we have met. An epoch of more is read from its shard."""
_ALIGNED = 512
"""A row begins at a multiple of it, as disks read."""
_LENGTH = struct.Struct("<H")
_ADVICE = "make space, or set data.pack=null, and the same command goes on"
_THERE = np.uint64(2**32)
PACK, ROWS, MARKS, EVENTS = "pack.json", "rows.bin", "marks.bin", "events.txt"


@dataclass(frozen=True)
class Layout:
    """What `pack.json` says.

    Attributes:
      format, version: of this code.
      manifest_sha256: of the manifest that the pack belongs to.
      slots: the channels of a row, in order.
      rows: how many there are when all are there.
      row_bytes: of each.
    """

    format: str
    version: int
    manifest_sha256: str
    slots: tuple[str, ...]
    rows: int
    row_bytes: int

    @classmethod
    def of(cls, manifest: Manifest, sha256: str) -> Layout:
        """That of a manifest's nights."""
        there = {channel.slot for night in manifest.nights for channel in night.channels}
        slots = tuple(slot for facts in MODALITIES.values() for slot in facts.slots if slot in there)
        needed = _samples_bytes(slots) + len(slots) * EPOCH_S + _LENGTH.size + HEADER_BYTES
        row_bytes = -(-needed // _ALIGNED) * _ALIGNED
        return cls(FORMAT, VERSION, sha256, slots, sum(night.n_epochs for night in manifest.nights), row_bytes)

    @cached_property
    def samples(self) -> dict[str, slice]:
        """Of each slot the bytes of its samples in a row."""
        ends = [_samples_bytes(self.slots[: i + 1]) for i in range(len(self.slots))]
        return {slot: slice(*span) for slot, span in zip(self.slots, pairwise([0, *ends]), strict=True)}

    @property
    def quality(self) -> slice:
        """The bytes of all slots' quality in a row."""
        return slice(_samples_bytes(self.slots), self.header_start)

    @property
    def header_start(self) -> int:
        return _samples_bytes(self.slots) + len(self.slots) * EPOCH_S


def _samples_bytes(slots: Sequence[str]) -> int:
    return sum(2 * EPOCH_S * RATE_HZ[MODALITY_OF[slot]] for slot in slots)


def encode_row(layout: Layout, epoch: Epoch, night: NightEntry) -> bytes | None:
    """The bytes of a row; None where its header has no room.

    Raises:
      ValueError: its samples are scaled otherwise than the manifest says.
    """
    header = own_header(epoch)
    if len(header) > HEADER_BYTES:
        return None
    check_scale(epoch, night)
    row = np.zeros(layout.row_bytes, np.uint8)
    quality = row[layout.quality].reshape(-1, EPOCH_S)
    quality[:] = Quality.GAP
    for signals in epoch.signals:
        for at, slot in enumerate(signals.slots):
            row[layout.samples[slot]] = signals.samples[at].astype("<i2", copy=False).view(np.uint8)
            quality[layout.slots.index(slot)] = signals.quality[at]
    text = _LENGTH.pack(len(header)) + header
    row[layout.header_start : layout.header_start + len(text)] = np.frombuffer(text, np.uint8)
    return row.tobytes()


def row_header(layout: Layout, row: np.ndarray) -> tuple[int, int, tuple[Event, ...]]:
    """Index, stage and events of the epoch of a row (row_bytes,) uint8. Raises ValueError where it makes no sense."""
    (length,) = _LENGTH.unpack(row[layout.header_start : layout.header_start + _LENGTH.size].tobytes())
    begin = layout.header_start + _LENGTH.size
    return read_own(row[begin : begin + length].tobytes())


def check_scale(epoch: Epoch, night: NightEntry) -> None:
    """Raises ValueError unless the channels of a record are stored as the manifest says."""
    known = {c.slot: (c.scale, c.offset) for c in night.channels}
    for signals in epoch.signals:
        for slot, *stored in zip(signals.slots, signals.scale.tolist(), signals.offset.tolist(), strict=True):
            if known.get(slot) != tuple(stored):
                raise ValueError(
                    f"night {night.night_id}, channel {slot}: its record is scaled by {stored}, its manifest says "
                    f"{known.get(slot)}; run `sleepmami verify`"
                )


class Pack:
    """The pack of a prepared folder, on a disk. Pickled, it is the name of its folder."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.folder, self.layout = folder, layout
        self._file = os.open(folder / ROWS, os.O_RDWR)
        # As a plain array: each slice of a memmap costs as much as to read a row.
        self._rows = np.asarray(np.memmap(folder / ROWS, np.uint8, "r", shape=(layout.rows, layout.row_bytes)))
        self._marks = np.memmap(folder / MARKS, "<u8", "r+", shape=(layout.rows,))
        self._sound = np.zeros(layout.rows, bool)

    @classmethod
    def open(cls, folder: Path, layout: Layout) -> Pack:
        """The pack below `folder` of these nights, made if it is not there.

        Raises:
          ValueError: what is there is not the pack of this manifest, or damaged.
          OSError: it cannot be made.
        """
        if not layout.rows:
            raise ValueError(f"{folder}: the manifest has no epoch to pack")
        own = Path(folder) / layout.manifest_sha256[:16]
        if not (own / PACK).is_file():
            _make(own, layout)
        check_layout(own / PACK, (own / PACK).read_text(encoding="utf-8"), layout)
        for name, size in ((ROWS, layout.rows * layout.row_bytes), (MARKS, layout.rows * 8)):
            if (own / name).stat().st_size != size:
                raise ValueError(f"{own / name}: {(own / name).stat().st_size} bytes, expected {size}; remove {own}")
        return cls(own, layout)

    def __reduce__(self):
        return Pack, (self.folder, self.layout)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Those of `rows` (n,) that are not there, or not what was written. Each is looked at once by a process."""
        unseen = rows[~self._sound[rows]]
        if unseen.size:
            for row, mark in zip(unseen.tolist(), self._marks[unseen].tolist(), strict=True):
                self._sound[row] = mark == mark_of(self._rows[row])
            return unseen[~self._sound[unseen]]
        return unseen

    def block(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A block (n, row_bytes) uint8, and where in it `rows` are, which have to be there."""
        return self._rows, rows

    def write(self, row: int, epoch: Epoch, night: NightEntry) -> bool:
        """Writes the row of an epoch; False where its header has no room. Raises ValueError, OSError."""
        content = encode_row(self.layout, epoch, night)
        if content is None:
            return False
        # Not by the map: a full disk would end the process.
        try:
            written = os.pwrite(self._file, content, row * self.layout.row_bytes)
        except OSError as error:
            raise OSError(
                error.errno, f"{self.folder / ROWS} cannot be written ({error.strerror}); {_ADVICE}"
            ) from error
        if written < len(content):
            raise OSError(errno.ENOSPC, f"{self.folder / ROWS} cannot be written (disk full); {_ADVICE}")
        self._marks[row] = mark_of(content)
        return True

    def complete(self, night: NightEntry, events: Sequence[Event]) -> None:
        """Notes the events of a night whose rows are all there, once they are on the disk."""
        os.fdatasync(self._file)
        self._marks.flush()
        with (self.folder / EVENTS).open("ab") as file:
            file.write(events_line(night.night_id, events))  # in one piece
        self.__dict__.pop("events", None)

    @cached_property
    def events(self) -> dict[str, bytes]:
        """By id of each night that is complete, for `events_in`: not read before they are asked for."""
        return nights_in((self.folder / EVENTS).read_bytes())


def events_line(night_id: str, events: Sequence[Event]) -> bytes:
    """A line of `events.txt`."""
    text = f"{night_id} {json.dumps([[e.kind, e.onset_s, e.duration_s, e.source, e.rule] for e in events])}"
    return f"{zlib.crc32(text.encode()):08x} {text}\n".encode()


def nights_in(content: bytes) -> dict[str, bytes]:
    """The nights of `events.txt`. What a killed process left of a line is passed over, and so is a damaged one."""
    found = {}
    for line in content.split(b"\n"):
        checksum, _, text = line.partition(b" ")
        if f"{zlib.crc32(text):08x}".encode() == checksum:
            night, _, events = text.partition(b" ")
            found[night.decode()] = events
    return found


def events_in(text: bytes) -> tuple[Event, ...]:
    """The events of a night, sorted by onset."""
    return read_events(json.loads(text))


def check_layout(path: object, text: str, layout: Layout) -> None:
    """Raises ValueError unless `text`, of `pack.json`, describes that layout."""
    try:
        found = from_json(Layout, json.loads(text))
    except ValueError as error:
        raise ValueError(f"{path}: damaged or made by other code ({error}); remove its folder") from error
    if found != layout:
        raise ValueError(f"{path}: a pack of other nights or of another version; remove its folder")


def mark_of(row: bytes | np.ndarray) -> int:
    """What is written beside a row that is there: its CRC-32, with a bit that no empty place has."""
    return int(_THERE) + zlib.crc32(row)


def _make(own: Path, layout: Layout) -> None:
    """An empty pack, whole or not at all; another process may be making the same one."""
    own.parent.mkdir(parents=True, exist_ok=True)
    half = own.with_name(f".{own.name}.{uuid.uuid4().hex}{HALF}")
    half.mkdir()
    try:
        for name, size in ((ROWS, layout.rows * layout.row_bytes), (MARKS, layout.rows * 8), (EVENTS, 0)):
            with (half / name).open("wb") as file:
                file.truncate(size)
        write_whole(half / PACK, json.dumps(asdict(layout), indent=1) + "\n")
        if not (own / PACK).is_file():
            half.rename(own)
    except OSError:
        if not (own / PACK).is_file():
            raise
    finally:
        shutil.rmtree(half, ignore_errors=True)
