"""The score of a night as one self-contained web page (`report.html.j2`)."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import jinja2

from data_pipeline.modalities import Modality
from data_pipeline.night import STAGES, Night, Quality
from data_pipeline.tasks import OXIMETRY
from data_pipeline.tasks import STAGES as STAGING
from sleepmami_jax.scoring.figures import DISPLAY_ORDER, night_svg
from sleepmami_jax.scoring.files import RESEARCH_USE
from sleepmami_jax.scoring.prediction import Scores
from sleepmami_jax.tasks import oximetry, rooms_of
from sleepmami_jax.tasks import stages as stage_room

COLUMNS = 3
"""How many stacks of tables stand beside each other on a wide page."""


NO_BREATHING = {Modality.RESP: "no breathing events", Modality.SPO2: "no ODI, no T90"}
"""What a reader loses where both are missing."""

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("sleepmami_jax.scoring", package_path=""),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def number(value: Any) -> str:
    """A statistic as a reader wants it: a dash for None, words as they are, one decimal where it tells something."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or float(value).is_integer():
        return f"{value:.0f}"
    return f"{value:.1f}"


def agreement(kappa: float | None) -> str:
    """A kappa with two decimals, never "-0.00"; a dash where it does not exist."""
    return "\N{EN DASH}" if kappa is None else f"{kappa:z.2f}"


def hours_and_minutes(minutes: float) -> str:
    return f"{int(minutes) // 60}:{int(minutes) % 60:02d}"


def good_percent(quality) -> float:
    """Share of a channel's seconds, (duration_s,) of `Quality`, that are usable."""
    return 100 * float((quality == Quality.GOOD).mean()) if len(quality) else 0.0


def _consequences(scores: Scores) -> list[tuple[str, str]]:
    consequences = {modality: modality.facts.missing for modality in scores.missing}
    if NO_BREATHING.keys() <= consequences.keys():
        consequences |= NO_BREATHING
    return list(consequences.items())


Table = tuple[str, list[tuple[str, str, str]], str]
"""Title, rows of (statistic, words, unit), and why there are none."""


def _tables(scores: Scores) -> list[Table]:
    """Stages (drawn by the page), sleep, and each task of events in the report's order."""
    sleep = [row for row in stage_room.ROWS if row[0] in scores.statistics]
    told: list[Table] = [("Stages", [], ""), ("Sleep", sleep, "")]
    rows = {room.task.name: room.rows for room in rooms_of(scores.tasks)} | {OXIMETRY.name: oximetry.ROWS}
    for task in scores.tasks:
        known = [row for row in rows[task.name] if row[0] in scores.statistics]
        told.append((task.title, known, scores.unavailable.get(task.name, "")))
    return told


def _stacks(tables: list[Table]) -> list[list[Table]]:
    """The tables in stacks of like height: each in its turn onto the lowest."""
    stacks: list[list[Table]] = [[] for _ in range(COLUMNS)]
    heights = [0] * COLUMNS
    for title, rows, reason in tables:
        lowest = heights.index(min(heights))
        stacks[lowest].append((title, rows, reason))
        heights[lowest] += 3 + (len(STAGES) if title == "Stages" else len(rows))
    return stacks


def _trust(scores: Scores) -> list[tuple[str, float, bool]]:
    """(title, chance of being wrong, whether to believe it) of each task that the night allows."""
    if scores.reliability is None:
        return []
    known, titles = scores.reliability, {STAGING.name: "Stages"} | {task.name: task.title for task in scores.tasks}
    return [
        (title, known.risk[name], known.reliable[name])
        for name, title in titles.items()
        if name in known.risk and name not in scores.unavailable
    ]


def render(scores: Scores, night: Night) -> str:
    """The page as text. Everything in it is escaped: labels and notes come from files that nobody checked."""
    statistics = scores.statistics
    stage_rows = [
        (name, statistics[f"{name.lower()}_min"], None if name == "W" else statistics[f"{name.lower()}_pct_tst"])
        for name in DISPLAY_ORDER
    ]
    tables = _tables(scores)
    tiles = [("Sleep time", statistics["tst_min"], "h"), ("Sleep efficiency", statistics["se_pct"], "%")]
    tiles = tiles if scores.is_reliable(STAGING.name) else []
    for task, (_, rows, _) in zip(scores.tasks, tables[2:], strict=True):
        if scores.is_reliable(task.name):
            tiles += [(words, statistics[key], unit) for key, words, unit in rows[:1]]
    facts = {
        key.replace("_", " "): value
        for key, value in scores.model_card.items()
        if key != "trained_on" and isinstance(value, str | int | float)
    }
    template = _ENVIRONMENT.get_template("report.html.j2")
    return template.render(
        night=night,
        scores=scores,
        statistics=statistics,
        research_use=RESEARCH_USE,
        trained_on=scores.model_card.get("trained_on", "not stated"),
        facts=facts,
        trust=_trust(scores),
        picture=night_svg(scores, night),
        tiles=tiles,
        columns=_stacks(tables),
        titles={task.name: task.plural.capitalize() for task in scores.tasks},
        indices={room.task.name: (room.index, room.index_words) for room in rooms_of(scores.tasks)},
        stage_rows=stage_rows,
        longest_stage_min=max(minutes for _, minutes, _ in stage_rows) or 1,
        consequences=_consequences(scores),
        stage_names=STAGES,
        number=number,
        agreement=agreement,
        version=version("sleepmami"),
        hours_and_minutes=hours_and_minutes,
        good_percent=good_percent,
    )
