"""The scripts that start runs on other machines, and again until they are done."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from sleepmami_jax import cli
from sleepmami_jax.config import load_experiment
from sleepmami_jax.run.places import in_bucket

LAUNCH = Path(__file__).parents[2] / "experiments" / "launch"
WORDS = [
    "--config",
    "a b.py",
    "--set",
    'data.shards=[{"folder":"/my shards"}]',
    "steps=64",
    "name=it's $HOME",
    "*",
]


def supervise(workdir, script):
    """`script` as the run, in the shell; its workdir is $W."""
    environment = os.environ | {"SUPERVISE_PAUSE_S": "0", "W": str(workdir)}
    command = [LAUNCH / "supervise.sh", workdir, "sh", "-c", script]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_run_that_gets_on_is_started_until_it_is_done(tmp_path):
    run = supervise(tmp_path, 'echo step >> "$W/metrics.jsonl"; [ $(wc -l < "$W/metrics.jsonl") -ge 6 ]')
    _, said = run.communicate(timeout=30)
    assert run.returncode == 0
    assert said.count("starting again") == 5


def test_a_run_in_a_bucket_gets_on_too(tmp_path, monkeypatch):
    gcloud = tmp_path / "gcloud"
    gcloud.write_text('#!/bin/sh\n[ "$*" = "storage cat gs://b/metrics.jsonl" ] && cat "${0%/*}/metrics"\n')
    gcloud.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    metrics = tmp_path / "metrics"
    run = supervise("gs://b", f'echo step >> "{metrics}"; [ $(wc -l < "{metrics}") -ge 6 ]')
    _, said = run.communicate(timeout=30)
    assert run.returncode == 0, said


def test_a_run_that_does_not_get_on_is_given_up(tmp_path):
    run = supervise(tmp_path, 'echo start >> "$W/starts"; exit 3')
    _, said = run.communicate(timeout=30)
    assert run.returncode == 3 and "giving up" in said
    assert (tmp_path / "starts").read_text().split() == ["start"] * 3


def test_a_run_that_only_does_again_what_it_had_done_is_given_up(tmp_path):
    """It dies after steps 4, 3, 4, 3, …: it goes on from a checkpoint, and never reaches the next."""
    script = 'echo >> "$W/starts"; n=$(wc -l < "$W/starts"); seq $((3 + n % 2)) > "$W/metrics.jsonl"; [ $n -ge 9 ]'
    run = supervise(tmp_path, script)
    _, said = run.communicate(timeout=30)
    assert run.returncode == 1 and "giving up" in said
    assert len((tmp_path / "starts").read_text()) == 4


def test_a_signal_reaches_the_run_and_ends_both(tmp_path):
    waits = "trap 'sleep 0.5; echo saved; exit 75' TERM; touch \"$W/ready\"; while :; do sleep 0.05; done"
    run = supervise(tmp_path, waits)
    while not (tmp_path / "ready").exists():
        time.sleep(0.05)
    run.send_signal(signal.SIGTERM)
    said, errors = run.communicate(timeout=30)
    assert run.returncode == 75 and said == "saved\n" and not errors


def test_a_signal_as_soon_as_the_run_begins_ends_both(tmp_path):
    at_once = "kill -TERM $PPID; while :; do sleep 0.02; done"
    # It may come before or after the supervisor knows the run's number.
    for run in [supervise(tmp_path, at_once) for _ in range(20)]:
        run.communicate(timeout=30)
        assert run.returncode == 128 + signal.SIGTERM


def test_pods_of_the_gke_job_fill_the_slice_and_run_a_command_that_is_one(monkeypatch):
    job = yaml.safe_load((LAUNCH / "gke.yaml").read_text())["spec"]["replicatedJobs"][0]["template"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    sides = map(int, pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"))
    chips = math.prod(sides)
    assert job["parallelism"] == job["completions"] == chips // container["resources"]["limits"]["google.com/tpu"]
    program, *words = container["command"]
    assert program == "sleepmami"
    monkeypatch.chdir(LAUNCH.parents[1])
    args = cli.make_parser().parse_args(words)
    assert args.distributed and in_bucket(args.workdir)
    experiment = load_experiment(args.config, args.set)
    assert experiment.objective.batch % (chips * experiment.accumulate) == 0
    (mount,), (volume,) = container["volumeMounts"], pod["volumes"]
    assert mount["name"] == volume["name"]
    assert Path(experiment.data.shards[0].folder).is_relative_to(mount["mountPath"])


@pytest.fixture
def command(tmp_path, monkeypatch):
    """`command(name, script)`: a program on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def write(name, script, folder=folder):
        path = folder / name
        path.write_text(script)
        path.chmod(0o755)

    return write


def notes(path, status):
    """A program that writes its arguments to `path`, a list a line, and ends with that status."""
    return f"""#!{sys.executable}
import json, sys
with open({str(path)!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
sys.exit({status})
"""


def noted(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize(("status", "requeued"), [(0, False), (1, False), (75, True), (143, True)])
def test_slurm_gets_the_words_and_queues_again_what_saved(command, tmp_path, status, requeued):
    command("srun", '#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done; exec "$@"\n')
    command("sleepmami", notes(tmp_path / "runs", status))
    command("scontrol", notes(tmp_path / "scontrol", 0))
    environment = os.environ | {"SLURM_JOB_ID": "17"}
    done = subprocess.run([LAUNCH / "slurm.sh", "finetune", *WORDS], env=environment, timeout=30)
    assert done.returncode == status
    assert noted(tmp_path / "runs") == [["finetune", "--distributed", *WORDS]]
    assert noted(tmp_path / "scontrol") == ([["requeue", "17"]] if requeued else [])


@pytest.mark.parametrize("status", [0, 3])
def test_workers_of_a_tpu_get_the_words_and_their_status_comes_back(command, tmp_path, monkeypatch, status):
    """`gcloud` here runs the command in a shell for each of two workers, whose homes are folders."""
    command(
        "gcloud",
        f"""#!/bin/bash
printf '%s\\n' "$@" > "{tmp_path}/gcloud"
for word in "$@"; do [[ $word == --command=* ]] && command=${{word#--command=}}; done
for worker in 0 1; do HOME={tmp_path}/$worker bash -c "$command" || status=$?; done
exit "${{status:-0}}"
""",
    )
    for worker in "01":
        code = tmp_path / worker / "sleepmami-jax"
        (code / ".venv" / "bin").mkdir(parents=True)
        (code / "experiments").symlink_to(LAUNCH.parent)
        command("sleepmami", notes(tmp_path / worker / "runs", status), code / ".venv" / "bin")
    monkeypatch.setenv("SUPERVISE_PAUSE_S", "0")
    done = subprocess.run([LAUNCH / "tpu_vm.sh", "pod", "zone", "/mnt/my run", "pretrain", *WORDS], timeout=30)
    assert done.returncode == status
    expected = ["pretrain", "--workdir", "/mnt/my run", "--distributed", *WORDS]
    for worker in "01":
        assert noted(tmp_path / worker / "runs") == [expected] * (3 if status else 1)
    assert {"pod", "--zone=zone", "--worker=all"} <= set((tmp_path / "gcloud").read_text().splitlines())
