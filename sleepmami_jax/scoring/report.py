"""The score of a night as one self-contained web page (`report.html.j2`)."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import jinja2

from data_pipeline.night import STAGES, Modality, Night, Quality
from sleepmami_jax.scoring.figures import DISPLAY_ORDER, night_svg
from sleepmami_jax.scoring.files import RESEARCH_USE
from sleepmami_jax.scoring.prediction import Scores

TABLES = {
    "Sleep": (
        ("trt_min", "Recording time", "min"),
        ("tst_min", "Sleep time (TST)", "min"),
        ("spt_min", "Sleep period (SPT)", "min"),
        ("se_pct", "Sleep efficiency", "%"),
        ("sme_pct", "Sleep maintenance", "%"),
        ("sol_min", "Sleep onset latency", "min"),
        ("lps_min", "Latency to persistent sleep", "min"),
        ("rem_latency_min", "REM latency", "min"),
        ("waso_aasm_min", "WASO (AASM)", "min"),
        ("waso_spt_min", "WASO (within sleep period)", "min"),
        ("awakenings", "Awakenings", ""),
        ("cycles", "Sleep cycles", ""),
        ("unscored_min", "Not scored", "min"),
    ),
    "Breathing": (
        ("ahi_per_h", "AHI", "/h"),
        ("ahi_rem_per_h", "AHI in REM", "/h"),
        ("ahi_nrem_per_h", "AHI in NREM", "/h"),
        ("apneas", "Apneas", ""),
        ("hypopneas", "Hypopneas", ""),
        ("apnea_index_per_h", "Apnea index", "/h"),
        ("hypopnea_index_per_h", "Hypopnea index", "/h"),
        ("breathing_event_mean_s", "Mean duration", "s"),
        ("breathing_event_longest_s", "Longest", "s"),
    ),
    "Arousal": (
        ("arousals", "Arousals", ""),
        ("arousal_index_per_h", "Arousal index", "/h"),
        ("respiratory_arousal_index_per_h", "Of these, with breathing events", "/h"),
        ("breathing_with_arousal_pct", "Breathing events with arousal", "%"),
    ),
    "Oximetry": (
        ("odi3_per_h", "ODI3", "/h"),
        ("desaturations", "Desaturations", ""),
        ("spo2_mean_pct", "Mean SpO2", "%"),
        ("spo2_min_pct", "Lowest SpO2 (3 s)", "%"),
        ("t90_pct", "Sleep below 90 % (T90)", "%"),
        ("hypoxic_burden_pct_min_per_h", "Hypoxic burden", "%·min/h"),
    ),
}
"""Tables of the report: rows of (statistic, words, unit). A table's task is its title in lower case."""

COLUMNS = (("Stages", "Oximetry"), ("Sleep",), ("Breathing", "Arousal"))
"""How the tables stand beside each other on a wide page: three stacks of like height."""

TILES = (
    ("tst_min", "Sleep time", "h"),
    ("se_pct", "Sleep efficiency", "%"),
    ("ahi_per_h", "AHI", "/h"),
    ("arousal_index_per_h", "Arousal index", "/h"),
    ("odi3_per_h", "ODI3", "/h"),
)

CONSEQUENCES = {
    Modality.EEG: "no arousals; stages from other signals",
    Modality.EOG: "REM and N1 harder to tell apart",
    Modality.EMG: "REM harder to tell from wake and N1",
    Modality.ECG: "no pulse for stages and breathing events",
    Modality.RESP: "breathing events, if any, from the oximeter only",
    Modality.SPO2: "no ODI, no T90; hypopneas without their desaturation",
}

NO_BREATHING = {
    Modality.RESP: "no breathing events",
    Modality.SPO2: "no ODI, no T90",
}
"""Instead, where both are missing."""

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("sleepmami_jax.scoring", package_path=""),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def number(value: Any) -> str:
    """A statistic as a reader wants it: a dash for None, words as they are, one decimal where it tells
    something."""
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
    consequences = CONSEQUENCES | (NO_BREATHING if "breathing" in scores.unavailable else {})
    return [(name, consequences[Modality(name)]) for name in scores.missing]


def render(scores: Scores, night: Night) -> str:
    """The page as text. Everything in it is escaped: labels and notes come from files that nobody checked."""
    statistics = scores.statistics
    stage_rows = [
        (
            name,
            statistics[f"{name.lower()}_min"],
            None if name == "W" else statistics[f"{name.lower()}_pct_tst"],
        )
        for name in DISPLAY_ORDER
    ]
    tables = {title: [row for row in rows if row[0] in statistics] for title, rows in TABLES.items()}
    reasons = {title: scores.unavailable.get(title.lower()) for title in TABLES}
    tiles = [(words, statistics[key], unit) for key, words, unit in TILES if key in statistics]
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
        picture=night_svg(scores, night),
        tiles=tiles,
        columns=COLUMNS,
        tables=tables,
        reasons=reasons,
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
