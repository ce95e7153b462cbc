"""Limb movements and their periodic series (AASM VII), from the anterior tibialis of either leg.

That the EMG rises 8 µV over rest, where a movement begins, and falls to 2 µV over rest, where it ends, is the rule
of who scored the nights that the model learnt from; here a movement is taken as marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipeline.night import BREATHING_EVENTS, Event, EventKind
from data_pipeline.tasks import LIMB_MOVEMENT
from sleepmami_jax.tasks.room import Counted, Room, permitted
from sleepmami_jax.tasks.rules import TOLERANCE_S, per_hour, sleep_minutes

BILATERAL_S = 5.0
"""Movements of the two legs whose onsets lie less than 5 s apart are one, which begins with the first (AASM VII). Marks
do not say which leg, so this holds of all."""
SERIES_GAP_S = (5.0, 90.0)
"""From onset to onset in a periodic series (AASM VII)."""
SERIES_MIN = 4
"""Movements in a series, at least (AASM VII)."""
BREATHING_MARGIN_S = 0.5
"""From so long before an apnea, hypopnea or RERA to so long after it no movement is scored (AASM VII)."""


def limb_movement_rules(marks: Sequence[Event]) -> tuple[Event, ...]:
    """Marks of limb movements -> movements of 0.5 to 10 s, those of both legs at once taken as one, asleep or not."""
    kept: list[Event] = []
    for event in permitted(LIMB_MOVEMENT, marks):
        if not kept or event.onset_s - kept[-1].onset_s >= BILATERAL_S - TOLERANCE_S:
            kept.append(event)
    return tuple(kept)


def periodic_series(movements: Sequence[Event]) -> list[list[Event]]:
    """Series of at least four movements, each beginning 5 to 90 s after the last one did (AASM VII).

    >>> [len(s) for s in periodic_series([Event("limb_movement", 20.0 * n, 1.0) for n in range(5)])]
    [5]

    Args:
      movements: as counted, sorted by onset. A series may bridge wakefulness of up to 90 s.
    """
    series: list[list[Event]] = []
    shortest_s, longest_s = SERIES_GAP_S
    for event in movements:
        gap_s = event.onset_s - series[-1][-1].onset_s if series else None
        if gap_s is not None and shortest_s - TOLERANCE_S <= gap_s <= longest_s + TOLERANCE_S:
            series[-1].append(event)
        else:
            series.append([event])
    return [members for members in series if len(members) >= SERIES_MIN]


def limb_movement_statistics(counted: Counted, stages: np.ndarray) -> dict[str, Any]:
    """Counts and indices of counted limb movements, and of those in periodic series."""
    movements, tst_min = counted[LIMB_MOVEMENT.name], sleep_minutes(stages)
    series = periodic_series(movements)
    periodic = sum(map(len, series))
    return {
        "plms": periodic,
        "plm_series": len(series),
        "limb_movements": len(movements),
        "limb_movement_index_per_h": per_hour(len(movements), tst_min),
    }


ROOM = Room(
    LIMB_MOVEMENT,
    permitted=limb_movement_rules,
    statistics=limb_movement_statistics,
    definitions={
        "limb_movement_index_per_h": "limb movements: those listed, in sleep; a movement lasts 0.5 to 10 s, two that "
        "begin less than 5 s apart are one, and one within 0.5 s of an apnea or hypopnea does not count; the rule "
        "of its amplitude is the one of the training labels",
        "plm_index_per_h": "PLM index: limb movements in series of at least four, each beginning 5 to 90 s after "
        "the last one did, per hour of monitored sleep",
    },
    rows=(
        ("plm_index_per_h", "PLM index", "/h"),
        ("plms", "Periodic movements", ""),
        ("plm_series", "Series", ""),
        ("limb_movements", "Limb movements", ""),
        ("limb_movement_index_per_h", "Limb movement index", "/h"),
    ),
    index="limb_movement_index_per_h",
    disturbed_by=BREATHING_EVENTS | {EventKind.RERA},
    margin_s=BREATHING_MARGIN_S,
    crowded=f"less than {BILATERAL_S:g} s after the onset of another",
    endless=(LIMB_MOVEMENT.longest_s, "are not counted"),
)
