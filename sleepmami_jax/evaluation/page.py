"""The metrics of `evaluate` as one self-contained web page (`page.html.j2`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from data_pipeline.tasks import Task
from sleepmami_jax.evaluation.plots import figures
from sleepmami_jax.evaluation.table import group_columns, limits, metrics_table, number
from sleepmami_jax.export.readme import RESEARCH_USE
from sleepmami_jax.metrics.people import FEWEST_PEOPLE, RESAMPLES
from sleepmami_jax.scoring.pages import templates
from sleepmami_jax.tasks import rooms_of

_TEMPLATES = templates("sleepmami_jax.evaluation")


def metrics_page(metrics: dict[str, Any], tasks: Sequence[Task], *, model: str, trained_on: str) -> str:
    """HTML with nothing outside of it: the table, figures as SVG, and the same figures of groups of people.

    Args:
      metrics: as `evaluate` gives them.
      tasks: of the model.
      model, trained_on: what its card says.
    """
    return _TEMPLATES.get_template("page.html.j2").render(
        metrics=metrics,
        model=model,
        trained_on=trained_on,
        table=metrics_table(metrics, tasks),
        figures=list(figures(metrics, rooms_of(tuple(tasks)))),
        columns=group_columns(metrics, tasks),
        number=number,
        limits=limits,
        fewest=FEWEST_PEOPLE,
        resamples=RESAMPLES,
        research_use=RESEARCH_USE,
    )
