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
_PANEL_INCHES = (4.2, 3.6)
_ROW_INCHES, _MARGIN_INCHES = 0.34, 1.6
_IN_CAPITALS = {"ahi", "ap", "auroc", "bmi", "f1", "mae"}
_LEGEND = "mean and standard deviation over seeds; small dots are single runs"


def write_plots(plots: tuple[Plot, ...], results: Mapping[str, Result], workdir: Path) -> list[Path]:
    """Leaves `plots/NAME.png` for each plot of which there is anything to show; returns these files."""
    written, rows = [], measured(results).values()
    for place, plot in enumerate(plots):
        shown = [r for r in rows if plot.x in r.factors and plot.where.items() <= r.factors.items()]
        measures = [m for m in plot.y if any(known([r], m) for r in shown)]
        if measures:
            title = plot.title or f"{place + 1} {', '.join(plot.y)} by {plot.x}"
            path = workdir / "plots" / f"{re.sub('[^a-z0-9]+', '-', title.lower()).strip('-')}.png"
            path.parent.mkdir(exist_ok=True)
            _draw(plot, shown, measures, path)
            written.append(path)
    return written


def _draw(plot: Plot, results: list[Result], measures: list[str], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style = {"font.size": 10, "axes.grid": True, "grid.color": "#e6e6e6", "axes.axisbelow": True}
    style |= {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
    xs = _values(results, plot.x)
    numeric = _are_numbers(xs)
    width, height = _PANEL_INCHES
    size = (width * len(measures), height if numeric else _MARGIN_INCHES + _ROW_INCHES * len(xs))
    with pyplot.rc_context(style):
        figure, panels = pyplot.subplots(
            1, len(measures), figsize=size, sharey=not numeric, squeeze=False, layout="constrained"
        )
        for axis, measure in zip(panels[0], measures, strict=True):
            _panel(axis, plot, xs, results, measure)
        if not numeric:  # words stand once, at the left of all panels, the first on top
            panels[0, 0].set_yticks(range(len(xs)), [str(x) for x in xs])
            panels[0, 0].set_ylim(len(xs) - 0.5, -0.5)
            panels[0, 0].set_ylabel(_words(plot.x))
        if plot.line and len(_values(results, plot.line)) > 1:
            lines = {}
            for axis in panels[0]:  # a measure may not exist for each of them
                handles, names = axis.get_legend_handles_labels()
                lines |= dict(zip(names, handles, strict=True))
            figure.legend(lines.values(), lines.keys(), title=_words(plot.line), loc="outside right center")
        figure.supxlabel(_LEGEND, fontsize=8, color="#555555")
        if plot.title:
            figure.suptitle(plot.title, fontweight="bold")
        # Without the drawing program's version in it, the same results give the same bytes.
        figure.savefig(path, dpi=150, metadata={"Software": None})
        pyplot.close(figure)


def _panel(axis, plot: Plot, xs: list[Factor], results: list[Result], measure: str) -> None:
    """Numbers lie along the panel and are joined by a line; words lie below each other, where they can be read."""
    numeric = _are_numbers(xs)
    lines = _values(results, plot.line) if plot.line else [None]
    for i, line in enumerate(lines):
        of_line = [r for r in results if plot.line is None or r.factors.get(plot.line) == line]
        points = {x: known([r for r in of_line if r.factors[plot.x] == x], measure) for x in xs}
        points = {x: values for x, values in points.items() if values}
        if not points:
            continue
        aside = 0.5 * (i - (len(lines) - 1) / 2) / len(lines)
        places = [x if numeric else xs.index(x) + aside for x in points]
        means = [mean(values) for values in points.values()]
        spreads = [spread(values) or 0.0 for values in points.values()]
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        for place, values in zip(places, points.values(), strict=True):
            if len(values) > 1:
                along = [place] * len(values)
                xy = (along, values) if numeric else (values, along)
                axis.plot(*xy, ".", color=colour, alpha=0.35, markersize=5, zorder=1)
        xy = (places, means) if numeric else (means, places)
        bars = {"yerr" if numeric else "xerr": spreads, "capsize": 3, "elinewidth": 1.2}
        points = {"marker": marker, "markersize": 5, "linestyle": "-" if numeric else "none"}
        axis.errorbar(*xy, label=str(line), color=colour, **points, **bars)
    if numeric and plot.x_log:
        axis.set_xscale("log")
        axis.set_xticks(xs, [f"{x:g}" for x in xs])
        axis.minorticks_off()
    axis.set_xlabel(_words(plot.x if numeric else measure))
    if numeric:
        axis.set_ylabel(_words(measure))


def _values(results: list[Result], factor: str) -> list[Factor]:
    """The values of a factor: numbers in their own order, words in the order of the runs."""
    values = list(dict.fromkeys(r.factors[factor] for r in results if factor in r.factors))
    return sorted(values) if _are_numbers(values) else values


def _are_numbers(values: list[Factor]) -> bool:
    return all(isinstance(v, int | float) for v in values)


def _words(name: str) -> str:
    return " ".join(word.upper() if word in _IN_CAPITALS else word for word in name.split("_"))
