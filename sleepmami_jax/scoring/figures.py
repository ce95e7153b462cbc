"""The night as one picture: hypnogram, stage probabilities, events, SpO2 and breathing, on one time axis.

Hand-made SVG: colours are CSS classes, so that light, dark and print each have their own, and every event is
a shape with a tooltip. Numbers are rounded to a tenth of a unit, which keeps a whole night near 300 kB.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from markupsafe import Markup, escape

from data_pipeline.modalities import Modality
from data_pipeline.night import APNEAS, EPOCH_S, STAGES, EventKind, Night
from data_pipeline.runs import runs
from data_pipeline.tasks import BREATHING, kind_title
from sleepmami_jax.scoring.objects import DISPLAY_ORDER
from sleepmami_jax.scoring.prediction import Scores
from sleepmami_jax.tasks.oximetry import valid_spo2
from sleepmami_jax.tasks.stages import stage_of

WIDTH = 1040
LEFT, RIGHT = 108, 14
TOP = 8
GAP = 30
"""Space between panels, with the next one's title in it."""

RATE_BIN_EPOCHS = 60


class _Page:
    """Collects SVG from top to bottom, with seconds as x."""

    def __init__(self, duration_s: float):
        self.duration_s = duration_s
        self.y = TOP
        self.parts: list[str] = []

    def x(self, second: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * second / self.duration_s

    def add(self, shape: str) -> None:
        self.parts.append(shape)

    def text(self, x: float, y: float, words: str, css: str, anchor: str = "end") -> None:
        self.add(f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}">{escape(words)}</text>')

    def rect(self, x: float, y: float, width: float, height: float, css: str, title: str = "") -> None:
        tooltip = f"<title>{escape(title)}</title>" if title else ""
        self.add(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{css}">{tooltip}</rect>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        self.add(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" class="{css}"/>')

    def path(self, points: Iterable[tuple[float, float]], css: str, close: bool = False) -> None:
        drawn = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.add(f'<path d="M{drawn}{"Z" if close else ""}" class="{css}"/>')

    def panel(self, title: str, height: float) -> float:
        """Opens a panel and returns the y of its top; the next panel comes below it."""
        top = self.y + GAP
        self.text(LEFT, top - 10, title, "panel-title", "start")
        self.y = top + height
        return top


def clock(second: float) -> str:
    """Seconds since the start of the recording as h:mm:ss."""
    whole = int(second)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def night_svg(scores: Scores, night: Night) -> Markup:
    """The whole picture as one `<svg>` element; panels without data are left out."""
    page = _Page(len(scores.stages) * EPOCH_S)
    unsure = None if scores.reliability is None else scores.reliability.unsure & (scores.stages >= 0)
    _hypnogram(page, "Hypnogram" if unsure is None else "Hypnogram, shaded where it is unsure", scores.stages, unsure)
    if night.scoring is not None and "stages" in night.scoring.scored:
        _hypnogram(page, "Scoring given", night.scoring.stages)
    _hypnodensity(page, scores)
    _events(page, scores)
    if BREATHING.name not in scores.unavailable:
        _breathing_rate(page, scores)
    oximeter = next((c for c in night.channels if c.modality == Modality.SPO2), None)
    if oximeter is not None and np.isfinite(spo2 := valid_spo2(oximeter)).any():
        _spo2(page, spo2[: len(scores.stages) * EPOCH_S])
    grid = _time_axis(page)
    label = escape(f"Hypnogram, stage probabilities and events of night {night.night_id}")
    height = page.y + 40
    body = "".join([*grid, *page.parts])
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{label}" '
        f'xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def _time_axis(page: _Page) -> list[str]:
    """Adds the hours below the last panel and returns the vertical lines, which go beneath everything."""
    hours = page.duration_s / 3600
    step = next((s for s in (0.25, 0.5, 1.0) if hours / s <= 12), 2.0)
    grid = []
    for k in range(int(hours / step) + 1):
        x = page.x(k * step * 3600)
        grid.append(f'<path d="M{x:.1f} {TOP + GAP}L{x:.1f} {page.y + 4:.1f}" class="grid"/>')
        page.text(x, page.y + 18, f"{k * step:g}", "tick", "middle")
    page.text((LEFT + WIDTH - RIGHT) / 2, page.y + 36, "hours from the start of the recording", "axis", "middle")
    return grid


def _hypnogram(page: _Page, title: str, stages: np.ndarray, unsure: np.ndarray | None = None) -> None:
    row = 22
    top = page.panel(title, row * len(DISPLAY_ORDER))
    level = {STAGES.index(name): top + (k + 0.5) * row for k, name in enumerate(DISPLAY_ORDER)}
    for name in DISPLAY_ORDER:
        y = level[STAGES.index(name)]
        page.text(LEFT - 10, y + 4, name, "label")
        page.line(LEFT, y, WIDTH - RIGHT, y, "row")
    for start, stop in runs(unsure) if unsure is not None else ():
        x, words = (
            page.x(start * EPOCH_S),
            f"unsure from {clock(start * EPOCH_S)}, {(stop - start) * EPOCH_S / 60:g} min",
        )
        page.rect(x, top, page.x(stop * EPOCH_S) - x, row * len(DISPLAY_ORDER), "unsure", words)
    changes = np.flatnonzero(np.diff(stages)) + 1
    bounds = [0, *changes.tolist(), len(stages)]
    for start, stop in pairwise(bounds):
        code = int(stages[start])
        before = int(stages[start - 1]) if start else -1
        if code >= 0 and before >= 0:
            page.line(page.x(start * EPOCH_S), level[before], page.x(start * EPOCH_S), level[code], "riser")
        if code < 0:
            x = page.x(start * EPOCH_S)
            page.rect(x, top, page.x(stop * EPOCH_S) - x, row * 5, "unscored", "not scored")
    for start, stop in pairwise(bounds):
        code = int(stages[start])
        if code >= 0:
            x = page.x(start * EPOCH_S)
            minutes = (stop - start) * EPOCH_S / 60
            tooltip = f"{STAGES[code]} from {clock(start * EPOCH_S)}, {minutes:g} min"
            width = page.x(stop * EPOCH_S) - x
            page.rect(x, level[code] - 4, max(width, 0.8), 8, f"s-{STAGES[code]}", tooltip)


def _hypnodensity(page: _Page, scores: Scores) -> None:
    height = 84
    top = page.panel("Stage probabilities", height)
    for share in (0, 50, 100):
        page.text(LEFT - 10, top + height * (1 - share / 100) + 4, f"{share} %", "label")
    from_below = [STAGES.index(name) for name in reversed(DISPLAY_ORDER)]
    levels = np.concatenate(
        [np.zeros((len(scores.stages), 1)), np.cumsum(scores.stage_probs[:, from_below], axis=1)], axis=1
    )
    levels /= np.maximum(levels[:, -1:], 1e-9)  # rounding must not leave a gap at the top
    for start, stop in runs(scores.stages >= 0):
        # Each epoch is a flat step: its two edges share one height.
        xs = [page.x(t * EPOCH_S) for epoch in range(start, stop) for t in (epoch, epoch + 1)]
        ys = top + height * (1 - np.repeat(levels[start:stop], 2, axis=0))
        for k, code in enumerate(from_below):
            upper = list(zip(xs, ys[:, k + 1], strict=True))
            lower = list(zip(xs, ys[:, k], strict=True))[::-1]
            page.path(upper + lower, f"s-{STAGES[code]}", close=True)


def _events(page: _Page, scores: Scores) -> None:
    """A lane for each class of event, a task after the other, its last class first."""
    row = 22
    lanes = [(task.name, kinds) for task in scores.tasks for kinds in reversed(task.events)]
    top = page.panel("Events", row * len(lanes))
    for k, (task, kinds) in enumerate(lanes):
        y, name = top + k * row, kind_title(kinds[0])
        page.text(LEFT - 10, y + row / 2 + 4, name, "label")
        page.line(LEFT, y + row / 2, WIDTH - RIGHT, y + row / 2, "row")
        if task in scores.unavailable:
            reason = f"not available: {scores.unavailable[task]}"
            page.text(LEFT + 8, y + row / 2 + 4, reason, "absent", "start")
            continue
        for start, stop in runs(~scores.monitored[task]) if task in scores.monitored else ():
            x = page.x(start * EPOCH_S)
            page.rect(x, y + 2, page.x(stop * EPOCH_S) - x, row - 4, "unscored", "no usable sensor")
        for event, confidence in zip(scores.events, scores.confidences, strict=True):
            if event.kind in kinds:
                words = [f"{name} at {clock(event.onset_s)}", f"{event.duration_s:g} s"]
                words.append(stage_of(event, scores.stages))
                if confidence is not None:
                    words.append(f"probability {confidence:.2f}")
                x = page.x(event.onset_s)
                width = max(page.x(event.end_s) - x, 1.4)
                page.rect(x, y + 4, width, row - 8, f"event e-{kinds[0]}", ", ".join(words))


def _breathing_rate(page: _Page, scores: Scores) -> None:
    """Bars of apneas and hypopneas per hour of monitored sleep in half hours; under 5 min of it there is none."""
    height = 60
    top = page.panel("Apneas and hypopneas per hour of sleep, in half hours", height)
    edges = [*range(0, len(scores.stages), RATE_BIN_EPOCHS), len(scores.stages)]
    bars = []
    for start, stop in pairwise(edges):
        asleep = (scores.stages[start:stop] > 0) & scores.monitored[BREATHING.name][start:stop]
        sleep_h = float(asleep.sum()) * EPOCH_S / 3600
        if sleep_h < 5 / 60:
            continue
        inside = [e for e in scores.events if start * EPOCH_S <= e.onset_s < stop * EPOCH_S]
        apneas = sum(e.kind in APNEAS for e in inside) / sleep_h
        hypopneas = sum(e.kind == EventKind.HYPOPNEA for e in inside) / sleep_h
        bars.append((start, stop, apneas, hypopneas))
    highest = max([10.0, *(apneas + hypopneas for _, _, apneas, hypopneas in bars)])
    limit = 10 * np.ceil(highest / 10)
    for value in (0, limit / 2, limit):
        y = top + height * (1 - value / limit)
        page.text(LEFT - 10, y + 4, f"{value:g}", "label")
        page.line(LEFT, y, WIDTH - RIGHT, y, "row")
    for start, stop, apneas, hypopneas in bars:
        x, right = page.x(start * EPOCH_S) + 1, page.x(stop * EPOCH_S) - 1
        base = top + height
        for rate, css, word in ((apneas, "apnea", "apneas"), (hypopneas, "hypopnea", "hypopneas")):
            tall = height * rate / limit
            base -= tall
            if rate:
                page.rect(x, base, right - x, tall, f"e-{css}", f"{rate:.1f} {word} per hour")


def _spo2(page: _Page, spo2: np.ndarray) -> None:
    """Median and range of SpO2 in every epoch; epochs without a valid second are gaps."""
    height = 70
    top = page.panel("SpO2 (%), median and range of each epoch", height)
    epochs = spo2[: len(spo2) // EPOCH_S * EPOCH_S].reshape(-1, EPOCH_S)
    valid = np.isfinite(epochs).any(axis=1)
    if not valid.any():
        return
    floor = min(85.0, 5 * np.floor(np.nanmin(epochs[valid]) / 5))

    def y(percent: float) -> float:
        return top + height * (100 - percent) / (100 - floor)

    for percent in (100, 90, floor):
        page.text(LEFT - 10, y(percent) + 4, f"{percent:g}", "label")
        page.line(LEFT, y(percent), WIDTH - RIGHT, y(percent), "row")
    for start, stop in runs(valid):
        xs = [page.x((epoch + 0.5) * EPOCH_S) for epoch in range(start, stop)]
        part = epochs[start:stop]
        upper = [(x, y(v)) for x, v in zip(xs, np.nanmax(part, axis=1), strict=True)]
        lower = [(x, y(v)) for x, v in zip(xs, np.nanmin(part, axis=1), strict=True)]
        page.path(upper + lower[::-1], "spo2-range", close=True)
        page.path([(x, y(v)) for x, v in zip(xs, np.nanmedian(part, axis=1), strict=True)], "spo2-median")
