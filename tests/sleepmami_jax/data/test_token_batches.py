"""What batches of micro tokens hold: what the embeddings do, at the places where signals would be read."""

import numpy as np
import pytest

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.tasks import AROUSAL, BREATHING
from sleepmami_jax.data.batches import signal_batches
from sleepmami_jax.data.embeddings import embed_folder
from sleepmami_jax.data.source import PreparedFolder
from sleepmami_jax.data.token_batches import embedded_nights, embedded_windows
from tests.support.batches import data_of, places, take

DIM, TASKS = 3, (BREATHING, AROUSAL)


def encode(arrays):
    """Two tokens of EEG and one of SpO2: means over channels and time."""
    eeg, spo2 = (arrays[m] for m in (Modality.EEG, Modality.SPO2))
    halves = np.split(eeg["signal"].mean(1), 2, axis=-1)
    x = np.stack([*(half.mean(-1) for half in halves), spo2["signal"].mean((1, 2))], 1)
    there = [eeg["present"].any(1)] * 2 + [spo2["present"].any(1)]
    return x[..., None] * np.arange(1, DIM + 1, dtype=np.float32), np.stack(there, 1)


def summarise(x, ok):
    """Mean token and the largest of EEG and of SpO2."""
    pairs = [np.concatenate([v.mean(1), v.max(1)], -1) for v in (x[:, :2], x[:, 2:])]
    return np.stack(pairs, 1), np.stack([ok[:, 0], ok[:, 2]], 1)


@pytest.fixture(scope="module")
def embedded(shards, tmp_path_factory):
    prepared, out = PreparedFolder.open(shards), tmp_path_factory.mktemp("embeddings")
    return embed_folder(prepared, out, encode, "weights", SLOTS, summarise, list(range(5)))


@pytest.mark.parametrize("epochs", [2, 5])
def test_windows_of_tokens_are_windows_of_signals(shards, embedded, epochs):
    data, options = data_of(shards, shards), {"global_batch": 4, "seed": 3}
    tokens = take(embedded_windows([embedded, embedded], data, epochs, TASKS, **options), 8)
    signals = take(signal_batches(data, epochs=epochs, tasks=TASKS, **options), 8)
    assert any((batch["epoch"] > 0).any() for batch in tokens)
    for ours, theirs in zip(tokens, signals, strict=True):
        assert places(ours) == places(theirs)
        np.testing.assert_array_equal(ours["stage"], theirs["stage"])
        assert sorted(ours["seconds"]) == ["arousal", "breathing"]
        for task, labels in theirs["seconds"].items():
            np.testing.assert_array_equal(ours["seconds"][task], labels, err_msg=task)
        x, ok = encode(flat(theirs))
        there = theirs["epoch_mask"].ravel()
        np.testing.assert_array_equal(ours["ok"].reshape(-1, 3), ok & there[:, None])
        found = ours["tokens"].reshape(-1, 3, DIM)
        np.testing.assert_allclose(found[there], x[there], atol=2e-3)
        assert not found[~there].any()


def flat(batch):
    """Windows (B, E, ...) as epochs (B * E, ...)."""
    return {m: {k: v.reshape(-1, *v.shape[2:]) for k, v in batch[m].items()} for m in SLOTS}


def test_nights_are_cut_or_padded_and_come_once_a_pass(shards, embedded):
    (batch,) = take(embedded_nights([embedded], data_of(shards), 5, global_batch=5, seed=1), 1)
    assert sorted(batch["night"].tolist()) == [0, 1, 2, 3, 4]
    assert batch["summary"].shape == (5, 5, 2, 2 * DIM) and batch["summary"].dtype == np.float32
    subjects = [embedded.prepared.manifest.nights[night].subject_id for night in batch["night"]]
    same = batch["person"][:, None] == batch["person"]
    np.testing.assert_array_equal(same, [[a == b for b in subjects] for a in subjects])
    for row, night in enumerate(batch["night"]):
        summary, present = embedded.summary(int(night), 5)
        again, there = summarise(*embedded.tokens(int(night), 0, 5))
        np.testing.assert_allclose(summary, again, atol=2e-3)
        np.testing.assert_array_equal(present, there)
        np.testing.assert_array_equal(batch["summary"][row, : len(summary)], summary)
        np.testing.assert_array_equal(batch["present"][row, : len(summary)], present)
        assert len(summary) == min(5, embedded.prepared.manifest.nights[night].n_epochs)
        assert not batch["summary"][row, len(summary) :].any() and not batch["present"][row, len(summary) :].any()
        person = embedded.prepared.manifest.nights[night].demographics
        assert batch["demographics"]["age_years"][row] == person.age_years
