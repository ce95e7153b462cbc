"""What importing does not do."""

from __future__ import annotations

import subprocess
import sys

import pytest


def _modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(' '.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "data_pipeline.prepare.run",
        "data_pipeline.simulate",
        "data_pipeline.diagnose.diagnosis",
        "data_pipeline.load",
    ],
)
def test_the_data_pipeline_never_imports_jax(module):
    assert not {"jax", "flax", "grain", "sleepmami_jax"} & _modules_after(f"import {module}")


def test_importing_the_package_does_not_import_jax():
    assert "jax" not in _modules_after("import sleepmami_jax, sleepmami_jax.cli")


def test_listing_the_commands_imports_nothing_heavy():
    listed = _modules_after("from sleepmami_jax.cli import parse\n_parse(['sleepmami', 'sizes'])")
    assert not {"jax", "numpy", "sleepmami_jax.config", "data_pipeline.night"} & listed


def test_what_scores_a_recording_imports_neither_loader_nor_scikit_learn():
    heavy = {"sklearn", "grain", "orbax", "matplotlib", "mne"}
    assert not heavy & _modules_after("import sleepmami_jax.pretrained")


def test_importing_every_room_starts_no_backend():
    statement = (
        "import sleepmami_jax.pretrained, sleepmami_jax.evaluation.evaluate, sleepmami_jax.training.finetune\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge.backends_are_initialized()"
    )
    assert "sleepmami_jax.training.loop" in _modules_after(statement)
