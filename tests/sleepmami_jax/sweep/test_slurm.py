"""Sweeps through a Slurm of this machine alone: commands of that name, which really do the tasks of an array."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sleepmami_jax.config import ConfigError
from sleepmami_jax.sweep import slurm
from sleepmami_jax.sweep.launch import Job
from sleepmami_jax.sweep.result import RESULT
from sleepmami_jax.sweep.slurm import Slurm
from tests.support.sweeps import EXPERIMENT, Here, launch_all, rows, sleepmami

# jobs/ID.INDEX holds a task's state and its array's name, pids/ID.INDEX its process. Status 99 is a time limit.
SLURM = r"""#!/bin/bash
here=$(dirname "$0")
echo "$@" >> "$here/${0##*/}.calls"
if [ -s "$here/${0##*/}.refuses" ]; then cat "$here/${0##*/}.refuses" >&2; exit 1; fi
case ${0##*/} in
sbatch)
    for word; do
        case $word in
        --array=0-*) last=${word##*-} ;;
        --job-name=*) name=${word#*=} ;;
        --output=*) output=${word#*=} ;;
        esac
    done
    id=$(wc -l < "$here/sbatch.calls")
    for index in $(seq 0 "$last"); do
        task=$id.$index out=${output//%a/$index}
        echo RUNNING "$name" > "$here/jobs/$task"
        (
            SLURM_ARRAY_TASK_ID=$index setsid bash "$word" > "${out//%%/%}" 2>&1 &
            echo $! > "$here/pids/$task"
            wait $!
            case $? in 0) state=COMPLETED ;; 99) state=TIMEOUT ;; *) state=FAILED ;; esac
            [ $state = TIMEOUT ] && echo "slurmstepd: error: DUE TO TIME LIMIT" >> "${out//%%/%}"
            [ -e "$here/pids/$task.cancelled" ] && state=CANCELLED
            [ -e "$here/jobs/$task" ] && echo $state "$name" > "$here/jobs/$task"
        ) < /dev/null > /dev/null 2>&1 &
    done
    echo "$id"
    ;;
squeue)
    for job in "$here"/jobs/*.*; do
        read -r state name < "$job" && job=${job##*/} && echo "${job%.*} ${job#*.} $state $name"
    done
    exit 0
    ;;
scancel)
    for task; do
        touch "$here/pids/${task/_/.}.cancelled"
        kill -TERM "$(cat "$here/pids/${task/_/.}")"
    done
    ;;
esac
"""
DOWN = "Unable to contact slurm controller (connect failure)\n"


class Cluster:
    """The folder of the commands: what they were told, and what they shall say."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("jobs", "pids"):
            (folder / name).mkdir(parents=True)
        (folder / "slurm").write_text(SLURM)
        (folder / "slurm").chmod(0o755)
        for name in ("sbatch", "squeue", "scancel"):
            (folder / name).symlink_to("slurm")

    def calls(self, command: str) -> list[str]:
        path = self.folder / f"{command}.calls"
        return path.read_text().splitlines() if path.exists() else []

    def refuse(self, command: str, message: str) -> None:
        (self.folder / f"{command}.refuses").write_text(message)

    def forget(self) -> None:
        for job in (self.folder / "jobs").iterdir():
            job.unlink()

    def states(self) -> list[str]:
        return [path.read_text().split()[0] for path in sorted((self.folder / "jobs").iterdir())]


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    cluster = Cluster(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{cluster.folder}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "POLL_S", 0.05)
    monkeypatch.setattr(slurm, "PATIENCE_S", 5.0)
    yield cluster
    assert "RUNNING" not in cluster.states()


@pytest.fixture
def workdir(tmp_path) -> Path:
    return tmp_path / "it's 100% a sweep"


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "fine nets.py"
    path.write_text(EXPERIMENT)
    return path


def job(workdir: Path, name: str, script: str) -> Job:
    """A run that does `script` in its folder."""
    folder = workdir / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    return Job(name, ["sh", "-c", f"cd {shlex.quote(str(folder))}; {script}"], folder)


def outcomes(launcher: Slurm, n: int) -> dict[str, str | None]:
    found, deadline = {}, time.monotonic() + 30
    while len(found) < n:
        assert time.monotonic() < deadline
        found |= launcher.ended()
    return found


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_sweep_begun_here_is_finished_by_slurm_and_has_one_table(file, workdir, cluster):
    assert sleepmami(file, workdir, "--only", "coarse-2-0") == 0
    words = ("--launcher", "slurm", "--slurm", "gres=gpu:1", "comment=for nets", "exclusive")
    assert sleepmami(file, workdir, "--only", "*-2-?", *words) == 0
    (call,) = cluster.calls("sbatch")  # all that could start, at once
    assert "--parsable --gres=gpu:1 --comment=for nets --exclusive --job-name=" in call
    assert "--array=0-2 " in call
    everywhere, here = workdir / "table.csv", workdir.with_name("here")
    launch_all(file, here, Here())
    assert sleepmami(file, here) == 0
    expected = [row for row in rows(here / "table.csv") if row["width"] == "2"]
    assert [row | {"seconds": ""} for row in rows(everywhere)] == [r | {"seconds": ""} for r in expected]


def test_how_tasks_ended(workdir, cluster):
    launcher = Slurm(workdir)
    launcher.start(
        [
            job(workdir, "good", f"echo caught; touch {RESULT}"),
            job(workdir, "bad", "echo torn >&2; exit 3"),
            job(workdir, "long", "exit 99"),
        ]
    )
    assert outcomes(launcher, 3) == {
        "good": None,
        "bad": "FAILED",
        "long": "TIMEOUT; slurmstepd: error: DUE TO TIME LIMIT",
    }
    assert (workdir / "runs" / "good" / "log.txt").read_text() == "caught\n"
    assert (workdir / "runs" / "bad" / "log.txt").read_text() == "torn\n"
    launcher.stop()


def test_what_failed_is_submitted_again(workdir, cluster):
    run = job(workdir, "nets", f"[ -e mended ] && sleep 0.3 && touch {RESULT}")
    for expected in ({"nets": "FAILED"}, {"nets": None}):
        launcher = Slurm(workdir)
        launcher.start([run])
        assert outcomes(launcher, 1) == expected
        launcher.stop()
        (run.folder / "mended").touch()
    assert len(cluster.calls("sbatch")) == 2


def test_a_result_that_is_on_its_way_is_waited_for(workdir, cluster, monkeypatch):
    late, never = job(workdir, "late", "true"), job(workdir, "never", "true")
    launcher = Slurm(workdir)
    launcher.start([late, never])
    launcher.ended()
    wait_for(lambda: cluster.states() == ["COMPLETED", "COMPLETED"])
    assert launcher.ended() == {}
    cluster.forget()
    assert launcher.ended() == {}
    (late.folder / RESULT).touch()
    assert launcher.ended() == {"late": None}
    monkeypatch.setattr(slurm, "PATIENCE_S", 0.0)
    assert launcher.ended() == {"never": "not in the queue any more"}
    launcher.stop()


def test_slurm_that_does_not_answer_for_a_while(workdir, cluster, capsys):
    launcher = Slurm(workdir)
    launcher.start([job(workdir, "first", f"while [ ! -e go ]; do sleep 0.05; done; touch {RESULT}")])
    launcher.ended()
    cluster.refuse("squeue", DOWN)
    launcher.start([job(workdir, "second", f"touch {RESULT}")])
    assert launcher.ended() == launcher.ended() == {}
    cluster.refuse("squeue", "")
    cluster.refuse("sbatch", "job submit limit\n")
    assert launcher.ended() == launcher.ended() == {}
    error = capsys.readouterr().err
    assert error.count("Unable to contact") == 1 and error.count("job submit limit") == 1
    cluster.refuse("sbatch", "")
    (workdir / "runs" / "first" / "go").touch()
    assert outcomes(launcher, 2) == {"first": None, "second": None}
    launcher.stop()


def test_a_sweep_that_was_killed_comes_back_to_its_tasks_and_can_be_stopped(file, workdir, cluster):
    waits = """    import os, time
    with open(dir / "runs" / f"{net}-{width}-{seed}" / "pids", "a") as pids:
        pids.write(f"{os.getpid()}\\n")
    time.sleep(60)
"""
    file.write_text(EXPERIMENT.replace("    fish = int(", f"{waits}    fish = int("))
    code = (
        "import sys; from sleepmami_jax.sweep import slurm; slurm.POLL_S = 0.05\n"
        "from sleepmami_jax.cli import parse, run_command\n"
        "sys.exit(run_command(parse(['sleepmami', 'sweep', *sys.argv[1:]])))"
    )
    words = ["--config", file, "--workdir", workdir, "--launcher", "slurm", "--only", "fine-4-0"]
    command = [sys.executable, "-c", code, *map(str, words)]
    pids = workdir / "runs" / "fine-4-0" / "pids"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as first:
        wait_for(lambda: pids.exists() and pids.read_text())
        with pytest.raises(ValueError, match="slurm: another run is working in this folder"):
            Slurm(workdir).start([])
        first.kill()
    asked = len(cluster.calls("squeue"))
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as second:
        wait_for(lambda: len(cluster.calls("squeue")) > asked + 3)  # one may still be the first one's
        second.send_signal(signal.SIGINT)
        error = second.stderr.read()
    assert second.returncode == 130 and "cancelling 1 runs" in error and "the same command goes on" in error
    assert len(cluster.calls("sbatch")) == 2  # the pond, and the net once
    assert cluster.states() == ["COMPLETED", "CANCELLED"]
    (pid,) = pids.read_text().split()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_a_dry_run_shows_the_script_and_asks_nothing(file, workdir, cluster, capsys):
    assert sleepmami(file, workdir, "--launcher", "slurm", "--slurm", "time=1:00:00", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "sbatch --parsable --time=1:00:00 --job-name=sleepmami-" in shown and "100%% a sweep" in shown
    script = shown[shown.index("#!/bin/bash") :]
    assert "0) # pond\n    exec " in script and "1)" not in script
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    assert not workdir.exists() and not cluster.calls("sbatch") and not cluster.calls("squeue")


def test_what_slurm_refuses_is_said(file, workdir, cluster, capsys, monkeypatch):
    cluster.refuse("sbatch", "sbatch: error: invalid partition specified: gpus\n")
    assert sleepmami(file, workdir, "--launcher", "slurm", "--slurm", "partition=gpus") == 1
    error = capsys.readouterr().err
    assert "invalid partition specified: gpus" in error and "--slurm gives sbatch's options" in error
    with pytest.raises(ConfigError, match="--slurm array=0-3: array is set by the sweep"):
        Slurm(workdir, ["array=0-3"])
    monkeypatch.setenv("PATH", "")
    assert sleepmami(file, workdir, "--launcher", "slurm") == 1
    assert "squeue: no such command here; start the sweep where jobs are" in capsys.readouterr().err
