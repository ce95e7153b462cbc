"""The list of a night: every event with what goes with it and what it counts as, and what was rejected, and why.

The indices are counted off it (`tasks.indices`): whoever counts the list gets the index.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_pipeline.modalities import Modality
from data_pipeline.night import EPOCH_S, Event, Night
from data_pipeline.tasks import APNEA_TYPE, AROUSAL, BREATHING, LIMB_MOVEMENT, OXIMETRY, RERA
from sleepmami_jax.scoring.found import Found
from sleepmami_jax.scoring.prediction import NOT_LEARNT, Prediction
from sleepmami_jax.tasks.arousal import link_arousals, link_limb_movements
from sleepmami_jax.tasks.breathing import DESATURATION_AFTER_EVENT_END_S, cheyne_stokes_like_min, link_desaturations
from sleepmami_jax.tasks.indices import PLM, RESPIRATORY, SPONTANEOUS, Listed, Slept, count, parts_of, rules_of
from sleepmami_jax.tasks.limb_movement import periodic_series
from sleepmami_jax.tasks.oximetry import Desaturation
from sleepmami_jax.tasks.room import mean_probability
from sleepmami_jax.tasks.rules import share
from sleepmami_jax.tasks.stages import bed_epochs, sleep_cycles

UNSURE = "the stage is more likely wrong than right"
Place = tuple[str, int]
"""Name of a task, and place among its events."""


@dataclass(frozen=True)
class Listing:
    """Events of a night by onset, and for each of them a value of every other sequence; see `Scores`."""

    events: tuple[Event, ...]
    confidences: tuple[float | None, ...]
    type_probabilities: tuple[float | None, ...]
    links: tuple[tuple[int, ...], ...]
    counts_as: tuple[tuple[str, ...], ...]
    why_not: tuple[str, ...]
    statistics: dict[str, Any]
    definitions: dict[str, str]


def list_events(
    night: Night, prediction: Prediction, found: Found, *, child: bool = False, supine: Collection[float] = ()
) -> Listing:
    """The list, and the indices that are counted off it; arguments as of `score.summarise`."""
    own = dict(found.counted)
    if found.falls is not None:
        own[OXIMETRY.name] = tuple(fall.event for fall in found.falls)
    order: list[Place] = sorted(
        ((name, i) for name, events in own.items() for i in range(len(events))), key=lambda p: own[p[0]][p[1]].onset_s
    )
    pairs = _pairs(own, found.falls)
    facts = _facts(own, order, pairs, found)
    cycles, parts = _parts(night, prediction.stages, supine)
    slept = {name: np.repeat(stages > 0, EPOCH_S) for name, stages in found.monitored.items()}
    asleep = np.repeat(prediction.stages > 0, EPOCH_S)
    slept[OXIMETRY.name] = asleep & np.isfinite(found.spo2[: len(asleep)])
    known = {*own, *([APNEA_TYPE.name] if _tells_types(prediction) else [])}
    rules = rules_of({room.task.name: room.index for room in found.rooms}, child, len(cycles))
    indices = count(rules, facts, Slept(slept, parts), known)
    task_of = {room.task.name: room.task for room in found.rooms}
    number = {place: n for n, place in enumerate(order)}
    links: list[list[int]] = [[] for _ in order]
    for one, other in pairs:
        links[number[one]].append(number[other])
        links[number[other]].append(number[one])
    events = tuple(listed.event for listed in facts)
    return Listing(
        events=events,
        confidences=tuple(
            mean_probability(prediction.probs[name], event, task_of[name]) if name in task_of else None
            for (name, _), event in zip(order, events, strict=True)
        ),
        type_probabilities=tuple(found.type_probability.get(event) for event in events),
        links=tuple(map(tuple, links)),
        counts_as=indices.counts_as,
        why_not=indices.why_not,
        statistics=indices.values | _further(facts, known, prediction),
        definitions=indices.definitions,
    )


def _pairs(own: Mapping[str, Sequence[Event]], falls: Sequence[Desaturation] | None) -> list[tuple[Place, Place]]:
    """Events that go together: a breathing event or RERA and its arousal or fall, a limb movement and its arousal."""
    effort = [(name, i) for name in (BREATHING.name, RERA.name) for i in range(len(own.get(name, ())))]
    arousals = own.get(AROUSAL.name, ())
    by_effort = link_arousals([own[name][i] for name, i in effort], arousals)
    pairs = [(effort[i], (AROUSAL.name, j)) for i, j in by_effort.items()]
    left = sorted(set(range(len(arousals))) - set(by_effort.values()))
    by_limb = link_limb_movements(own.get(LIMB_MOVEMENT.name, ()), [arousals[j] for j in left])
    pairs += [((LIMB_MOVEMENT.name, i), (AROUSAL.name, left[j])) for i, j in by_limb.items()]
    nadirs_s = [fall.nadir_s for fall in falls or ()]
    fell = link_desaturations(own.get(BREATHING.name, ()), nadirs_s)
    return pairs + [((BREATHING.name, i), (OXIMETRY.name, j)) for i, j in fell.items()]


def _facts(own: Mapping[str, Sequence[Event]], order: Sequence[Place], pairs, found: Found) -> list[Listed]:
    arousal_of = {one for one, (other, _) in pairs if other == AROUSAL.name}
    cause_of = {other: RESPIRATORY for one, other in pairs if other[0] == AROUSAL.name and one[0] != LIMB_MOVEMENT.name}
    fall_of = {one: found.falls[j] for one, (other, j) in pairs if other == OXIMETRY.name}
    periodic = {e for series in periodic_series(found.sure.get(LIMB_MOVEMENT.name, ())) for e in series}
    cause_of |= {
        other: PLM
        for one, other in pairs
        if other[0] == AROUSAL.name and one[0] == LIMB_MOVEMENT.name and own[one[0]][one[1]] in periodic
    }
    sure = {name: set(events) for name, events in found.sure.items()}

    def fact(place: Place) -> Listed:
        name, i = place
        event, fall_percent = own[name][i], None
        if found.falls is not None:
            fall = found.falls[i] if name == OXIMETRY.name else fall_of.get(place)
            first, end = round(event.onset_s), round(event.end_s + DESATURATION_AFTER_EVENT_END_S)
            if fall is not None:
                fall_percent = fall.peak_percent - fall.nadir_percent
            elif np.isfinite(found.spo2[first:end]).any():
                fall_percent = 0.0
        return Listed(
            task=name,
            event=event,
            left_out="" if name == OXIMETRY.name or event in sure[name] else UNSURE,
            fall_percent=fall_percent,
            aroused=place in arousal_of if AROUSAL.name in own else None,
            periodic=event in periodic,
            cause=cause_of.get(place, SPONTANEOUS) if name == AROUSAL.name else None,
        )

    return [fact(place) for place in order]


def _parts(
    night: Night, stages: np.ndarray, supine: Collection[float]
) -> tuple[list[tuple[int, int]], dict[str, np.ndarray]]:
    """Cycles of the night in epochs, and the parts of its sleep that are known, (S,) bool."""
    first, end = bed_epochs(stages, night.lights_s)
    cycles = [(first + a, first + b) for a, b in sleep_cycles(stages[first:end])]
    parts = parts_of(stages, cycles)
    seconds = np.arange(len(stages) * EPOCH_S)
    lying = next((c for c in night.channels if c.modality == Modality.POSITION), None)
    if lying is not None and supine:
        known = lying.quality[: len(seconds)] == 0
        parts["supine"] = np.isin(np.round(lying.samples[: len(seconds)]), list(supine)) & known
        parts["not_supine"] = ~parts["supine"] & known
    if night.scoring is not None and night.scoring.cpap_from_s is not None:
        parts["on_cpap"] = seconds >= night.scoring.cpap_from_s
        parts["before_cpap"] = ~parts["on_cpap"]
    return cycles, parts


def _tells_types(prediction: Prediction) -> bool:
    return APNEA_TYPE.name in prediction.probs and not APNEA_TYPE.lacks(prediction.channels)


def _further(facts: Sequence[Listed], known: Collection[str], prediction: Prediction) -> dict[str, Any]:
    """What is no index, and needs the events of more than one task."""
    statistics: dict[str, Any] = {}
    breathing = [listed for listed in facts if listed.task == BREATHING.name and not listed.left_out]
    if {BREATHING.name, AROUSAL.name} <= set(known):
        statistics["breathing_with_arousal_pct"] = share(sum(bool(e.aroused) for e in breathing), len(breathing))
    if BREATHING.name in known:
        why = APNEA_TYPE.lacks(prediction.channels) if APNEA_TYPE.name in prediction.probs else NOT_LEARNT
        statistics["apnea_types"] = "told" if APNEA_TYPE.name in known else f"not told: {why}"
    if APNEA_TYPE.name in known:
        statistics["cheyne_stokes_like_min"] = cheyne_stokes_like_min([e.event for e in breathing])
    return statistics
