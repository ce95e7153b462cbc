"""What docs/export.md says is done here literally, with a tiny model in place of the bundled one."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.tasks import TASKS, TaskKind
from sleepmami_jax.cli import parse, run_command
from sleepmami_jax.export.folder import ModelFolder, load_model, save_model
from sleepmami_jax.twin import parity
from tests.conftest import random_model

torch = pytest.importorskip("torch", reason="needs `pip install -e .[torch]`")
pytestmark = pytest.mark.usefixtures("one_thread")

PAGE = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
CORE, ADAPTERS = PAGE.split("\n## Adapters\n")
LIBRARIES = ("sklearn", "braindecode", "physioex", "neuroatlas")


def blocks(text: str, language: str = "python") -> list[str]:
    return [block for found, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M) if found == language]


def commands(text: str) -> list[list[str]]:
    """Ours, of blocks without a language."""
    lines = "".join(blocks(text, language="")).splitlines()
    return [line.split() for line in lines if line.startswith("sleepmami ")]


def library_of(block: str) -> str:
    (name,) = {name for name in LIBRARIES if re.search(rf"^from {name}\b", block, re.M)}
    return name


@pytest.fixture(scope="module")
def page(tiny, tmp_path_factory):
    """The folder where the reader stands once all before the adapters was done, and the names that are known then."""
    folder = tmp_path_factory.mktemp("reader")
    tasks = tuple(task for task in TASKS if task.kind is not TaskKind.MEASURED)
    thresholds = {task.name: 0.5 for task in tasks if task.kind is TaskKind.EVENTS}
    save_model(ModelFolder(tiny, random_model(tiny, tasks)[1], tasks, thresholds), folder / "bundled")
    export, take_home = commands(CORE)
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])
        for name, found in {"measure": {}, "check": None, "table": "", "largest": 0.0}.items():
            patch.setattr(parity, name, lambda *_, found=found: found)  # takes most of the time, and has its tests
        export[export.index("bundled")] = str(folder / "bundled")
        assert run_command(parse(export)) == 0
        for block in blocks(CORE):
            exec(compile(block, "docs/export.md", "exec"), names)
        assert run_command(parse(take_home)) == 0
        yield folder, names


def test_the_night_is_scored_and_embedded(page):
    _, names = page
    assert names["night"]["stages"].shape == (12,) and set(names["night"]["events"]) >= {"breathing", "arousal"}
    out = names["out"]
    assert out["epochs"].shape[:2] == (1, 12) and out["seconds"].shape[:2] == (1, 360)


def test_it_learns_and_what_was_learnt_comes_home(page):
    folder, names = page
    assert len(blocks(CORE)[-1].splitlines()) <= 30
    assert np.mean(names["losses"][-2:]) < np.mean(names["losses"][:2])
    first, home = load_model(folder / "bundled"), load_model(folder / "model")
    changed = {name for name in home.params if (home.params[name] != first.params[name]).any()}
    assert {name.split("/")[0] for name in changed} == {"macro", "heads"}
    assert home.card["training"][-1]["objective"] == "PyTorch"


@pytest.mark.parametrize("block", [pytest.param(block, id=library_of(block)) for block in blocks(ADAPTERS)])
def test_an_adapter(page, block):
    try:
        importlib.import_module(library_of(block))
    except (ImportError, OSError) as error:
        pytest.skip(f"{library_of(block)} cannot be imported: {error}")
    _, names = page
    exec(compile(block, "docs/export.md", "exec"), names)
    if library_of(block) == "neuroatlas":
        assert names["loader"](names["spec"]).model.preprocessing


def test_every_adapter_has_its_block():
    assert sorted(map(library_of, blocks(ADAPTERS))) == sorted(LIBRARIES)


def test_the_commands_further_down_are_ones_that_there_are():
    words = commands(ADAPTERS)
    assert [line[1] for line in words] == ["export", "push", "score"]
    for line in words:
        assert parse(line)
