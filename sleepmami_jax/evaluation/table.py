"""The metrics of `evaluate` as a person reads them: each with its interval, beside guessing, peers and people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data_pipeline.tasks import Task
from sleepmami_jax.export.readme import SIMULATED
from sleepmami_jax.metrics.people import FEWEST_PEOPLE
from sleepmami_jax.tasks import rooms_of

_STAGES = (
    ("stages", "Stages, Cohen's κ", "kappa", "majority"),
    ("stages", "Stages, macro-F1", "macro_f1", "majority"),
)
_NIGHT = (("night", "Age from night vector, mean error in years", "age_mae", "train median"),)
_SLEEPFM2 = "SleepFM-2, arXiv 2609.06849"
PEOPLE = {
    "stages": ("Stages, κ", "kappa", "", 0.76, "two people, Lee et al., JCSM 2022"),
    "arousal": ("Arousals, F1 by the greedy rule", "f1_greedy", "mean", 0.546, f"9 people of WSC, {_SLEEPFM2}"),
    "limb_movement": ("Limb movements, F1 by the greedy rule", "f1_greedy", "mean", 0.530, f"9 of WSC, {_SLEEPFM2}"),
    "breathing": ("Breathing events, F1 a second", "f1_second", "mean", 0.404, f"5 people of Dreem, {_SLEEPFM2}"),
}
"""Task -> words, figure and whether its mean over nights is meant, what people reach with each other, and by whom."""


def metrics_table(metrics: dict[str, Any], tasks: Sequence[Task]) -> str:
    """The table; a task that has no labels in the split is left out, a number that is not known is a dash.

    Args:
      metrics: as `evaluate` gives them.
      tasks: of the model.
    """
    rows = list(_STAGES)  # (task, what is measured, its name among the metrics, how it is guessed)
    for room in rooms_of(tuple(tasks)):
        rows.append((room.task.name, f"{_events(room.task)}, F1", "f1", "marked blindly"))
        rows.append((room.task.name, f"{room.index_words}, mean error per hour", "index_mae", "train median"))
        rows.append((room.task.name, f"{room.index_words}, ICC(2,1)", "icc", "any constant"))
    rows = [row for row in (*rows, *_NIGHT) if row[0] in metrics]
    baselines = {task: metrics[task].get("baselines", {}) for task, *_ in rows}
    beside = ["bundled"] if any("bundled" in b for b in baselines.values()) else []
    columns = ["this model", "95 % interval", *beside, "guessing"]
    lines = [f"{'':44}" + "".join(f"{name:>17}" for name in columns)]
    for task, words, name, how in rows:
        value, interval = _figure(metrics[task], name)
        values = {
            "this model": value,
            "95 % interval": interval,
            "bundled": baselines[task].get("bundled", {}).get(name),
            "guessing": _guess(metrics[task], name),
        }
        lines.append(_line(words, values, columns, how))
    if epochs := metrics.get("trust", {}).get("epochs"):
        surest = {"this model": epochs["wrong_at_coverage"]["0.8"], "guessing": epochs["wrong"]}
        lines.append(_line("Stages wrong, in the surest 80 % of epochs", surest, columns, "any 80 %"))
    return "\n".join([*lines, *_blocks(metrics)])


def group_columns(metrics: dict[str, Any], tasks: Sequence[Task]) -> dict[str, str]:
    """The figures that are told of groups of people, with their words."""
    columns = {"stages_kappa": "Stages, κ"}
    for room in rooms_of(tuple(tasks)):
        name, words = room.task.name, _events(room.task)
        columns |= {f"{name}_f1": f"{words}, F1", f"{name}_index_mae": f"{room.index_words}, error"}
    told = {key for row in metrics["subgroups"] for key in row["figures"]}
    return {key: words for key, words in columns.items() if key in told}


def _events(task: Task) -> str:
    return task.plural[0].upper() + task.plural[1:]


def card_results(metrics: dict[str, Any], tasks: Sequence[Task]) -> str:
    """What a model's card says of the metrics, in Markdown: the table, and below it groups of people; arguments as of
    `metrics_table`."""
    nights = f"{metrics['n_nights']} nights of {metrics['n_subjects']} people, split {metrics['split']}"
    lines = [f"{nights}, cohorts {', '.join(metrics['cohorts'])}:", "", "```", metrics_table(metrics, tasks), "```"]
    if columns := group_columns(metrics, tasks):
        heads = ["", "people", "nights", *columns.values()]
        lines += ["", f"Groups of people; none of fewer than {FEWEST_PEOPLE}:", ""]
        lines += [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        for row in (row for row in metrics["subgroups"] if row["figures"]):
            figures = [number(row["figures"].get(key, [None])[0]) for key in columns]
            cells = [f"{row['factor']} {row['group']}", str(row["n_people"]), str(row["n_nights"]), *figures]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _blocks(metrics: dict[str, Any]) -> Iterator[str]:
    """What stands below the table: peers, people of the literature, people of these nights, probes."""
    for name, peer in metrics.get("beside", {}).items():
        yield from ("", f"{'On the same epochs':44}{'κ':>17}{'95 % interval':>17}{'macro-F1':>17}")
        for words, told in ((f"{name} {peer['version']}", peer), (f"this model less {name}", peer["difference"])):
            figures = (number(told["kappa"]), limits(told["interval"].get("kappa")), number(told["macro_f1"]))
            yield f"{words:44}" + "".join(f"{figure:>17}" for figure in figures)
    if people := list(_people_rows(metrics)):
        words = "People, beside simulated nights" if metrics.get("cohorts") == [SIMULATED] else "People on other nights"
        yield from ("", f"{words:44}{'this model':>17}{'95 % interval':>17}{'people':>17}")
        for words, value, interval, human, who in people:
            yield f"{words:44}{number(value):>17}{limits(interval):>17}{human:>17.3f}  ({who})"
    for task, told in metrics.get("scorers", {}).items():
        yield from ("", f"{_scorers_words(task, told):44}{'person':>17}{'this model':>17}{'difference':>17}")
        for row in told["scorers"]:
            key = "kappa" if task == "stages" else "f1_greedy"
            person, model, between = (row[of][key] for of in ("person", "model", "difference"))
            interval = limits(row["difference"]["interval"][key])
            yield f"{row['name']:44}{number(person):>17}{number(model):>17}{number(between):>17}  {interval}"
    if probes := metrics.get("probes"):
        told = {row["condition"]: row["heads"] | row["probes"] for row in probes}
        first = next(iter(told.values()))
        keys = [key for key in PROBES if key in first]
        guess = {key: 0.5 if key.endswith("_auroc") else first.get(f"{key}_mean") for key in keys}
        yield from ("", f"{'With less':44}" + "".join(f"{PROBES[key]:>15}" for key in keys))
        for condition, figures in (told | {"guessing": guess}).items():
            yield f"{condition:44}" + "".join(f"{number(_value(figures.get(key))):>15}" for key in keys)
        yield "* by a straight line from the tokens: AUROC of epochs, mean error per minute"


PROBES = {
    "stages_kappa": "stages, κ",
    "breathing_f1": "breathing, F1",
    "arousal_f1": "arousals, F1",
    "limb_movement_f1": "limbs, F1",
    "stages_auroc": "stages*",
    "arousal_auroc": "arousal*",
    "breathing_auroc": "breathing*",
    "heart_per_min_mae": "heart/min*",
    "breathing_per_min_mae": "breaths/min*",
}
"""Figures of `measure_probes` that are printed, and the heads of their columns."""


def _people_rows(metrics: dict[str, Any]) -> Iterator[tuple[str, float | None, list[float] | None, float, str]]:
    """(words, the model's figure, its interval, what people reach, who they were) of tasks for which it is known."""
    for task, (words, name, over, human, who) in PEOPLE.items():
        if task in metrics and "interval" in metrics[task]:
            told = metrics[task]
            value = told["mean"][name] if over else told[name]
            yield words, value, told["interval_of_mean" if over else "interval"].get(name), human, who


def _scorers_words(task: str, told: dict[str, Any]) -> str:
    figure = "κ" if task == "stages" else "F1 by the greedy rule"
    return f"{task.replace('_', ' ').capitalize()}, {figure}, {told['n_nights']} nights"


def _value(figure: Any) -> float | None:
    """A figure, which may have an interval beside it."""
    return figure["value"] if isinstance(figure, dict) else figure


def limits(interval: Sequence[float | None] | None) -> str:
    """An interval as it is printed."""
    return "" if interval is None or None in interval else f"{interval[0]:.2f} to {interval[1]:.2f}"


def _figure(task: dict[str, Any], name: str) -> tuple[float | None, str]:
    of_index = {"index_mae": "mae_per_h", "icc": "icc"}
    if name in of_index:
        index = task.get("index", {})
        return index.get(of_index[name], task.get(name)), limits(index.get("interval", {}).get(of_index[name]))
    return task[name], limits(task.get("interval", {}).get(name))


def _line(words: str, values: Mapping[str, float | str | None], columns: Sequence[str], how: str) -> str:
    return f"{words:44}" + "".join(f"{number(values.get(c)):>17}" for c in columns) + f"  ({how})"


def _guess(task: dict[str, Any], name: str) -> float | None:
    baselines = task.get("baselines", {})
    match name:
        case "kappa":
            return 0.0 if "majority" in baselines else None  # one stage for all agrees by chance only
        case "macro_f1":
            return baselines.get("majority", {}).get("macro_f1")
        case "f1":
            return baselines.get("f1_best")
        case "index_mae":
            return baselines.get("index_mae_train_median")
        case "icc":
            return 0.0
        case _:
            return task["age_mae_median_baseline"]


def number(value: float | str | None) -> str:
    """Two decimals; words as they are; a dash for what is not known."""
    return "–" if value is None else value if isinstance(value, str) else f"{value:z.2f}"
