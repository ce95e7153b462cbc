"""Shards on the disk: one ArrayRecord file with the records of one night."""

import hashlib
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from data_pipeline.shards.epochs import Epoch
from data_pipeline.shards.records import decode_epoch, decode_scoring
from data_pipeline.whole_files import whole_file

SHARD_OPTIONS = "group_size:1,uncompressed"
"""Any record can be read alone, and compresses itself."""


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
        raise ValueError(f"shard {path} is missing; `sleepmami verify` lists what else is, `prepare` makes it again")
    try:
        reader = ArrayRecordReader(str(path), "readahead_buffer_size:0,max_parallelism:0")
        n_records = reader.num_records()  # 0 for a file that was cut or is not an ArrayRecord file
    except RuntimeError as error:
        raise ValueError(f"shard {path} is damaged ({error}); run `sleepmami verify`") from error
    if n_records != n_epochs:
        raise ValueError(f"shard {path} is damaged: {n_records} records, expected {n_epochs}; run `sleepmami verify`")
    return reader


def read_epochs(reader: ArrayRecordReader, path: Path, night_id: str, start: int, stop: int) -> list[Epoch]:
    """Epochs [start, stop) of an open shard, which has to be that of a certain night.

    >>> path = Path("shards/sim-b-0000.array_record")
    >>> (epoch,) = read_epochs(open_shard(path, n_epochs=60), path, "sim-b-0000", 7, 8)
    >>> epoch.stage
    0

    Raises:
      ValueError: a record is damaged or another one than it should be; the message names the file and the epoch.
    """
    return _read(reader, path, night_id, start, stop, decode_epoch)


def read_scoring(reader: ArrayRecordReader, path: Path, night_id: str, start: int, stop: int) -> list[Epoch]:
    """The same without signals, in a quarter of the time. Raises ValueError as `read_epochs`, for headers only."""
    return _read(reader, path, night_id, start, stop, decode_scoring)


def _read(
    reader: ArrayRecordReader, path: Path, night_id: str, start: int, stop: int, decode: Callable[[bytes], Epoch]
) -> list[Epoch]:
    epochs = []
    for index in range(start, stop):
        try:
            (record,) = reader.read([index])
            epoch = decode(record)
            if (epoch.night_id, epoch.index) != (night_id, index):
                raise ValueError(f"not of night {night_id}, or another epoch of it: files were exchanged")
            epochs.append(epoch)
        except (RuntimeError, IndexError, ValueError) as error:
            raise ValueError(f"shard {path}, epoch {index}: {error}; run `sleepmami verify`") from error
    return epochs


def add_record(checksum: "hashlib._Hash", record: bytes) -> None:
    """Adds one record to the SHA-256 of a shard's records."""
    checksum.update(struct.pack("<I", len(record)))
    checksum.update(record)
