"""What is counted of a scorer's marks, and windows that are laid about their events."""

from dataclasses import replace

import numpy as np
import pytest

from data_pipeline.modalities import SLOTS
from data_pipeline.night import EPOCH_S
from data_pipeline.tasks import AROUSAL, BREATHING, STAGES, Task
from sleepmami_jax.data.batches import signal_batches
from sleepmami_jax.data.embeddings import embed_folder
from sleepmami_jax.data.scored import EventWindows, class_counts
from sleepmami_jax.data.source import PreparedFolder
from sleepmami_jax.data.token_batches import embedded_windows
from tests.sleepmami_jax.data.test_token_batches import encode, summarise
from tests.support.batches import SMALL, data_of, places, take

TASKS = (BREATHING, AROUSAL)
SNORE = Task("snore", events=("snoring",), needs=("RESP",))


def middles(folder, task) -> dict[tuple[int, int], set[int]]:
    """(night, epoch of an event's middle) -> classes."""
    found = {}
    for night, entry in enumerate(folder.manifest.nights):
        for event in folder.events(night):
            if number := task.class_of(event.kind):
                epoch = min(int((event.onset_s + event.end_s) / 2 // EPOCH_S), entry.n_epochs - 1)
                found.setdefault((night, epoch), set()).add(number)
    return found


def test_counts_are_those_of_the_labels_that_are_trained_on(shards):
    counts = class_counts(data_of(shards, shards), (STAGES, *TASKS, SNORE))
    folder = PreparedFolder.open(shards)
    nights = [folder.arrays(night, SMALL, tasks=TASKS) for night in range(len(folder.manifest.nights))]
    stages = np.concatenate([night["stage"] for night in nights])
    assert counts["stages"].tolist() == [2 * (stages == k).sum() for k in range(5)]
    for task in TASKS:
        seconds = np.concatenate([night["seconds"][task.name].ravel() for night in nights])
        expected = [2 * (seconds == k).sum() for k in range(len(task.events) + 1)]
        assert counts[task.name].tolist() == expected and min(expected) > 0
    assert counts["snore"].tolist() == [0, 0]  # nobody looked for it
    few = class_counts(data_of(shards, nights=2), (STAGES,))
    assert list(few) == ["stages"] and 0 < few["stages"].sum() < counts["stages"].sum() / 2


def test_each_task_and_each_of_its_classes_is_drawn_as_often(shards):
    rng = np.random.default_rng(0)
    many, few, one = (np.stack([np.full(n, night), np.arange(n)], 1) for night, n in enumerate((90, 10, 1)))
    windows = EventWindows(0.25, 1, ((many, few), (one,)), np.full(3, 90))
    drawn = [windows.draw(rng) for _ in range(8000)]
    placed = [place for place in drawn if place is not None]
    assert len(placed) / 8000 == pytest.approx(0.25, abs=0.02)
    shares = np.bincount([night for night, _ in placed]) / len(placed)
    np.testing.assert_allclose(shares, [0.25, 0.25, 0.5], atol=0.04)
    assert {epoch for night, epoch in placed if night == 1} == {*range(10)}

    folder = PreparedFolder.open(shards)
    found = EventWindows.of(folder, range(5), (*TASKS, SNORE), 1, 1.0).places
    for task, classes in zip(TASKS, found, strict=True):
        assert len(classes) == len(task.events)
        expected = middles(folder, task)
        for number, of_class in enumerate(classes, start=1):
            assert {*map(tuple, of_class.tolist())} == {place for place, own in expected.items() if number in own}
    assert EventWindows.of(folder, range(5), (SNORE,), 1, 1.0) is None


def test_an_event_lies_anywhere_in_its_window_and_the_window_in_the_night(shards):
    folder, rng = PreparedFolder.open(shards), np.random.default_rng(0)
    windows = EventWindows.of(folder, range(5), (AROUSAL,), 3, 1.0)
    events = middles(folder, AROUSAL)
    starts = {}
    for night, start in (windows.draw(rng) for _ in range(2000)):
        assert 0 <= start <= max(folder.manifest.nights[night].n_epochs - 3, 0)
        assert any((night, epoch) in events for epoch in range(start, start + 3))
        starts.setdefault(night, set()).add(start)
    for night, epoch in events:
        last = max(folder.manifest.nights[night].n_epochs - 3, 0)
        assert {min(max(epoch - k, 0), last) for k in range(3)} <= starts[night]


def test_batches_have_their_share_of_such_windows_and_go_on_where_they_were(shards, tmp_path):
    data, how = data_of(shards, shards), {"global_batch": 4, "seed": 3}

    def batches(share, task=BREATHING, **options):
        return signal_batches(data, SMALL, epochs=2, tasks=(task,), event_windows=share, **how, **options)

    folder = PreparedFolder.open(shards)
    events = middles(folder, BREATHING)

    def with_event(taken):
        rows = [(n % 5, e) for batch in taken for n, e in places(batch)]
        return np.mean([any((n, e + k) in events for k in range(2)) for n, e in rows])

    usual, always = take(batches(0.0), 20), take(batches(1.0), 20)
    assert with_event(always) == 1 > with_event(usual)
    assert {n for batch in always for n, _ in places(batch)} >= {0, 5}  # of both folders
    for batch in always:
        assert (batch["seconds"]["breathing"] > 0).any((1, 2)).mean() > 0.5
    again = batches(1.0, rows=[1, 2])
    again.set_state({"global_next_index": 7 * 4})
    assert places(next(again)) == places(always[7])[1:3]
    again.close()
    with pytest.raises(ValueError, match=r"objective\.event_windows: no event of the tasks in any night"):
        batches(0.5, SNORE)
    embedded = embed_folder(folder, tmp_path, encode, "weights", SLOTS, summarise, [*range(5)])
    tokens = embedded_windows([embedded] * 2, data, 2, (BREATHING,), event_windows=1.0, **how)
    assert [places(batch) for batch in take(tokens, 20)] == [places(batch) for batch in always]


def test_a_night_nobody_scored_so_has_no_events(shards):
    folder = PreparedFolder.open(shards)
    unscored = [replace(night, scored=("stages",)) for night in folder.manifest.nights]
    unscored = replace(folder, manifest=replace(folder.manifest, nights=tuple(unscored)))
    assert EventWindows.of(unscored, range(5), TASKS, 2, 1.0) is None
