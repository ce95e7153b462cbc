"""Runs as processes of this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from sleepmami_jax.sweep.launch import launch
from sleepmami_jax.sweep.local import Local
from sleepmami_jax.sweep.plan import load_sweep
from sleepmami_jax.sweep.result import do_run
from tests.support.sweeps import EXPERIMENT, sleepmami


def test_a_run_that_was_killed_says_by_what(file, workdir, capsys):
    file.write_text(
        EXPERIMENT.replace("    fish = int(", "    import os\n    os.kill(os.getpid(), 9)\n    fish = int(")
    )
    assert sleepmami(file, workdir, "--only", "coarse-2-0") == 1
    assert "coarse-2-0 failed (ended by SIGKILL)" in capsys.readouterr().err


def test_a_stopped_sweep_leaves_no_process_and_goes_on(file, workdir):
    file.write_text(
        EXPERIMENT.replace(
            "    fish = int(",
            """    import os, time
    (dir / "runs" / f"{net}-{width}-{seed}" / "pid").write_text(str(os.getpid()))
    time.sleep(0 if (dir / "calm").exists() else 60)
    fish = int(""",
        )
    )
    words = [sys.executable, "-m", "sleepmami_jax.cli", "sweep", "--config", file, "--workdir", workdir]
    process = subprocess.Popen([*words, "--only", "fine-4-0"], stderr=subprocess.PIPE, text=True)
    pid, deadline = workdir / "runs" / "fine-4-0" / "pid", time.monotonic() + 60
    while not (pid.exists() and pid.read_text()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(ValueError, match="another run is working in this folder"):
        do_run(load_sweep(file), workdir, "fine-4-0")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130 and "the same command goes on" in process.stderr.read()
    process.stderr.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    (workdir / "calm").touch()
    sweep = load_sweep(file)
    assert launch(sweep, workdir, ["pond", "fine-4-0"], Local()) == ([], [])
    assert json.loads((workdir / "runs" / "fine-4-0" / "result.json").read_text())["measures"]["fish"] == 12
