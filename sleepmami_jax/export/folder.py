"""A model folder: `config.json`, `model.safetensors` and `README.md`. The one form in which a model leaves a run.

`config.json` says everything that scoring needs besides the weights: the shape of the model, the channels it looks
at, the tasks whose heads were trained, thresholds fitted on validation nights, and a card of what it was trained on.
`README.md` says the same to a reader, and is read by nobody else. One such folder comes with the package: `BUNDLED`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath
from safetensors import SafetensorError
from safetensors.numpy import load, save

from data_pipeline.from_json import from_json
from data_pipeline.population.norms import Norm
from data_pipeline.tasks import Task, TaskKind
from data_pipeline.whole_files import whole_folder
from sleepmami_jax.config import ModelConfig, from_dict, to_dict
from sleepmami_jax.export.description import ModelFolderError, one_line, sealed, unsealed
from sleepmami_jax.export.readme import RESEARCH_USE, readme
from sleepmami_jax.models.micro import token_width
from sleepmami_jax.models.sleepmami import Params, structure
from sleepmami_jax.run.places import folder_at, in_bucket
from sleepmami_jax.trust.measures import check
from sleepmami_jax.trust.reference import Reference

FORMAT, VERSION = "sleepmami-model", 4
BUNDLED = "bundled"
"""What the model that comes with the package is called where a model folder is asked for."""
WEIGHTS = Path(__file__).parents[1] / "weights"
"""Where that model lies."""
HALF_FROM_AXES = 2
"""Parameters with so many axes or more are stored as float16 in a model at half precision. The others (gains, biases,
decays and steps of the state-space blocks) are 1 % of the numbers, and some of them are exponentiated."""

LEAST_OF_A_PART = 100
"""Bytes that a block or a head takes in a file of weights: what its arrays are called is longer."""
MOST_BESIDE = 2**24
"""Bytes of a file of weights that are no numbers."""


@dataclass(frozen=True)
class ModelFolder:
    """A model as it is stored.

    Attributes:
      config: its shape.
      params: flat name -> float32 array.
      tasks: those whose heads were trained, in the order of the heads; none until fine-tuned.
      thresholds: by name of the task, the probability above which an event is called.
      card: `training`: one entry a phase, oldest first (name, objective, steps, nights, cohorts, sites, versions);
        `population`: the population card of the nights of the last phase; `norms`: of those that people scored, see
        `norms`; `results`: Markdown, what was measured;
        `adapted`: of a model that was (see `evaluation.adapt`), `nights` and `change`.
      half: its matrices have values of float16, and are stored so; see `halved`.
      reference: what it knows of the nights that it learned from, to tell when it is wrong; None until fine-tuned on
        nights with scored stages.
    """

    config: ModelConfig
    params: Params
    tasks: tuple[Task, ...] = ()
    thresholds: dict[str, float] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=lambda: {"training": []})
    half: bool = False
    reference: Reference | None = None

    @property
    def norms(self) -> tuple[Norm, ...]:
        """How the statistics of a night are spread over those whom it learned from, by age and sex."""
        return from_json(tuple[Norm, ...], self.card.get("norms", []))

    def digest(self) -> str:
        """SHA-256 of the weights as they are stored: names the embeddings made with them."""
        return hashlib.sha256(_serialise(self)).hexdigest()

    def halved(self) -> ModelFolder:
        """The same model with its matrices rounded to float16: half the bytes.

        Raises ModelFolderError if a matrix has a value beyond what float16 can say.
        """
        rounded = {name: stored(np.asarray(value), half=True).astype(np.float32) for name, value in self.params.items()}
        for name, value in rounded.items():
            if np.isinf(value).any():
                raise ModelFolderError(f"{name} has values beyond {np.finfo(np.float16).max:g}; store it whole")
        return replace(self, params=rounded, half=True)


def stored(value: np.ndarray, half: bool) -> np.ndarray:
    """A parameter as the file has it."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(value, np.float16 if half and value.ndim >= HALF_FROM_AXES else value.dtype)


def _serialise(folder: ModelFolder) -> bytes:
    params = folder.params
    return save({name: stored(np.asarray(jax.device_get(params[name])), folder.half) for name in sorted(params)})


def _described(folder: ModelFolder) -> str:
    """`README.md`."""
    count = sum(np.size(value) for value in folder.params.values())
    numbers = f"It has {count:,} parameters{', matrices stored as float16' if folder.half else ''}."
    return readme(folder.config, folder.tasks, folder.thresholds, folder.card, numbers)


def save_model(folder: ModelFolder, path: str | PathLike[str]) -> None:
    """Write a model folder; it appears whole or not at all, and replaces an older model at the same place.

    In a bucket (`gs://…`) its files cannot appear at once: `load_model` refuses weights without their description.

    >>> save_model(load_model("demo/model"), "copy")
    """
    path = folder_at(path)
    if path.exists() and not (path / "config.json").exists():
        raise ModelFolderError(f"{path}: exists and is not a model folder; choose another place")
    weights = _serialise(folder)
    description = {
        "format": FORMAT,
        "version": VERSION,
        "use": RESEARCH_USE,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "model": to_dict(folder.config),
        "tasks": to_dict(folder.tasks),
        "thresholds": folder.thresholds,
        "card": folder.card,
        "reference": None if folder.reference is None else asdict(folder.reference),
    }
    text = sealed(description)
    if in_bucket(path):
        (path / "config.json").write_text(text)  # has the checksum of the other
        (path / "model.safetensors").write_bytes(weights)
        (path / "README.md").write_text(_described(folder))
        return
    with whole_folder(Path(path)) as fresh:
        (fresh / "model.safetensors").write_bytes(weights)
        (fresh / "config.json").write_text(text)
        (fresh / "README.md").write_text(_described(folder), encoding="utf-8")


def load_model(path: str | PathLike[str]) -> ModelFolder:
    """Read a model folder, from a disk or a bucket; `BUNDLED` is the one that comes with the package.

    Parameters are float32, however they are stored. Raises ModelFolderError naming what is missing, damaged or of
    another version.

    >>> folder = load_model("demo/model")
    >>> folder.config.macro.levels, folder.thresholds["arousal"]
    (3, 0.5)
    """
    path = _place(path)
    described, config, tasks = read_description(path, FORMAT, VERSION)
    weights = path / "model.safetensors"
    params, expected = read_weights(path, described["weights_sha256"], config, tasks)
    found = {name: tuple(array.shape) for name, array in params.items()}
    wrong = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
    if wrong:
        raise ModelFolderError(
            f"{weights}: {len(wrong)} parameters do not fit the configuration, first {one_line(wrong[0])}: "
            f"expected shape {expected.get(wrong[0])}, found {one_line(found.get(wrong[0]))}"
        )
    check_numbers(params, weights)
    half = any(value.dtype == np.float16 for value in params.values())
    params = {name: value.astype(np.float32) for name, value in params.items()}
    reference = read_reference(path, described, config, tasks)
    return ModelFolder(config, params, tasks, described["thresholds"], described["card"], half, reference)


def read_reference(
    path: PathLike[str], described: dict[str, Any], config: ModelConfig, tasks: Sequence[Task]
) -> Reference | None:
    """`ModelFolder.reference` as `config.json` has it. Raises ModelFolderError."""
    try:
        reference = from_json(Reference | None, described["reference"])
        if reference is not None:
            check(reference, tasks, token_width(config))
    except (KeyError, ValueError) as error:
        raise ModelFolderError(f"{path}/config.json is damaged or incomplete: reference: {one_line(error)}") from error
    return reference


def check_numbers(params: Params, path: PathLike[str]) -> None:
    """Raises ModelFolderError about the file `path` unless every parameter is finite float32 or float16."""
    for name, value in params.items():
        if value.dtype not in (np.float16, np.float32) or not np.isfinite(value).all():
            what = value.dtype if value.dtype.kind != "f" else "values that are no numbers"
            raise ModelFolderError(f"{path}: {name} has {what}; expected finite float32 or float16")


def _place(path: str | PathLike[str]) -> epath.Path:
    """Where the files are. Raises ModelFolderError if one is missing."""
    if fspath(path) == BUNDLED:
        path = WEIGHTS
        if not WEIGHTS.is_dir():
            raise ModelFolderError(
                "this copy of the program came without a bundled model; name a model folder (`--model FOLDER`, "
                '`sleepmami_jax.load("FOLDER")`), or make one: `sleepmami demo --out demo` leaves demo/model'
            )
    path = folder_at(path)
    if not path.is_dir():
        raise ModelFolderError(
            f"{path}: no such model folder; a finished run leaves one in WORKDIR/model, and so does `sleepmami demo`"
        )
    if (path / "model" / "config.json").is_file() and not (path / "model.safetensors").is_file():
        raise ModelFolderError(f"{path} is a run; its model folder is {path / 'model'}")
    for name in ("config.json", "model.safetensors"):
        is_file = (path / name).exists() if in_bucket(path) else Path(path / name).is_file()  # and no device or pipe
        if not is_file:
            raise ModelFolderError(
                f"{path}: {name} is missing; a model folder holds config.json and model.safetensors. "
                "Copy the whole folder again, or export the run anew."
            )
    return path


def read_description(path: epath.Path, kind: str, version: int) -> tuple[dict[str, Any], ModelConfig, tuple[Task, ...]]:
    """`config.json` of a folder with weights, and the model and tasks that it tells of.

    Args:
      kind, version: see `unsealed`.

    Raises:
      ModelFolderError: a part that we use is missing or is not what it must be.
    """
    described = unsealed(path / "config.json", kind, version)
    try:
        config = from_dict(ModelConfig, described["model"], "model")
        tasks = tuple(from_dict(Task, task, "tasks") for task in described["tasks"])
        thresholds = described["thresholds"]
        events = {task.name for task in tasks if task.kind is TaskKind.EVENTS}
        if thresholds.keys() - events or not all(0 <= t < 1 for t in thresholds.values()):
            raise ValueError(f"thresholds {thresholds}; expected 0..1 for {sorted(events)}")
        readme(config, tasks, thresholds, described["card"], "")  # that whoever tells of the card, can
        from_json(tuple[Norm, ...], described["card"].get("norms", []))
        described["weights_sha256"]
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelFolderError(f"{path}/config.json is damaged or incomplete: {one_line(error)}") from error
    return described, config, tasks


def read_weights(
    path: epath.Path, sha256: str, config: ModelConfig, tasks: Sequence[Task]
) -> tuple[dict[str, np.ndarray], dict[str, tuple[int, ...]]]:
    """`model.safetensors` of a folder as it is stored, and the shapes by flat name that the model has.

    A description that asks for a larger model than the file can hold is refused before anything is made of it.

    Args:
      sha256: of the file.

    Raises:
      ModelFolderError: it is damaged, or belongs to another description.
    """
    weights = path / "model.safetensors"
    other = f"{weights} is damaged, or not the file that config.json describes"
    size, macro, micro = weights.stat().length, config.macro, config.micro
    blocks = micro.private_depth + micro.shared_depth + macro.levels * macro.blocks_per_level + macro.seconds_depth
    if (blocks + len(tasks)) * LEAST_OF_A_PART > size:
        raise ModelFolderError(f"{other} (size); copy both again")
    shapes = {name: tuple(leaf.shape) for name, leaf in structure(config, tasks=tasks)[1].items()}
    count = sum(math.prod(shape) for shape in shapes.values())
    if not np.float16().nbytes * count <= size <= 2 * np.float32().nbytes * count + MOST_BESIDE:
        raise ModelFolderError(f"{other} (size); copy both again")
    data = weights.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ModelFolderError(f"{other} (checksum); copy both again")
    try:
        return load(data), shapes
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelFolderError(f"{weights} is no file of weights: {one_line(error)}; export the model again") from error
