"""Experiment files: a path, or the name of one of the recipes inside this package."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import types
from collections.abc import Sequence
from pathlib import Path

from data_pipeline.nearest import nearest
from sleepmami_jax.config.ranges import ConfigError
from sleepmami_jax.config.schema import Experiment
from sleepmami_jax.config.tree import override

RECIPES = Path(__file__).parents[1] / "recipes"
_FOLDER = "experiments_of_"


def load_experiment(path: str | Path, assignments: Sequence[str] = ()) -> Experiment:
    """The `get_config()` of an experiment file, with overrides applied.

    >>> load_experiment("micro_tiny", ["steps=10", "objective.batch=8"]).steps
    10
    """
    module = load_file(path)
    if not hasattr(module, "get_config"):
        raise ConfigError(f"{path}: an experiment file defines get_config() -> Experiment; this one does not")
    experiment = module.get_config()
    if not isinstance(experiment, Experiment):
        raise ConfigError(f"{path}: get_config() gave {experiment!r}, expected an Experiment")
    return override(experiment, assignments)


def load_file(path: str | Path) -> types.ModuleType:
    """An experiment file as a module of a package that is its folder: `from .foundation import base` is its neighbour,
    whichever other `foundation` Python knows. Both are read anew each time.

    Raises:
      ConfigError: it is not there, or a neighbour that it imports is not.
    """
    path = _find(Path(path)).resolve()
    package = types.ModuleType(_FOLDER + hashlib.sha256(str(path.parent).encode()).hexdigest()[:12])
    package.__path__ = [str(path.parent)]
    for name in [n for n in sys.modules if n.startswith(f"{package.__name__}.")]:
        del sys.modules[name]
    sys.modules[package.__name__] = package
    name = f"{package.__name__}.{path.stem.replace('.', '_')}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        if (error.name or "").partition(".")[0] != package.__name__:
            if (path.parent / f"{error.name}.py").is_file():
                raise ConfigError(
                    f"{path}: {error.name}.py lies beside it; write `from .{error.name} import …`"
                ) from error
            raise
        missing = error.name.rpartition(".")[2] if "." in error.name else "a file"
        raise ConfigError(
            f"{path}: it imports {missing} from its own folder, {path.parent}, where that is not; copy it there too "
            f"({error})"
        ) from error
    return module


def name_of(function: object) -> str:
    """Module and name of a function or class; of an experiment file's the same in whatever folder it lies."""
    module = function.__module__
    return f"{module.rpartition('.')[2] if module.startswith(_FOLDER) else module}.{function.__qualname__}"


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    recipes = {p.stem: p for p in sorted(RECIPES.glob("*.py")) if p.stem not in ("__init__", "demo")}
    if str(path) in recipes:
        return recipes[str(path)]
    beside = {p.name: str(p) for p in path.parent.glob("*.py")}
    near = nearest(path.name, [*beside, *recipes])
    hint = f"did you mean {beside.get(near, near)}?" if near else f"there are {', '.join(recipes)}"
    raise ConfigError(f"{path}: no such experiment file; {hint}")
