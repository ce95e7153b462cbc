"""Every example in a docstring of the two packages runs, and gives what it says.

An example is run in a folder of its own, where there are
  recordings/   a simulated cohort of one person, half an hour; its night again as `night.edf`, scored in `night.csv`
  shards/       the same, prepared
  demo/model/   a model of random weights, as if fine-tuned on every task; the tests' tiny one
and it knows the names of its own module.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import sleepmami_jax
from data_pipeline.prepare.run import prepare
from data_pipeline.simulate import simulate_cohort
from data_pipeline.tasks import TaskKind
from sleepmami_jax.config import Finetuning
from sleepmami_jax.export.folder import ModelFolder, save_model
from tests.test_architecture import HOUSE, sources

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _examples():
    """(module, name, docstring, line) of docstrings with examples; other modules are not even imported."""
    for module, path in sources(*HOUSE).items():
        text = path.read_text(encoding="utf-8")
        yield from _of_node(module, module, ast.parse(text)) if ">>> " in text else ()


def _of_node(module, name, node):
    if ">>> " in (text := ast.get_docstring(node) or ""):
        yield pytest.param(module, text, node.body[0].lineno, id=name)
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef):
            yield from _of_node(module, f"{name}.{child.name}", child)


EXAMPLES = list(_examples())


@pytest.fixture(scope="module")
def studio(tmp_path_factory, tiny, model):
    """The folder described above."""
    folder = tmp_path_factory.mktemp("studio")
    (recording,) = simulate_cohort(folder / "recordings", 1, site="b", hours=(0.5, 0.5), variety=0)
    shutil.copy(recording, folder / "night.edf")
    shutil.copy(recording.with_suffix(".csv"), folder / "night.csv")
    prepare([folder / "recordings"], folder / "shards")
    tasks = Finetuning().tasks
    thresholds = {task.name: 0.5 for task in tasks if task.kind is TaskKind.EVENTS}
    save_model(ModelFolder(tiny, model[1], tasks, thresholds), folder / "demo" / "model")
    return folder


def test_there_are_examples():
    assert len(EXAMPLES) >= 30


@pytest.mark.parametrize(("module", "text", "line"), EXAMPLES)
def test_an_example(module, text, line, studio, tmp_path, monkeypatch):
    shutil.copytree(studio, tmp_path / "studio", copy_function=os.link)  # no example changes a file in its place
    monkeypatch.chdir(tmp_path / "studio")
    loaded = importlib.import_module(module)
    names = {"np": np, "Path": Path, "sleepmami_jax": sleepmami_jax} | vars(loaded)
    test = doctest.DocTestParser().get_doctest(text, names, module, loaded.__file__, line)
    report = []
    failed, _ = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
    assert not failed, "".join(report)
