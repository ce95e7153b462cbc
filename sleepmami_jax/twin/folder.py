"""The folder of the twin: written from a model, and read back as one.

It holds `config.json`, `model.safetensors`, what lies in `files/`, `README.md`, and what was measured when it was
written, `parity.json` and `parity.md`. `AutoModel` of transformers reads it too.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from etils import epath
from safetensors.numpy import save

from data_pipeline.tasks import Task
from data_pipeline.whole_files import whole_folder
from sleepmami_jax.config import to_dict
from sleepmami_jax.data.frozen import model_slots
from sleepmami_jax.export.description import one_line, sealed
from sleepmami_jax.export.folder import (
    ModelFolder,
    ModelFolderError,
    check_numbers,
    read_description,
    read_weights,
    stored,
)
from sleepmami_jax.export.readme import RESEARCH_USE, readme
from sleepmami_jax.twin import parity
from sleepmami_jax.twin.names import from_torch, to_torch
from sleepmami_jax.twin.preprocessing import preprocessing

FORMAT, VERSION = "sleepmami-torch", 2
FILES = Path(__file__).with_name("files")
"""What is copied into the folder as it stands."""
TRAINED_THERE = {"name": "fine-tuned-in-pytorch", "objective": "PyTorch", "cohorts": ["not recorded"], "sites": []}
"""The phase of the card of a model whose weights were changed in PyTorch; how, nobody recorded."""

_USE = """```
pip install torch numpy safetensors

import sys
sys.path.insert(0, "FOLDER")
from sleepmami_torch import load

model = load("FOLDER")
night = model.score_arrays({"C4-M1": (x_uv, 256.0), "SPO2": (spo2_pct, 1.0)})
night["stages"], night["events"], night["vector"]
```

With transformers it is `AutoModel.from_pretrained("FOLDER", trust_remote_code=True)`, and in JAX
`sleepmami_jax.load("owner/name")` once it is on the Hugging Face hub (`sleepmami push FOLDER owner/name`).

`parity.md` says how far it is from the model in JAX. `model.save("TUNED")` writes what was trained further, and
`sleepmami import-torch TUNED --out MODEL` takes it home."""


def twin_module() -> ModuleType:
    """The file of the twin, as it is copied into its folders. Raises ModelFolderError where torch is not installed."""
    sys.path.insert(0, str(FILES))
    try:
        return importlib.import_module("sleepmami_torch")
    except ModuleNotFoundError as error:
        raise ModelFolderError(f"{error.name} is not installed; `pip install sleepmami[torch]` brings it") from error
    finally:
        sys.path.remove(str(FILES))


def write_twin(folder: ModelFolder, out: Path, cases: Mapping[str, parity.Signals] | None = None) -> dict[str, Any]:
    """Writes the twin of a model into a new folder, once it is seen to say the same.

    Args:
      out: appears whole or not at all; an older twin there is replaced.
      cases: nights to compare on; those of `parity.nights` unless given.

    Returns:
      What `parity.measure` found.

    Raises:
      ModelFolderError: `out` holds something else, or torch is not installed.
      ParityError: the twin differs from the model.
    """
    module = twin_module()
    if out.exists() and not (out / "sleepmami_torch.py").exists():
        raise ModelFolderError(f"{out}: exists and is no folder of a PyTorch model; choose another place")
    versions = {"torch": version("torch"), "jax": version("jax")}
    with whole_folder(out) as fresh:
        write_files(folder, fresh)
        cases = dict(parity.nights(model_slots(folder.config))) if cases is None else cases
        errors = parity.measure(folder, lambda: module.load(fresh), cases)
        parity.check(errors)
        report = {"limit": parity.LIMIT, "versions": versions, "errors": errors}
        (fresh / "parity.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        (fresh / "parity.md").write_text(parity.table(errors, folder, versions), encoding="utf-8")
    return errors


def write_files(folder: ModelFolder, place: Path) -> None:
    """All that a twin is loaded from, and its card, into a folder that is there; not compared with the model.

    Raises:
      ModelFolderError: a task has no place in PyTorch, or torch is not installed.
    """
    module = twin_module()
    _check_names(folder.tasks, module)
    params = {name: np.asarray(value) for name, value in folder.params.items()}
    weights = to_torch({name: stored(value, folder.half) for name, value in params.items()})
    data = save({name: weights[name] for name in sorted(weights)}, {"format": "pt"})  # asked for by transformers
    described = {
        "format": FORMAT,
        "version": VERSION,
        "use": RESEARCH_USE,
        "exported_from": folder.digest(),
        "model": to_dict(folder.config),
        "tasks": to_dict(folder.tasks),
        "thresholds": folder.thresholds,
        "preprocessing": preprocessing(folder.config, folder.tasks),
        "card": folder.card,
        "weights_sha256": hashlib.sha256(data).hexdigest(),
        **module.FOR_TRANSFORMERS,
    }
    (place / "model.safetensors").write_bytes(data)
    (place / "config.json").write_text(sealed(described), encoding="utf-8")
    for name in module.FILES:
        shutil.copy(FILES / name, place / name)
    numbers = f"It has {sum(v.size for v in params.values()):,} parameters. This is its form for PyTorch."
    card = readme(folder.config, folder.tasks, folder.thresholds, folder.card, numbers, _USE, "transformers")
    (place / "README.md").write_text(card, encoding="utf-8")


def _check_names(tasks: Sequence[Task], module: ModuleType) -> None:
    """Raises ModelFolderError for a task whose head has no place in PyTorch."""
    try:
        for task in tasks:
            module.check_task_name(task.name)
    except ValueError as error:
        raise ModelFolderError(str(error)) from error


def read_twin(path: Path) -> ModelFolder:
    """The model of a twin's folder: bit for bit what was exported, if nothing was trained.

    Raises:
      ModelFolderError: a file is missing, damaged or does not fit; it is named.
    """
    for name in ("config.json", "model.safetensors"):
        if not (path / name).is_file():
            raise ModelFolderError(f"{path / name}: no such file; expected a folder of `sleepmami export --to torch`")
    described, config, tasks = read_description(epath.Path(path), FORMAT, VERSION)
    weights, shapes = read_weights(epath.Path(path), described["weights_sha256"], config, tasks)
    try:
        params = from_torch(weights, shapes)
    except ValueError as error:
        raise ModelFolderError(f"{path}/model.safetensors: {one_line(error)}; `model.save` writes it anew") from error
    check_numbers(params, path / "model.safetensors")
    half = any(value.dtype == np.float16 for value in params.values())
    params = {name: value.astype(np.float32) for name, value in params.items()}
    found = ModelFolder(config, params, tasks, described["thresholds"], described["card"], half)
    if found.digest() == described.get("exported_from"):
        return found
    phase = TRAINED_THERE | dict.fromkeys(("steps", "seed", "nights", "subjects", "hours"))
    return replace(found, card={**found.card, "training": [*found.card["training"], phase]})
