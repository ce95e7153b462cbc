"""Several processes on this machine as hosts of one run: the same batches, the same losses, and a way to stop."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

STEPS, BATCH = 8, 8
WORKER = """
import json, sys, zlib
import numpy as np
from absl import flags
from sleepmami_jax.training import loop, processes as hosts

hosts.HEARTBEAT_S = 10
flags.FLAGS.mark_as_parsed()
shards, workdir, process, processes, port, mesh, steps, pause = json.loads(sys.argv[1])
if processes > 1:
    hosts.join(f"localhost:{port}", processes, process)

import time
from pathlib import Path
from sleepmami_jax.config import DataConfig, DataSource, Experiment, MeshConfig, MicroPretraining
from sleepmami_jax.training.phases import build
from tests.conftest import tiny_config
from tests.toy import toy_phase

experiment = Experiment(
    "hosts",
    MicroPretraining(batch=8),
    data=DataConfig(shards=(DataSource(shards),)),
    model=tiny_config(),
    mesh=MeshConfig(**mesh),
    steps=steps,
    save_every=2,
)

def toy(experiment, start, workdir, progress, rows):
    # Real batches, a loss that compiles at once.
    from dataclasses import replace
    real = build(experiment, start, workdir, progress, rows)
    return replace(toy_phase({"heads/stage/bias": np.zeros(5, np.float32)}, 8), batches=Seen(real.batches, rows))

class Seen:
    def __init__(self, batches, rows):
        self.batches, self.rows = batches, rows
        self.get_state, self.set_state, self.close = batches.get_state, batches.set_state, batches.close
    def __next__(self):
        batch = next(self.batches)
        time.sleep(pause)
        step = self.batches.get_state()["global_next_index"] // 8
        with open(f"{workdir}/seen-{process}.jsonl", "a") as file:
            for i, row in enumerate(self.rows):
                digest = zlib.crc32(batch["EEG"]["signal"][i].tobytes())
                file.write(json.dumps([step, int(row), int(batch["night"][i]), int(batch["epoch"][i]), digest]) + "\\n")
        return {"EEG": {"signal": batch["EEG"]["signal"].reshape(len(self.rows), -1)[:, :3]}}

loop.build = toy
loop._export = lambda *_: Path(workdir)
loop.train(experiment, Path(workdir), quiet=True)
"""


@pytest.fixture(scope="module")
def shards(prepared):
    return prepared.shards[0].folder


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def start(shards, workdir, processes=1, devices=1, mesh=None, steps=STEPS, pause=0.0):
    """The processes of a run, each with so many devices."""
    workdir.mkdir(exist_ok=True)
    port, root = free_port(), Path(__file__).parents[1]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": str(root)}
    return [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                WORKER,
                json.dumps([str(shards), str(workdir), p, processes, port, mesh or {}, steps, pause]),
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for p in range(processes)
    ]


def finish(runs, expected=0, timeout=120):
    outputs = [run.communicate(timeout=timeout)[0] for run in runs]
    for run, output in zip(runs, outputs, strict=True):
        assert run.returncode == expected, output
    return outputs


def seen(workdir):
    """[step, row, night, epoch, digest] of all processes, in order."""
    lines = [line for path in workdir.glob("seen-*.jsonl") for line in path.read_text().splitlines()]
    return sorted(map(json.loads, lines))


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def alone(shards, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("hosts") / "alone"
    finish(start(shards, workdir))
    return workdir


@pytest.mark.parametrize(
    ("processes", "devices", "mesh"), [(2, 2, {"fsdp": 2}), (4, 1, {})], ids=["2x2", "4x1"]
)
def test_processes_share_the_batches_of_one_and_lose_the_same(
    shards, alone, tmp_path, processes, devices, mesh
):
    workdir = tmp_path / "run"
    finish(start(shards, workdir, processes, devices, mesh))
    assert seen(workdir) == seen(alone)
    assert len(seen(workdir)) == STEPS * BATCH
    assert {path.name for path in workdir.glob("seen-*")} == {f"seen-{p}.jsonl" for p in range(processes)}
    np.testing.assert_allclose(losses(workdir), losses(alone), rtol=1e-5)
    for p in range(1, processes):
        assert losses(workdir / f"process-{p}") == losses(workdir)


def test_a_run_goes_on_with_other_processes(shards, alone, tmp_path):
    workdir = tmp_path / "run"
    runs = start(shards, workdir, 2, 2, pause=0.3)
    while len(seen(workdir)) < 4 * BATCH:
        time.sleep(0.1)
        assert all(run.poll() is None for run in runs)
    runs[1].send_signal(signal.SIGTERM)  # one hears of it, all stop
    outputs = finish(runs, expected=1)
    assert all("asked to stop; saved at step" in output for output in outputs)
    done = len(losses(workdir))
    assert 3 < done < STEPS
    (workdir / "seen-1.jsonl").rename(workdir / "before")
    finish(start(shards, workdir, 1, 1))
    np.testing.assert_allclose(losses(workdir), losses(alone), rtol=1e-5)
    rest = [line for line in seen(workdir) if line[0] > done]
    assert rest == [line for line in seen(alone) if line[0] > done]


def test_a_dead_process_ends_the_others(shards, tmp_path):
    runs = start(shards, tmp_path / "run", 2, 1, steps=10_000, pause=0.05)
    while len(seen(tmp_path / "run")) < 4 * BATCH:
        time.sleep(0.1)
    begun = time.monotonic()
    runs[1].kill()
    output = runs[0].communicate(timeout=90)[0]
    assert runs[0].returncode != 0, output
    assert time.monotonic() - begun < 90
