"""Processes of this machine as hosts of one run: real batches, and unless asked for a loss that compiles at once.

Each process of a toy notes in `seen-PROCESS.jsonl` which rows it was given.
"""

from __future__ import annotations

import json
import os
import socket
import time
import zlib
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.batches import received
from tests.support.compiler import quick_flags
from tests.support.forked import Forked

STEPS, BATCH = 8, 8


@dataclass(frozen=True)
class Host:
    """One process of a run of kind "toy", "macro" or "finetune"; a toy waits `pause_s` for each batch.

    `validation` has fields of its `Validation`; without any there is none. With `slurm` nobody tells it of the others
    but the environment, as of a node with one task.
    """

    shards: str
    workdir: str
    kind: str = "toy"
    process: int = 0
    processes: int = 1
    port: int = 0
    mesh: dict[str, int] = field(default_factory=dict)
    validation: dict[str, Any] = field(default_factory=dict)
    batch: int = BATCH
    steps: int = STEPS
    save_every: int = 2
    pause_s: float = 0.0
    slurm: bool = False
    pack: str | None = None


def prepared_nights(folder: Path) -> Path:
    """Four short nights of noise, prepared in `folder/shards`."""
    from data_pipeline.prepare.run import PrepareConfig, prepare
    from tests.support.nights import load_random_night, write_recordings

    write_recordings(folder / "recordings", range(4))
    config = PrepareConfig(val_share=0.0, test_share=0.0)
    prepare([folder / "recordings"], folder / "shards", config=config, load=load_random_night)
    return folder / "shards"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def start(shards, workdir, processes=1, devices=1, **options) -> list[Forked]:
    """The processes of a run, each with so many devices; `options` are those of `Host`."""
    Path(workdir).mkdir(parents=True, exist_ok=True)
    environment = os.environ | quick_flags()
    environment |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
    one = Host(str(shards), str(workdir), processes=processes, port=free_port(), **options)
    return [
        Forked(run, replace(one, process=p), environment | (_srun(processes, p) if one.slurm else {}))
        for p in range(processes)
    ]


def _srun(nodes: int, node: int) -> dict[str, str]:
    """What srun tells the only task of a node, as far as JAX and we read it. All nodes are this machine."""
    return {
        "SLURM_JOB_ID": str(os.getpid()),  # JAX makes the port of it: another one in another process of tests
        "SLURM_STEP_NODELIST": ",".join(["localhost"] * nodes),
        "SLURM_STEP_NUM_NODES": str(nodes),
        "SLURM_STEP_NUM_TASKS": str(nodes),
        "SLURM_NTASKS": str(nodes),
        "SLURM_PROCID": str(node),
        "SLURM_LOCALID": "0",
    }


def finish(runs, expected=0, timeout=120) -> list[str]:
    """What the processes said. Raises AssertionError if one ended otherwise than expected."""
    outputs = [run.communicate(timeout=timeout)[0] for run in runs]
    for run, output in zip(runs, outputs, strict=True):
        assert run.returncode == expected, output
    return outputs


def seen(workdir) -> list[list[int]]:
    """[step, row, night, epoch, digest] of all processes, in order."""
    lines = [line for path in workdir.glob("seen-*.jsonl") for line in path.read_text().splitlines()]
    return sorted(map(json.loads, lines))


def losses(folder) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


class _Cut:
    """Batches, each cut to what the loss needs."""

    def __init__(self, batches):
        self._batches = batches
        self.get_state, self.set_state, self.close = batches.get_state, batches.set_state, batches.close

    def __next__(self):
        signal = self._read()["EEG"]["signal"]
        return {"EEG": {"signal": signal.reshape(len(signal), -1)[:, :3]}}

    def _read(self):
        return received(next(self._batches))


class _Seen(_Cut):
    """Each is written down too."""

    def __init__(self, batches, rows, host: Host):
        super().__init__(batches)
        self._rows, self._host = rows, host

    def _read(self):
        batch = received(next(self._batches))
        time.sleep(self._host.pause_s)
        step = self.get_state()["global_next_index"] // self._host.batch
        signal = batch["EEG"]["signal"]
        with (Path(self._host.workdir) / f"seen-{self._host.process}.jsonl").open("a") as file:
            for i, row in enumerate(self._rows):
                digest = zlib.crc32(signal[i].tobytes())
                entry = [step, int(row), int(batch["night"][i]), int(batch["epoch"][i]), digest]
                file.write(json.dumps(entry) + "\n")
        return batch


def run(host: Host) -> None:
    import jax
    from absl import flags

    from sleepmami_jax.run import checkpoint, processes
    from sleepmami_jax.training import loop

    processes.HEARTBEAT_S, checkpoint.SAVE_S = 10, 5.0
    flags.FLAGS.mark_as_parsed()
    if host.slurm:
        processes.join()
        print("GPUs:", jax.config.values["jax_cuda_visible_devices"])
    elif host.processes > 1:
        processes.join(f"localhost:{host.port}", host.processes, host.process)

    from sleepmami_jax.config import (
        DataConfig,
        DataSource,
        Experiment,
        Finetuning,
        MacroPretraining,
        MeshConfig,
        MicroPretraining,
        OptimizerConfig,
        Validation,
    )
    from tests.conftest import shallow_config

    experiment = Experiment(
        "hosts",
        {
            "toy": MicroPretraining(batch=host.batch),
            "macro": MacroPretraining(batch=host.batch, night_epochs=8),
            "finetune": Finetuning(batch=host.batch, epochs=4),
        }[host.kind],
        data=DataConfig(
            shards=(DataSource(host.shards),), scored=host.kind == "finetune", prefetch_bytes=2**20, pack=host.pack
        ),
        model=shallow_config(),
        optimizer=OptimizerConfig(ema=0.9),
        mesh=MeshConfig(**host.mesh),
        steps=host.steps,
        save_every=host.save_every,
        validation=Validation(**host.validation) if host.validation else None,
    )
    if host.kind == "toy":
        loop.build = partial(_toy, host)
    train = loop.train
    if host.kind == "finetune":
        from sleepmami_jax.training.finetune import finetune as train  # a second of imports
    train(experiment, Path(host.workdir), quiet=True)


def _toy(host: Host, experiment, start, workdir, progress, rows):
    import numpy as np

    from sleepmami_jax.training.phases import build
    from sleepmami_jax.training.phases.held_out import HeldOut
    from tests.support.toy import toy_loss, toy_phase

    kernel = np.random.default_rng(0).standard_normal((512, 512)).astype(np.float32)  # 1 MB, also compressed
    params = {"macro/vector/bias": np.zeros(5, np.float32), "macro/vector/kernel": kernel}
    real = build(experiment, start, workdir, progress, rows)
    held_out = HeldOut(toy_loss, _Cut(real.held_out.batches)) if host.validation else None
    return replace(toy_phase(params, host.batch), batches=_Seen(real.batches, rows, host), held_out=held_out)
