"""One table of many nights: a row a night, scored or refused."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from data_pipeline.flatten import flatten
from data_pipeline.whole_files import whole_file

CSV, PARQUET = "nights.csv", "nights.parquet"
FIRST = ("night_id", "file", "status", "error")
"""Columns that every row has; the others are those of `summary.json`."""
_THE_SAME = ("format", "research_use", "night_id")
_FORMULA = ("=", "+", "-", "@", "\t")
"""How a cell begins that a spreadsheet takes for a formula: words of a file may not become one."""

Row = Mapping[str, Any]


def row_of(facts: Mapping[str, Any], summary: Mapping[str, Any]) -> Row:
    """`FIRST` and a night's `summary.json` as flat cells: `reliable_stages`, lists of sentences joined by "; "."""
    flat = flatten({key: value for key, value in summary.items() if key not in _THE_SAME}, "_")
    return {**facts, **{key: _cell(value) for key, value in flat.items()}}


def write_table(rows: Sequence[Row], out: Path) -> list[str]:
    """Writes `nights.csv`, and `nights.parquet` where pyarrow is installed; the names of what was written.

    A cell is empty (null) where a night does not have it.
    """
    columns = list(dict.fromkeys([*FIRST, *(name for row in rows for name in row)]))
    with whole_file(out / CSV) as half, half.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_written(row.get(name)) for name in columns] for row in rows)
    if find_spec("pyarrow") is None:
        (out / PARQUET).unlink(missing_ok=True)  # it would tell of an earlier run
        return [CSV]
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({name: _column([row.get(name) for row in rows]) for name in columns})
    with whole_file(out / PARQUET) as half:
        parquet.write_table(table, half)
    return [CSV, PARQUET]


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return "; ".join(map(str, value)) or None
    return None if value == {} else value


def _written(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _column(values: list[Any]) -> list[Any]:
    """Values of one kind: numbers as they are, and words as soon as there are any."""
    if any(isinstance(value, str) for value in values):
        return [None if value is None else str(value) for value in values]
    return values
