"""Sweeps of runs that compute a number: order, going on, failing, and what is written of them."""

from __future__ import annotations

import csv
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sleepmami_jax.cli import _parse, _run
from sleepmami_jax.config import ConfigError
from sleepmami_jax.sweep.launch import launch
from sleepmami_jax.sweep.local import Local
from sleepmami_jax.sweep.plan import Plot, load_sweep
from sleepmami_jax.sweep.plots import write_plots
from sleepmami_jax.sweep.result import Result, do_run, read_results
from sleepmami_jax.sweep.table import groups

EXPERIMENT = '''"""Does a wider net catch more?

And a second paragraph."""
from functools import partial
from pathlib import Path
from sleepmami_jax.sweep import Plot, Run

def pond(dir):
    with open(dir / "runs" / "pond" / "fish", "a") as fish:
        fish.write("3")
    return {}

def catch(dir, net, width, seed):
    if (dir / "storm").exists() and net == "fine":
        raise RuntimeError("the net is torn")
    fish = int((dir / "runs" / "pond" / "fish").read_text()) if net == "fine" else 3
    return {"fish": fish * width + seed, "error": None if width == 2 else 0.5}

def sweep():
    nets = [("fine", 2), ("fine", 4), ("coarse", 2)]
    runs = [
        Run(f"{net}-{width}-{seed}", partial(catch, net=net, width=width, seed=seed),
            {"net": net, "width": width, "seed": seed}, after=("pond",))
        for net, width in nets for seed in (0, 1)
    ]
    return [*runs, Run("pond", pond)]

PLOTS = (Plot("width", ("fish", "error"), "net", "Wider nets", x_log=True), Plot("net", ("fish",)))
'''


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "nets.py"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture
def workdir(tmp_path) -> Path:
    return tmp_path / "sweep"


def sleepmami(file, workdir, *words) -> int:
    return _run(_parse(["sleepmami", "sweep", "--config", str(file), "--workdir", str(workdir), *words]))


class Here:
    """A launcher that does runs in this process, in the order in which it is asked, and remembers all of it."""

    def __init__(self, fails=()):
        self.fails, self.begun, self.at_once = set(fails), [], []
        self._running: dict[str, list[str]] = {}

    def start(self, jobs):
        for job in jobs:
            self.begun.append(job.run)
            self._running[job.run] = job.command
            self.at_once.append(len(self._running))
            job.log.write_text("no luck\n")

    def ended(self):
        name = next(iter(self._running))
        words = self._running.pop(name)[4:]
        failed = name in self.fails or _run(_parse(["sleepmami", *words]))
        return {name: "no luck" if failed else None}

    def stop(self):
        assert not self._running


def launch_all(file, workdir, launcher, **options):
    sweep = load_sweep(file)
    return launch(sweep, workdir, list(sweep.runs), launcher, **options)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as table:
        return list(csv.DictReader(table))


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
        "import sys; from pathlib import Path; from sleepmami_jax.cli import _parse, _run;"
        f"_run(_parse(['sleepmami', 'sweep', '--config', {str(file)!r}, '--workdir', {str(workdir)!r}, '--dry-run']));"
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


def test_means_are_over_seeds(file, workdir):
    launch_all(file, workdir, Here())
    assert sleepmami(file, workdir) == 0
    averaged = rows(workdir / "summary.csv")
    assert [(row["net"], row["width"], row["n"]) for row in averaged] == [
        ("fine", "2", "2"),
        ("fine", "4", "2"),
        ("coarse", "2", "2"),
    ]
    assert (float(averaged[1]["fish"]), float(averaged[1]["fish_sd"])) == (12.5, pytest.approx(0.5**0.5))
    assert (averaged[0]["error"], averaged[1]["error"], averaged[1]["error_sd"]) == ("", "0.5", "0.0")
    text = (workdir / "summary.md").read_text()
    assert text.startswith("# Does a wider net catch more?\n") and "7 of 7 runs finished" in text
    assert (
        "| fine | 4 | 2 | 12.5 ± 0.71 | 0.5 ± 0 |" in text and "| coarse | 2 | 2 | 6.5 ± 0.71 | – |" in text
    )
    written = {path.relative_to(workdir): path.read_bytes() for path in workdir.glob("[stp]*/*.png")}
    assert {str(path) for path in written} == {"plots/wider-nets.png", "plots/2-fish-by-net.png"}
    tables = {name: (workdir / name).read_bytes() for name in ("table.csv", "summary.csv", "summary.md")}
    assert sleepmami(file, workdir) == 0
    assert all((workdir / path).read_bytes() == data for path, data in (written | tables).items())


def test_a_table_has_the_factors_in_the_order_of_the_runs():
    """Whatever order a run writes them in, and not by the alphabet."""
    runs = {
        "a": Result({"width": 2, "net": "fine", "seed": 0}, {"fish": 1.0}, 1.0),
        "b": Result({"net": "fine", "width": 2, "seed": 1}, {"fish": 2.0}, 1.0),
    }
    (both,) = groups(runs)
    assert list(both.factors) == ["width", "net"] and both.n == 2


def test_words_and_legend_of_a_plot_can_be_read(tmp_path, monkeypatch):
    from matplotlib import pyplot

    nets = ["a net with a long name", "another net with a long name", *(f"net number {i}" for i in range(9))]
    results = {
        f"{net}-{boat}": Result({"net": net, "boat": boat}, {"fish": float(i), "crabs_f1": i % 3}, 1.0)
        for i, (net, boat) in enumerate(itertools.product(nets, ("rowed", "sailed")))
    }
    drawn = []
    monkeypatch.setattr(pyplot, "close", drawn.append)
    write_plots((Plot("net", ("fish", "crabs_f1"), "boat", "Nets of long names"),), results, tmp_path)
    (figure,) = drawn
    figure.canvas.draw()  # places are those of the last drawing, which had more dots an inch
    (first, second), (legend,) = figure.axes, figure.legends
    words = first.get_yticklabels()
    assert [word.get_text() for word in words] == nets and second.get_xlabel() == "crabs F1"
    shown = [*words, first.patch, second.patch, legend, figure._suptitle]
    boxes = [part.get_window_extent() for part in shown]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)


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


def test_a_run_that_was_killed_says_by_what(file, workdir, capsys):
    file.write_text(
        EXPERIMENT.replace("    fish = int(", "    import os\n    os.kill(os.getpid(), 9)\n    fish = int(")
    )
    assert sleepmami(file, workdir, "--only", "coarse-2-0") == 1
    assert "coarse-2-0 failed (ended by SIGKILL)" in capsys.readouterr().err


def test_a_run_that_left_no_log_is_reported_all_the_same(file, workdir, capsys):
    class Silent(Here):
        def start(self, jobs):
            super().start(jobs)
            for job in jobs:
                job.log.unlink()

    launch_all(file, workdir, Silent(fails=["pond"]))
    assert "pond failed (no luck), before it wrote anything" in capsys.readouterr().err


def test_another_run_of_that_name_is_refused(file, workdir, capsys):
    launch_all(file, workdir, Here(fails=["fine-2-1"]))
    file.write_text(EXPERIMENT.replace('("fine", 4)', '("fine", 4.5)').replace("-{width}-", "-{int(width)}-"))
    assert sleepmami(file, workdir) == 1
    error = capsys.readouterr().err
    assert "do.arguments.width was 4 and is now 4.5 (and 1 more)" in error and "fine-4-0" in error
    assert "remove this folder" in error
    file.write_text(EXPERIMENT.replace('Run("pond", pond)', 'Run("pond", pond, {"depth": 2})'))
    with pytest.raises(
        ConfigError, match=r"pond was started as another run: factors\.depth was 'absent' and is now 2"
    ):
        read_results(load_sweep(file), workdir)
    (workdir / "runs" / "pond" / "run.json").unlink()
    with pytest.raises(ConfigError, match=r"fine-2-0 was .* 'pond', which comes before it, is another"):
        read_results(load_sweep(file), workdir)


def test_a_run_alone_asks_for_its_predecessors(file, workdir):
    sweep = load_sweep(file)
    with pytest.raises(ConfigError, match="fine-2-0: pond must be finished first"):
        do_run(sweep, workdir, "fine-2-0")
    with pytest.raises(ConfigError, match="no run is named 'fine-2'"):
        do_run(sweep, workdir, "fine-2")


def test_a_measure_that_is_no_number_is_refused(file, workdir):
    file.write_text(EXPERIMENT.replace("else 0.5", "else float('nan')"))
    sweep = load_sweep(file)
    do_run(sweep, workdir, "pond")
    with pytest.raises(ValueError, match="fine-4-0: measure error is nan"):
        do_run(sweep, workdir, "fine-4-0")
    assert "fine-4-0" not in read_results(sweep, workdir)


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
    with pytest.raises(RuntimeError, match="another process is at work here"):
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


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def sweep", "def sweeps", r"defines sweep\(\)"),
        ("*runs, Run", "*runs, *runs, Run", "two runs are named 'fine-2-0'"),
        (
            'after=("pond",)',
            'after=("pand",)',
            "'fine-2-0' comes after 'pand', which is no run; did you mean 'pond'",
        ),
        ('Run("pond", pond)', 'Run("pond", pond, after=("fine-2-0",))', "wait for each other: .*pond"),
        ('Run("pond", pond)', 'Run("a/b", pond)', "'a/b': expected a folder's name"),
        ('Run("pond", pond)', 'Run("pond", lambda dir: {})', "use functions defined in a module"),
        ("net=net, width", "net={net}, width", "cannot be told from another"),
        ('Plot("net"', 'Plot("nets"', "'nets' is no factor of any run; did you mean 'net'"),
    ],
)
def test_mistakes_are_found_before_anything_starts(file, old, new, message):
    assert old in EXPERIMENT
    file.write_text(EXPERIMENT.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        load_sweep(file)


def test_commands_that_match_nothing(file, workdir, capsys):
    assert (
        sleepmami(file, workdir, "--only", "big-*") == 1
        and "matches none of the 7" in capsys.readouterr().err
    )
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
        _parse(["sleepmami", "sweep", "--help"])
    assert stop.value.code == 0 and "sleepmami sweep --config" in capsys.readouterr().out.split("example:")[1]
