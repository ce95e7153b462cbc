"""Preparation on a Ray cluster of two nodes: the same bytes as here, and a dead process or node loses no night.

And sweeps, whose runs do there what they do here.
"""

import os
import signal
import threading
import time

import pytest

from data_pipeline.prepare.run import prepare
from sleepmami_jax.sweep.ray import Ray
from tests.support.loaders import dies_twice_at_two, stays_on_the_doomed_node, stops_for_want_of_space
from tests.support.nights import files, load_random_night, write_recordings
from tests.support.sweeps import EXPERIMENT, rows, sleepmami

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]' (340 MB)")


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


def test_a_cluster_gives_the_same_bytes(tmp_path, cluster):
    folder = write_recordings(tmp_path / "in", [1, 2, 3, "bad", "bug"])
    prepare([folder], tmp_path / "cluster", ray=cluster.address, load=load_random_night)
    prepare([folder], tmp_path / "here", load=load_random_night)
    assert files(tmp_path / "cluster") == files(tmp_path / "here")


def test_a_night_whose_process_dies_is_tried_elsewhere_then_reported(tmp_path, cluster):
    folder = write_recordings(tmp_path / "in", [1, 2, 3])
    summary = prepare([folder], tmp_path / "out", ray=cluster.address, load=dies_twice_at_two)
    assert [night.night_id for night in summary.nights] == ["n1", "n2"]
    assert [(r.night_id, "died 3 times" in r.reason) for r in summary.rejected] == [("n3", True)]


def test_output_that_cannot_be_written_stops_the_cluster(tmp_path, cluster):
    folder = write_recordings(tmp_path / "in", [1, 2])
    with pytest.raises(OSError, match="cannot be written"):
        prepare([folder], tmp_path / "out", ray=cluster.address, load=stops_for_want_of_space)


def test_a_node_that_dies_gives_its_night_to_another(tmp_path, cluster):
    folder = write_recordings(tmp_path / "in", range(1, 6))
    doomed = cluster.add_node(num_cpus=1)
    (folder / "doomed").write_text(doomed.node_id)
    killed = []

    def progress(done, total, night_id):
        if not killed:
            killed.append(night_id)
            cluster.remove_node(doomed, allow_graceful=False)

    summary = prepare([folder], tmp_path / "out", ray=cluster.address, load=stays_on_the_doomed_node, progress=progress)
    assert killed and len(summary.nights) == 5 and not summary.rejected
    prepare([folder], tmp_path / "here", load=load_random_night)
    assert files(tmp_path / "out") == files(tmp_path / "here")


def test_a_sweep_on_a_cluster(tmp_path, cluster, capsys):
    file, workdir = tmp_path / "nets.py", tmp_path / "sweep"
    file.write_text(EXPERIMENT)
    words = ("--launcher", "ray", "--ray", cluster.address, "--only", "*-2-0")
    workdir.mkdir()
    (workdir / "storm").touch()
    assert sleepmami(file, workdir, *words) == 1
    error = capsys.readouterr().err
    assert "fine-2-0 failed (exit status 1)" in error and "sleepmami: the net is torn" in error
    assert [row["run"] for row in rows(workdir / "table.csv")] == ["coarse-2-0"]
    (workdir / "storm").unlink()
    assert sleepmami(file, workdir, *words, "--parallel", "1", "--resources", "CPU=0.5") == 0
    assert [row["run"] for row in rows(workdir / "table.csv")] == ["fine-2-0", "coarse-2-0"]


def test_a_sweep_that_is_stopped_lets_its_runs_save(tmp_path, cluster, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file, workdir = tmp_path / "nets.py", tmp_path / "sweep"
    waits = """    import os, signal, time
    home = dir / "runs" / f"{net}-{width}-{seed}"
    signal.signal(signal.SIGTERM, lambda *_: ((home / "saved").touch(), os._exit(75)))
    (home / "at").write_text(os.getcwd())
    time.sleep(60)
"""
    file.write_text(EXPERIMENT.replace("    fish = int(", f"{waits}    fish = int("))

    def begun() -> list[str]:
        return [text for path in workdir.glob("runs/*/at") if (text := path.read_text())]

    def stop_when_two_run() -> None:
        deadline = time.monotonic() + 60
        while len(begun()) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop_when_two_run).start()
    assert sleepmami(file, workdir, "--launcher", "ray", "--ray", cluster.address) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert begun() == [str(tmp_path)] * 2  # of six that were ready
    assert len(list(workdir.glob("runs/*/saved"))) == 2


def test_a_run_whose_worker_dies_is_reported(tmp_path, cluster, capsys):
    file, workdir = tmp_path / "nets.py", tmp_path / "sweep"
    file.write_text(EXPERIMENT.replace("def pond(dir):", "def pond(dir):\n    import os; os.kill(os.getppid(), 9)"))
    assert sleepmami(file, workdir, "--launcher", "ray", "--ray", cluster.address) == 1
    assert "pond failed (lost by Ray: WorkerCrashedError" in capsys.readouterr().err


def test_a_run_that_finds_no_node_says_so(tmp_path, cluster, capsys, monkeypatch):
    def stopped(launcher):
        raise KeyboardInterrupt

    monkeypatch.setattr(Ray, "ended", stopped)
    file, workdir = tmp_path / "nets.py", tmp_path / "sweep"
    file.write_text(EXPERIMENT)
    words = ("--launcher", "ray", "--ray", cluster.address, "--resources", "CPU=64", "sieve=1")
    assert sleepmami(file, workdir, *words) == 130
    assert "no node of the cluster has CPU=64 sieve=1 yet" in capsys.readouterr().err
