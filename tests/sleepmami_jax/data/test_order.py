"""An order that survives hosts and restarts."""

from types import SimpleNamespace

import grain
import numpy as np
import pytest

from data_pipeline.shards.manifest import read_manifest
from sleepmami_jax.config import DataConfig, DataSource
from sleepmami_jax.data.batches import signal_batches
from sleepmami_jax.data.order import in_random_order, open_nights, people
from sleepmami_jax.data.source import PreparedFolder
from tests.support.batches import SMALL, assert_same, data_of, places, received, take


def test_every_epoch_comes_once_a_pass_and_each_pass_has_its_order(shards):
    n_epochs = sum(night.n_epochs for night in read_manifest(shards).nights)
    batches = take(signal_batches(data_of(shards), SMALL, global_batch=2, seed=3), n_epochs)
    order = [place for batch in batches for place in places(batch)]
    first, second = order[:n_epochs], order[n_epochs:]
    assert len(set(first)) == n_epochs and set(first) == set(second)
    assert first != second and first != sorted(first)
    other = take(signal_batches(data_of(shards), SMALL, global_batch=2, seed=4), 3)
    assert [places(b) for b in other] != [places(b) for b in batches[:3]]


@pytest.mark.parametrize("kind", ["epochs", "windows"])
def test_hosts_and_restarts_do_not_change_the_data(shards, kind):
    def make(index=0, count=1):
        rows = np.arange(4).reshape(-1, 2, 1)[:, index].ravel() if count == 2 else None
        options = {"global_batch": 4, "seed": 5, "rows": rows}
        if kind == "epochs":
            return signal_batches(data_of(shards, shards), SMALL, **options)
        return signal_batches(data_of(shards, shards), SMALL, epochs=3, **options)

    whole = take(make(), 8)
    halves = [take(make(index, 2), 8) for index in range(2)]
    for step, batch in enumerate(whole):
        for index in range(2):
            mine = {k: v for k, v in halves[index][step].items() if k in ("stage", "night", "epoch", "EEG")}
            rows = {k: every_second(batch[k], index) for k in mine}
            assert_same(mine, rows)
    iterator = make()
    take_three = [received(next(iterator)) for _ in range(3)]
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
    return {k: every_second(v, index) for k, v in value.items()} if isinstance(value, dict) else value[index::2]


def test_a_persons_nights_have_one_number_in_all_folders(shards):
    def folder(*subjects):
        return SimpleNamespace(manifest=SimpleNamespace(nights=[SimpleNamespace(subject_id=s) for s in subjects]))

    found = people([folder("b", "a", "b"), folder("c", "a")])
    assert found.dtype == np.int32
    assert len(set(found)) == 3 and found[0] == found[2] and found[1] == found[4] and found[3] not in found[:3]
    twice = take(signal_batches(data_of(shards, shards), SMALL, global_batch=16, seed=0), 2)
    for batch in twice:  # five people, ten nights
        assert batch["person"].dtype == np.int32
        np.testing.assert_array_equal(batch["person"], people([PreparedFolder.open(shards)])[batch["night"] % 5])
        assert batch["night"].max() >= 5


def test_a_mixture_follows_its_weights_and_counts_nights_through(shards):
    mixture = DataConfig((DataSource(str(shards), 3.0), DataSource(str(shards), 1.0)))
    nights = [n for batch in take(signal_batches(mixture, SMALL, global_batch=8, seed=0), 5) for n in batch["night"]]
    assert sum(night < 5 for night in nights) == 30 and sum(night >= 5 for night in nights) == 10
    assert len(open_nights(mixture)) == 10


@pytest.mark.parametrize("weights", [[1.0], [3.0, 1.0], [0.7, 0.2, 1.9]])
def test_the_order_is_that_of_grain(weights):
    elements = [np.stack(np.broadcast_arrays(night, np.arange(7 + night)), -1) for night in range(len(weights))]
    datasets = [
        grain.MapDataset.source(np.pad(rows, ((0, 0), (1, 0)), constant_values=i).astype(np.int32)).seed(2**31 - 1 + i)
        for i, rows in enumerate(elements)
    ]
    theirs = grain.MapDataset.mix([dataset.shuffle().repeat() for dataset in datasets], weights=weights)
    data = DataConfig(tuple(DataSource("folder", weight) for weight in weights))
    ours = in_random_order(data, elements, 2**31 - 1)
    indices = np.r_[0:60, 10**9 : 10**9 + 20]
    np.testing.assert_array_equal(ours.at(indices), [theirs[index] for index in indices.tolist()])


def test_settings_that_make_no_sense_are_refused(shards):
    with pytest.raises(ValueError, match=r"data\.shards: expected one or more folders"):
        signal_batches(DataConfig(), SMALL, global_batch=2, seed=0)
    with pytest.raises(ValueError, match="no such manifest"):
        signal_batches(data_of(shards / "x"), SMALL, global_batch=2, seed=0)
