"""What both sides said of the same nights, task by task, as figures: pooled, of every night, and of other people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data_pipeline.night import EPOCH_S, Event
from data_pipeline.tasks import APNEA_TYPE, BREATHING
from sleepmami_jax.evaluation.nights import ScoredNight
from sleepmami_jax.metrics.calibration import calibration_figures, calibration_metrics, calibration_row
from sleepmami_jax.metrics.events import (
    event_figures,
    event_metrics,
    event_rows,
    second_figures,
    second_rows,
    type_metrics,
)
from sleepmami_jax.metrics.indices import index_metrics
from sleepmami_jax.metrics.people import Figures, intervals, known, over_people
from sleepmami_jax.metrics.staging import agreement_of, confusions, staging_metrics
from sleepmami_jax.pretrained import Pretrained
from sleepmami_jax.tasks import Room, rooms_of
from sleepmami_jax.trust.measures import KAPPA_WRONG, index_is_wrong


@dataclass(frozen=True)
class Compared:
    """A task on the nights in which both sides can say something of it.

    Attributes:
      nights: these nights.
      rows, figures: a row a night, and what sums of rows give (see `metrics.people`).
      room: of events; None for stages.
      references, predictions: the counted events of each night.
      indices: statistic -> what people's and the model's events give of each night, per hour.
    """

    nights: tuple[ScoredNight, ...]
    rows: np.ndarray
    figures: Figures
    room: Room | None = None
    references: tuple[tuple[Event, ...], ...] = ()
    predictions: tuple[tuple[Event, ...], ...] = ()
    indices: Mapping[str, tuple[list[float | None], list[float | None]]] = field(default_factory=dict)

    @property
    def people(self) -> list[str]:
        return [night.entry.subject_id for night in self.nights]


def compare(model: Pretrained, nights: Sequence[ScoredNight]) -> dict[str, Compared]:
    """By name of the task, of those that have labels."""
    found = {}
    if staged := tuple(n for n in nights if n.staged):
        rows = confusions([n.human_stages for n in staged], [n.model_stages for n in staged])
        if rows.any():
            found["stages"] = Compared(staged, rows, agreement_of)
    for room in rooms_of(model.folder.tasks):
        if labelled := tuple(n for n in nights if n.has(room)):
            found[room.task.name] = _compare_events(model, room, labelled)
    return found


def _compare_events(model: Pretrained, room: Room, nights: tuple[ScoredNight, ...]) -> Compared:
    references = tuple(n.reference(room) for n in nights)
    predictions = tuple(n.predicted(room, model.thresholds) for n in nights)
    whole = event_rows(references, predictions)
    seconds = second_rows(references, predictions, room.task, [len(n.human_stages) * EPOCH_S for n in nights])
    sides = (
        statistics_of(room, references, [n.human_stages_of(room) for n in nights]),
        statistics_of(room, predictions, [n.prediction.monitored_stages(room.task) for n in nights]),
    )
    indices = {
        key: tuple([night.get(key) for night in side] for side in sides) for key, _, unit in room.rows if unit == "/h"
    }
    width = whole.shape[1]

    def figures(sums: np.ndarray) -> dict[str, np.ndarray]:
        return event_figures(sums[..., :width]) | second_figures(sums[..., width:])

    return Compared(nights, np.hstack([whole, seconds]), figures, room, references, predictions, indices)


def statistics_of(
    room: Room, nights: Sequence[Sequence[Event]], stages: Sequence[np.ndarray]
) -> list[Mapping[str, float | None]]:
    """The task's statistics of each night, by its counted events and a hypnogram (E,)."""
    return [room.statistics({room.task.name: events}, s) for events, s in zip(nights, stages, strict=True)]


def index_of(room: Room, nights: Sequence[Sequence[Event]], stages: Sequence[np.ndarray]) -> list[float | None]:
    """The task's index of each night, per hour; None without sleep."""
    return [night[room.index] for night in statistics_of(room, nights, stages)]


def measure_tasks(model: Pretrained, nights: Sequence[ScoredNight]) -> dict[str, Any]:
    """Metrics of nights by task, of those that have labels: see `measure_all`."""
    return measure_all(model, compare(model, nights))


def measure_all(model: Pretrained, compared: Mapping[str, Compared]) -> dict[str, Any]:
    """By task, `measure_compared`; types of apneas have `type_metrics` alone."""
    result = {name: measure_compared(task) for name, task in compared.items()}
    if BREATHING.name in compared and APNEA_TYPE in model.folder.tasks:
        breathing = compared[BREATHING.name]
        sides = zip(breathing.nights, breathing.references, breathing.predictions, strict=True)
        pairs = [(r, n.with_types(p)) for n, r, p in sides if APNEA_TYPE.was_scored(n.entry.scored)]
        if pairs:
            result[APNEA_TYPE.name] = type_metrics(*zip(*pairs, strict=True))
    return result


def measure_compared(task: Compared) -> dict[str, Any]:
    """All figures of a task: `staging_metrics` or `event_metrics`, which are pooled, and `over_people`.

    Stages have `calibration` too, that of the probability of the stage that is said. Events have `f1_second`;
    `index`, `index_metrics` of what the report calls their index, and `index_mae`; `indices`, the same of all that the
    report says an hour. There `nights_per_h` is what people and model say of each night, in the order of what people
    say: no row tells whose it is.
    """
    spread = over_people(task.rows, task.people, task.figures)
    if task.room is None:
        nights = task.nights
        metrics = staging_metrics([n.human_stages for n in nights], [n.model_stages for n in nights])
        risks = [1 - n.prediction.stage_probs.max(axis=1) for n in nights]
        return metrics | spread | {"calibration": _calibration(nights, risks)}
    width = task.rows.shape[1] - 3 * len(task.room.task.events)
    metrics = event_metrics(task.references, task.predictions, task.rows[:, :width])
    metrics["f1_second"] = known(task.figures(task.rows.sum(axis=0))["f1_second"])
    indices = {}
    for key, (human, ours) in task.indices.items():
        severity = task.room.severity if key == task.room.index else None
        pairs = sorted(pair for pair in zip(human, ours, strict=True) if None not in pair)
        if not pairs and key != task.room.index:  # it is of other tasks' events too, which are not here
            continue
        indices[key] = index_metrics(human, ours, severity, task.people)
        indices[key]["nights_per_h"] = [[round(value, 2) for value in pair] for pair in pairs]
    index = indices[task.room.index]
    return metrics | spread | {"index": index, "index_mae": index["mae_per_h"], "indices": indices}


def _calibration(nights: Sequence[ScoredNight], risks: Sequence[np.ndarray]) -> dict[str, Any]:
    """`calibration_metrics` of chances (E,) that epochs are wrong, with intervals."""
    known_epochs = [(n.human_stages >= 0) & (n.model_stages >= 0) for n in nights]
    risks = [risk[k] for risk, k in zip(risks, known_epochs, strict=True)]
    wrong = [(n.human_stages != n.model_stages)[k] for n, k in zip(nights, known_epochs, strict=True)]
    rows = np.array([calibration_row(*pair) for pair in zip(risks, wrong, strict=True)])
    people = [n.entry.subject_id for n in nights]
    metrics = calibration_metrics(np.concatenate(risks), np.concatenate(wrong))
    return metrics | {"interval": intervals(rows, people, calibration_figures)}


def measure_trust(model: Pretrained, nights: Sequence[ScoredNight]) -> dict[str, Any]:
    """How good the chances of being wrong are: `calibration_metrics` of epochs, and of nights by task; {} without any.

    A night's stages are wrong below a kappa of 0.6, events by `index_is_wrong`.
    """
    judged = [night for night in nights if night.reliability is not None]
    staged = [night for night in judged if night.staged]
    if not staged:
        return {}
    kappas = [staging_metrics([n.human_stages], [n.model_stages])["kappa"] or 0.0 for n in staged]
    measured = {
        "epochs": _calibration(staged, [n.reliability.epoch_risk for n in staged]),
        "stages": calibration_metrics([n.reliability.risk["stages"] for n in staged], np.less(kappas, KAPPA_WRONG)),
    }
    for room in rooms_of(model.folder.tasks):
        told = [n for n in judged if n.has(room) and room.task.name in n.reliability.risk]
        if told:
            human = index_of(room, [n.reference(room) for n in told], [n.human_stages_of(room) for n in told])
            found = [n.predicted(room, model.thresholds) for n in told]
            ours = index_of(room, found, [n.prediction.monitored_stages(room.task) for n in told])
            off = [index_is_wrong(*pair) for pair in zip(ours, human, strict=True)]
            measured[room.task.name] = calibration_metrics([n.reliability.risk[room.task.name] for n in told], off)
    return measured
