"""A file a task: how it is decoded, which of its events count, its statistics and what a report says of it.

The records themselves, and what needs them without a model, are in `data_pipeline.tasks`.
"""

from __future__ import annotations

from dataclasses import replace

from data_pipeline.tasks import Task, TaskKind
from sleepmami_jax.tasks import arousal, breathing, limb_movement
from sleepmami_jax.tasks.room import Room, own_room

ROOMS = (breathing.ROOM, arousal.ROOM, limb_movement.ROOM)


def rooms_of(tasks: tuple[Task, ...]) -> tuple[Room, ...]:
    """The rooms of those tasks that are learnt events, in their order."""
    return tuple(_room(task) for task in tasks if task.kind is TaskKind.EVENTS)


def _room(task: Task) -> Room:
    built_in = next((room for room in ROOMS if room.task.name == task.name), None)
    return own_room(task) if built_in is None else replace(built_in, task=task)
