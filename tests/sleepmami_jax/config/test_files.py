"""Experiment files: where they are found, and what they import from their own folder."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sleepmami_jax.config import ConfigError, load_experiment, load_file
from sleepmami_jax.config.files import name_of
from sleepmami_jax.sweep.plan import load_sweep
from sleepmami_jax.sweep.result import do_run

ROOT = Path(__file__).parents[3]

GOOD = """
from sleepmami_jax.config import Experiment, MicroPretraining

def get_config():
    return Experiment(name="from a file", objective=MicroPretraining(), steps=5)
"""


def test_an_experiment_is_a_file(tmp_path):
    path = tmp_path / "tiny_micro.py"
    path.write_text(GOOD)
    assert load_experiment(path).name == "from a file"
    assert load_experiment(str(path), ["steps=6"]).steps == 6
    with pytest.raises(ConfigError, match=r"tiny_micr\.py: no such experiment file; did you mean .*tiny_micro\.py\?"):
        load_experiment(tmp_path / "tiny_micr.py")
    with pytest.raises(ConfigError, match=r"x\.py: no such experiment file; there are finetune_tiny, macro_tiny, "):
        load_experiment(tmp_path / "elsewhere" / "x.py")


def test_a_file_that_is_no_experiment_is_named(tmp_path):
    path = tmp_path / "empty.py"
    path.write_text("")
    with pytest.raises(ConfigError, match=r"empty\.py: an experiment file defines get_config\(\)"):
        load_experiment(path)
    path.write_text("def get_config():\n    pass\n")
    with pytest.raises(ConfigError, match=r"empty\.py: get_config\(\) gave None, expected an Experiment"):
        load_experiment(path)


@pytest.mark.parametrize("name", ["micro_tiny", "macro_tiny", "finetune_tiny"])
def test_a_recipe_of_the_package_is_known_by_its_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_experiment(name).name == name.replace("_", "-")
    Path(f"{name}.py").write_text(GOOD)
    assert load_experiment(name).name == name.replace("_", "-")
    assert load_experiment(f"{name}.py").name == "from a file"


def test_the_nearest_recipe_is_suggested(tmp_path):
    with pytest.raises(ConfigError, match=r"micro_tinny: no such experiment file; did you mean micro_tiny\?"):
        load_experiment("micro_tinny")
    with pytest.raises(ConfigError, match=r"did you mean micro_tiny\?"):
        load_experiment(tmp_path / "micro_tinny.py")
    with pytest.raises(ConfigError, match=r"demo: no such experiment file"):
        load_experiment("demo")


SWEEP = """
from functools import partial
from pathlib import Path

from sleepmami_jax.sweep import Run

from .shared import WHO

def ask(workdir, x):
    from .shared import late  # as late as when it runs

    return {"who": float(WHO), "late": late()}

def sweep():
    return [Run("a", partial(ask, x=1), {"x": 1})]
"""


def experiment_folder(folder, who):
    folder.mkdir()
    (folder / "mine.py").write_text(SWEEP)
    (folder / "shared.py").write_text(f"WHO = {who}\n\ndef late():\n    return float(WHO)\n")
    return folder / "mine.py"


def test_a_copied_experiment_uses_its_own_neighbours_and_no_others(tmp_path, monkeypatch):
    """Also while another folder of the same name is at work, and where `shared` is to be had elsewhere."""
    elsewhere = tmp_path / "path"
    elsewhere.mkdir()
    (elsewhere / "shared.py").write_text("WHO = 99\n")
    monkeypatch.syspath_prepend(elsewhere)
    importlib.import_module("shared")
    (tmp_path / "copy").mkdir()
    first = load_sweep(experiment_folder(tmp_path / "experiments", 1))
    second = load_sweep(experiment_folder(tmp_path / "copy" / "experiments", 2))
    for sweep, who in ((first, 1), (second, 2), (first, 1)):
        assert do_run(sweep, tmp_path / f"work-{who}", "a").measures == {"who": who, "late": who}
    assert first.descriptions == second.descriptions  # the same runs, wherever the file lies


def test_a_neighbour_that_changed_is_read_again(tmp_path):
    path = experiment_folder(tmp_path / "experiments", 1)
    assert load_file(path).WHO == 1
    (path.parent / "shared.py").write_text("WHO = 20\n")
    assert load_file(path).WHO == 20


def test_a_run_started_elsewhere_uses_the_file_s_own_neighbours(tmp_path):
    path = experiment_folder(tmp_path / "experiments", 7)
    command = [
        sys.executable,
        "-P",
        "-m",
        "sleepmami_jax.cli",
        "sweep",
        "--config",
        path,
        "--workdir",
        tmp_path / "w",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GLIBC_TUNABLES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "w" / "table.csv").read_text().splitlines()[1].startswith("a,1,7.0,7.0")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("from .foundation import base", "it imports foundation from its own folder"),
        ("from . import foundation", "it imports a file from its own folder"),
        ("from . import here", "it imports foundation from its own folder"),
    ],
)
def test_a_neighbour_that_was_not_copied_is_named(tmp_path, line, says):
    (tmp_path / "here.py").write_text("from .foundation import base\n")
    (tmp_path / "mine.py").write_text(line)
    with pytest.raises(ConfigError, match="copy it there too") as caught:
        load_file(tmp_path / "mine.py")
    assert says in str(caught.value) and "foundation" in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_neighbour_is_imported_with_a_dot(tmp_path):
    (tmp_path / "shared_by_two.py").touch()
    (tmp_path / "mine.py").write_text("from shared_by_two import base")
    with pytest.raises(ConfigError, match=r"write `from \.shared_by_two import"):
        load_file(tmp_path / "mine.py")


def test_a_package_that_is_not_installed_is_no_neighbour(tmp_path):
    (tmp_path / "mine.py").write_text("import no_such_package")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        load_file(tmp_path / "mine.py")


def test_names_of_functions_do_not_depend_on_the_folder(tmp_path):
    assert name_of(load_file(experiment_folder(tmp_path / "a b", 1)).ask) == "mine.ask"
    assert name_of(load_experiment) == "sleepmami_jax.config.files.load_experiment"


def test_every_experiment_imports_only_downwards():
    for path in (ROOT / "experiments").glob("*.py"):
        assert "from experiments" not in path.read_text() and "import experiments" not in path.read_text()
    for path in (*ROOT.glob("sleepmami_jax/**/*.py"), *ROOT.glob("data_pipeline/**/*.py")):
        assert "import experiments" not in path.read_text() and "from experiments" not in path.read_text(), path
