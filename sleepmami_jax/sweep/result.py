"""One run of a sweep: done here, in this process, and its result kept.

DIR/runs/NAME holds `run.json` (what the run is, written when it first starts), `result.json` (written when it is
finished), `log.txt`, and what the run itself leaves.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_pipeline.lock import alone_in
from data_pipeline.whole_files import write_whole
from sleepmami_jax.config import ConfigError
from sleepmami_jax.sweep.plan import Factor, Sweep, difference

RUN, RESULT, LOG = "run.json", "result.json", "log.txt"


@dataclass(frozen=True)
class Result:
    """What a finished run came to.

    Attributes:
      factors: as in its `Run`.
      measures: finite numbers; None is a number that does not exist, such as the kappa of nothing.
      seconds: of its last start until it was finished.
    """

    factors: Mapping[str, Factor]
    measures: Mapping[str, float | None]
    seconds: float


def folder(workdir: Path, name: str) -> Path:
    """Where a run of a sweep lives."""
    return workdir / "runs" / name


def read_results(sweep: Sweep, workdir: Path) -> dict[str, Result]:
    """Results of the finished runs, in the sweep's order.

    Raises:
      ConfigError: a run was started with another description.
    """
    results = {}
    for name in sweep.runs:
        _check_same(sweep, workdir, name)
        path = folder(workdir, name) / RESULT
        if path.is_file():
            results[name] = Result(**json.loads(path.read_text()))
    return results


def do_run(sweep: Sweep, workdir: Path, name: str) -> Result:
    """Does a run, unless it is finished, and returns its result.

    Raises:
      ConfigError: no such run, one that must come before it is not finished, or it was started with another
        description.
      ValueError: another process is at it, or a measure is no finite number.
    """
    if name not in sweep.runs:
        raise ConfigError(f"{sweep.file}: no run is named {name!r}; --dry-run lists them")
    results = read_results(sweep, workdir)
    if missing := [before for before in sweep.runs[name].after if before not in results]:
        raise ConfigError(f"{name}: {', '.join(missing)} must be finished first")
    if name in results:
        return results[name]
    run, home = sweep.runs[name], folder(workdir, name)
    with alone_in(home):  # two that train in one would spoil each other's work
        _write(home / RUN, sweep.descriptions[name])
        begun = time.perf_counter()
        measures = {measure: _number(name, measure, value) for measure, value in run.do(workdir).items()}
        result = Result(dict(run.factors), measures, round(time.perf_counter() - begun, 1))
        _write(home / RESULT, asdict(result))
    return result


def _check_same(sweep: Sweep, workdir: Path, name: str) -> None:
    path = folder(workdir, name) / RUN
    if not path.is_file():
        return
    before, now = json.loads(path.read_text()), json.loads(json.dumps(sweep.descriptions[name]))
    if before != now:
        raise ConfigError(
            f"{path.parent} was started as another run: {difference(now, before)}; remove this folder to do it "
            "anew, or choose another --workdir"
        )


def _number(name: str, measure: str, value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name}: measure {measure} is {number}; expected a finite number, or None for unknown")
    return number


def _write(path: Path, content: Any) -> None:
    write_whole(path, json.dumps(content, indent=1) + "\n")
