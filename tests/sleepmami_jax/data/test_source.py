"""Any epochs of any night of a prepared folder."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from data_pipeline.modalities import Modality
from data_pipeline.prepare.run import PrepareConfig, prepare
from sleepmami_jax.data.batches import signal_batches
from sleepmami_jax.data.source import PreparedFolder
from tests.support.batches import SMALL, assert_same, data_of, places, take
from tests.support.nights import load_random_night, random_night, write_recordings


def test_only_the_split_and_what_was_scored_and_usable_is_read(tmp_path):
    (tmp_path / "in").mkdir()
    for k in range(4):
        (tmp_path / "in" / f"n{k}.edf").write_text(f"seed {k}")
    (tmp_path / "in" / "demographics.csv").write_text("night_id,split\nn0,train\nn1,train\nn2,train\nn3,val\n")

    def load(recording, scoring=(), *, night_id, **facts):
        night = random_night(int(night_id[1]), 6, ["C3", "CHIN"], night_id=night_id, scored=night_id != "n1")
        if night_id == "n2":  # its EEG is bad from epoch 2 on
            c3 = night.channels[0]
            bad = replace(c3, quality=np.where(np.arange(len(c3.quality)) < 60, 0, 4).astype(np.uint8))
            night = replace(night, channels=(bad, night.channels[1]))
        return night

    prepare([tmp_path / "in"], tmp_path / "out", load=load)
    eeg = {Modality.EEG: ("C3",)}

    def one_pass(n, **options):
        iterator = signal_batches(data_of(tmp_path / "out", **options), eeg, global_batch=1, seed=0)
        return sorted(places(batch)[0] for batch in take(iterator, n))

    assert one_pass(14) == [(n, e) for n in (0, 1, 2) for e in range(6 if n < 2 else 2)]
    two = {n for n, _ in one_pass(14, nights=2)}
    assert len(two) == 2 and {n for n, _ in one_pass(14, skip=2)} == {0, 1, 2} - two
    assert one_pass(6, split="val") == [(3, e) for e in range(6)]
    assert {n for n, _ in one_pass(8, scored=True)} == {0, 2}
    with pytest.raises(ValueError, match=r"out: no night of split 'test' among 4 prepared nights"):
        signal_batches(data_of(tmp_path / "out", split="test"), SMALL, global_batch=1, seed=0)
    nothing = {Modality.EEG: ("O1",)}
    with pytest.raises(ValueError, match="out: no epoch with a usable channel in 3 nights of split train"):
        signal_batches(data_of(tmp_path / "out"), nothing, global_batch=1, seed=0)


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_a_missing_or_damaged_shard_is_named(tmp_path, damage):
    out = tmp_path / "out"
    prepare([write_recordings(tmp_path / "in", [1])], out, config=PrepareConfig(0, 0), load=load_random_night)
    shard = out / "n1.array_record"
    content = shard.read_bytes()
    shard.unlink()
    if damage == "cut":
        shard.write_bytes(content[:-100_000])
    if damage == "flipped":
        shard.write_bytes(content[:250_000] + b"\7\7\7\7" + content[250_004:])
    with pytest.raises(ValueError, match=r"n1.array_record.*sleepmami verify"):
        take(signal_batches(data_of(out), SMALL, global_batch=5, seed=0), 1)


def test_the_events_of_a_night_come_back_whole(shards):
    assert PreparedFolder.open(shards).events(1) == random_night(2, 6).scoring.events


def test_a_folder_can_be_sent_to_another_process(shards):
    folder = PreparedFolder.open(shards)
    first = folder.arrays(0, SMALL)
    assert_same(pickle.loads(pickle.dumps(folder)).arrays(0, SMALL), first)
