"""Workers read the same batches as this process does, within the same memory, and never outlive it."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import grain
import numpy as np
import pytest

from data_pipeline.modalities import SLOTS
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.tasks import AROUSAL
from sleepmami_jax.data.ahead import BATCHES_OF_WORKER, ReadAhead
from sleepmami_jax.data.batches import signal_batches
from sleepmami_jax.data.embeddings import embed_folder
from sleepmami_jax.data.order import Batches
from sleepmami_jax.data.source import PreparedFolder
from sleepmami_jax.data.stored import stored_bytes
from sleepmami_jax.data.token_batches import embedded_nights, embedded_windows
from tests.sleepmami_jax.data.test_token_batches import encode, summarise
from tests.support.batches import SMALL, assert_same, data_of, received, take

ROOT = Path(__file__).parents[3]


def windows(shards, workers, **options):
    data = data_of(shards, workers=workers)
    return signal_batches(data, SMALL, epochs=3, global_batch=4, seed=5, tasks=(AROUSAL,), **options)


def test_the_batches_are_the_same_with_any_number_of_workers_and_go_on_with_another(shards):
    alone = take(windows(shards, 0), 8)
    places = [(b["night"].tolist(), b["epoch"].tolist()) for b in alone]
    assert len({str(place) for place in places}) > 4  # none is read in the place of another
    for workers, others in ((1, 2), (4, 0)):
        iterator = windows(shards, workers)
        for batch, expected in zip([received(next(iterator)) for _ in range(3)], alone, strict=False):
            assert_same(batch, expected)
        state = iterator.get_state()
        iterator.close()
        assert state == {"global_next_index": 3 * 4}
        other = windows(shards, others, rows=[1, 3])
        other.set_state(state)
        for batch, expected in zip(take(other, 4), alone[3:], strict=False):
            np.testing.assert_array_equal(batch["EEG"]["signal"], expected["EEG"]["signal"][1::2])
            np.testing.assert_array_equal(batch["stage"], expected["stage"][1::2])


def test_tokens_are_read_by_workers_too(shards, tmp_path):
    folder = embed_folder(PreparedFolder.open(shards), tmp_path, encode, "weights", SLOTS, summarise, [*range(5)])
    for make, length in ((embedded_nights, 5), (embedded_windows, 2)):
        threads, workers = (
            take(make([folder], data_of(shards, workers=n), length, global_batch=3, seed=1), 3) for n in (0, 2)
        )
        for batch, expected in zip(workers, threads, strict=True):
            assert_same(batch, expected)


def test_what_a_worker_cannot_read_is_said_here(shards, tmp_path):
    copy = tmp_path / "shards"
    copy.mkdir()
    (copy / "manifest.jsonl").write_bytes((shards / "manifest.jsonl").read_bytes())
    missing = read_manifest(shards).nights[0].shard
    with pytest.raises(ValueError, match=r"\.array_record is missing; `sleepmami verify` lists"):
        next(windows(copy, 2))
    assert missing.endswith(".array_record")


# Memory


class _InOrder:
    def at(self, indices):
        return indices


class _Counting(grain.transforms.Map):
    """Notes in a folder what has been read."""

    def __init__(self, folder):
        self.folder = folder

    def map(self, places):
        (self.folder / str(places[0])).touch()
        return {"place": places}


@pytest.mark.parametrize(("batches", "workers"), [(12, 2), (12, 1), (4, 2), (3, 0)])
def test_no_more_is_in_memory_than_asked_for(tmp_path, batches, workers):
    elements = _InOrder()
    iterator = Batches(elements, 1, None, ReadAhead(batches, workers=workers), _Counting(tmp_path))
    taken = [int(next(iterator)["place"][0]) for _ in range(5)]
    assert taken == [0, 1, 2, 3, 4]
    deadline, ahead = time.monotonic() + 3, 0
    while time.monotonic() < deadline:
        ahead = max(ahead, len(list(tmp_path.iterdir())) - len(taken))
        time.sleep(0.1)
    iterator.close()
    most = max(batches, workers * BATCHES_OF_WORKER)
    assert most / 2 <= ahead <= most


def test_workers_that_would_need_more_memory_are_refused(shards):
    batch = 4 * 3 * stored_bytes(SMALL)
    data = data_of(shards, workers=2, prefetch_bytes=2 * BATCHES_OF_WORKER * batch - 1)
    text = rf"data\.prefetch_bytes={data.prefetch_bytes}: data\.workers=2 have 4 batches .* give {8 * batch} or more"
    with pytest.raises(ValueError, match=text):
        signal_batches(data, SMALL, epochs=3, global_batch=4, seed=0)
    enough = replace(data, prefetch_bytes=data.prefetch_bytes + 1)
    signal_batches(enough, SMALL, epochs=3, global_batch=4, seed=0)


# The end of a worker


def workers_of(pid: int) -> set[int]:
    """Its children but for Python's own helper, which tidies up after all of them."""
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    children = {int(child) for of_thread in threads for child in of_thread.read_text().split()}
    return {child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()}


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pids, within_s=15.0) -> bool:
    deadline = time.monotonic() + within_s
    while any(map(running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(running, pids))


def start_reader(shards, last: str) -> tuple[subprocess.Popen, set[int]]:
    """A process that has read a batch with two workers and then does `last`; and the workers."""
    script = f"""
import sys, time
from absl import flags
from sleepmami_jax.data.batches import signal_batches
from tests.support.batches import SMALL, data_of
if __name__ == "__main__":
    flags.FLAGS.mark_as_parsed()
    iterator = signal_batches(data_of({str(shards)!r}, workers=2), SMALL, epochs=3, global_batch=4, seed=5)
    next(iterator)
    next(iterator)
    print("read", flush=True)
    {last}
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    reader = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
    assert reader.stdout.readline() == "read\n"
    return reader, workers_of(reader.pid)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to see processes of others")
def test_workers_end_when_their_parent_is_killed(shards):
    reader, workers = start_reader(shards, "time.sleep(600)")
    try:
        assert len(workers) == 2 and all(map(running, workers))
        for pid in workers:  # what a batch system or a terminal sends to all is the parent's to answer
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGINT)
        assert not gone(workers, within_s=1.0)
        reader.send_signal(signal.SIGKILL)
        reader.wait()
        assert gone(workers)
    finally:
        reader.kill()
        for pid in filter(running, workers):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to see processes of others")
@pytest.mark.parametrize("last", ["del iterator", "raise SystemExit(3)"])
def test_workers_end_with_their_parent(shards, last):
    reader, workers = start_reader(shards, last)
    try:
        assert reader.wait(timeout=30) == (3 if "3" in last else 0)
        assert gone(workers)
    finally:
        reader.kill()
        for pid in filter(running, workers):
            os.kill(pid, signal.SIGKILL)
