"""A file a task: how it is decoded, which of its events count, its statistics and what a report says of it.

The records themselves, and what needs them without a model, are in `data_pipeline.tasks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from data_pipeline.night import Event
from data_pipeline.tasks import Task, TaskKind
from sleepmami_jax.tasks import arousal, breathing, limb_movement, rera, waves
from sleepmami_jax.tasks.room import Room, own_room

ROOMS = (breathing.ROOM, arousal.ROOM, limb_movement.ROOM, *waves.ROOMS, rera.ROOM)


def rooms_of(tasks: tuple[Task, ...]) -> tuple[Room, ...]:
    """The rooms of those tasks that are learnt events, in their order."""
    return tuple(_room(task) for task in tasks if task.kind is TaskKind.EVENTS)


def counted_events(
    room: Room,
    rooms: Sequence[Room],
    probs: Mapping[str, np.ndarray],
    thresholds: Mapping[str, float],
    stages: np.ndarray,
) -> tuple[Event, ...]:
    """The model's events of a task that count on a night with a hypnogram (E,).

    Args:
      rooms: of all that can be said of the night; those whose events may disturb are decoded too, and no others, which
        may have kinds of event in common with this one.
      probs, thresholds: by name of the task, as in `Room.decode`.
    """
    own = room.decode(probs[room.task.name], thresholds[room.task.name])
    return room.counted([*own, *_disturbing(room, rooms, probs, thresholds)], stages)


def rejected_events(
    room: Room,
    rooms: Sequence[Room],
    probs: Mapping[str, np.ndarray],
    thresholds: Mapping[str, float],
    stages: np.ndarray,
) -> tuple[tuple[Event, str], ...]:
    """What the model marks of a task and `counted_events` leaves out, each with the reason. Arguments as there."""
    own = room.marks(probs[room.task.name], thresholds[room.task.name])
    return room.rejected(own, _disturbing(room, rooms, probs, thresholds), stages)


def _disturbing(room: Room, rooms: Sequence[Room], probs, thresholds) -> list[Event]:
    return [
        event
        for other in rooms
        if other.task.name != room.task.name and other.task.kinds & room.disturbed_by
        for event in other.decode(probs[other.task.name], thresholds[other.task.name])
    ]


def _room(task: Task) -> Room:
    built_in = next((room for room in ROOMS if room.task.name == task.name), None)
    return own_room(task) if built_in is None else replace(built_in, task=task)
