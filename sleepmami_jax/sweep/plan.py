"""What a sweep consists of: its runs, their order, and what is checked before any of them starts.

    def sweep():
        return [Run("cohort", make_cohort)] + [
            Run(f"{mixer}-{seed}", partial(measure, mixer, seed), {"mixer": mixer, "seed": seed}, after=("cohort",))
            for mixer in ("ssd", "selective")
            for seed in range(3)
        ]

    PLOTS = (Plot("mixer", ("stages_kappa",)),)

Nothing here imports JAX: the process that starts the runs is as light as the experiment file lets it be.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from data_pipeline.flatten import flatten
from data_pipeline.nearest import suggestion
from sleepmami_jax.config import ConfigError, load_file
from sleepmami_jax.config.files import name_of

Factor = str | int | float
_ABSENT = "absent"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]*")


@dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Attributes:
      name: also its folder, DIR/runs/NAME.
      do: given DIR, trains what it trains under DIR/runs/NAME and returns its measures, finite numbers or None. A
        function of a module, or a `functools.partial` of one with plain values, paths and dataclasses: its name
        and arguments say what the run is. It may be called again after an interruption, and should go on. A
        run without measures prepares something for others, and is not in the table.
      factors: columns of the table; results are averaged over "seed".
      after: names of runs that must be finished first.
    """

    name: str
    do: Callable[[Path], Mapping[str, float | None]]
    factors: Mapping[str, Factor] = field(default_factory=dict)
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plot:
    """Measures against a factor: a panel for each measure, mean and standard deviation over seeds.

    Attributes:
      x: a factor; numbers make a line, words make a row of points each.
      y: measures.
      line: a factor with a line, or a colour, for each of its values.
      title: also the file's name.
      x_log: a logarithmic axis.
      where: only runs with these factors. What else differs among runs of one point is averaged as seeds are.
    """

    x: str
    y: tuple[str, ...]
    line: str | None = None
    title: str = ""
    x_log: bool = False
    where: Mapping[str, Factor] = field(default_factory=dict)


@dataclass(frozen=True)
class Sweep:
    """An experiment file's runs, each after those that it needs.

    Attributes:
      file: the experiment file.
      headline: the first line of its docstring.
      runs: by name, in the order in which they can be done.
      plots: its `PLOTS`.
      descriptions: what each run is, as plain JSON values; those of the runs before it are in there as digests.
    """

    file: Path
    headline: str
    runs: Mapping[str, Run]
    plots: tuple[Plot, ...]
    descriptions: Mapping[str, Any]

    def with_predecessors(self, names: Sequence[str]) -> list[str]:
        """These runs and all that come before them, in order."""
        wanted = set(names)
        for name in reversed(self.runs):  # what comes before a run stands before it
            if name in wanted:
                wanted.update(self.runs[name].after)
        return [name for name in self.runs if name in wanted]


def load_sweep(path: Path) -> Sweep:
    """The sweep of an experiment file.

    Raises:
      ConfigError: no such file or no `sweep()`; a name that is no folder's or is there twice, an unknown or circular
        `after`, a `do` whose arguments cannot be written down, a plot of an unknown factor.
    """
    module = load_file(path)
    if not hasattr(module, "sweep"):
        raise ConfigError(f"{path}: a sweep's file defines sweep() -> Sequence[Run]; this one does not")
    listed, plots = tuple(module.sweep()), tuple(getattr(module, "PLOTS", ()))
    if not listed or not all(isinstance(run, Run) for run in listed):
        raise ConfigError(f"{path}: sweep() gave {listed!r}, expected at least one Run")
    runs: dict[str, Run] = {}
    for run in listed:
        if not _NAME.fullmatch(run.name):
            raise ConfigError(f"{path}: run {run.name!r}: expected a folder's name of letters, digits and . _ = + -")
        if run.name in runs:
            raise ConfigError(f"{path}: two runs are named {run.name!r}; put what differs into their names")
        runs[run.name] = run
    ordered = _ordered(path, runs)
    descriptions: dict[str, Any] = {}
    for name, run in ordered.items():
        what = _describe({"do": run.do, "factors": run.factors}, f"{path}: run {name!r}")
        descriptions[name] = what | {"after": {before: digest(descriptions[before]) for before in run.after}}
    known = {factor for run in listed for factor in run.factors}
    for plot in plots:
        for factor in filter(None, (plot.x, plot.line, *plot.where)):
            if factor not in known:
                near = suggestion(factor, sorted(known))
                raise ConfigError(f"{path}: PLOTS: {factor!r} is no factor of any run{near}")
    headline = (inspect.getdoc(module) or path.stem).splitlines()[0]
    return Sweep(path, headline, ordered, plots, descriptions)


def digest(description: Any) -> str:
    """SHA-256 of a run's description."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def difference(now: Any, before: Any) -> str:
    """What differs between two descriptions, in words."""
    now, before = flatten(now, lists=True), flatten(before, lists=True)
    changed = [k for k in now.keys() | before.keys() if now.get(k, _ABSENT) != before.get(k, _ABSENT)]
    first = min(changed, key=lambda k: (-k.count("."), k))
    if first.startswith("after."):
        text = f"{first.removeprefix('after.')!r}, which comes before it, is another"
    else:
        text = f"{first} was {before.get(first, _ABSENT)!r} and is now {now.get(first, _ABSENT)!r}"
    return text + (f" (and {len(changed) - 1} more)" if len(changed) > 1 else "")


def _ordered(path: Path, runs: dict[str, Run]) -> dict[str, Run]:
    """The runs as listed, but each after its predecessors."""
    for run in runs.values():
        for name in run.after:
            if name not in runs:
                raise ConfigError(f"{path}: {run.name!r} comes after {name!r}, which is no run{suggestion(name, runs)}")
    sorter = TopologicalSorter({name: run.after for name, run in runs.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise ConfigError(f"{path}: runs wait for each other: {' <- '.join(error.args[1])}") from error
    places = list(runs)
    ordered: dict[str, Run] = {}
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=places.index)
        ordered |= {name: runs[name] for name in ready}
        sorter.done(*ready)
    return ordered


def _describe(value: Any, where: str) -> Any:
    """`value` in plain JSON types, such that other arguments give another text."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): _describe(v, where) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_describe(v, where) for v in value]
    if isinstance(value, functools.partial):
        named = {"function": _describe(value.func, where), "arguments": _describe(value.keywords, where)}
        return named | ({"in_order": _describe(value.args, where)} if value.args else {})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"class": type(value).__qualname__} | _describe(fields, where)
    name = getattr(value, "__qualname__", "<no name>")
    if not callable(value) or "<" in name:
        raise ConfigError(
            f"{where}: {value!r} cannot be told from another by name; use functions defined in a module, and "
            "functools.partial of them with numbers, words, paths and dataclasses"
        )
    return name_of(value)
