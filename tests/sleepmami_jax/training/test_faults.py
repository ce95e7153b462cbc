"""What goes wrong under a run: a full disk, a save that fails, a shard that cannot be read, a step that hangs."""

import json
import os
import resource
import shutil
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from sleepmami_jax.config import Experiment, MicroPretraining
from sleepmami_jax.run import processes
from sleepmami_jax.run.checkpoint import CheckpointError
from sleepmami_jax.run.journal import Journal
from sleepmami_jax.training import loop
from tests.support.hosts import BATCH, finish, losses, seen, start
from tests.support.toy import ToyBatches, toy_phase


@pytest.fixture
def train(prepared, tiny, monkeypatch):
    """`train(workdir, at=..., then=...)`: a run of 10 steps, saved after every second; `then()` before step `at`."""
    kernel = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    params = {"heads/stage/bias": np.zeros(5, np.float32), "heads/stage/kernel": kernel}
    experiment = Experiment(
        "faults", MicroPretraining(batch=8), data=prepared, model=tiny, steps=10, save_every=2
    )

    def run(workdir, at=None, then=None):
        class Batches(ToyBatches):
            def __next__(self):
                if at is not None and self.get_state()["global_next_index"] == (at - 1) * 8:
                    then()
                return super().__next__()

        monkeypatch.setattr(loop, "build", lambda *_: replace(toy_phase(params, 8), batches=Batches(8)))
        return loop.train(experiment, workdir, quiet=True)

    return run


@contextmanager
def limit_lifted_after():
    """`limit(size)`: no file may grow further, which is to a write what a full disk is."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def steps_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_full_disk_while_saving_loses_nothing(train, tmp_path):
    train(tmp_path / "whole")
    run = tmp_path / "run"
    with limit_lifted_after() as limit, pytest.raises(CheckpointError) as raised:
        train(run, at=6, then=lambda: limit(50_000))
    assert str(run / "checkpoints") in str(raised.value)
    assert "could not be saved" in str(raised.value) and "make space" in str(raised.value)
    left = steps_in(run / "checkpoints")
    assert left[0] == "2" and "tmp" in left[-1]  # whole, and half-written
    (run / "checkpoints" / left[-1]).rename(
        run / "checkpoints" / "5.orbax-checkpoint-tmp"
    )  # no later save's name
    train(run)  # there is space again
    assert steps_in(run / "checkpoints") == ["10", "8"]
    for name in ("metrics.jsonl", "model/model.safetensors"):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_full_disk_while_writing_metrics_loses_nothing(train, tmp_path):
    train(tmp_path / "whole")
    run = tmp_path / "run"

    def full():
        while steps_in(run / "checkpoints") != ["2", "4"]:
            time.sleep(0.01)
        limit((run / "metrics.jsonl").stat().st_size + 20)

    with (
        limit_lifted_after() as limit,
        pytest.raises(OSError, match=r"run/metrics\.jsonl cannot be .*make space"),
    ):
        train(run, at=6, then=full)
    assert not (run / "metrics.jsonl").read_bytes().endswith(b"\n")  # a line is cut
    train(run)
    assert (run / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_a_cut_line_of_the_clock_takes_no_other_with_it(tmp_path):
    (tmp_path / "clock.jsonl").write_text('{"time": 1, "event": "st')
    journal = Journal(tmp_path)
    journal.clock("start")
    assert [event["event"] for event in journal.clock_events()] == ["start"]


def test_a_step_that_hangs_shows_where(train, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(processes, "STALL_S", 0.3)

    def hang():
        time.sleep(1)

    train(tmp_path, at=4, then=hang)
    shown = capfd.readouterr().err
    assert "Timeout" in shown and "in hang" in shown and "in train" in shown


# ------------------------------------------------------------------------------------ of many processes


def reach(runs, workdir, step):
    until = time.monotonic() + 90
    while len(seen(workdir)) < step * BATCH:
        assert all(run.poll() is None for run in runs) and time.monotonic() < until
        time.sleep(0.05)


def test_a_save_that_one_process_cannot_write_ends_all(prepared, tmp_path):
    runs = start(prepared.shards[0].folder, tmp_path, 2, steps=10_000, pause_s=0.05)
    reach(runs, tmp_path, 3)
    while not (tmp_path / "checkpoints" / "2").is_dir():
        time.sleep(0.02)
    resource.prlimit(runs[1].pid, resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    outputs = finish(runs, expected=1)
    assert "checkpoints: a checkpoint could not be saved" in outputs[0].splitlines()[-1]
    assert "File too large" in outputs[1]
    assert {"2"} <= {path.name for path in (tmp_path / "checkpoints").iterdir()}


def test_a_shard_that_cannot_be_read_ends_all_and_comes_back(prepared, tmp_path):
    shards, run = tmp_path / "shards", tmp_path / "run"
    shutil.copytree(prepared.shards[0].folder, shards)
    steps = 40  # more than are read ahead
    runs = start(shards, run, 2, pause_s=0.1, steps=steps)
    reach(runs, run, 1)
    whole = {path: path.read_bytes() for path in shards.glob("*.array_record")}
    for path in whole:
        os.truncate(path, 100)
    outputs = finish(runs, expected=1)
    assert any(f"shard {path}" in outputs[0] + outputs[1] for path in whole)
    assert "run `sleepmami verify`" in outputs[0] + outputs[1]
    done = len(losses(run))
    assert done < steps
    for path, data in whole.items():
        path.write_bytes(data)
    finish(start(shards, run, steps=steps))
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] == list(
        range(1, steps + 1)
    )
