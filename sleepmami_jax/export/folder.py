"""A model folder: `config.json` and `model.safetensors`. The one form in which a model leaves a run.

`config.json` says everything that scoring needs besides the weights: the shape of the model, the channels it looks
at, the tasks whose heads were trained, thresholds fitted on validation nights, and a card of what it was trained on.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import load, save

from data_pipeline.tasks import Task, TaskKind
from data_pipeline.whole_files import whole_folder
from sleepmami_jax.config import ModelConfig, from_dict, to_dict
from sleepmami_jax.models.sleepmami import Params, structure
from sleepmami_jax.run.places import folder_at, in_bucket

FORMAT, VERSION = "sleepmami-model", 2
RESEARCH_USE = "Research use only. Not a medical device; not for diagnosis or treatment."


class ModelFolderError(ValueError):
    """A model folder that cannot be used; names the file and says what is wrong."""


@dataclass(frozen=True)
class ModelFolder:
    """A model as it is stored.

    Attributes:
      config: its shape.
      params: flat name -> float32 array.
      tasks: those whose heads were trained, in the order of the heads; none until fine-tuned.
      thresholds: by name of the task, the probability above which an event is called.
      card: `training`: one entry a phase, oldest first (name, objective, steps, nights, cohorts, sites, simulated);
        `population`: the population card of the nights of the last phase.
    """

    config: ModelConfig
    params: Params
    tasks: tuple[Task, ...] = ()
    thresholds: dict[str, float] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=lambda: {"training": []})

    def digest(self) -> str:
        """SHA-256 of the weights: names the embeddings made with them."""
        return hashlib.sha256(_serialise(self.params)).hexdigest()


def _serialise(params: Params) -> bytes:
    return save({name: np.ascontiguousarray(jax.device_get(params[name])) for name in sorted(params)})


def save_model(folder: ModelFolder, path: str | PathLike[str]) -> None:
    """Write a model folder; it appears whole or not at all, and replaces an older model at the same place.

    In a bucket (`gs://…`) its two files cannot appear at once: `load_model` refuses the one without the other.

    >>> save_model(load_model("demo/model"), "copy")
    """
    path = folder_at(path)
    if path.exists() and not (path / "config.json").exists():
        raise ModelFolderError(f"{path}: exists and is not a model folder; choose another place")
    weights = _serialise(folder.params)
    description = {
        "format": FORMAT,
        "version": VERSION,
        "use": RESEARCH_USE,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "model": to_dict(folder.config),
        "tasks": to_dict(folder.tasks),
        "thresholds": folder.thresholds,
        "card": folder.card,
    }
    text = json.dumps(description, indent=1) + "\n"
    if in_bucket(path):
        (path / "config.json").write_text(text)  # has the checksum of the other
        (path / "model.safetensors").write_bytes(weights)
        return
    with whole_folder(Path(path)) as fresh:
        (fresh / "model.safetensors").write_bytes(weights)
        (fresh / "config.json").write_text(text)


def load_model(path: str | PathLike[str]) -> ModelFolder:
    """Read a model folder, from a disk or a bucket.

    Raises ModelFolderError naming what is missing, damaged or of another version.

    >>> folder = load_model("demo/model")
    >>> folder.config.macro.levels, folder.thresholds["arousal"]
    (3, 0.5)
    """
    path = folder_at(path)
    if not path.is_dir():
        raise ModelFolderError(
            f"{path}: no such model folder; a finished run leaves one in WORKDIR/model, and so does `sleepmami demo`"
        )
    if (path / "model" / "config.json").is_file() and not (path / "model.safetensors").is_file():
        raise ModelFolderError(f"{path} is a run; its model folder is {path / 'model'}")
    for name in ("config.json", "model.safetensors"):
        if not (path / name).is_file():
            raise ModelFolderError(
                f"{path}: {name} is missing; a model folder holds config.json and model.safetensors. "
                "Copy the whole folder again, or export the run anew."
            )
    try:
        described = json.loads((path / "config.json").read_text())
        if described["format"] != FORMAT or described["version"] != VERSION:
            raise ModelFolderError(
                f"{path}/config.json: {described['format']} version {described['version']}; "
                f"this program reads {FORMAT} version {VERSION}; train it anew, or use the program that made it"
            )
        config = from_dict(ModelConfig, described["model"], "model")
        tasks = tuple(from_dict(Task, task, "tasks") for task in described["tasks"])
        thresholds, card = described["thresholds"], described["card"]
        events = {task.name for task in tasks if task.kind is TaskKind.EVENTS}
        if thresholds.keys() - events or not all(0 <= t < 1 for t in thresholds.values()):
            raise ModelFolderError(f"{path}/config.json: thresholds {thresholds}; expected 0..1 for {sorted(events)}")
        expected_sha = described["weights_sha256"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ModelFolderError):
            raise
        raise ModelFolderError(f"{path}/config.json is damaged or incomplete: {error}") from error
    weights = path / "model.safetensors"
    data = weights.read_bytes()
    if hashlib.sha256(data).hexdigest() != expected_sha:
        raise ModelFolderError(
            f"{weights} is damaged, or not the file that config.json describes (checksum); copy both again"
        )
    params = load(data)
    expected = {name: tuple(leaf.shape) for name, leaf in structure(config, tasks=tasks)[1].items()}
    found = {name: tuple(array.shape) for name, array in params.items()}
    wrong = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
    if wrong:
        raise ModelFolderError(
            f"{weights}: {len(wrong)} parameters do not fit the configuration, first {wrong[0]}: "
            f"expected shape {expected.get(wrong[0])}, found {found.get(wrong[0])}"
        )
    return ModelFolder(config, params, tasks, thresholds, card)
