"""The metrics of `evaluate` as a person reads them: each beside what training from scratch and guessing reach."""

from __future__ import annotations

from typing import Any

_ROWS = (
    ("staging", "staging, Cohen's κ", "kappa", "majority"),
    ("staging", "staging, macro-F1", "macro_f1", "majority"),
    ("respiratory", "breathing events, F1", "f1", "marked blindly"),
    ("respiratory", "AHI, mean error per hour", "ahi_mae", "train median"),
    ("arousal", "arousals, F1", "f1", "marked blindly"),
    ("night", "age from night vector, mean error in years", "age_mae", "train mean"),
)
"""(task, what is measured, its name among the metrics, how it is guessed)."""


def metrics_table(metrics: dict[str, Any]) -> str:
    """The table; a task that has no labels in the split is left out, a number that is not known is a dash."""
    columns = ["this model", "guessing"]
    if any("from_scratch" in metrics.get(task, {}).get("baselines", {}) for task, *_ in _ROWS):
        columns.insert(1, "from scratch")
    lines = [f"{'':44}" + "".join(f"{name:>14}" for name in columns)]
    for task, words, name, how in _ROWS:
        if task not in metrics:
            continue
        values = {
            "this model": metrics[task][name],
            "from scratch": metrics[task].get("baselines", {}).get("from_scratch", {}).get(name),
            "guessing": _guess(metrics[task], name),
        }
        lines.append(f"{words:44}" + "".join(f"{_number(values[c]):>14}" for c in columns) + f"  ({how})")
    return "\n".join(lines)


def _guess(task: dict[str, Any], name: str) -> float | None:
    baselines = task.get("baselines", {})
    match name:
        case "kappa":
            return 0.0 if "majority" in baselines else None  # one stage for all agrees by chance only
        case "macro_f1":
            return baselines.get("majority", {}).get("macro_f1")
        case "f1":
            return baselines.get("f1_best")
        case "ahi_mae":
            return baselines.get("ahi_mae_train_median")
        case _:
            return task["age_mae_mean_baseline"]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
