"""Scores as the objects that sleep researchers work with: pandas, YASA, mne, matplotlib, and a cell of a notebook."""

from __future__ import annotations

import datetime
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

from data_pipeline.night import EPOCH_S, STAGES, marks
from data_pipeline.runs import runs, runs_of_values
from sleepmami_jax.tasks import rooms_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from mne import Annotations
    from pandas import DataFrame
    from yasa import Hypnogram

    from sleepmami_jax.scoring.prediction import Scores

DISPLAY_ORDER = ("W", "REM", "N1", "N2", "N3")
"""Top to bottom in a hypnogram, as sleep laboratories draw it."""
_YASA = ("WAKE", "N1", "N2", "N3", "REM")
_NOT_SCORED = "UNS"
_ROW, _WIDTH, _COLUMNS = 6, 240, 480
"""Of a sparkline: between stages, and in all; it shows no more epochs than columns."""


def dataframe(scores: Scores) -> DataFrame:
    """See `Scores.to_dataframe`."""
    columns: dict[str, Any] = {
        "onset_s": np.arange(len(scores.stages)) * EPOCH_S,
        "stage": [STAGES[code] if code >= 0 else None for code in scores.stages],
    }
    columns |= {f"prob_{name}": scores.stage_probs[:, code] for code, name in enumerate(STAGES)}
    if scores.reliability is not None:
        columns["risk"] = np.where(scores.stages >= 0, scores.reliability.epoch_risk, np.nan)
    frame = _needed("pandas").DataFrame(columns)
    frame.index.name = "epoch"
    return frame


def yasa_hypnogram(scores: Scores) -> Hypnogram:
    """See `Scores.to_yasa`."""
    yasa = _needed("yasa")
    probs = np.asarray(scores.stage_probs, float)
    known = scores.start_day and scores.start_clock
    clock = datetime.time.fromisoformat(scores.start_clock) if known else None
    return yasa.Hypnogram(
        [_YASA[code] if code >= 0 else _NOT_SCORED for code in scores.stages],
        freq=f"{EPOCH_S}s",
        start=datetime.datetime.combine(scores.start_day, clock) if known else None,
        scorer=scores.model_card.get("name", "sleepmami"),
        proba=_needed("pandas").DataFrame(probs / probs.sum(axis=1, keepdims=True), columns=_YASA),
    )


def mne_annotations(scores: Scores) -> Annotations:
    """See `Scores.to_mne`."""
    import mne

    onsets, durations, texts = zip(*marks(scores.stages, scores.events), strict=True)
    return mne.Annotations(onsets, durations, texts)


def _needed(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"{name} is not installed: pip install {name}") from error


def plot_hypnogram(scores: Scores, ax: Axes | None = None) -> Axes:
    """See `Scores.plot_hypnogram`."""
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.subplots(figsize=(10, 2.5), layout="constrained")[1]
    place = {STAGES.index(name): -row for row, name in enumerate(DISPLAY_ORDER)}
    y = np.array([place.get(int(code), np.nan) for code in scores.stages])
    hours = np.arange(len(y) + 1) * EPOCH_S / 3600
    ax.stairs(y, hours, baseline=None, color="0.25", linewidth=1)
    for start, stop in runs(scores.stages == STAGES.index("REM")):
        ax.hlines(place[STAGES.index("REM")], hours[start], hours[stop], color="#c2456b", linewidth=4)
    if scores.reliability is not None:
        for start, stop in runs(scores.reliability.unsure & (scores.stages >= 0)):
            ax.axvspan(hours[start], hours[stop], color="#e8a33d", alpha=0.2, linewidth=0)
    ax.set_yticks([-row for row in range(len(DISPLAY_ORDER))], DISPLAY_ORDER)
    ax.set(xlabel="hours from the start of the recording", ylim=(-len(DISPLAY_ORDER) + 0.5, 0.5))
    ax.set_xlim(0, hours[-1])
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def sparkline(stages: np.ndarray, label: str) -> Markup:
    """A hypnogram (E,) as a small picture; its line is of class `h`, REM of `r`. Of a long night neighbours are one."""
    if len(stages) > _COLUMNS:
        parts = np.array_split(stages, _COLUMNS)
        stages = np.array([np.bincount(part + 1).argmax() - 1 for part in parts])
    level = {STAGES.index(name): 3 + row * _ROW for row, name in enumerate(DISPLAY_ORDER)}
    x = [round(_WIDTH * place / len(stages), 1) for place in range(len(stages) + 1)]
    line, rem, is_broken = [], [], True
    for start, stop in runs_of_values(stages):
        y = level.get(int(stages[start]))
        if y is not None:
            line.append(f"M{x[start]:g} {y}H{x[stop]:g}" if is_broken else f"V{y}H{x[stop]:g}")
            if STAGES[stages[start]] == "REM":
                rem.append(f"M{x[start]:g} {y}H{x[stop]:g}")
        is_broken = y is None
    height = 6 + _ROW * (len(DISPLAY_ORDER) - 1)
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}" fill="none" '
        'stroke="currentColor" xmlns="http://www.w3.org/2000/svg"><path class="h" d="{}"/>'
        '<path class="r" stroke="#c2456b" stroke-width="3" d="{}"/></svg>'
    ).format(_WIDTH, height, _WIDTH, height, label, Markup("".join(line)), Markup("".join(rem)))


def headlines(scores: Scores) -> list[tuple[str, str]]:
    """Sleep time and the index of each task, in words; "not reliable" where it is not, and no task without sensors."""
    told = [("sleep", f"{scores.statistics['tst_min'] / 60:.1f} h", "stages")]
    for room in rooms_of(scores.tasks):
        value = scores.statistics.get(room.index)
        if value is not None:
            told.append((room.index_words, f"{value:.1f}", room.task.name))
    return [(words, value if scores.is_reliable(task) else f"{value} (not reliable)") for words, value, task in told]


def short(scores: Scores) -> str:
    """Scores in one line."""
    told = ", ".join(f"{words} {value}" for words, value in headlines(scores))
    n = len(scores.stages)
    return (
        f"<Scores {scores.night_id}: {n} epochs, {told}, {len(scores.events)} events, {len(scores.warnings)} warnings>"
    )


def html(scores: Scores) -> Markup:
    """Scores as a notebook shows them. Everything in it is escaped."""
    rows = Markup("").join(
        Markup("<tr><th style='text-align:left'>{}</th><td>{}</td></tr>").format(words, value)
        for words, value in headlines(scores)
    )
    warnings = Markup("").join(Markup("<li>{}</li>").format(warning) for warning in scores.warnings)
    picture = sparkline(scores.stages, f"Hypnogram of night {scores.night_id}")
    title = escape(scores.night_id)
    return Markup("<div><b>{}</b><div>{}</div><table>{}</table><ul>{}</ul></div>").format(
        title, picture, rows, warnings
    )
