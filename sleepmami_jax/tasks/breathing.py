"""Apneas and hypopneas: when they count, the AHI, and which desaturation follows which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipeline.night import APNEAS, EPOCH_S, Event
from data_pipeline.tasks import BREATHING
from sleepmami_jax.tasks.room import Counted, Room, permitted
from sleepmami_jax.tasks.rules import per_hour, sleep_minutes
from sleepmami_jax.tasks.stages import EPOCH_MIN, REM

DESATURATION_AFTER_EVENT_END_S = 45.0
"""A breathing event's desaturation has its nadir at most 45 s after the event's end. The manual gives no
window; public scorers use 30 to 75 s, and circulation and averaging delay the oximeter by 15 to 40 s."""
STAGE_AHI_MIN = 15.0
"""An AHI in REM or NREM from less than 15 min of it is not given (our choice; practice is 10 to 15 min)."""
SEVERITY_CUTS = (5.0, 15.0, 30.0)
SEVERITIES = ("none", "mild", "moderate", "severe")


def breathing_rules(marks: Sequence[Event]) -> tuple[Event, ...]:
    """Marks of apneas and hypopneas -> events of a permitted length, asleep or not.

    Two marks that are each long enough to be an event stay two: apneas in a row are counted, however little is
    breathed between.
    """
    return permitted(BREATHING, marks, whole_s=BREATHING.shortest_s)


def severity(ahi_per_h: float) -> str:
    """Severity class of an AHI: none < 5 <= mild < 15 <= moderate < 30 <= severe.

    >>> severity(17.0)
    'moderate'
    """
    return SEVERITIES[int(np.searchsorted(SEVERITY_CUTS, ahi_per_h, side="right"))]


def breathing_statistics(counted: Counted, stages: np.ndarray) -> dict[str, Any]:
    """Counts and indices of counted apneas and hypopneas over a hypnogram (E,).

    An event in REM or NREM is one whose onset is there; one that begins in an epoch of W or an unscored one is in the
    AHI and in neither of the two.
    """
    breathing, tst_min = counted[BREATHING.name], sleep_minutes(stages)
    ahi = per_hour(len(breathing), tst_min)
    n_apneas = sum(e.kind in APNEAS for e in breathing)
    onset_epochs = np.array([min(e.onset_s // EPOCH_S, len(stages) - 1) for e in breathing], int)
    onset_stages = np.asarray(stages)[onset_epochs]

    def stage_ahi(in_stage, events_in_stage) -> float | None:
        stage_min = float(in_stage.sum() * EPOCH_MIN)
        return per_hour(int(events_in_stage.sum()), stage_min) if stage_min >= STAGE_AHI_MIN else None

    return {
        "apneas": n_apneas,
        "hypopneas": len(breathing) - n_apneas,
        "ahi_per_h": ahi,
        "apnea_index_per_h": per_hour(n_apneas, tst_min),
        "hypopnea_index_per_h": per_hour(len(breathing) - n_apneas, tst_min),
        "ahi_severity": None if ahi is None else severity(ahi),
        "ahi_rem_per_h": stage_ahi(stages == REM, onset_stages == REM),
        "ahi_nrem_per_h": stage_ahi((stages > 0) & (stages < REM), (onset_stages > 0) & (onset_stages < REM)),
        "breathing_event_mean_s": float(np.mean([e.duration_s for e in breathing])) if breathing else None,
        "breathing_event_longest_s": max((e.duration_s for e in breathing), default=None),
    }


def link_desaturations(breathing: Sequence[Event], nadirs_s: Sequence[float]) -> dict[int, int]:
    """Which desaturation follows which breathing event: {index in `breathing`: index in `nadirs_s`}.

    In order of time, each event takes the first free nadir from its own middle to 45 s after its end, and not
    later than the next event's end: a later one is that event's own.
    """
    order = sorted(range(len(breathing)), key=lambda i: breathing[i].onset_s)
    free = sorted(range(len(nadirs_s)), key=lambda j: nadirs_s[j])
    linked: dict[int, int] = {}
    for place, i in enumerate(order):
        event = breathing[i]
        earliest_s = event.onset_s + event.duration_s / 2
        latest_s = event.end_s + DESATURATION_AFTER_EVENT_END_S
        if place + 1 < len(order):
            latest_s = min(latest_s, breathing[order[place + 1]].end_s)
        j = next((j for j in free if earliest_s <= nadirs_s[j] <= latest_s), None)
        if j is not None:
            linked[i] = j
            free.remove(j)
    return linked


ROOM = Room(
    BREATHING,
    permitted=breathing_rules,
    statistics=breathing_statistics,
    definitions={
        "ahi_per_h": "AHI: the apneas and hypopneas listed, per hour of monitored sleep; an event lasts 10 to 180 s, "
        "marks up to 3 s apart are one, and some part of it lies in sleep; the desaturation rule for hypopneas is the "
        "one of the training labels",
        "ahi_rem_per_h": "AHI in REM and NREM: events that begin in that stage, per hour of it; at least 15 min of it",
    },
    rows=(
        ("ahi_per_h", "AHI", "/h"),
        ("ahi_rem_per_h", "AHI in REM", "/h"),
        ("ahi_nrem_per_h", "AHI in NREM", "/h"),
        ("apneas", "Apneas", ""),
        ("hypopneas", "Hypopneas", ""),
        ("apnea_index_per_h", "Apnea index", "/h"),
        ("hypopnea_index_per_h", "Hypopnea index", "/h"),
        ("breathing_event_mean_s", "Mean duration", "s"),
        ("breathing_event_longest_s", "Longest", "s"),
    ),
    index="ahi_per_h",
    severity=severity,
    endless=(BREATHING.longest_s, "are not counted"),
)
