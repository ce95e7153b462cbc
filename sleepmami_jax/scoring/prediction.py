"""What the model says about a night (`Prediction`), and what scoring makes of it (`Scores`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.night import STAGES, Event
from data_pipeline.tasks import AROUSAL, BREATHING, OXIMETRY, Task, TaskKind

NOT_LEARNT = "the model was not trained for it"


@dataclass(frozen=True)
class Prediction:
    """The model's outputs for one night of E epochs.

    Attributes:
      tasks: what the model was trained for.
      probs: by name of the task, float32 probabilities: of stages (E, 5) over `STAGES`, rows of scorable epochs sum to
        1; of events (30 E * rate_hz, 1 + classes), a row a second or a part of one, the first column is none.
      night_vector: (D,) float32 embedding of the whole night.
      scorable: (E,) bool, epochs with any usable signal.
      channels: canonical channels that reached the model.

    Raises:
      ValueError: an array has another shape than this, or values that are no probabilities.
    """

    tasks: tuple[Task, ...]
    probs: dict[str, np.ndarray]
    night_vector: np.ndarray
    scorable: np.ndarray
    channels: tuple[str, ...]

    def __post_init__(self):
        n_epochs = len(self.scorable)
        if self.probs.keys() != {task.name for task in self.tasks}:
            raise ValueError(f"Prediction.probs of {sorted(self.probs)}; expected one of each task")
        for task in self.tasks:
            is_stages, array = task.kind is TaskKind.STAGES, self.probs[task.name]
            shape = (n_epochs * task.per_epoch, len(STAGES) if is_stages else 1 + len(task.events))
            if array.shape != shape:
                raise ValueError(f"Prediction of {task.name} has shape {array.shape}; {n_epochs} epochs need {shape}")
            if not ((array >= 0) & (array <= 1 + 1e-4)).all():
                raise ValueError(f"Prediction of {task.name} has values outside 0..1 or NaN; pass probabilities")

    @property
    def stage_probs(self) -> np.ndarray:
        """(E, 5) float32 over `STAGES`."""
        return self.probs["stages"]

    @property
    def stages(self) -> np.ndarray:
        """(E,) int8 codes of `STAGES`, -1 where nothing could be scored."""
        return np.where(self.scorable, self.stage_probs.argmax(axis=1), -1).astype(np.int8)

    @property
    def missing(self) -> tuple[Modality, ...]:
        """Modalities that this night does not have."""
        return tuple(m for m, slots in SLOTS.items() if not set(slots) & set(self.channels))

    @property
    def event_tasks(self) -> tuple[Task, ...]:
        """Tasks of events that a reader expects to hear of: the model's own, the usual ones, and what is measured."""
        by_name = {task.name: task for task in (BREATHING, AROUSAL)} | {task.name: task for task in self.tasks}
        return (*(task for task in by_name.values() if task.kind is TaskKind.EVENTS), OXIMETRY)

    @property
    def unavailable(self) -> dict[str, str]:
        """Tasks of events that cannot be said of this night, each with the reason; never to be reported as zero."""
        reasons = {}
        for task in self.event_tasks:
            is_said = task.kind is TaskKind.MEASURED or task.name in self.probs
            if reason := task.lacks(self.channels) or ("" if is_said else NOT_LEARNT):
                reasons[task.name] = reason
        return reasons


@dataclass(frozen=True)
class Scores:
    """A scored night: everything that the report, the tables and the annotation file say.

    Attributes:
      stages: (E,) int8 codes of `STAGES`, -1 where nothing could be scored.
      stage_probs: (E, 5) float32 over `STAGES`.
      tasks: of events: what the model was trained for, and what is measured, in the order of the report.
      events: events of all of them that count, sorted by onset.
      confidences: for each event its mean probability; None for what is measured.
      links: for each event the places in `events` of the events that go with it (breathing event -> arousal and
        desaturation, and back).
      statistics: flat, finite numbers, words or None; keys end in their units.
      rules: how the statistics are defined, sentence by sentence.
      agreement: with the human scoring, by task; empty when nobody scored this night.
      unavailable: tasks this night's sensors do not allow, with the reason.
      missing: modalities this night does not have.
      warnings: one sentence each.
      model_card: facts about the model that scored it.
    """

    stages: np.ndarray
    stage_probs: np.ndarray
    tasks: tuple[Task, ...]
    events: tuple[Event, ...]
    confidences: tuple[float | None, ...]
    links: tuple[tuple[int, ...], ...]
    statistics: dict[str, Any]
    rules: dict[str, str]
    agreement: dict[str, dict[str, Any]]
    unavailable: dict[str, str]
    missing: tuple[str, ...]
    warnings: tuple[str, ...]
    model_card: dict[str, Any] = field(default_factory=dict)
