"""Order, going on, failing, and the command."""

from __future__ import annotations

import subprocess
import sys

import pytest

from data_pipeline.lock import alone_in
from sleepmami_jax.cli import parse
from sleepmami_jax.sweep.plan import load_sweep
from sleepmami_jax.sweep.result import do_run
from tests.support.sweeps import EXPERIMENT, Here, launch_all, rows, sleepmami


def test_a_sweep_from_the_command_line(file, workdir, capsys):
    """In processes of their own, some at once; then nothing is done twice."""
    assert sleepmami(file, workdir, "--parallel", "3", "--only", "*-2-?") == 0
    assert {path.name for path in (workdir / "runs").iterdir()} == {
        "pond",
        *(f"{net}-2-{seed}" for net in ("fine", "coarse") for seed in (0, 1)),
    }
    table = rows(workdir / "table.csv")
    assert [row["run"] for row in table] == ["fine-2-0", "fine-2-1", "coarse-2-0", "coarse-2-1"]
    assert table[1] | {"seconds": ""} == {
        **{"run": "fine-2-1", "net": "fine", "width": "2", "seed": "1"},
        **{"fish": "7.0", "error": "", "seconds": ""},
    }
    assert "5 of 7 runs finished" in capsys.readouterr().out
    assert sleepmami(file, workdir, "--dry-run") == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == [
        "pond",
        *(f"{net}-{seed}" for net in ("fine-2", "fine-4", "coarse-2") for seed in (0, 1)),
    ]
    assert ["to do" in line for line in listed] == [False] * 3 + [True] * 2 + [False] * 2
    before = (workdir / "runs" / "fine-2-0" / "result.json").read_bytes()
    assert do_run(load_sweep(file), workdir, "fine-2-0").measures == {"fish": 6.0, "error": None}
    assert (workdir / "runs" / "fine-2-0" / "result.json").read_bytes() == before
    do_run(load_sweep(file), workdir, "pond")  # would catch a second time
    assert (workdir / "runs" / "pond" / "fish").read_text() == "3"


def test_the_launcher_imports_no_jax(file, workdir):
    code = (
        "import sys; from pathlib import Path; from sleepmami_jax.cli import parse, run_command;"
        f"words = ['sleepmami', 'sweep', '--config', {str(file)!r}, '--workdir', {str(workdir)!r}, '--dry-run'];"
        "run_command(parse(words));"
        "import sleepmami_jax.sweep.launch; sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def test_order_and_bound(file, workdir):
    launcher = Here()
    assert launch_all(file, workdir, launcher, parallel=2) == ([], [])
    assert launcher.begun[0] == "pond" and len(launcher.begun) == 7
    assert launcher.at_once[0] == 1 and max(launcher.at_once) == 2
    again = Here()
    assert launch_all(file, workdir, again) == ([], []) and again.begun == []
    unbounded = Here()
    assert launch_all(file, workdir.with_name("other"), unbounded, parallel=None) == ([], [])
    assert unbounded.at_once == [1, *range(1, 7)]


def test_a_failed_run_stops_those_after_it_only(file, workdir):
    file.write_text(EXPERIMENT.replace('after=("pond",)', 'after=("pond",) if net == "fine" else ()'))
    launcher = Here(fails=["pond"])
    failed, blocked = launch_all(file, workdir, launcher)
    assert failed == ["pond"] and blocked == ["fine-2-0", "fine-2-1", "fine-4-0", "fine-4-1"]
    assert set(launcher.begun) == {"pond", "coarse-2-0", "coarse-2-1"}


def test_a_failure_shows_its_log_and_mends(file, workdir, capsys):
    workdir.mkdir()
    (workdir / "storm").touch()
    assert sleepmami(file, workdir, "--only", "*-2-0", "--parallel", "2") == 1
    error = capsys.readouterr().err
    assert "fine-2-0 failed (exit status 1)" in error and "sleepmami: the net is torn" in error
    assert "failed: fine-2-0" in error and "coarse-2-0" in (workdir / "table.csv").read_text()
    assert ", ; 1 failed" not in error and "1 failed" in error
    (workdir / "storm").unlink()
    assert sleepmami(file, workdir, "--only", "*-2-0") == 0
    assert "fine-2-0" in (workdir / "table.csv").read_text()


def test_a_run_that_left_no_log_is_reported_all_the_same(file, workdir, capsys):
    class Silent(Here):
        def start(self, jobs):
            super().start(jobs)
            for job in jobs:
                job.log.unlink()

    launch_all(file, workdir, Silent(fails=["pond"]))
    assert "pond failed (no luck), before it wrote anything" in capsys.readouterr().err


def test_one_sweep_at_a_time_in_a_folder(file, workdir, capsys):
    with alone_in(workdir):
        assert sleepmami(file, workdir, "--only", "pond") == 1
        assert "another run is working in this folder" in capsys.readouterr().err
        assert sleepmami(file, workdir, "--dry-run") == 0


def test_commands_that_match_nothing(file, workdir, capsys):
    assert sleepmami(file, workdir, "--only", "big-*") == 1 and "matches none of the 7" in capsys.readouterr().err
    assert sleepmami(file, workdir, "--parallel", "0") == 1 and "at least 1" in capsys.readouterr().err
    assert sleepmami(file.with_name("net.py"), workdir) == 1 and "did you mean" in capsys.readouterr().err
    assert not workdir.exists()


def test_options_of_another_launcher_are_refused(file, workdir, capsys):
    for words in (("--ray", "auto"), ("--launcher", "slurm", "--resources", "GPU=1"), ("--slurm", "time=1")):
        assert sleepmami(file, workdir, "--dry-run", *words) == 1
        assert "belongs to --launcher" in capsys.readouterr().err
    assert sleepmami(file, workdir, "--launcher", "ray", "--resources", "GPU", "--dry-run") == 1
    assert "--resources GPU: expected a name and a number" in capsys.readouterr().err
    assert sleepmami(file, workdir, "--launcher", "ray", "--resources", "GPU=1", "--dry-run") == 0
    assert "to the Ray cluster at 'auto', each with CPU=1 GPU=1: pond" in capsys.readouterr().out


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(["sleepmami", "sweep", "--help"])
    assert stop.value.code == 0 and "sleepmami sweep --config" in capsys.readouterr().out.split("example:")[1]
