"""The metrics of `evaluate` as a person reads them: each beside what the bundled model and guessing reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data_pipeline.tasks import Task
from sleepmami_jax.tasks import rooms_of

_STAGES = (
    ("stages", "Stages, Cohen's κ", "kappa", "majority"),
    ("stages", "Stages, macro-F1", "macro_f1", "majority"),
)
_NIGHT = (("night", "Age from night vector, mean error in years", "age_mae", "train median"),)


def metrics_table(metrics: dict[str, Any], tasks: Sequence[Task]) -> str:
    """The table; a task that has no labels in the split is left out, a number that is not known is a dash.

    Args:
      metrics: as `evaluate` gives them.
      tasks: of the model.
    """
    rows = list(_STAGES)  # (task, what is measured, its name among the metrics, how it is guessed)
    for room in rooms_of(tuple(tasks)):
        events = room.task.plural[0].upper() + room.task.plural[1:]
        rows.append((room.task.name, f"{events}, F1", "f1", "marked blindly"))
        rows.append((room.task.name, f"{room.index_words}, mean error per hour", "index_mae", "train median"))
    rows = [row for row in (*rows, *_NIGHT) if row[0] in metrics]
    baselines = {task: metrics[task].get("baselines", {}) for task, *_ in rows}
    beside = ["bundled"] if any("bundled" in b for b in baselines.values()) else []
    columns = ["this model", *beside, "guessing"]
    lines = [f"{'':44}" + "".join(f"{name:>14}" for name in columns)]
    for task, words, name, how in rows:
        values = {
            "this model": metrics[task][name],
            "bundled": baselines[task].get("bundled", {}).get(name),
            "guessing": _guess(metrics[task], name),
        }
        lines.append(_line(words, values, columns, how))
    if epochs := metrics.get("trust", {}).get("epochs"):
        surest = {"this model": epochs["wrong_at_coverage"]["0.8"], "guessing": epochs["wrong"]}
        lines.append(_line("Stages wrong, in the surest 80 % of epochs", surest, columns, "any 80 %"))
    return "\n".join(lines)


def _line(words: str, values: Mapping[str, float | None], columns: Sequence[str], how: str) -> str:
    return f"{words:44}" + "".join(f"{_number(values.get(c)):>14}" for c in columns) + f"  ({how})"


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
        case _:
            return task["age_mae_median_baseline"]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
