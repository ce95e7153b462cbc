"""A twin's folder at once: whole, but what it says is not compared with what the model says; and it, left alone."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from data_pipeline.tasks import TASKS, TaskKind
from sleepmami_jax.export.folder import ModelFolder
from sleepmami_jax.twin.folder import write_files
from tests.conftest import random_model, tiny_config

HEADS = tuple(task for task in TASKS if task.kind is not TaskKind.MEASURED)
_ALONE = """
import sys
folder, module, *absent = sys.argv[1:]
for name in absent:
    sys.modules[name] = None  # importing it is an error
sys.path.insert(0, folder)
import importlib, numpy as np
rng = np.random.default_rng(0)
arrays = {"C4-M1": (20 * rng.standard_normal(256 * 100), 256.0), "SPO2": (np.full(100, 95.0), 1.0)}
night = importlib.import_module(module).load(folder).score_arrays(arrays)
assert night["stages"].shape == (3,) and np.isfinite(night["vector"]).all(), night
assert set(night["events"]) == {"breathing", "arousal", "spindle", "k_complex"}, night["events"]
"""


def tiny_folder() -> ModelFolder:
    """The tiny model with heads of all tasks, also those that look eight times a second."""
    thresholds = {task.name: 0.5 for task in HEADS if task.kind is TaskKind.EVENTS}
    return ModelFolder(tiny_config(), random_model(tiny_config(), HEADS)[1], HEADS, thresholds)


def write_unmeasured(folder: ModelFolder, out: Path) -> Path:
    """As `write_twin`, which compares for half a minute."""
    out.mkdir()
    write_files(folder, out)
    return out


@contextmanager
def automodel(place: Path) -> Iterator[Callable]:
    """`AutoModel.from_pretrained`, which copies the code of folders to `place`; it is forgotten afterwards."""
    from transformers import AutoModel, dynamic_module_utils

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(place))
        patch.syspath_prepend(str(place))
        yield lambda folder, **options: AutoModel.from_pretrained(folder, trust_remote_code=True, **options)
        for name in [name for name in sys.modules if name.partition(".")[0] == "transformers_modules"]:
            del sys.modules[name]


def score_alone(folder: Path, module: str, absent: tuple[str, ...], elsewhere: Path) -> None:
    """A night of arrays is scored by `module` of an exported folder, in a process in which `absent` cannot be imported
    and that begins `elsewhere`."""
    command = [sys.executable, "-P", "-c", _ALONE, str(folder), module, *absent, "sleepmami_jax", "data_pipeline"]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
