"""The loader: the same arrays from shards and from memory, and an order that survives hosts and restarts."""

import os
import pickle
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from data_pipeline.night import SLOTS, Demographics, Event, EventKind, Modality
from data_pipeline.prepare.run import PrepareConfig, prepare
from data_pipeline.shards.manifest import read_manifest
from sleepmami_jax.config import DataConfig, DataSource
from sleepmami_jax.data.arrays import (
    bucket_length,
    demographics_arrays,
    night_arrays,
    night_signals,
    normalise,
)
from sleepmami_jax.data.batches import epoch_batches, open_nights, window_batches
from sleepmami_jax.data.embeddings import encode_blocks
from sleepmami_jax.data.labels import second_labels
from sleepmami_jax.data.source import PreparedFolder
from tests.support.nights import load_random_night, random_night, write_recordings

SMALL = {Modality.EEG: ("C3", "C4"), Modality.SPO2: ("SPO2",)}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Nights n1..n5 with 5, 6, 4, 5, 6 epochs, all of them for training."""
    root = tmp_path_factory.mktemp("loader")
    write_recordings(root / "in", [1, 2, 3, 4, 5])
    prepare([root / "in"], root / "out", config=PrepareConfig(0, 0), load=load_random_night)
    return root / "out"


def config(*folders, **options):
    return DataConfig(tuple(DataSource(str(folder)) for folder in folders), **options)


def epochs_of(data, slots=SMALL, **options):
    return epoch_batches(data, slots, **options)


def windows_of(data, slots=SMALL, **options):
    return window_batches(data, slots, **options)


def places(batch):
    return list(zip(batch["night"].tolist(), batch["epoch"].tolist(), strict=True))


def take(iterator, n):
    batches = [next(iterator) for _ in range(n)]
    iterator.close()
    return batches


def assert_same(a, b, exact=True):
    """Two dictionaries of arrays are equal; `exact=False` allows for the rounding to int16."""
    assert a.keys() == b.keys()
    for key in a:
        if isinstance(a[key], dict):
            assert_same(a[key], b[key], exact)
        else:
            assert a[key].shape == b[key].shape and a[key].dtype == b[key].dtype, key
            np.testing.assert_allclose(a[key], b[key], atol=0 if exact else 2e-3, rtol=0, err_msg=str(key))


@pytest.mark.parametrize("slots", [SLOTS, {Modality.EEG: ("C4", "F3"), Modality.RESP: ("THORAX",)}])
def test_a_night_from_shards_equals_the_night_in_memory(tmp_path, slots):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "n7.edf").write_text("7")
    some = ["F3", "C4", "E1", "CHIN", "THORAX", "SPO2"]
    night = random_night(7, 5, some, night_id="n7")
    gap = night.channels[0].samples.copy()
    gap[1000:9000] = np.nan
    night = replace(night, channels=(replace(night.channels[0], samples=gap), *night.channels[1:]))
    prepare([tmp_path / "in"], tmp_path / "out", load=lambda *args, **facts: night)
    folder = PreparedFolder.open(tmp_path / "out")
    there, here = folder.arrays(0, slots, length=8), night_arrays(night, slots, length=8)
    assert_same(there, here, exact=False)
    assert here["EEG"]["signal"].shape == (8, len(slots[Modality.EEG]), 3840)
    f3 = slots[Modality.EEG].index("F3")
    assert not here["EEG"]["usable"][0, f3, 7:].any() and not here["EEG"]["signal"][0, f3, 7 * 128 :].any()
    assert here["EEG"]["usable"][3:5, f3].mean() > 0.9 and here["EEG"]["signal"][3, f3].std() > 0.5
    assert here["epoch_mask"].tolist() == [True] * 5 + [False] * 3 and here["stage"][5:].tolist() == [-1] * 3
    assert not here["EEG"]["present"][5:].any() and not here["EEG"]["signal"][5:].any()
    assert_same(
        folder.arrays(0, slots, start=2, stop=4), {**night_arrays_part(night, slots, 2, 4)}, exact=False
    )


def test_the_signals_of_a_night_come_part_by_part():
    night = random_night(7, 5, ["F3", "C4", "E1", "SPO2"], night_id="n7")
    whole, parts = night_arrays(night, length=6), list(night_signals(night, SLOTS, 2))
    assert len(parts) == 3
    for modality in SLOTS:
        for name, values in whole[modality].items():
            np.testing.assert_array_equal(np.concatenate([p[modality][name] for p in parts]), values)


def test_blocks_are_encoded_side_by_side_and_come_in_their_order(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    both, read = threading.Barrier(2, timeout=20), []

    def blocks():
        for i in range(6):
            read.append(i)
            yield i

    def encode(block):
        both.wait()  # until another one is being encoded too
        time.sleep(0.02 * (block % 2 == 0))
        return block

    found = []
    for block in encode_blocks(encode, blocks()):
        found.append(block)
        assert len(read) <= block + 4  # two at work, one that waits, one more in hand
    assert found == list(range(6))

    def fails(block):
        raise ValueError(f"block {block}")

    with pytest.raises(ValueError, match="block 0"):
        list(encode_blocks(fails, blocks()))


def night_arrays_part(night, slots, start, stop):
    """Epochs [start, stop) cut from a whole night's arrays; demographics have no epochs."""

    def cut(arrays):
        return {k: cut(v) if isinstance(v, dict) else v[start:stop] for k, v in arrays.items()}

    arrays = night_arrays(night, slots)
    demographics = arrays.pop("demographics")
    return cut(arrays) | {"demographics": demographics}


def test_signals_are_centred_and_scaled_by_the_good_seconds_of_the_night():
    night = random_night(9, 3, ["C3", "SPO2"])
    c3, spo2 = night.channels
    good = c3.samples.reshape(-1, 128)[c3.quality == 0]
    q25, q50, q75 = np.percentile(good, (25, 50, 75))
    arrays = night_arrays(night, SMALL)
    signal, usable = arrays["EEG"]["signal"][:, 0].reshape(-1, 128), arrays["EEG"]["usable"][:, 0].ravel()
    seconds = c3.samples[: 90 * 128].reshape(-1, 128)
    np.testing.assert_allclose(signal[usable], ((seconds - q50) / (q75 - q25) * 1.349)[usable], atol=1e-5)
    saturation = arrays["SPO2"]["signal"].ravel() * 5 + 95
    np.testing.assert_allclose(
        saturation[spo2.quality[:90] == 0], spo2.samples[:90][spo2.quality[:90] == 0], atol=1e-4
    )


def test_a_channel_that_is_absent_or_mostly_bad_or_never_moves_is_masked():
    night = random_night(8, 4, ["C3", "C4", "THORAX", "SPO2"])
    c3, c4, thorax, spo2 = night.channels
    c3 = replace(c3, quality=np.where(np.arange(len(c3.quality)) < 3, 0, 2).astype(np.uint8))
    thorax = replace(thorax, samples=np.zeros_like(thorax.samples))
    spo2 = replace(spo2, samples=np.full_like(spo2.samples, 97))  # steady, and right to be
    arrays = night_arrays(replace(night, channels=(c3, c4, thorax, spo2)))
    assert arrays["EEG"]["present"].any(0).tolist() == [False, False, False, True, False, False]
    assert not arrays["RESP"]["present"].any() and not arrays["EEG"]["signal"][:, 2].any()
    assert arrays["SPO2"]["present"].all()
    np.testing.assert_allclose(arrays["SPO2"]["signal"][arrays["SPO2"]["usable"]], 0.4, rtol=1e-6)
    more = replace(c3, quality=np.where(np.arange(len(c3.quality)) < 9, 0, 2).astype(np.uint8))
    assert night_arrays(replace(night, channels=(more,)))["EEG"]["present"][0, 2]


def test_normalise():
    x = np.array([10.0, 14.0, 1e6, -1e6], np.float32)
    np.testing.assert_allclose(normalise(x, Modality.ECG, 10.0, 2.698), [0, 2, 20, -20], rtol=1e-6)
    stored = np.array([0, 8, -3], np.int16)
    np.testing.assert_allclose(
        normalise(stored, Modality.EEG, 3.0, 1.5, scale=0.5, offset=2.0),
        normalise(stored * np.float32(0.5) + np.float32(2), Modality.EEG, 3.0, 1.5),
        rtol=1e-6,
    )
    np.testing.assert_allclose(normalise(np.array([95.0, 80, 0]), Modality.SPO2, None, None), [0, -3, -10])
    with pytest.raises(ValueError, match=r"EMG with median 0\.0 and IQR 0\.0 has no scale"):
        normalise(x, Modality.EMG, 0.0, 0.0)


def test_second_labels_take_a_second_that_is_more_than_half_covered():
    scored = {"hypopnea", "apnea", "arousal"}
    events = (
        Event(EventKind.HYPOPNEA, 1.5, 3.0),  # half of second 1: not; 2, 3; half of second 4: not
        Event(EventKind.APNEA, 3.4, 2.2),  # most of 3, 4, and 0.6 of 5
        Event(EventKind.AROUSAL, -4.0, 5.4),  # second 0, and 0.4 of 1
        Event(EventKind.SPINDLE, 7.0, 1.0),
    )
    labels = second_labels(events, scored, 0.0, 8)
    assert labels["respiratory"].tolist() == [0, 0, 1, 2, 2, 2, 0, 0]
    assert labels["arousal"].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    moved = second_labels(events, scored, 2.0, 3)
    assert moved["respiratory"].tolist() == [1, 2, 2] and moved["respiratory"].dtype == np.int8
    unscored = second_labels(events, {"hypopnea", "stages"}, 0.0, 2)
    assert unscored["respiratory"].tolist() == unscored["arousal"].tolist() == [-1, -1]
    far = second_labels(
        (Event(EventKind.AROUSAL, 20.0, 3.0), Event(EventKind.AROUSAL, -9.0, 3.0)), scored, 0.0, 8
    )
    assert not far["arousal"].any()


def test_demographics_and_buckets():
    known = demographics_arrays(Demographics(41.0, "M", None))
    assert (known["age_years"], known["sex"], known["bmi"]) == (41, 1, 0)
    assert known["age_years_known"] and known["sex_known"] and not known["bmi_known"]
    assert [bucket_length(n) for n in (1, 240, 241, 960)] == [240, 240, 480, 960]


def test_every_epoch_comes_once_a_pass_and_each_pass_has_its_order(shards):
    n_epochs = sum(night.n_epochs for night in read_manifest(shards).nights)
    batches = take(epochs_of(config(shards), global_batch=2, seed=3), n_epochs)
    order = [place for batch in batches for place in places(batch)]
    first, second = order[:n_epochs], order[n_epochs:]
    assert len(set(first)) == n_epochs and set(first) == set(second)
    assert first != second and first != sorted(first)
    other = take(epochs_of(config(shards), global_batch=2, seed=4), 3)
    assert [places(b) for b in other] != [places(b) for b in batches[:3]]


def test_an_epoch_batch_holds_what_the_folder_holds(shards):
    batch = next(it := epochs_of(config(shards), SLOTS, global_batch=6, seed=0))
    it.close()
    folder = PreparedFolder.open(shards)
    assert batch["EEG"]["signal"].shape == (6, 6, 3840) and batch["RESP"]["usable"].shape == (6, 4, 30)
    assert batch["stage"].dtype == batch["night"].dtype == np.int32 and "demographics" not in batch
    for row, (night, epoch) in enumerate(places(batch)):
        alone = folder.arrays(night, start=epoch, stop=epoch + 1)
        for modality in Modality:
            np.testing.assert_array_equal(batch[modality]["signal"][row], alone[modality]["signal"][0])
        np.testing.assert_array_equal(batch["seconds"]["arousal"][row], alone["seconds"]["arousal"][0])
        assert batch["stage"][row] == alone["stage"][0] == folder.manifest.nights[night].stage_codes[epoch]


@pytest.mark.parametrize("kind", ["epochs", "windows"])
def test_hosts_and_restarts_do_not_change_the_data(shards, kind):
    def make(index=0, count=1):
        rows = np.arange(4).reshape(-1, 2, 1)[:, index].ravel() if count == 2 else None
        options = {"global_batch": 4, "seed": 5, "rows": rows}
        if kind == "epochs":
            return epochs_of(config(shards, shards), **options)
        return windows_of(config(shards, shards), epochs=3, **options)

    whole = take(make(), 8)
    halves = [take(make(index, 2), 8) for index in range(2)]
    for step, batch in enumerate(whole):
        for index in range(2):
            mine = {k: v for k, v in halves[index][step].items() if k in ("stage", "night", "epoch", "EEG")}
            rows = {k: every_second(batch[k], index) for k in mine}
            assert_same(mine, rows)
    iterator = make()
    take_three = [next(iterator) for _ in range(3)]
    assert_same(take_three[2], whole[2])
    state = iterator.get_state()
    iterator.close()
    assert state == {"global_next_index": 12}
    again = make()
    again.set_state(state)
    for a, b in zip(take(again, 5), whole[3:], strict=True):
        assert_same(a, b)
    two = make(1, 2)
    two.set_state({"global_next_index": 5 * 4})
    assert places(next(two)) == places(whole[5])[1::2]
    two.close()


def every_second(value, index):
    return (
        {k: every_second(v, index) for k, v in value.items()} if isinstance(value, dict) else value[index::2]
    )


def test_windows_are_consecutive_cover_the_night_and_move_between_passes(shards):
    nights = read_manifest(shards).nights
    per_pass = sum(-(-night.n_epochs // 4) for night in nights)
    batches = take(windows_of(config(shards), epochs=4, global_batch=1, seed=1), per_pass * 6)
    seen = [[places(b)[0] for b in batches[k * per_pass : (k + 1) * per_pass]] for k in range(6)]
    for one_pass in seen:
        assert sorted(n for n, _ in one_pass) == [0, 0, 1, 1, 2, 3, 3, 4, 4]
    assert len({tuple(sorted(one_pass)) for one_pass in seen}) > 1
    starts = {(n, s) for one_pass in seen for n, s in one_pass}
    assert {s for n, s in starts if n == 1} == {0, 1, 2} and {s for n, s in starts if n == 2} == {0}
    folder = PreparedFolder.open(shards)
    for batch in batches[:4]:
        night, start = places(batch)[0]
        part = folder.arrays(night, SMALL, start=start, stop=start + 4)
        assert_same({k: v for k, v in batch.items() if k not in ("night", "epoch")}, add_batch_axis(part))


def add_batch_axis(value):
    return {k: add_batch_axis(v) if isinstance(v, dict) else np.asarray(v)[None] for k, v in value.items()}


def test_a_night_shorter_than_the_window_is_padded(shards):
    for batch in take(windows_of(config(shards), epochs=7, global_batch=5, seed=1), 1):
        lengths = [read_manifest(shards).nights[night].n_epochs for night, _ in places(batch)]
        assert batch["epoch_mask"].sum(-1).tolist() == lengths and sorted(lengths) == [4, 5, 5, 6, 6]
        assert (batch["stage"][~batch["epoch_mask"]] == -1).all()
        assert not batch["EEG"]["present"][~batch["epoch_mask"]].any()


def test_a_mixture_follows_its_weights_and_counts_nights_through(shards):
    mixture = DataConfig((DataSource(str(shards), 3.0), DataSource(str(shards), 1.0)))
    nights = [n for batch in take(epochs_of(mixture, global_batch=8, seed=0), 5) for n in batch["night"]]
    assert sum(night < 5 for night in nights) == 30 and sum(night >= 5 for night in nights) == 10
    assert len(open_nights(mixture)) == 10


def test_only_the_split_and_what_was_scored_and_usable_is_read(tmp_path):
    (tmp_path / "in").mkdir()
    for k in range(4):
        (tmp_path / "in" / f"n{k}.edf").write_text(f"seed {k}")
    (tmp_path / "in" / "demographics.csv").write_text(
        "night_id,split\nn0,train\nn1,train\nn2,train\nn3,val\n"
    )

    def load(recording, scoring=(), *, night_id, **facts):
        night = random_night(int(night_id[1]), 6, ["C3", "CHIN"], night_id=night_id, scored=night_id != "n1")
        if night_id == "n2":  # its EEG is bad from epoch 2 on
            c3 = night.channels[0]
            bad = replace(c3, quality=np.where(np.arange(len(c3.quality)) < 60, 0, 4).astype(np.uint8))
            night = replace(night, channels=(bad, night.channels[1]))
        return night

    prepare([tmp_path / "in"], tmp_path / "out", load=load)
    eeg = {Modality.EEG: ("C3",)}

    def one_pass(n, require=(), **options):
        iterator = epochs_of(
            config(tmp_path / "out", **options), eeg, global_batch=1, seed=0, require=require
        )
        return sorted(places(batch)[0] for batch in take(iterator, n))

    assert one_pass(14) == [(n, e) for n in (0, 1, 2) for e in range(6 if n < 2 else 2)]
    two = {n for n, _ in one_pass(14, nights=2)}
    assert len(two) == 2 and {n for n, _ in one_pass(14, skip=2)} == {0, 1, 2} - two
    assert one_pass(6, split="val") == [(3, e) for e in range(6)]
    stages = {n: random_night(n, 6, ["C3", "CHIN"]).scoring.stages for n in (0, 2)}
    known = [(n, e) for n in (0, 2) for e in range(6 if n == 0 else 2) if stages[n][e] >= 0]
    assert 0 < len(known) < 8 and one_pass(len(known), require=("stages", "arousal")) == known
    with pytest.raises(ValueError, match=r"out: no night of split 'test' among 4 prepared nights"):
        epochs_of(config(tmp_path / "out", split="test"), global_batch=1, seed=0)
    with pytest.raises(ValueError, match="no epoch with a usable channel and spindle scored in 3 nights"):
        epochs_of(config(tmp_path / "out"), eeg, global_batch=1, seed=0, require=("spindle",))


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
        take(epochs_of(config(out), global_batch=5, seed=0), 1)


def test_the_events_of_a_night_come_back_whole(shards):
    assert PreparedFolder.open(shards).events(1) == random_night(2, 6).scoring.events


def test_a_folder_can_be_sent_to_another_process(shards):
    folder = PreparedFolder.open(shards)
    first = folder.arrays(0, SMALL)
    assert_same(pickle.loads(pickle.dumps(folder)).arrays(0, SMALL), first)


def test_settings_that_make_no_sense_are_refused(shards):
    with pytest.raises(ValueError, match=r"require \['sleep'\]"):
        epochs_of(config(shards), global_batch=2, seed=0, require=("sleep",))
    with pytest.raises(ValueError, match=r"data\.shards: expected one or more folders"):
        epochs_of(DataConfig(), global_batch=2, seed=0)
    with pytest.raises(ValueError, match="no such manifest"):
        epochs_of(config(shards / "x"), global_batch=2, seed=0)


@pytest.mark.skipif(
    "SLEEPMAMI_REAL_DATA" not in os.environ, reason="SLEEPMAMI_REAL_DATA names no folder of recordings"
)
def test_a_real_night_from_shards_equals_the_night_in_memory(tmp_path):
    from pathlib import Path

    from data_pipeline.cohorts import find_nights
    from data_pipeline.load import load_night

    (source,) = find_nights([Path(os.environ["SLEEPMAMI_REAL_DATA"]) / "dreams_spindles" / "excerpt2.edf"])
    prepare([source.recording], tmp_path)
    night = load_night(source.recording, source.scoring)
    assert_same(PreparedFolder.open(tmp_path).arrays(0), night_arrays(night), exact=False)
