"""What is installed: the archive of the sources makes a wheel, and the wheel scores a night by itself."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import edfio
import numpy as np
import pytest

from data_pipeline.tasks import TaskKind
from sleepmami_jax.config import Finetuning
from sleepmami_jax.export.folder import WEIGHTS, ModelFolder, save_model

ROOT = Path(__file__).parents[1]
MODEL = {"config.json", "model.safetensors", "README.md"}
LARGEST_MODEL_MB, LARGEST_WHEEL_MB = 4, 6
FIRST_WHEELS = 70  # setuptools makes wheels by itself from here on
SIX = {"report.html", "stages.csv", "events.csv", "rejected.csv", "summary.json", "annotations.edf"}

pytestmark = pytest.mark.skipif(
    int(version("setuptools").split(".")[0]) <= FIRST_WHEELS,
    reason="needs setuptools 71 (pip install -e .[dev])",
)


def python(*words, cwd, **environment) -> str:
    """What Python says, in a folder of its own; nothing but `PYTHONPATH` leads to the package."""
    unset = ("PYTHONPATH", "XLA_FLAGS")  # a user has neither
    kept = {name: value for name, value in os.environ.items() if name not in unset} | environment
    done = subprocess.run([sys.executable, *map(str, words)], cwd=cwd, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory, tiny, model) -> Path:
    """The wheel, unpacked. A checkout without weights gets those of the tests' tiny model."""
    sources, built, site = (tmp_path_factory.mktemp(name) for name in ("sources", "built", "site"))
    for name in ("data_pipeline", "sleepmami_jax"):
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    weights = sources / WEIGHTS.relative_to(ROOT)
    if not weights.exists():
        tasks = Finetuning().tasks
        thresholds = {task.name: 0.5 for task in tasks if task.kind is TaskKind.EVENTS}
        save_model(ModelFolder(tiny, model[1], tasks, thresholds), weights)
    keep = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    python("-c", f"from setuptools import build_meta as b; b.build_sdist({str(built)!r})", cwd=sources, **keep)
    (archive,) = built.glob("*.tar.gz")
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    python("-m", "pip", "wheel", archive, *offline, "--wheel-dir", built, cwd=built, **keep)
    (wheel,) = built.glob("*.whl")
    assert wheel.stat().st_size <= LARGEST_WHEEL_MB * 1e6
    with ZipFile(wheel) as packed:
        packed.extractall(site)
    return site


def test_the_wheel_holds_the_model_and_what_the_report_is_made_of(installed):
    weights = installed / "sleepmami_jax" / "weights"
    assert {path.name for path in weights.iterdir()} == MODEL
    assert sum(path.stat().st_size for path in weights.iterdir()) <= LARGEST_MODEL_MB * 1e6
    assert (weights / "README.md").read_text().split("---\n")[2].strip().startswith("Trained on ")
    assert all((installed / package / "py.typed").is_file() for package in ("data_pipeline", "sleepmami_jax"))
    scoring = installed / "sleepmami_jax" / "scoring"
    assert all((scoring / name).is_file() for name in ("report.html.j2", "page/report.css", "page/1_data.js"))
    assert (installed / "sleepmami_jax" / "twin" / "files" / "sleepmami_torch.py").is_file()
    assert {path.name for path in installed.iterdir() if path.is_dir() and "." not in path.name} == {
        "data_pipeline",
        "sleepmami_jax",
    }


def test_an_installed_package_scores_a_night_without_being_given_a_model(installed, tmp_path):
    wave = 30 * np.sin(np.arange(128 * 90) / 3) + np.random.default_rng(0).standard_normal(128 * 90)
    signal = edfio.EdfSignal(wave, 128, label="C4-M1", physical_dimension="uV", physical_range=(-200, 200))
    edfio.Edf([signal]).write(tmp_path / "night.edf")
    path = {"PYTHONPATH": str(installed), "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")}
    words = ("-P", "-m", "sleepmami_jax.cli", "score", "night.edf", "--out", "night")
    said = python(*words, cwd=tmp_path, **path).splitlines()
    assert said[0].startswith("bundled model ") and ", trained on " in said[0]
    assert {path.name for path in (tmp_path / "night").iterdir()} == SIX
    assert "bundled with the program" in (tmp_path / "night" / "report.html").read_text()
    code = "import sleepmami_jax as s; s.score('night.edf', out='again'); print(s.__file__)"
    assert Path(python("-P", "-c", code, cwd=tmp_path, **path).strip()).parents[1] == installed
    for name in SIX:
        assert (tmp_path / "night" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
