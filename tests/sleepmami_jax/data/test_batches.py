"""What batches of signals hold."""

import numpy as np

from data_pipeline.modalities import SLOTS
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.tasks import AROUSAL, BREATHING
from sleepmami_jax.data.batches import signal_batches
from sleepmami_jax.data.source import PreparedFolder
from tests.support.batches import SMALL, assert_same, data_of, places, take

TASKS = (BREATHING, AROUSAL)


def test_an_epoch_batch_holds_what_the_folder_holds(shards):
    (batch,) = take(signal_batches(data_of(shards), SLOTS, global_batch=6, seed=0, tasks=TASKS), 1)
    folder = PreparedFolder.open(shards)
    assert batch["EEG"]["signal"].shape == (6, 6, 3840) and batch["RESP"]["usable"].shape == (6, 4, 30)
    assert batch["stage"].dtype == batch["night"].dtype == np.int32 and "demographics" not in batch
    for row, (night, epoch) in enumerate(places(batch)):
        alone = folder.arrays(night, start=epoch, stop=epoch + 1, tasks=TASKS)
        for modality in SLOTS:
            assert_same(
                {k: v[row] for k, v in batch[modality].items()},
                {k: v[0] for k, v in alone[modality].items()},
                exact=False,
            )
        np.testing.assert_array_equal(batch["seconds"]["arousal"][row], alone["seconds"]["arousal"][0])
        assert batch["stage"][row] == alone["stage"][0] == folder.manifest.nights[night].stage_codes[epoch]


def test_windows_are_consecutive_cover_the_night_and_move_between_passes(shards):
    nights = read_manifest(shards).nights
    per_pass = sum(-(-night.n_epochs // 4) for night in nights)
    batches = take(signal_batches(data_of(shards), SMALL, epochs=4, global_batch=1, seed=1, tasks=TASKS), per_pass * 6)
    seen = [[places(b)[0] for b in batches[k * per_pass : (k + 1) * per_pass]] for k in range(6)]
    for one_pass in seen:
        assert sorted(n for n, _ in one_pass) == [0, 0, 1, 1, 2, 3, 3, 4, 4]
    assert len({tuple(sorted(one_pass)) for one_pass in seen}) > 1
    starts = {(n, s) for one_pass in seen for n, s in one_pass}
    assert {s for n, s in starts if n == 1} == {0, 1, 2} and {s for n, s in starts if n == 2} == {0}
    folder = PreparedFolder.open(shards)
    for batch in batches[:4]:
        night, start = places(batch)[0]
        part = folder.arrays(night, SMALL, start=start, stop=start + 4, tasks=TASKS)
        window = {k: v for k, v in batch.items() if k not in ("night", "person", "epoch")}
        assert_same(window, add_batch_axis(part), exact=False)


def add_batch_axis(value):
    return {k: add_batch_axis(v) if isinstance(v, dict) else np.asarray(v)[None] for k, v in value.items()}


def test_a_night_shorter_than_the_window_is_padded(shards):
    for batch in take(signal_batches(data_of(shards), SMALL, epochs=7, global_batch=5, seed=1), 1):
        lengths = [read_manifest(shards).nights[night].n_epochs for night, _ in places(batch)]
        assert batch["epoch_mask"].sum(-1).tolist() == lengths and sorted(lengths) == [4, 5, 5, 6, 6]
        assert (batch["stage"][~batch["epoch_mask"]] == -1).all()
        assert not batch["EEG"]["present"][~batch["epoch_mask"]].any()
