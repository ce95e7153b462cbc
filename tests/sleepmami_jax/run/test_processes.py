"""Several processes on this machine as hosts of one run: the same batches, the same losses, and a way to stop."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sleepmami_jax.run import processes
from tests.support.hosts import BATCH, STEPS, finish, losses, seen, start


@pytest.fixture(scope="module")
def shards(prepared):
    return prepared.shards[0].folder


@pytest.fixture(scope="module")
def alone(shards, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("hosts") / "alone"
    finish(start(shards, workdir))
    return workdir


@pytest.mark.parametrize(("processes", "devices", "mesh"), [(2, 2, {"fsdp": 2}), (4, 1, {})], ids=["2x2", "4x1"])
def test_processes_share_the_batches_of_one_and_lose_the_same(shards, alone, tmp_path, processes, devices, mesh):
    workdir = tmp_path / "run"
    finish(start(shards, workdir, processes, devices, mesh=mesh))
    assert seen(workdir) == seen(alone)
    assert len(seen(workdir)) == STEPS * BATCH
    assert {path.name for path in workdir.glob("seen-*")} == {f"seen-{p}.jsonl" for p in range(processes)}
    np.testing.assert_allclose(losses(workdir), losses(alone), rtol=1e-5)
    for p in range(1, processes):
        assert losses(workdir / f"process-{p}") == losses(workdir)


def test_tasks_of_slurm_find_each_other_and_have_all_gpus_of_their_nodes(shards, alone, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    outputs = finish(start(shards, tmp_path / "run", 2, slurm=True))
    assert seen(tmp_path / "run") == seen(alone)
    assert {path.name for path in (tmp_path / "run").glob("seen-*")} == {"seen-0.jsonl", "seen-1.jsonl"}
    assert all("GPUs: all" in output for output in outputs)
    assert not (tmp_path / "compiled").exists()  # which only the first process would find again


def test_a_process_that_nobody_tells_of_the_others_says_what_to_do():
    command = "from sleepmami_jax.run.processes import join; join()"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "OMPI_"))}
    done = subprocess.run([sys.executable, "-c", command], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "give --coordinator, --processes and --process" in done.stderr


def test_a_part_of_a_checkpoint_that_one_process_cannot_read_is_passed_over_by_all(shards, tmp_path):
    workdir = tmp_path / "run"
    whole = tmp_path / "whole"
    finish(start(shards, workdir, 2, mesh={"fsdp": 2}))
    shutil.copytree(workdir, whole)
    last = workdir / "checkpoints" / str(STEPS)
    (part,) = (p for p in (last / "state" / "ocdbt.process_1" / "d").iterdir() if p.stat().st_size > 50_000)
    part.write_bytes(part.read_bytes()[:1000])
    outputs = finish(start(shards, workdir, 2, mesh={"fsdp": 2}), timeout=60)
    assert all(f"{last} is damaged and is passed over" in output for output in outputs)
    assert "another process cannot read it" in outputs[0]
    assert (workdir / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_a_run_goes_on_with_other_processes(shards, alone, tmp_path):
    workdir = tmp_path / "run"
    runs = start(shards, workdir, 2, 2, pause_s=0.3)
    while len(seen(workdir)) < 4 * BATCH:
        time.sleep(0.1)
        assert all(run.poll() is None for run in runs)
    runs[1].send_signal(signal.SIGTERM)  # one hears of it, all stop
    outputs = finish(runs, expected=1)
    assert all("asked to stop; saved at step" in output for output in outputs)
    done = len(losses(workdir))
    assert 3 < done < STEPS
    (workdir / "seen-1.jsonl").rename(workdir / "before")
    finish(start(shards, workdir, 1, 1, pack=str(tmp_path / "packs")))  # which is on this machine's disk only
    np.testing.assert_allclose(losses(workdir), losses(alone), rtol=1e-5)
    rest = [line for line in seen(workdir) if line[0] > done]
    assert rest == [line for line in seen(alone) if line[0] > done]


def test_a_dead_process_ends_the_others(shards, tmp_path):
    runs = start(shards, tmp_path / "run", 2, 1, steps=10_000, pause_s=0.05)
    while len(seen(tmp_path / "run")) < 4 * BATCH:
        time.sleep(0.1)
    begun = time.monotonic()
    runs[1].kill()
    output = runs[0].communicate(timeout=90)[0]
    assert runs[0].returncode != 0, output
    assert time.monotonic() - begun < 90


def test_a_step_that_hangs_shows_where(train, saving, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(processes, "STALL_S", 0.3)

    def hang():
        time.sleep(1)

    train(saving, tmp_path, at=4, then=hang)
    shown = capfd.readouterr().err
    assert "Timeout" in shown and "in hang" in shown and "in train" in shown


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
