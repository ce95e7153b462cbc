"""Whose a working folder is: `config.json` in it says which run, and no other goes on there unasked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import jax
from etils import epath
from jax.experimental import multihost_utils

from data_pipeline.flatten import flatten
from data_pipeline.lock import alone_in
from data_pipeline.whole_files import write_whole
from sleepmami_jax.config import ConfigError, Experiment, to_dict
from sleepmami_jax.run.places import in_bucket

_FOR_GOOD = ("objective.batch",)
"""What a run that has been saved keeps: a place in the data is a number of batches."""


def claim(workdir: epath.Path, experiment: Experiment, inputs: Mapping[str, str], accept: bool) -> list[str]:
    """Make `workdir` this experiment's, by writing `config.json`.

    A field that there was not when the run began had its default. The mesh and the pack are no part of the comparison:
    a run may go on on other machines.

    Args:
      workdir: of a run; made if it is not there.
      experiment: the run.
      inputs: digests, by name, of what else the run begins with. One that went on with other nights or other weights
        under the same names would be neither the old run nor a new one.
      accept: go on where another experiment, or one with other inputs, began.

    Returns:
      The fields that have changed, sorted.

    Raises:
      ConfigError: the folder is another experiment's, and that is not accepted or cannot be: a run that has been saved
        keeps its batch.
    """
    path = workdir / "config.json"
    ours = to_dict(experiment) | {"inputs_sha256": dict(inputs)}
    text = json.dumps(ours, indent=1) + "\n"
    workdir.mkdir(parents=True, exist_ok=True)
    first = jax.process_index() == 0
    if first and not path.exists():
        _write_whole(path, text)
    multihost_utils.sync_global_devices("configuration")
    blank = to_dict(Experiment(experiment.name, type(experiment.objective)()))
    defaults, ours = (flatten(json.loads(json.dumps(tree))) for tree in (blank, ours))  # tuples as lists
    theirs = flatten(_read(path))
    # A field is younger than the folder unless it lies in a group that the folder has as None.
    theirs |= {n: v for n, v in defaults.items() if not any(n == k or n.startswith(f"{k}.") for k in theirs)}
    names = {name for name in ours.keys() | theirs.keys() if not name.startswith(("mesh.", "data.pack"))}
    changed = sorted(name for name in names if ours.get(name) != theirs.get(name))
    multihost_utils.sync_global_devices("compared")
    for_good = [name for name in changed if name in _FOR_GOOD and (workdir / "checkpoints").exists()]
    if changed and accept and first and not for_good:
        _write_whole(path, text)
    if for_good or (changed and not accept):
        k = (for_good or changed)[0]
        raise ConfigError(
            f"{workdir} holds a run with another configuration: {k} was {theirs.get(k)!r} and is now {ours.get(k)!r}"
            + (f" (and {len(changed) - 1} more)" if len(changed) > 1 else "")
            + f"; use its own configuration to go on (--set {k}={theirs.get(k)}), or another workdir"
            + ("" if for_good else ", or --accept-changes")
        )
    return changed


def alone(workdir: epath.Path) -> AbstractContextManager:
    """Inside, no other run works in `workdir`: the first process of a run has it. In a bucket nothing is locked.

    Raises:
      ValueError: another run has it.
    """
    return nullcontext() if in_bucket(workdir) or jax.process_index() > 0 else alone_in(Path(workdir))


def _read(path: epath.Path) -> dict[str, Any]:
    try:
        theirs = json.loads(path.read_text())
    except (ValueError, RecursionError):
        theirs = None
    if not isinstance(theirs, dict):
        raise ConfigError(f"{path}: damaged, not the JSON that a run begins with; restore it, or use another workdir")
    return theirs


def _write_whole(path: epath.Path, text: str) -> None:
    if in_bucket(path):  # where nothing is seen before it is whole
        path.write_text(text)
    else:
        write_whole(Path(path), text)
