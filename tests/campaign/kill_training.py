"""Whether training runs that are killed go on, and end in the bytes of an unbroken one.

    python -m tests.campaign.kill_training [--kills 200] [--seed 0]

A run is killed and started again, killed and started again, until it may finish; then the next one. A kill comes at
one of three kinds of moment: while the process starts; at a step, each as likely, up to the export of the model; or
while a checkpoint is being written. Every sixth run has two processes, of which both are killed or only one.
In the end the arrays of the last checkpoint, the metrics and the model folder have to be those of a run of as many
processes that nothing disturbed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from tests.support.hosts import finish, prepared_nights, start

STEPS, PAUSE_S = 24, 0.1
KILLS_A_RUN = 10
MOMENTS = ("starting", "step", "step", "save")
EXPORT_S = 0.6  # some time after the last step of a run


def final_state(workdir: Path) -> dict[str, bytes]:
    """What a run ends with: arrays of its last checkpoint, the position in the data, metrics and model."""
    with ocp.training.Checkpointer((workdir / "checkpoints").absolute()) as saver:
        step = saver.latest.step
        metadata = saver.metadata(step)
        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), metadata.metadata
        )
        state = saver.load(step, abstract)
    named = jax.tree_util.tree_leaves_with_path(state)
    found = {f"{step}{jax.tree_util.keystr(path)}": np.asarray(leaf).tobytes() for path, leaf in named}
    found |= {"metadata": repr(metadata.custom_metadata).encode()}
    paths = [*workdir.glob("**/metrics.jsonl"), *(workdir / "model").iterdir()]
    return found | {str(path.relative_to(workdir)): path.read_bytes() for path in paths}


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _compilations(workdir: Path) -> int:
    clock = workdir / "clock.jsonl"
    return clock.read_bytes().count(b'"compiled"') if clock.exists() else 0


def _unfinished(workdir: Path) -> set[str]:
    """Temporary directories of saves that are going on, or were when their process died."""
    return {path.name for path in (workdir / "checkpoints").glob("*-tmp*")}


def _wait(runs, until: Callable[[], bool]) -> bool:
    """Whether it came about before a process ended."""
    while not until():
        if any(run.poll() is not None for run in runs):
            return False
        time.sleep(0.002)
    return True


def _kill(runs, workdir: Path, moment: str, target: int, start_s: float, rng: random.Random) -> bool:
    """Kill these processes at such a moment; False if the run was done before it came."""
    before = _compilations(workdir)
    old = _unfinished(workdir)
    if moment == "starting":
        time.sleep(rng.uniform(0, start_s))
    else:
        metrics = workdir / "metrics.jsonl"
        if not _wait(runs, lambda: _compilations(workdir) > before and _lines(metrics) >= target):
            return False
        if moment == "save":
            if not _wait(runs, lambda: bool(_unfinished(workdir) - old)):
                return False
            time.sleep(rng.uniform(0, 0.05))
        else:
            time.sleep(rng.uniform(0, PAUSE_S if target < STEPS else EXPORT_S))
    # A process whose coordinator has not yet come waits for it for minutes, as it should.
    victims = runs if moment == "starting" or rng.random() < 0.5 else [rng.choice(runs)]
    for run in victims:
        run.send_signal(signal.SIGKILL)
    for run in runs:  # a process that lost another ends by itself
        run.communicate(timeout=120)
    return any(run.returncode == -signal.SIGKILL for run in victims)


def broken_run(shards: Path, workdir: Path, processes: int, kills: int, start_s: float, rng: random.Random) -> Counter:
    """A run killed up to so many times, then left to finish; counts what happened."""
    counts: Counter = Counter()
    for target in sorted(rng.randint(1, STEPS) for _ in range(kills)):
        moment = rng.choice(MOMENTS)
        old = _unfinished(workdir)
        runs = start(shards, workdir, processes, steps=STEPS, pause_s=PAUSE_S)
        counts["starts"] += 1
        if not _kill(runs, workdir, moment, target, start_s, rng):
            break
        counts["kills"] += 1
        counts[moment] += 1
        counts["in a save"] += bool(_unfinished(workdir) - old)
    finish(start(shards, workdir, processes, steps=STEPS, pause_s=PAUSE_S))
    counts["starts"] += 1
    return counts


def differences(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    names = sorted(found.keys() | expected.keys())
    return [name for name in names if found.get(name) != expected.get(name)]


def campaign(scratch: Path, kills: int, seed: int, two_processes_every: int = 6) -> Counter:
    """Counts of kills, by moment, and of what was compared. Raises AssertionError where a run ended otherwise."""
    shards = prepared_nights(scratch)
    # As the `sleepmami` command has it; a start is then short enough for many.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(scratch / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    rng = random.Random(seed)
    unbroken: dict[int, tuple[float, dict[str, bytes]]] = {}
    counts: Counter = Counter()
    number = 0
    while counts["kills"] < kills:
        number += 1
        processes = 1 if number % two_processes_every else 2
        if processes not in unbroken:
            begun, whole = time.monotonic(), scratch / f"unbroken-{processes}"
            runs = start(shards, whole, processes, steps=STEPS, pause_s=PAUSE_S)
            _wait(runs, lambda whole=whole: _compilations(whole) > 0)
            start_s = time.monotonic() - begun
            finish(runs)
            unbroken[processes] = start_s, final_state(whole)
        start_s, expected = unbroken[processes]
        workdir = scratch / f"run-{number}"
        killed = broken_run(shards, workdir, processes, min(KILLS_A_RUN, kills - counts["kills"]), start_s, rng)
        wrong = differences(final_state(workdir), expected)
        assert not wrong, f"{workdir} with {processes} processes ended otherwise: {', '.join(wrong)}"
        counts += killed
        counts[f"runs of {processes}"] += 1
        print(f"run {number}, {processes} processes: {dict(killed)}", flush=True)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        counts = campaign(Path(scratch), args.kills, args.seed)
    print(
        f"{counts['kills']} kills ({counts['starting']} while starting, {counts['step']} at a step, {counts['save']} "
        f"aimed at a save; {counts['in a save']} left a checkpoint half-written), {counts['starts']} starts;\n"
        f"{counts['runs of 1']} runs of one process and {counts['runs of 2']} of two: the same arrays, metrics and "
        "model as those of unbroken runs"
    )


if __name__ == "__main__":
    main()
