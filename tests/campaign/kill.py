"""Whether a run of preparation that was killed goes on, and ends in the bytes of an unbroken one.

    python -m tests.campaign.kill [--moments 20] [--seed 0]

First it is killed before each of its own operations on files of the output, one after the other; then, with
two workers and from the command line, at random moments, twice before it may finish.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import edfio
import numpy as np

from data_pipeline.prepare.run import prepare
from data_pipeline.prepare.verify import verify
from tests.support.nights import files

_OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate")


def write_recordings(folder: Path, nights: int) -> Path:
    """Real EDF+ of 90 s with a scoring inside, and one recording that is refused."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    marks = [edfio.EdfAnnotation(0, 60, "Sleep stage N2"), edfio.EdfAnnotation(31, 4, "Arousal")]
    for k in range(nights):
        signals = [
            edfio.EdfSignal(
                rng.normal(0, 20, 90 * rate_hz),
                rate_hz,
                label=label,
                physical_dimension="uV",
                physical_range=(-400, 400),
            )
            for label, rate_hz in (("C4-M1", 128), ("E1-M2", 128), ("ECG", 200), ("Thorax", 32))
        ]
        edfio.Edf(signals, annotations=marks).write(folder / f"n{k:03}.edf")
    (folder / "broken.edf").write_bytes((folder / "n000.edf").read_bytes()[:700])
    return folder


def die_before_operation(number: int, out: Path) -> None:
    """From now on this process kills itself before its operation `number` on a file of `out`."""
    count = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        if event in _OPERATIONS and str(arguments[0]).startswith(str(out)):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def kill_at_each_operation(scratch: Path, nights: int) -> int:
    """Returns how many operations there were; raises AssertionError where a resumed run ends otherwise."""
    inputs, unbroken = write_recordings(scratch / "in", nights), scratch / "unbroken"
    prepare([inputs], unbroken)
    expected = files(unbroken)
    for number in range(1, 1000):
        out = scratch / f"out{number}"
        child = os.fork()
        if child == 0:
            die_before_operation(number, out)
            prepare([inputs], out)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return number - 1
        prepare([inputs], out)
        assert files(out) == expected, f"killed before operation {number}: other bytes after going on"
        assert verify(out) == []
    raise AssertionError("the run did not end")


def kill_at_moments(scratch: Path, nights: int, moments: int, seed: int) -> int:
    """Returns how many runs were killed; raises AssertionError where a resumed run ends otherwise."""
    inputs, unbroken = write_recordings(scratch / "in", nights), scratch / "unbroken"
    start = time.monotonic()
    assert _command(inputs, unbroken).wait() == 0
    length_s = time.monotonic() - start
    expected = files(unbroken)
    rng = random.Random(seed)
    killed = 0
    for moment in range(moments):
        out = scratch / f"out{moment}"
        for _ in range(2):
            run = _command(inputs, out)
            try:
                run.wait(rng.uniform(0.2, 1.0) * length_s)
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
                killed += run.wait() == -signal.SIGKILL
        assert _command(inputs, out).wait() == 0
        assert files(out) == expected, f"moment {moment}: other bytes after going on"
        assert verify(out) == []
    return killed


def _command(inputs: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "sleepmami_jax.cli", "prepare", inputs, "--out", out, "--workers", "2"]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--nights", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        operations = kill_at_each_operation(Path(scratch) / "operations", 3)
        print(f"killed before each of {operations} operations: the same bytes after going on", flush=True)
        if args.moments:
            killed = kill_at_moments(Path(scratch) / "moments", args.nights, args.moments, args.seed)
            print(f"killed {killed} times at {args.moments} random moments: the same bytes after going on")


if __name__ == "__main__":
    main()
