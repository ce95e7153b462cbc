"""What is asked of a night: one record a task. How it is learnt and scored is in `sleepmami_jax.tasks`, a file a task.

A task of one's own needs no more than its record, in an experiment file:

>>> Task("snore", events=("snoring",), needs=("RESP",)).plural
'snore events'
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from data_pipeline.modalities import MODALITIES, MODALITY_OF, Modality
from data_pipeline.night import APNEAS, EPOCH_S, OWN_KIND, EventKind, kind_title

FAST_HZ = 8
"""Looks a second at what is over within one or two: a spindle lasts 0.5 to 2 s, and its limits are worth knowing."""


class TaskKind(StrEnum):
    """What a task says of a night."""

    STAGES = "stages"  # one class an epoch, by a head of the model
    EVENTS = "events"  # events, by a head that says a class of every second, or of every part of one
    TYPES = "types"  # of which class an event of another task is, by a head; it has no events of its own
    MEASURED = "measured"  # events that a rule reads off a sensor; there is no head


@dataclass(frozen=True)
class Task:
    """One thing that a night is asked.

    Attributes:
      name: one word, `[a-z][a-z0-9_]*`: names the head, the metrics and the statistics.
      events: the classes from 1 on, each a kind of event or several kinds; class 0 is none of them. A kind is one of
        `EventKind`, or the word that a scoring of one's own uses, such as "snoring". What the model finds of a class is
        of its first kind; where two classes cover a second, the later one has it.
      needs: modalities or channels, any one of which it can be told from (AASM manual: what each is scored from).
      title, plural: words for a reader: "Breathing", "breathing events".
      kind: what it says.
      shortest_s, longest_s: how long an event may be; None is without end.
      join_s: fragments at most so far apart are one event.
      rate_hz: how often a second its head says a class: 1, or `FAST_HZ` for waves of the EEG.
      loss_weight: its share of the loss.

    Raises:
      ValueError: a field is none of these; it is named.
    """

    name: str
    events: tuple[tuple[str, ...] | str, ...] = ()
    needs: tuple[str, ...] = ()
    title: str = ""
    plural: str = ""
    kind: TaskKind = TaskKind.EVENTS
    shortest_s: float = 0.0
    longest_s: float | None = None
    join_s: float = 0.0
    rate_hz: int = 1
    loss_weight: float = 1.0

    def __post_init__(self) -> None:
        classes = tuple((kinds,) if isinstance(kinds, str) else tuple(kinds) for kinds in self.events)
        plain = {"events": classes, "needs": tuple(self.needs), "kind": TaskKind(self.kind)}
        plain["title"] = self.title or kind_title(self.name)
        plain["plural"] = self.plural or f"{self.name.replace('_', ' ')} events"
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        if self.name in ("night", "split", "channels", "cohorts", "n_nights", "n_subjects"):
            raise ValueError(f"Task.name {self.name!r}: it stands beside the tasks among the metrics; expected another")
        if not re.fullmatch(OWN_KIND, self.name):
            raise ValueError(f"Task.name {self.name!r}: expected a lower-case word such as 'snore'")
        if (self.kind is TaskKind.STAGES) != (self.name == "stages"):
            raise ValueError(f"Task {self.name}.kind {self.kind}: 'stages' alone is of that kind; choose another name")
        if self.kind is not TaskKind.STAGES and (not classes or not all(classes)):
            raise ValueError(f"Task {self.name}.events: expected at least one kind of event for each class")
        if twice := [kind for kind in self.kinds if sum(kind in c for c in classes) > 1]:
            raise ValueError(f"Task {self.name}.events: {twice[0]!r} is in two classes")
        if wrong := [kind for kind in self.kinds if not re.fullmatch(OWN_KIND, kind)]:
            raise ValueError(f"Task {self.name}.events: {wrong[0]!r}; expected lower-case words joined by _")
        known = (*MODALITIES, *MODALITY_OF)
        if not self.needs or not set(self.needs) <= set(known):
            raise ValueError(f"Task {self.name}.needs {self.needs}: expected some of {', '.join(known)}")
        if not 0 <= self.shortest_s <= (self.longest_s or float("inf")) or self.join_s < 0:
            raise ValueError(f"Task {self.name}: expected 0 <= shortest_s <= longest_s and join_s >= 0")
        if self.rate_hz not in (1, FAST_HZ) or (self.rate_hz > 1 and self.kind is not TaskKind.EVENTS):
            raise ValueError(f"Task {self.name}.rate_hz {self.rate_hz}: expected 1, or {FAST_HZ} for events")
        if not 0 < self.loss_weight < float("inf"):
            raise ValueError(f"Task {self.name}.loss_weight {self.loss_weight}: expected more than 0")

    @property
    def kinds(self) -> frozenset[str]:
        """All kinds of event that it is about."""
        return frozenset(kind for kinds in self.events for kind in kinds)

    @property
    def per_epoch(self) -> int:
        """How many classes its head says of an epoch."""
        return 1 if self.kind is TaskKind.STAGES else EPOCH_S * self.rate_hz

    def class_of(self, kind: str) -> int:
        """The class of a kind of event; 0 for one that is none of its own."""
        return next((c for c, kinds in enumerate(self.events, start=1) if kind in kinds), 0)

    def was_scored(self, scored: Collection[str]) -> bool:
        """Whether who scored looked for all that it is about: for some kind of each class (see `Scoring.scored`).

        Of types, any one: it is learnt within the events whose type was told, and nothing is said of others.
        """
        if self.kind is TaskKind.STAGES:
            return "stages" in scored
        if self.kind is TaskKind.TYPES:
            return not self.kinds.isdisjoint(scored)
        return all(not set(kinds).isdisjoint(scored) for kinds in self.events)

    @property
    def slots(self) -> tuple[str, ...]:
        """The channels that it can be told from."""
        slots = (Modality(need).facts.slots if need in MODALITIES else (need,) for need in self.needs)
        return tuple(slot for of_need in slots for slot in of_need)

    def lacks(self, slots: Collection[str]) -> str:
        """What a recording with these channels lacks for it, in words; "" when it has enough."""
        if not set(self.slots).isdisjoint(slots):
            return ""
        return " and ".join(f"no {SENSOR.get(need, need)}" for need in self.needs)


SENSOR = {
    Modality.RESP: "breathing sensor (RESP)",
    Modality.SPO2: "oximeter (SPO2)",
    "LEG_L": "left leg EMG (LEG_L)",
    "LEG_R": "right leg EMG (LEG_R)",
}
"""Sensors in words, where their name alone says little."""

STAGES = Task("stages", needs=(Modality.EEG, Modality.EOG), plural="stages", kind=TaskKind.STAGES)
BREATHING = Task(
    "breathing",
    events=(EventKind.HYPOPNEA, (EventKind.APNEA, *sorted(APNEAS - {EventKind.APNEA}))),
    needs=(Modality.RESP, Modality.SPO2),
    shortest_s=10,  # AASM VIII, adults
    longest_s=180,  # our choice: a longer mark is a period of changed breathing, not one event
    join_s=3,  # our choice: fewer than two breaths fit between
)
AROUSAL = Task(
    "arousal",
    events=(EventKind.AROUSAL,),
    needs=(Modality.EEG,),
    plural="arousals",
    shortest_s=3,  # AASM V
    longest_s=15,  # our choice, after the custom of scorers: what lasts longer is an awakening, which begins with one
    loss_weight=0.5,
)
LIMB_MOVEMENT = Task(
    "limb_movement",
    events=(EventKind.LIMB_MOVEMENT,),
    needs=("LEG_L", "LEG_R"),
    title="Limb movements",
    plural="limb movements",
    shortest_s=0.5,  # AASM VII
    longest_s=10,  # AASM VII
    join_s=0.5,  # AASM VII: one ends where the EMG has been quiet for half a second
)
SPINDLE = Task(
    "spindle",
    events=(EventKind.SPINDLE,),
    needs=(Modality.EEG,),
    plural="spindles",
    shortest_s=0.5,  # AASM IV
    longest_s=3,  # our choice: what lasts longer is alpha, or a drug's sigma
    join_s=0.25,  # our choice: two looks
    rate_hz=FAST_HZ,
)
K_COMPLEX = Task(
    "k_complex",
    events=(EventKind.K_COMPLEX,),
    needs=(Modality.EEG,),
    title="K-complex",
    plural="K-complexes",
    shortest_s=0.5,  # AASM IV
    longest_s=3,  # our choice: what lasts longer is a run of slow waves
    join_s=0.25,  # our choice: two looks
    rate_hz=FAST_HZ,
)
APNEA_TYPE = Task(
    "apnea_type",
    events=(EventKind.OBSTRUCTIVE_APNEA, EventKind.CENTRAL_APNEA, EventKind.MIXED_APNEA),
    needs=("THORAX", "ABDOMEN"),  # AASM VIII: by the effort
    plural="apnea types",
    kind=TaskKind.TYPES,
    loss_weight=0.5,
)
RERA = Task(
    "rera",
    events=(EventKind.RERA,),
    needs=(Modality.RESP,),
    title="RERA",
    plural="RERAs",
    shortest_s=10,  # AASM VIII
    longest_s=180,  # as of BREATHING
    join_s=3,  # as of BREATHING
    loss_weight=0.5,
)
OXIMETRY = Task(
    "oximetry", events=(EventKind.DESATURATION,), needs=(Modality.SPO2,), plural="desaturations", kind=TaskKind.MEASURED
)
TASKS = (STAGES, BREATHING, AROUSAL, LIMB_MOVEMENT, SPINDLE, K_COMPLEX, APNEA_TYPE, RERA, OXIMETRY)
"""The tasks that there are, in the order of their heads."""


def find_task(name: str) -> Task:
    """The record of that name. Raises ValueError, which names those that there are."""
    for task in TASKS:
        if task.name == name:
            return task
    raise ValueError(f"{name!r} is no task; there are {', '.join(t.name for t in TASKS)}, or give a Task")
