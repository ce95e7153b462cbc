"""A shard on the disk."""

import pytest

from data_pipeline.shards.epochs import night_epochs
from data_pipeline.shards.files import open_shard, read_epochs, write_shard
from data_pipeline.shards.records import encode_epoch
from tests.support.nights import random_night


def test_a_shard_reads_back_in_any_order_and_says_when_it_is_damaged(tmp_path):
    path = tmp_path / "n.array_record"
    night = random_night(6, 4)
    name, records = night.night_id, [encode_epoch(epoch) for epoch in night_epochs(night)]
    checksum = write_shard(path, records)
    assert checksum == write_shard(tmp_path / "again.array_record", records)
    assert path.read_bytes() == (tmp_path / "again.array_record").read_bytes()
    assert not list(tmp_path.glob("*.half"))
    reader = open_shard(path, 4)
    assert [read_epochs(reader, path, name, i, i + 1)[0].index for i in (2, 0, 3)] == [2, 0, 3]
    with pytest.raises(ValueError, match="4 records, expected 5"):
        open_shard(path, 5)
    whole = path.read_bytes()
    with pytest.raises(ValueError, match=r"n\.array_record, epoch 1: not of night other"):
        read_epochs(reader, path, "other", 1, 2)
    for broken_name, content in {"cut": whole[: len(whole) // 2], "empty": b"", "junk": b"hello" * 50000}.items():
        broken = tmp_path / f"{broken_name}.array_record"
        broken.write_bytes(content)
        with pytest.raises(ValueError, match=f"{broken_name}.array_record is damaged"):
            open_shard(broken, 4)
    flipped = tmp_path / "flipped.array_record"
    middle = whole.index(records[2][-5000:-4900])
    flipped.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    reader = open_shard(flipped, 4)
    assert read_epochs(reader, flipped, name, 0, 2)[1].index == 1
    with pytest.raises(ValueError, match=r"flipped\.array_record, epoch 2"):
        read_epochs(reader, flipped, name, 0, 4)
    with pytest.raises(ValueError, match=r"absent\.array_record is missing"):
        open_shard(tmp_path / "absent.array_record", 4)
