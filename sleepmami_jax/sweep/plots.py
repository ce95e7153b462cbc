"""Measures against a factor, with the spread over seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

from sleepmami_jax.sweep.plan import Factor, Plot
from sleepmami_jax.sweep.result import Result
from sleepmami_jax.sweep.table import known, measured, spread

# Told apart by every kind of colour vision (Okabe & Ito 2008); the marker says it once more.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
_PANEL_INCHES = (4.6, 3.6)


def write_plots(plots: tuple[Plot, ...], results: Mapping[str, Result], workdir: Path) -> list[Path]:
    """Leaves `plots/NAME.png` for each plot of which there is anything to show; returns these files."""
    written = []
    for place, plot in enumerate(plots):
        shown = [r for r in measured(results).values() if plot.x in r.factors and _is_in(r, plot.where)]
        measures = [m for m in plot.y if any(known([r], m) for r in shown)]
        if measures:
            title = plot.title or f"{place + 1} {', '.join(plot.y)} by {plot.x}"
            path = workdir / "plots" / f"{re.sub('[^a-z0-9]+', '-', title.lower()).strip('-')}.png"
            path.parent.mkdir(exist_ok=True)
            _draw(plot, shown, measures, path)
            written.append(path)
    return written


def _is_in(result: Result, where: Mapping[str, Factor]) -> bool:
    return all(result.factors.get(factor) == value for factor, value in where.items())


def _draw(plot: Plot, results: list[Result], measures: list[str], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style = {
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#e6e6e6",
        "axes.axisbelow": True,
        "legend.frameon": False,
    }
    with pyplot.rc_context(style):
        width, height = _PANEL_INCHES
        figure, panels = pyplot.subplots(
            1, len(measures), figsize=(width * len(measures), height), squeeze=False, layout="constrained"
        )
        for axis, measure in zip(panels[0], measures, strict=True):
            _panel(axis, plot, results, measure)
        if plot.line and len(_values(results, plot.line)) > 1:
            panels[0, 0].legend(title=_words(plot.line))
        if plot.title:
            figure.suptitle(plot.title, fontweight="bold")
        # Without the drawing program's version in it, the same results give the same bytes.
        figure.savefig(path, dpi=150, metadata={"Software": None})
        pyplot.close(figure)


def _panel(axis, plot: Plot, results: list[Result], measure: str) -> None:
    xs = _values(results, plot.x)
    numeric = all(isinstance(x, int | float) for x in xs)
    lines = _values(results, plot.line) if plot.line else [None]
    for i, line in enumerate(lines):
        of_line = [r for r in results if plot.line is None or r.factors.get(plot.line) == line]
        points = {x: known([r for r in of_line if r.factors[plot.x] == x], measure) for x in xs}
        points = {x: values for x, values in points.items() if values}
        if not points:
            continue
        aside = (
            0.0 if numeric else 0.5 * (i - (len(lines) - 1) / 2) / len(lines)
        )  # words leave room beside them
        places = [x if numeric else xs.index(x) + aside for x in points]
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        for place, values in zip(places, points.values(), strict=True):
            if len(values) > 1:
                axis.plot(
                    [place] * len(values), values, ".", color=colour, alpha=0.35, markersize=5, zorder=1
                )
        axis.errorbar(
            places,
            [mean(values) for values in points.values()],
            yerr=[spread(values) or 0.0 for values in points.values()],
            label=str(line),
            color=colour,
            marker=marker,
            markersize=6,
            linestyle="-" if numeric else "none",
            capsize=3,
            elinewidth=1.2,
        )
    if numeric and plot.x_log:
        axis.set_xscale("log")
        axis.set_xticks(xs, [f"{x:g}" for x in xs])
        axis.minorticks_off()
    elif not numeric:
        axis.set_xticks(range(len(xs)), [str(x) for x in xs], rotation=20 if len(xs) > 3 else 0)
        axis.set_xlim(-0.6, len(xs) - 0.4)
    axis.set_xlabel(_words(plot.x))
    axis.set_ylabel(_words(measure))


def _values(results: list[Result], factor: str) -> list[Factor]:
    """The values of a factor: numbers in their own order, words in the order of the runs."""
    values = list(dict.fromkeys(r.factors[factor] for r in results if factor in r.factors))
    return sorted(values) if all(isinstance(v, int | float) for v in values) else values


def _words(name: str) -> str:
    return name.replace("_", " ")
