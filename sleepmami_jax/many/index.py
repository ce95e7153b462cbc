"""One page that tells of many nights, sorts and filters them, and leads to the report of each (`index.html.j2`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from data_pipeline.tasks import OXIMETRY, STAGES, Task
from sleepmami_jax.many.table import Row
from sleepmami_jax.scoring.files import RESEARCH_USE
from sleepmami_jax.scoring.objects import sparkline
from sleepmami_jax.scoring.pages import sha256_of, templates
from sleepmami_jax.tasks import oximetry, rooms_of

PAGE = "index.html"
_TEMPLATES = templates("sleepmami_jax.many")


@dataclass(frozen=True)
class Column:
    """A column of numbers: a key of `summary.json`, what it is called, its unit, and the task that it is of."""

    key: str
    words: str
    unit: str
    task: str


def columns_of(tasks: Sequence[Task], rows: Sequence[Row]) -> list[Column]:
    """Sleep, the index of each task, and agreement where nights were scored; those that any night has."""
    columns = [
        Column("tst_min", "Sleep", "min", STAGES.name),
        Column("se_pct", "Efficiency", "%", STAGES.name),
        *(Column(room.index, room.index_words, "/h", room.task.name) for room in rooms_of(tasks)),
        *(Column(key, words, unit, OXIMETRY.name) for key, words, unit in oximetry.ROWS[:1]),
        Column("agreement_stages_kappa", "Kappa", "", ""),
    ]
    return [column for column in columns if any(row.get(column.key) is not None for row in rows)]


def render(rows: Sequence[Row], stages: Mapping[str, Sequence[int]], tasks: Sequence[Task], model: str) -> str:
    """The page as text; it needs nothing beside it but the reports. All that comes from files is escaped.

    Args:
      rows: as of the table.
      stages: by night_id the stage codes of those that were scored.
      tasks: of the model; model: its name, for the reader.
    """
    script = _TEMPLATES.loader.get_source(_TEMPLATES, "index.js")[0]
    columns = columns_of(tasks, rows)
    return _TEMPLATES.get_template("index.html.j2").render(
        nights=[_night(row, stages.get(row["night_id"]), columns) for row in rows],
        columns=columns,
        n_scored=len(stages),
        n_doubtful=sum(bool(_doubtful(row)) for row in rows),
        model=model,
        research_use=RESEARCH_USE,
        script=Markup(script),  # ours, from the file beside this one
        script_sha256=sha256_of(script),
    )


def _night(row: Row, stages: Sequence[int] | None, columns: Sequence[Column]) -> dict[str, Any]:
    doubtful = _doubtful(row)
    return {
        "night_id": row["night_id"],
        "file": row["file"],
        "error": row["error"],
        "picture": "" if stages is None else sparkline(np.array(stages), f"Hypnogram of night {row['night_id']}"),
        "cells": [(row.get(column.key), column.task in doubtful) for column in columns],
        "doubtful": doubtful,
        "reasons": row.get("reasons") or "",
        "state": "refused" if stages is None else "doubtful" if doubtful else "usual",
    }


def _doubtful(row: Row) -> list[str]:
    """Tasks that are more likely wrong than right on this night."""
    return [key.removeprefix("reliable_") for key, value in row.items() if key.startswith("reliable_") and not value]
