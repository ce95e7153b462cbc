"""A twin's folder at once: whole, but what it says is not compared with what the model says."""

from pathlib import Path
from unittest.mock import patch

import numpy as np

from data_pipeline.tasks import TASKS, TaskKind
from sleepmami_jax.export.folder import ModelFolder
from sleepmami_jax.twin.folder import write_twin
from tests.conftest import random_model, tiny_config

HEADS = tuple(task for task in TASKS if task.kind is not TaskKind.MEASURED)


def tiny_folder() -> ModelFolder:
    """The tiny model with heads of all tasks."""
    thresholds = {task.name: 0.5 for task in HEADS if task.kind is TaskKind.EVENTS}
    return ModelFolder(tiny_config(), random_model(tiny_config(), HEADS)[1], HEADS, thresholds)


def write_unmeasured(folder: ModelFolder, out: Path) -> Path:
    """As `write_twin`, which compares for half a minute."""
    same = {"none": {"tokens": {"max": 0.0, "mean": 0.0, "largest": 1.0}}}
    with patch("sleepmami_jax.twin.parity.measure", lambda *_: {"float32": same, "bfloat16": same}):
        write_twin(folder, out, {"none": {"EEG": (np.zeros(1), np.zeros(1))}})
    return out
