"""The results of a sweep as tables: one row a run, and mean and standard deviation over seeds."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from data_pipeline.whole_files import write_whole
from sleepmami_jax.sweep.plan import Factor, Sweep
from sleepmami_jax.sweep.result import Result

SEED = "seed"


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone.

    Attributes:
      factors: what they share, without the seed; the run's name under "run" where it has none.
      values: measure -> its known values, one a run.
      n: runs.
    """

    factors: Mapping[str, Factor]
    values: Mapping[str, Sequence[float]]
    n: int


def measured(results: Mapping[str, Result]) -> dict[str, Result]:
    """The results of runs that measured something."""
    return {name: result for name, result in results.items() if result.measures}


def groups(results: Mapping[str, Result]) -> list[Group]:
    """Measured runs by their factors, in the order in which these first appear."""
    alike: dict[frozenset, tuple[dict[str, Factor], list[Result]]] = {}
    for name, result in measured(results).items():
        factors = {k: v for k, v in result.factors.items() if k != SEED} or {"run": name}
        alike.setdefault(frozenset(factors.items()), (factors, []))[1].append(result)
    return [
        Group(factors, {m: known(members, m) for m in _names(r.measures for r in members)}, len(members))
        for factors, members in alike.values()
    ]


def known(results: Iterable[Result], measure: str) -> list[float]:
    """The values of a measure, where it exists."""
    return [v for r in results if (v := r.measures.get(measure)) is not None]


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation (n - 1); None of fewer than two values."""
    return stdev(values) if len(values) > 1 else None


def write_tables(sweep: Sweep, results: Mapping[str, Result], workdir: Path) -> None:
    """Leaves `table.csv`, `summary.csv` and `summary.md` in `workdir`; the same bytes for the same results."""
    rows = measured(results)
    factors = _names(r.factors for r in rows.values())
    measures = _names(r.measures for r in rows.values())
    header = ["run", *factors, *measures, "seconds"]
    lines = [
        [name, *map(r.factors.get, factors), *map(r.measures.get, measures), r.seconds] for name, r in rows.items()
    ]
    write_whole(workdir / "table.csv", _csv(header, lines))

    averaged = groups(results)
    columns = _names(g.factors for g in averaged)
    header = [*columns, "n", *(part for m in measures for part in (m, f"{m}_sd"))]
    lines = []
    for g in averaged:
        values = [g.values.get(m, ()) for m in measures]
        statistics = (part for v in values for part in (mean(v) if v else None, spread(v)))
        lines.append([*map(g.factors.get, columns), g.n, *statistics])
    write_whole(workdir / "summary.csv", _csv(header, lines))
    write_whole(workdir / "summary.md", _markdown(sweep, results, averaged, columns, measures))


def _markdown(sweep, results, averaged: list[Group], columns, measures) -> str:
    seconds = sum(r.seconds for r in results.values())
    text = [f"# {sweep.headline}", ""]
    text.append(
        f"{len(results)} of {len(sweep.runs)} runs finished, {seconds:.0f} s in all. Mean ± standard deviation over "
        "seeds; n is the number of runs."
    )
    if missing := [name for name in sweep.runs if name not in results]:
        text += ["", f"Not finished: {', '.join(missing)}."]
    text += [f"\n**{warning}**" for warning in _alike(results)]
    if averaged:
        cells = [[*columns, "n", *measures], ["---"] * len(columns) + ["---:"] * (1 + len(measures))]
        for g in averaged:
            factors = (_word(g.factors.get(c)) for c in columns)
            cells.append([*factors, str(g.n), *(_mean_sd(g.values.get(m, ())) for m in measures)])
        text += ["", *("| " + " | ".join(row) + " |" for row in cells)]
    return "\n".join(text) + "\n"


def _alike(results: Mapping[str, Result]) -> list[str]:
    """Runs that the table cannot tell apart."""
    seen: dict[tuple, str] = {}
    warnings = []
    for name, r in measured(results).items():
        first = seen.setdefault(tuple(sorted(r.factors.items())), name) if r.factors else name
        if first != name:
            warnings.append(f"{first} and {name} have the same factors and seed: give them one that tells them apart.")
    return warnings


def _mean_sd(values: Sequence[float]) -> str:
    if not values:
        return "–"
    sd = spread(values)
    return f"{mean(values):.4g}" + ("" if sd is None else f" ± {sd:.2g}")


def _word(value: Factor | None) -> str:
    return "" if value is None else str(value).replace("|", "\\|")


def _names(mappings: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])  # None is an empty cell
    return text.getvalue()
