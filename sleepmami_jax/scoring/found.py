"""What the model and the oximeter find in a night: events that count, what is rejected, and where it was looked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data_pipeline.modalities import Modality
from data_pipeline.night import Event, Night
from data_pipeline.tasks import APNEA_TYPE, BREATHING, OXIMETRY
from sleepmami_jax.scoring.prediction import Prediction
from sleepmami_jax.tasks import Room, counted_events, rejected_events, rooms_of
from sleepmami_jax.tasks.breathing import CHILD_YEARS, breath_s, room_of_child, typed
from sleepmami_jax.tasks.oximetry import Desaturation, counted_desaturations, desaturations, valid_spo2
from sleepmami_jax.tasks.room import asleep_or_why
from sleepmami_jax.trust.judge import Reliability


@dataclass(frozen=True)
class Found:
    """What was found in a night.

    Attributes:
      rooms: of the tasks of events that its sensors and the model allow; what goes by the name of a task is of these.
      unavailable: tasks that they do not allow, with the reason.
      unsure: (E,) bool: epochs with a stage that is more likely wrong than right.
      monitored: by name, (E,) codes of the stages that indices are of: -1 where the task was not monitored, or unsure.
      counted: by name, the events that count. sure: those of them that indices may count.
      rejected: marks and falls that do not count, with the reason, sorted by onset.
      type_probability: of apneas whose type the model tells, how probable it is.
      spo2: (duration_s,) valid values, NaN elsewhere.
      falls: desaturations that count; None without an oximeter.
    """

    rooms: tuple[Room, ...]
    unavailable: dict[str, str]
    unsure: np.ndarray
    monitored: dict[str, np.ndarray]
    counted: dict[str, tuple[Event, ...]]
    sure: dict[str, tuple[Event, ...]]
    rejected: tuple[tuple[Event, str], ...]
    type_probability: dict[Event, float]
    spo2: np.ndarray
    falls: tuple[Desaturation, ...] | None


def find(
    night: Night,
    prediction: Prediction,
    thresholds: Mapping[str, float],
    reliability: Reliability | None = None,
    *,
    child: bool = False,
) -> Found:
    """Decodes a prediction and reads the oximeter; arguments as of `score.summarise`."""
    stages, unavailable = prediction.stages, prediction.unavailable
    oximeter = next((c for c in night.channels if c.modality == Modality.SPO2), None)
    spo2 = valid_spo2(oximeter) if oximeter is not None else np.full(night.duration_s, np.nan)
    if not np.isfinite(spo2).any():
        unavailable.setdefault(OXIMETRY.name, "no valid SpO2 value")
    rooms = tuple(room for room in rooms_of(prediction.tasks) if room.task.name not in unavailable)
    if child:
        breath = breath_s(next((c for c in night.channels if c.modality == Modality.RESP), None), stages)
        rooms = tuple(room_of_child(room, breath) if room.task.name == BREATHING.name else room for room in rooms)
    unsure = np.zeros(len(stages), bool) if reliability is None else reliability.unsure & (stages >= 0)
    heard = {room.task.name: prediction.monitored_stages(room.task) for room in rooms}
    monitored = {name: np.where(unsure, np.int8(-1), own) for name, own in heard.items()}
    said = rooms, prediction.probs, thresholds
    counted, sure = (
        {room.task.name: counted_events(room, *said, by[room.task.name]) for room in rooms} for by in (heard, monitored)
    )
    rejected = [one for room in rooms for one in rejected_events(room, *said, heard[room.task.name])]
    falls = None
    if OXIMETRY.name not in unavailable:
        every = desaturations(spo2)
        falls = counted_desaturations(every, stages)
        rejected += [(fall.event, asleep_or_why(fall.event, stages)) for fall in set(every) - set(falls)]
    return Found(
        rooms=rooms,
        unavailable=unavailable,
        unsure=unsure,
        monitored=monitored,
        counted=counted,
        sure=sure,
        rejected=tuple(sorted(rejected, key=lambda one: (one[0].onset_s, one[0].kind))),
        type_probability=_tell_types(prediction, (counted, sure)),
        spo2=spo2,
        falls=falls,
    )


def _tell_types(prediction: Prediction, found: Sequence[dict[str, tuple[Event, ...]]]) -> dict[Event, float]:
    """Gives the apneas in `found` their types where the model tells them; returns how probable each is."""
    if APNEA_TYPE.name not in prediction.probs or BREATHING.name not in found[0]:
        return {}
    told: dict[Event, float] = {}
    for events in found:
        named = typed(events[BREATHING.name], prediction.probs[APNEA_TYPE.name])
        events[BREATHING.name] = tuple(event for event, _ in named)
        told |= {event: probability for event, probability in named if probability is not None}
    return told


def is_child(night: Night, rules: str | None) -> bool:
    """Whether the rules for children hold: as given, else by the person's age, else not.

    Raises:
      ValueError: the rules given are of nobody.
    """
    if rules not in (None, "adult", "child"):
        raise ValueError(f"rules {rules!r}: expected 'adult', 'child', or None to go by the age")
    age_years = night.demographics.age_years
    return rules == "child" if rules else age_years is not None and age_years < CHILD_YEARS
