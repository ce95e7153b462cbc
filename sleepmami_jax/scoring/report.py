"""The score of a night as one self-contained web page: `report.html.j2`, and a picture by `page/`.

The page asks no server for anything, and its policy lets no other script run than this one, by its digest.
"""

from __future__ import annotations

import json
from functools import cache, partial
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from data_pipeline.modalities import Modality
from data_pipeline.night import STAGES, Night, Quality
from data_pipeline.tasks import OXIMETRY
from data_pipeline.tasks import STAGES as STAGING
from sleepmami_jax.scoring import definitions
from sleepmami_jax.scoring.axis import DISPLAY_ORDER, axis_data, clock, deciding, start_s
from sleepmami_jax.scoring.differences import calibration, differences
from sleepmami_jax.scoring.files import RESEARCH_USE, among
from sleepmami_jax.scoring.pages import sha256_of, templates
from sleepmami_jax.scoring.parts import RULE as PARTS_RULE
from sleepmami_jax.scoring.parts import parts
from sleepmami_jax.scoring.prediction import Scores
from sleepmami_jax.scoring.signals import MOST_BYTES, SHOWN_BLOCK_S, Signals, fitted
from sleepmami_jax.tasks import oximetry, rooms_of
from sleepmami_jax.tasks import stages as stage_room

MOST_OF_PAGE = 8_000_000
"""Bytes: what a mail carries and a browser opens at once (our choice). In a night of days signals give way."""
TABLES = 250_000
"""Of them are for tables, definitions and style."""
COLUMNS = 3
"""How many stacks of tables stand beside each other on a wide page."""


NO_BREATHING = {Modality.RESP: "no breathing events", Modality.SPO2: "no ODI, no T90"}
"""What a reader loses where both are missing."""

_TEMPLATES = templates("sleepmami_jax.scoring")


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
    """A length of time as "7:05"."""
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


@cache
def _script() -> str:
    """The page's own script: its files in their order, in a scope of their own."""
    folder = files("sleepmami_jax.scoring") / "page"
    names = sorted(path.name for path in folder.iterdir() if path.name.endswith(".js"))
    text = "\n".join((folder / name).read_text(encoding="utf-8") for name in names)
    return f"(() => {{\n'use strict';\n{text}}})();"


def as_json(value: Any) -> Markup:
    """JSON that cannot end the element that it stands in, whatever words are in it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _signals_data(signals: Signals) -> list[dict[str, Any]]:
    """What `page/4_signals.js` reads."""
    return [
        {
            "slot": one.slot,
            "unit": one.modality.facts.unit.replace("uV", "µV"),
            "hz": one.rate_hz,
            "offset": one.offset,
            "step": one.step,
            "reach": one.reach,
            "block": SHOWN_BLOCK_S,
            "blocks": one.blocks,
        }
        for one in signals.shown
    ]


def _tiles(scores: Scores, tables: list[Table]) -> list[tuple[str, Any, str, str]]:
    """(words, number, unit, definition) of what is reliable enough to stand on top."""
    told = [(stage_room.ROWS, key) for key in ("tst_min", "se_pct")] if scores.is_reliable(STAGING.name) else []
    for task, (_, rows, _) in zip(scores.tasks, tables[2:], strict=True):
        if rows and scores.is_reliable(task.name):
            told.append((rows, rows[0][0]))
    tiles = []
    for rows, key in told:
        words, unit = next((words, unit) for name, words, unit in rows if name == key)
        unit = "h" if key == "tst_min" else unit
        tiles.append((words, scores.statistics[key], unit, definitions.definition(key, rows, scores)))
    return tiles


def _lights(night: Night, start: int | None) -> str:
    """When the lights went off and on, in words; "" where nobody marked it."""
    marks = zip(("off", "on"), night.lights_s, strict=True)
    return ", ".join(f"lights {word} {clock(second, start)}" for word, second in marks if second is not None)


def _definitions(scores: Scores, tables: list[Table]) -> list[str]:
    """Every definition once, in the order of the page."""
    of_rows = [definitions.definition(key, rows, scores) for _, rows, _ in tables for key, _, _ in rows]
    axis = [f"{words}: {rule}" for words, rule in definitions.ON_THE_AXIS.items()]
    every = [f"Stages: {definitions.STAGES}", *of_rows, *scores.rules.values(), f"Parts: {PARTS_RULE}", *axis]
    return list({rule.casefold(): rule for rule in every if rule}.values())


def render(scores: Scores, night: Night, signals: Signals) -> str:
    """The page as text. Everything in it is escaped: labels and notes come from files that nobody checked."""
    statistics, tables, start = scores.statistics, _tables(scores), start_s(night)
    stage_rows = [
        (name, statistics[f"{name.lower()}_min"], None if name == "W" else statistics[f"{name.lower()}_pct_tst"])
        for name in DISPLAY_ORDER
    ]
    facts = {
        key.replace("_", " "): value
        for key, value in scores.model_card.items()
        if key != "trained_on" and isinstance(value, str | int | float)
    }
    found = differences(scores, night)
    night_data = as_json(axis_data(scores, night, signals, found))
    spare = MOST_OF_PAGE - TABLES - len(_script()) - len(night_data.encode())
    left_out = fitted(signals.shown, deciding(scores, found), min(MOST_BYTES, spare))
    return _TEMPLATES.get_template("report.html.j2").render(
        night=night,
        scores=scores,
        statistics=statistics,
        start=start,
        clock=partial(clock, start=start),
        lights=_lights(night, start),
        research_use=RESEARCH_USE,
        trained_on=scores.model_card.get("trained_on", "not stated"),
        facts=facts,
        trust=_trust(scores),
        tiles=_tiles(scores, tables),
        columns=_stacks(tables),
        definition=partial(definitions.definition, scores=scores),
        definitions=_definitions(scores, tables),
        on_the_axis=definitions.ON_THE_AXIS,
        stages_rule=definitions.STAGES,
        signal_rule=definitions.ON_THE_AXIS["Signals"].capitalize(),
        parts=parts(scores, night),
        parts_rule=PARTS_RULE,
        calibration=calibration(scores, night),
        n_differences=len(found),
        left_out=left_out,
        has_signals=any(one.slot != Modality.SPO2 for one in signals.shown),
        titles={task.name: task.plural.capitalize() for task in scores.tasks},
        indices={room.task.name: (room.index, room.index_words) for room in rooms_of(scores.tasks)},
        stage_rows=stage_rows,
        longest_stage_min=max(minutes for _, minutes, _ in stage_rows) or 1,
        consequences=_consequences(scores),
        stage_names=STAGES,
        display_order=DISPLAY_ORDER,
        number=number,
        agreement=agreement,
        among=among,
        version=version("sleepmami"),
        hours_and_minutes=hours_and_minutes,
        good_percent=good_percent,
        style=Markup((files("sleepmami_jax.scoring") / "page" / "report.css").read_text(encoding="utf-8")),
        script=Markup(_script()),
        script_sha256=sha256_of(_script()),
        night_data=night_data,
        signals_data=as_json(_signals_data(signals)),
    )
