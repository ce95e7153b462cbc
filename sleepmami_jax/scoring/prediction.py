"""What the model says about a night (`Prediction`), and what scoring makes of it (`Scores`)."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.night import STAGES, Event
from data_pipeline.tasks import AROUSAL, BREATHING, OXIMETRY, Task, TaskKind
from sleepmami_jax.scoring import objects
from sleepmami_jax.trust.judge import Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from mne import Annotations
    from pandas import DataFrame
    from yasa import Hypnogram

HEAD = (Modality.EEG, Modality.EOG)
NOT_LEARNT = "the model was not trained for it"


@dataclass(frozen=True)
class Prediction:
    """The model's outputs for one night of E epochs.

    Attributes:
      tasks: what the model was trained for.
      probs: by name of the task, float32 probabilities: of stages (E, 5) over `STAGES`, rows of scorable epochs sum to
        1; of events (30 E * rate_hz, 1 + classes), a row a second or a part of one, the first column is none. Where
        nothing was heard of a task (see `monitored`), its events are none, whatever the head said.
      night_vector: (D,) float32 embedding of the whole night.
      scorable: (E,) bool, epochs with any usable signal.
      usable: of each canonical channel that reached the model (E,) bool, the epochs in which it did.

    Raises:
      ValueError: an array has another shape than this, or values that are no probabilities.
    """

    tasks: tuple[Task, ...]
    probs: dict[str, np.ndarray]
    night_vector: np.ndarray
    scorable: np.ndarray
    usable: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
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
        if wrong := [slot for slot, epochs in self.usable.items() if epochs.shape != (n_epochs,)]:
            raise ValueError(f"Prediction.usable of {wrong[0]}: expected ({n_epochs},), an epoch each")
        heard = {task.name: self._heard(task) for task in self.tasks if task.kind is not TaskKind.STAGES}
        object.__setattr__(self, "probs", dict(self.probs) | heard)

    def __repr__(self) -> str:
        tasks = ", ".join(task.name for task in self.tasks)
        return f"<Prediction of {len(self.scorable)} epochs: {tasks}; from {', '.join(self.usable) or 'no channel'}>"

    def _heard(self, task: Task) -> np.ndarray:
        probs, monitored = self.probs[task.name], np.repeat(self.monitored(task), task.per_epoch)
        none = np.zeros(probs.shape[1], probs.dtype)
        none[0] = 1
        return probs if monitored.all() else np.where(monitored[:, None], probs, none)

    @property
    def channels(self) -> tuple[str, ...]:
        """Canonical channels that reached the model."""
        return tuple(self.usable)

    def monitored(self, task: Task) -> np.ndarray:
        """(E,) bool: epochs in which some channel that the task can be told from was usable."""
        heard = [self.usable[slot] for slot in task.slots if slot in self.usable]
        return np.logical_or.reduce(heard) if heard else np.zeros(len(self.scorable), bool)

    def monitored_stages(self, task: Task, stages: np.ndarray | None = None) -> np.ndarray:
        """Stages (E,), the model's own unless given, and -1 where the task was not monitored, of which neither side can
        say anything: what events and indices are counted over."""
        return np.where(self.monitored(task), self.stages if stages is None else stages, np.int8(-1))

    @property
    def stage_probs(self) -> np.ndarray:
        """(E, 5) float32 over `STAGES`."""
        return self.probs["stages"]

    @property
    def stages(self) -> np.ndarray:
        """(E,) int8 codes of `STAGES`, -1 where nothing could be scored.

        In a night with electrodes on the head it is from them that stages are told: while all of them are off, breath
        and pulse alone say none.
        """
        on_head = [self.usable[slot] for m in HEAD for slot in SLOTS[m] if slot in self.usable]
        told = self.scorable & np.logical_or.reduce(on_head) if on_head else self.scorable
        return np.where(told, self.stage_probs.argmax(axis=1), -1).astype(np.int8)

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
      stage_probs: (E, 5) float32 over `STAGES`, calibrated where the model can.
      tasks: of events: what the model was trained for, and what is measured, in the order of the report.
      events: events of all of them that count, sorted by onset.
      confidences: for each event its mean probability; None for what is measured.
      links: for each event the places in `events` of the events that go with it (breathing event -> arousal and
        desaturation, limb movement -> arousal, and back).
      statistics: flat, finite numbers, words or None; keys end in their units.
      rules: how the statistics are defined, sentence by sentence.
      agreement: with the human scoring, by task; empty when nobody scored this night.
      monitored: by name of a task of events, (E,) bool: where it was monitored.
      unavailable: tasks this night's sensors do not allow, with the reason.
      missing: modalities this night does not have.
      warnings: one sentence each.
      model_card: facts about the model that scored it.
      reliability: how far to believe it; None from a model that does not know its nights.
      type_probabilities: of each apnea whose type the model tells, how probable this type is; None for other events.
      counts_as: for each event the names of the indices that count it (`tasks.indices.Rule.name`).
      why_not: for each event why it counts nowhere, or what it lacks for an index, in words.
      rejected: what was marked or measured and is no event that counts, with the reason, sorted by onset.
      percentiles: of statistics, where they lie among people like this one whom the model learned from, in words.
      norm: who these people are; "" where there are too few, or the age or sex is unknown.
      night_id, start_clock, start_day: as in `Night`.
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
    monitored: dict[str, np.ndarray]
    unavailable: dict[str, str]
    missing: tuple[str, ...]
    warnings: tuple[str, ...]
    model_card: dict[str, Any] = field(default_factory=dict)
    reliability: Reliability | None = None
    type_probabilities: tuple[float | None, ...] = ()
    counts_as: tuple[tuple[str, ...], ...] = ()
    why_not: tuple[str, ...] = ()
    rejected: tuple[tuple[Event, str], ...] = ()
    percentiles: dict[str, str] = field(default_factory=dict)
    norm: str = ""
    night_id: str = ""
    start_clock: str | None = None
    start_day: datetime.date | None = None

    def is_reliable(self, task: str) -> bool:
        """Whether a task may have a headline; so it may where nobody can say."""
        return self.reliability is None or self.reliability.reliable.get(task, True)

    def to_dataframe(self) -> DataFrame:
        """A row an epoch: onset_s, stage (None where not scored), prob_W to prob_REM, risk. Needs pandas."""
        return objects.dataframe(self)

    def to_yasa(self) -> Hypnogram:
        """The stages and their probabilities as a `yasa.Hypnogram`; what is not scored is "UNS". Needs YASA."""
        return objects.yasa_hypnogram(self)

    def to_mne(self) -> Annotations:
        """Stages and events as `mne.Annotations` from the first sample on, for `raw.set_annotations`."""
        return objects.mne_annotations(self)

    def plot_hypnogram(self, ax: Axes | None = None) -> Axes:
        """Draws the hypnogram with matplotlib, REM marked, unsure epochs shaded; returns the axes."""
        return objects.plot_hypnogram(self, ax)

    def __repr__(self) -> str:
        return objects.short(self)

    def _repr_html_(self) -> str:
        return objects.html(self)
