"""Apneas and hypopneas: when they count, the AHI, of which type an apnea is, and which desaturation follows which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from data_pipeline.night import APNEAS, EPOCH_S, Channel, Event, EventKind
from data_pipeline.tasks import APNEA_TYPE, BREATHING, Task
from sleepmami_jax.tasks.room import Counted, Room, mean_over, permitted
from sleepmami_jax.tasks.rules import per_hour, share, sleep_minutes

DESATURATION_AFTER_EVENT_END_S = 45.0
"""A breathing event's desaturation has its nadir at most 45 s after the event's end. The manual gives no
window; public scorers use 30 to 75 s, and circulation and averaging delay the oximeter by 15 to 40 s."""
CYCLE_MAX_S = 120.0
"""Breathing events are of one run when they begin at most 2 min apart (our choice: a long apnea and its recovery)."""
RUN_MIN = 3
"""Events in a run, at least: as in Cheyne-Stokes breathing (AASM VIII)."""
CHEYNE_STOKES_CYCLE_S = 40.0
"""Shortest cycle of Cheyne-Stokes breathing, from event to event (AASM VIII)."""
CHILD_YEARS = 13.0
"""Who is younger is scored by the rules for children (AASM VIII; from 13 on those for adults may be used)."""
CHILD_BREATHS = 2
"""Breaths that a child's apnea or hypopnea lasts, at least (AASM VIII, children)."""
BREATHS_HZ = (0.15, 0.8)
"""Between 9 and 48 breaths a minute; of a child asleep (our choice)."""
USUAL_BREATH_S = 3.0
"""A breath of a child where none can be measured: 20 a minute (our choice)."""
SEVERITY_CUTS = (5.0, 15.0, 30.0)
SEVERITY_CUTS_OF_CHILD = (1.0, 5.0, 10.0)
"""Severities of children: the custom of sleep laboratories; the manual has none."""
SEVERITIES = ("none", "mild", "moderate", "severe")


def breathing_rules(marks: Sequence[Event], task: Task = BREATHING) -> tuple[Event, ...]:
    """Marks of apneas and hypopneas -> events of a permitted length, asleep or not.

    Two marks that are each long enough to be an event stay two: apneas in a row are counted, however little is
    breathed between.
    """
    return permitted(task, marks, whole_s=task.shortest_s)


def severity(ahi_per_h: float, cuts: Sequence[float] = SEVERITY_CUTS) -> str:
    """Severity class of an AHI: none < 5 <= mild < 15 <= moderate < 30 <= severe.

    >>> severity(17.0)
    'moderate'
    """
    return SEVERITIES[int(np.searchsorted(cuts, ahi_per_h, side="right"))]


def breathing_statistics(counted: Counted, stages: np.ndarray, cuts: Sequence[float] = SEVERITY_CUTS) -> dict[str, Any]:
    """Counts, lengths and the pace of counted apneas and hypopneas over a hypnogram (E,), and their index."""
    breathing = counted[BREATHING.name]
    ahi = per_hour(len(breathing), sleep_minutes(stages))
    n_apneas = sum(e.kind in APNEAS for e in breathing)
    series, paces_s = runs_of(breathing)
    return {
        "apneas": n_apneas,
        "hypopneas": len(breathing) - n_apneas,
        "ahi_per_h": ahi,
        "ahi_severity": None if ahi is None else severity(ahi, cuts),
        "breathing_event_mean_s": float(np.mean([e.duration_s for e in breathing])) if breathing else None,
        "breathing_event_longest_s": max((e.duration_s for e in breathing), default=None),
        "breathing_cycle_median_s": float(np.median(paces_s)) if paces_s else None,
        "breathing_in_runs_pct": share(sum(map(len, series)), len(breathing)),
    }


def runs_of(breathing: Sequence[Event]) -> tuple[list[list[Event]], list[float]]:
    """Runs of at least three events, each beginning at most 2 min after the last one did, and all cycles in them.

    >>> runs_of([Event("hypopnea", 50.0 * n, 20.0) for n in range(3)])[1]
    [50.0, 50.0]
    """
    series: list[list[Event]] = []
    for event in sorted(breathing, key=lambda e: e.onset_s):
        if series and event.onset_s - series[-1][-1].onset_s <= CYCLE_MAX_S:
            series[-1].append(event)
        else:
            series.append([event])
    series = [members for members in series if len(members) >= RUN_MIN]
    return series, [b.onset_s - a.onset_s for members in series for a, b in pairwise(members)]


def cheyne_stokes_like_min(breathing: Sequence[Event]) -> float:
    """Minutes in runs of at least three central apneas or hypopneas, a central apnea among them, 40 s to 2 min apart.

    Our own description of the pace alone: that breaths grow and shrink is not asked for, so it is no diagnosis.
    """
    paced: list[list[Event]] = []
    for event in sorted(breathing, key=lambda e: e.onset_s):
        is_central = event.kind in (EventKind.CENTRAL_APNEA, EventKind.HYPOPNEA)
        gap_s = event.onset_s - paced[-1][-1].onset_s if paced and paced[-1] else 0.0
        if is_central and CHEYNE_STOKES_CYCLE_S <= gap_s <= CYCLE_MAX_S:
            paced[-1].append(event)
        else:
            paced.append([event] if is_central else [])
    long_enough = [run for run in paced if len(run) >= RUN_MIN and any(e.kind in APNEAS for e in run)]
    return sum(run[-1].end_s - run[0].onset_s for run in long_enough) / 60


def typed(events: Sequence[Event], probs: np.ndarray) -> tuple[tuple[Event, float | None], ...]:
    """Apneas whose type is not stated with the type that is most probable over their seconds, and how probable.

    Args:
      events: of `BREATHING`.
      probs: (S, 4) of `APNEA_TYPE`; the first column is none, as it is throughout where no belt was usable: an apnea
        there stays without a type.
    """
    told: list[tuple[Event, float | None]] = []
    for event in events:
        chances = mean_over(probs, event, APNEA_TYPE)[1:]
        if event.kind != EventKind.APNEA or not chances.sum() > 0:
            told.append((event, None))
        else:
            best = int(chances.argmax())
            told.append((replace(event, kind=APNEA_TYPE.events[best][0]), float(chances[best] / chances.sum())))
    return tuple(told)


def breath_s(channel: Channel | None, stages: np.ndarray) -> float:
    """Length of a usual breath in seconds: of the epochs (E,) of sleep the median of the strongest frequency."""
    if channel is None:
        return USUAL_BREATH_S
    per_epoch = channel.rate_hz * EPOCH_S
    asleep = np.flatnonzero(stages > 0)
    usable = channel.quality[: len(stages) * EPOCH_S].reshape(-1, EPOCH_S) == 0
    epochs = channel.samples[: len(stages) * per_epoch].reshape(-1, per_epoch)[asleep[usable[asleep].all(axis=1)]]
    if not len(epochs):
        return USUAL_BREATH_S
    hz = np.fft.rfftfreq(per_epoch, 1 / channel.rate_hz)
    of_breath = (hz >= BREATHS_HZ[0]) & (hz <= BREATHS_HZ[1])
    power = np.abs(np.fft.rfft(epochs * np.hanning(per_epoch), axis=1)[:, of_breath])
    return float(1 / np.median(hz[of_breath][power.argmax(axis=1)]))


def room_of_child(room: Room, breath: float) -> Room:
    """The room of a child's breathing, whose usual breath lasts so many seconds."""
    task = replace(room.task, shortest_s=CHILD_BREATHS * breath)
    words = room.definitions["ahi_per_h"].replace("10 to 180 s", f"two breaths ({task.shortest_s:.1f} s) to 180 s")
    return replace(
        room,
        task=task,
        permitted=partial(breathing_rules, task=task),
        statistics=partial(breathing_statistics, cuts=SEVERITY_CUTS_OF_CHILD),
        definitions=room.definitions | {"ahi_per_h": words},
        severity=partial(severity, cuts=SEVERITY_CUTS_OF_CHILD),
    )


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
        "breathing_cycle_median_s": "cycle of breathing events: median from onset to onset in runs of at least three "
        "that begin at most 120 s apart",
    },
    rows=(
        ("ahi_per_h", "AHI", "/h"),
        ("ahi_1a_per_h", "AHI, 3 % or arousal (1A)", "/h"),
        ("ahi_1b_per_h", "AHI, 4 % (1B)", "/h"),
        ("rdi_per_h", "RDI", "/h"),
        ("ahi_rem_per_h", "AHI in REM", "/h"),
        ("ahi_nrem_per_h", "AHI in NREM", "/h"),
        ("ahi_supine_per_h", "AHI supine", "/h"),
        ("ahi_not_supine_per_h", "AHI not supine", "/h"),
        ("ahi_before_cpap_per_h", "AHI before CPAP", "/h"),
        ("ahi_on_cpap_per_h", "AHI under CPAP", "/h"),
        ("apneas", "Apneas", ""),
        ("hypopneas", "Hypopneas", ""),
        ("apnea_index_per_h", "Apnea index", "/h"),
        ("obstructive_apnea_index_per_h", "Obstructive", "/h"),
        ("central_apnea_index_per_h", "Central", "/h"),
        ("mixed_apnea_index_per_h", "Mixed", "/h"),
        ("hypopnea_index_per_h", "Hypopnea index", "/h"),
        ("breathing_event_mean_s", "Mean duration", "s"),
        ("breathing_event_longest_s", "Longest", "s"),
        ("breathing_cycle_median_s", "Cycle, from event to event", "s"),
        ("breathing_in_runs_pct", "In runs of three or more", "%"),
        ("cheyne_stokes_like_min", "At the pace of Cheyne-Stokes", "min"),
    ),
    index="ahi_per_h",
    severity=severity,
    endless=(BREATHING.longest_s, "are not counted"),
)
