"""The figures of the page, each an `<svg>` element that matplotlib draws, the same bytes for the same metrics."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from markupsafe import Markup

from data_pipeline.night import STAGES
from sleepmami_jax.tasks import Room

# Told apart by every kind of colour vision (Okabe & Ito 2008).
BLUE, ORANGE, GREEN, SOFT = "#0072B2", "#D55E00", "#009E73", "#5b6774"
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9")
SIZE_INCHES = (4.4, 3.6)
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sleepmami",
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def figures(metrics: dict[str, Any], rooms: Sequence[Room]) -> Iterator[tuple[str, str, Markup]]:
    """(title, what it shows, svg) of each figure for which there are numbers.

    Args:
      metrics: as `evaluate` gives them.
      rooms: of the model's tasks of events.
    """
    events = [room for room in rooms if room.task.name in metrics]
    if "stages" in metrics:
        stages = metrics["stages"]
        yield "Stages", "share of the epochs of each stage that people scored", _drawn(_confusion, stages)
        yield "Kappa of each night", "a dot a night, lowest first; the line is pooled", _drawn(_kappas, stages)
        bins = metrics.get("trust", {}).get("epochs") or stages["calibration"]
        yield "Reliability", "of epochs: the chance of being wrong, and how many were", _drawn(_reliability, bins)
        yield "Risk and coverage", "wrong epochs when the riskiest are left out", _drawn(_coverage, bins)
    if events:
        told = [(room.task.title, metrics[room.task.name]) for room in events]
        yield "Events by overlap", "F1, one to one, by the overlap that is asked for", _drawn(_overlaps, told)
    for room in events:
        for key, words, _ in room.rows:
            index = metrics[room.task.name]["indices"].get(key, {"nights_per_h": []})
            if index["nights_per_h"] and key in (room.index, *_SHOWN):
                about = "model less people, a dot a night; bias and limits of agreement"
                yield f"Bland-Altman, {words}", about, _drawn(_bland_altman, index)


_SHOWN = ("plm_index_per_h",)
"""Indices that are drawn beside the main one of each task."""


def _drawn(draw: Callable, *what: Any) -> Markup:
    """What `draw` draws on axes, as an `<svg>` that can stand in a page beside others."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context(_STYLE):
        figure, axis = pyplot.subplots(figsize=SIZE_INCHES, layout="constrained")
        draw(axis, *what)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
    svg = text.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.S)
    used = set(re.findall(r"#([\w-]+)", svg))  # ids of clips and markers are digests of what they are
    return Markup(re.sub(r' id="([\w-]+)"', lambda m: m[0] if m[1] in used else "", svg))


def _confusion(axis, stages: dict[str, Any]) -> None:
    counts = stages["confusion"]
    shares = [[n / max(sum(row), 1) for n in row] for row in counts]
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.grid(False)
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            colour = "white" if share > 0.5 else "#1d2733"
            axis.text(j, i, f"{share:.0%}".replace("%", " %"), ha="center", va="center", color=colour)
    axis.set_xticks(range(len(STAGES)), STAGES)
    axis.set_yticks(range(len(STAGES)), [f"{s} ({sum(row)})" for s, row in zip(STAGES, counts, strict=True)])
    axis.set_xlabel("model")
    axis.set_ylabel("people (epochs)")
    axis.spines[:].set_visible(False)


def _kappas(axis, stages: dict[str, Any]) -> None:
    values = sorted(v for v in stages["per_night"]["kappa"] if v is not None)
    axis.plot(range(1, len(values) + 1), values, "o", color=BLUE, markersize=4)
    if stages["kappa"] is not None:
        axis.axhline(stages["kappa"], color=BLUE, linewidth=1)
    if limits := stages["interval"].get("kappa"):
        axis.axhspan(*limits, color=BLUE, alpha=0.15, linewidth=0)
    axis.set_ylim(min(0, *values, 0), 1)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("nights")
    axis.set_ylabel("Cohen's κ")


def _reliability(axis, epochs: dict[str, Any]) -> None:
    bins = epochs["bins"]
    axis.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle="--")
    sizes = [12 + 160 * row["n"] / epochs["n"] for row in bins]
    xy = [row["risk"] for row in bins], [row["wrong"] for row in bins]
    axis.plot(*xy, color=BLUE, linewidth=1)
    axis.scatter(*xy, s=sizes, color=BLUE)
    axis.set_title(f"calibration error {epochs['ece']:.3f}", fontsize=10)
    axis.set_xlabel("chance of being wrong that was said")
    axis.set_ylabel("share that was wrong")


def _coverage(axis, epochs: dict[str, Any]) -> None:
    shares = {float(share): wrong for share, wrong in epochs["wrong_at_coverage"].items()}
    axis.plot(list(shares), list(shares.values()), "o-", color=BLUE, markersize=4, linewidth=1)
    axis.set_ylim(0, max(*shares.values(), 0.01) * 1.15)
    axis.set_xlabel("share of epochs that is kept")
    axis.set_ylabel("share of these that is wrong")


def _overlaps(axis, events: list[tuple[str, dict[str, Any]]]) -> None:
    for (words, task), colour in zip(events, COLOURS * len(events), strict=False):
        swept = {0.0: task["f1"]} | {float(share): f1 for share, f1 in task["f1_iou"].items()}
        swept = {share: f1 for share, f1 in swept.items() if f1 is not None}
        axis.plot(list(swept), list(swept.values()), "o-", color=colour, markersize=4, linewidth=1, label=words)
    axis.set_ylim(0, 1)
    axis.set_xlabel("intersection over union, at least (0: any overlap)")
    axis.set_ylabel("F1")
    axis.legend(loc="best", fontsize=9)


def _bland_altman(axis, index: dict[str, Any]) -> None:
    pairs = index["nights_per_h"]
    means = [(human + ours) / 2 for human, ours in pairs]
    axis.plot(means, [ours - human for human, ours in pairs], "o", color=BLUE, markersize=4, alpha=0.7)
    axis.axhline(0, color=SOFT, linewidth=0.8)
    axis.axhline(index["bias_per_h"], color=ORANGE, linewidth=1.2)
    for limit in index["limits_of_agreement_per_h"] or ():
        axis.axhline(limit, color=ORANGE, linewidth=1, linestyle="--")
    told = "–" if index["icc"] is None else f"{index['icc']:.2f}"
    axis.set_title(f"bias {index['bias_per_h']:+.1f}, ICC(2,1) {told}", fontsize=10)
    axis.set_xlabel("mean of people and model, per hour")
    axis.set_ylabel("model less people, per hour")
