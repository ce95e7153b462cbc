"""What is read from a pack is what its shards say, whoever made it, wherever it lies."""

import numpy as np
import pytest

from data_pipeline.modalities import SLOTS
from data_pipeline.tasks import AROUSAL
from sleepmami_jax.data import packing, source
from sleepmami_jax.data.batches import signal_batches
from sleepmami_jax.data.packing import pack_folder
from sleepmami_jax.data.source import PreparedFolder
from tests.support.batches import assert_same, data_of

TASKS = (AROUSAL,)


@pytest.fixture(scope="module")
def packs(shards, tmp_path_factory):
    out = tmp_path_factory.mktemp("packs")
    pack_folder(shards, out)
    return out


def on_their_way(data, n=4, epochs=3):
    batches = signal_batches(data, SLOTS, epochs=epochs, global_batch=4, seed=5, tasks=TASKS)
    taken = [next(batches) for _ in range(n)]
    batches.close()
    return taken


def flat(batches):
    """Tuples of channels as dictionaries, for `assert_same`."""
    return {
        str(i): {k: v | {"stored": dict(enumerate(v["stored"]))} if k in SLOTS else v for k, v in batch.items()}
        for i, batch in enumerate(batches)
    }


@pytest.fixture
def no_records(monkeypatch):
    def never(*_):
        raise AssertionError("a record was decoded")

    monkeypatch.setattr(source, "read_epochs", never)
    monkeypatch.setattr(source, "read_scoring", never)


@pytest.mark.parametrize("epochs", [None, 3])
def test_batches_are_the_same_bytes_and_nothing_is_decoded(shards, packs, epochs, no_records, monkeypatch):
    packed = on_their_way(data_of(shards, shards, pack=str(packs)), epochs=epochs)
    monkeypatch.undo()
    assert_same(flat(packed), flat(on_their_way(data_of(shards, shards), epochs=epochs)))


def test_a_pack_fills_as_a_run_reads_and_workers_share_it(shards, tmp_path):
    usual = on_their_way(data_of(shards))
    for workers in (0, 1):
        assert_same(flat(on_their_way(data_of(shards, pack=str(tmp_path), workers=workers))), flat(usual))
    folder = PreparedFolder.open(shards, tmp_path)
    there = folder.pack.layout.rows - len(folder.pack.missing(np.arange(folder.pack.layout.rows)))
    assert there > 0 and not folder.pack.events


def test_damaged_rows_are_made_anew(shards, tmp_path):
    usual = on_their_way(data_of(shards), n=10)
    pack = pack_folder(shards, tmp_path)
    for row in range(pack.layout.rows):
        with (pack.folder / "rows.bin").open("r+b") as file:
            file.seek(row * pack.layout.row_bytes)
            file.write(b"\x5a\xa5\x5a")
    assert_same(flat(on_their_way(data_of(shards, pack=str(tmp_path)), n=10)), flat(usual))


def test_the_events_of_all_nights_come_without_a_record(shards, packs, no_records, monkeypatch):
    folder = PreparedFolder.open(shards, packs)
    events = [folder.events(night) for night in range(5)]
    monkeypatch.undo()
    assert events == [PreparedFolder.open(shards).events(night) for night in range(5)] and any(events)


def test_packing_goes_on_where_it_was_stopped(shards, tmp_path, monkeypatch):
    real, opened = packing._pack_night, []

    def stops_at_two(folder, out, night):
        opened.append(night)
        if len(opened) == 3:
            raise KeyboardInterrupt
        real(folder, out, night)

    monkeypatch.setattr(packing, "_pack_night", stops_at_two)
    with pytest.raises(KeyboardInterrupt):
        pack_folder(shards, tmp_path)
    done = []
    pack_folder(shards, tmp_path, progress=lambda *told: done.append(told))
    assert opened == [0, 1, 2, 2, 3, 4] and done[-1] == (5, 5, "n5")


def test_a_night_that_cannot_be_packed_is_named(shards, tmp_path):
    copy = tmp_path / "shards"
    copy.mkdir()
    (copy / "manifest.jsonl").write_bytes((shards / "manifest.jsonl").read_bytes())
    with pytest.raises(ValueError, match=r"n1\.array_record is missing"):
        pack_folder(copy, tmp_path / "packs")
    with pytest.raises(ValueError, match="a pack is made on a disk"):
        pack_folder(copy, "gs://nights/packs")


# Buckets


def put(bucket, folder, name):
    for path in folder.rglob("*"):
        if path.is_file():
            bucket.objects[f"{name}/{path.relative_to(folder)}"] = (1, path.read_bytes())


def test_shards_in_a_bucket_are_packed_and_a_pack_in_one_is_read(shards, packs, bucket, tmp_path):
    put(bucket, shards, "shards")
    put(bucket, packs, "packs")
    there, usual = f"gs://{bucket.name}/shards", flat(on_their_way(data_of(shards)))
    pack_folder(there, tmp_path)
    assert_same(flat(on_their_way(data_of(there, pack=str(tmp_path)))), usual)
    assert_same(flat(on_their_way(data_of(there, pack=f"gs://{bucket.name}/packs"))), usual)
    with pytest.raises(ValueError, match="shards in a bucket are read whole; `sleepmami pack` them"):
        on_their_way(data_of(there), n=1)
    (rows,) = (name for name in bucket.objects if name.startswith("packs/") and name.endswith("rows.bin"))
    bucket.objects[rows] = (1, bytes(len(bucket.objects[rows][1])))
    with pytest.raises(ValueError, match=r"rows\.bin: row \d+ is not what was written; copy the pack again"):
        on_their_way(data_of(there, pack=f"gs://{bucket.name}/packs"), n=1)
    with pytest.raises(ValueError, match=r"no-packs.*cannot be read"):
        on_their_way(data_of(there, pack=f"gs://{bucket.name}/no-packs"), n=1)
