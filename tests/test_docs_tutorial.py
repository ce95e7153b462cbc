"""docs/tutorial.md is done here from top to bottom, on nights of half an hour, with two steps of training and a model
that compiles in seconds in place of the bundled one."""

import json
import re
import sys
from pathlib import Path

import pytest

from data_pipeline.tasks import TaskKind
from sleepmami_jax.cli import parse, run_command
from sleepmami_jax.config import Finetuning
from sleepmami_jax.export import folder as model_folder
from sleepmami_jax.export.folder import ModelFolder, save_model
from tests.conftest import narrow_config, random_model

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
BEFORE, PYTORCH = PAGE.read_text(encoding="utf-8").split("\n## Take it to PyTorch\n")
SMALLER = {
    "simulate": ["--hours", "0.5", "0.6"],
    "prepare": ["--workers", "1"],
    "finetune": ["--set", "steps=2", "objective.epochs=10", "objective.judged=0"],
}


def walk(text: str, names: dict) -> list[str]:
    """Does what a reader does: files are written, Python is run, commands are given; returns those given."""
    given = []
    for language, title, block in re.findall(r'^```(\w*)(?: title="(.*?)")?\n(.*?)^```$', text, re.S | re.M):
        if title.endswith(".py"):
            Path(title).write_text(block)
        elif language == "python":
            exec(compile(block, f"{PAGE.name}: {title or block.splitlines()[0]}", "exec"), names)
        for line in block.splitlines() if not language else []:
            program, *words = line.split()
            if program == "sleepmami":
                given.append(words[0])
                assert run_command(parse([program, *words, *SMALLER.get(words[0], [])])) == 0, line
    return given


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a reader who has come to PyTorch, the names that are known then, and the commands given."""
    folder, weights = tmp_path_factory.mktemp("reader"), tmp_path_factory.mktemp("bundled") / "weights"
    tasks, config = Finetuning().tasks, narrow_config()
    thresholds = {task.name: 0.5 for task in tasks if task.kind is TaskKind.EVENTS}
    save_model(ModelFolder(config, random_model(config, tasks)[1], tasks, thresholds), weights)
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_folder, "WEIGHTS", weights)
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])
        yield folder, names, walk(BEFORE, names)


def test_from_an_edf_to_a_task_of_ones_own(done):
    folder, names, given = done
    assert given.count("score") == 3 and given.count("evaluate") == 3 and given.count("finetune") == 2
    assert names["scores"].agreement["stages"]["n_epochs"] >= 60
    mine, apneas = (json.loads((folder / f"{name}.json").read_text()) for name in ("mine", "apneas"))
    assert mine["n_nights"] == 2 and "breathing" in mine
    assert "apnea" in apneas and "breathing" not in apneas
    trained = json.loads((folder / "runs" / "mine" / "model" / "config.json").read_text())["card"]["training"]
    assert [run["name"] for run in trained] == ["mine"]


def test_to_pytorch(done):
    pytest.importorskip("torch", reason="needs `pip install -e .[torch]`")
    _, names, _ = done
    assert walk(PYTORCH, names) == ["export"]
    assert len(names["night"]["stages"]) == 20
