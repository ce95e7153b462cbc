"""Several people scored the same nights: each of them beside what the others say together, and the model beside each.

A person and the model are compared with the same others (leave one out), so that both have the same chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.annotations import read_scoring
from data_pipeline.night import EPOCH_S, Event, Scoring
from sleepmami_jax.evaluation.nights import ScoredNight
from sleepmami_jax.metrics.events import event_figures, event_rows
from sleepmami_jax.metrics.people import Figures, intervals, known, over_people
from sleepmami_jax.metrics.scorers import consensus, majority_events, soft_agreement
from sleepmami_jax.metrics.staging import agreement_of, confusions
from sleepmami_jax.pretrained import Pretrained
from sleepmami_jax.tasks import Room, rooms_of

FEWEST_SCORERS = 2
_OF_STAGES = ("kappa", "macro_f1", "accuracy")
_OF_EVENTS = ("f1", "f1_greedy")


@dataclass(frozen=True)
class ManyScored:
    """A night and the scorings of several people, in the order of their names."""

    night: ScoredNight
    scorings: tuple[Scoring, ...]


def read_scorers(folders: Sequence[Path], nights: Sequence[ScoredNight]) -> list[ManyScored]:
    """The nights that everyone scored: in each folder one file with the night's name, of any dialect.

    Raises:
      ValueError: fewer than two folders, one that is none, two files for one night, or no night that all have.
      RecordingError: a file cannot be read, or is not of that night.
    """
    if len(folders) < FEWEST_SCORERS:
        raise ValueError(f"{len(folders)} folder of scorings; expected one of each scorer, two at least")
    if lost := [folder for folder in folders if not folder.is_dir()]:
        raise ValueError(
            f"{lost[0]}: no such folder; expected the scorings of one scorer, <night>.json, .csv or others"
        )
    shared = []
    for night in nights:
        files = [_of_night(folder, night.entry.night_id) for folder in folders]
        if None not in files:
            scorings = (read_scoring(file, night.entry.duration_s)[0] for file in files)
            shared.append(ManyScored(night, tuple(_whole(s, len(night.human_stages)) for s in scorings)))
    if not shared:
        raise ValueError(
            f"no night has a scoring in each of {len(folders)} folders; they are named as in manifest.jsonl"
        )
    return shared


def _of_night(folder: Path, night_id: str) -> Path | None:
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.stem == night_id)
    if len(files) > 1:
        raise ValueError(f"{files[0]}, {files[1].name}: two scorings of one night by one scorer; expected one")
    return files[0] if files else None


def _whole(scoring: Scoring, n_epochs: int) -> Scoring:
    """Over the epochs that were prepared."""
    stages = np.full(n_epochs, -1, np.int8)
    n = min(n_epochs, len(scoring.stages))
    stages[:n] = scoring.stages[:n]
    return Scoring(stages, scoring.events, scoring.scored)


def measure_scorers(model: Pretrained, names: Sequence[str], nights: Sequence[ManyScored]) -> dict[str, Any]:
    """By task, of those that every scorer scored: `n_nights`, `scorers` and, of stages, `consensus`.

    `scorers` has a row each: `name`; `person` and `model`, figures of either against what the other people say
    together; `difference`, model less person, with intervals. `consensus` is the model against all of them. Stages:
    kappa, macro_f1, accuracy pooled, and soft_agreement, mean over nights. Events, of any class: f1 and f1_greedy,
    mean over nights, against the seconds that more than half of the others marked.
    """
    measured: dict[str, Any] = {}
    if all("stages" in s.scored for n in nights for s in n.scorings):
        measured["stages"] = _stages(names, nights)
    for room in rooms_of(model.folder.tasks):
        able = [n for n in nights if room.task.name not in n.night.prediction.unavailable]
        scored = [n for n in able if all(room.task.was_scored(s.scored) and "stages" in s.scored for s in n.scorings)]
        if scored:
            measured[room.task.name] = _events(model, room, names, scored)
    return measured


def _stages(names: Sequence[str], nights: Sequence[ManyScored]) -> dict[str, Any]:
    votes = [np.stack([s.stages for s in n.scorings]) for n in nights]
    ours, people = [n.night.model_stages for n in nights], [n.night.entry.subject_id for n in nights]
    agree = np.array([soft_agreement(v) for v in votes])
    rows = []
    for k, name in enumerate(names):
        others, person = [consensus(np.delete(v, k, axis=0)) for v in votes], [v[k] for v in votes]
        # All three must know an epoch, or the two would be compared with the others on different ones.
        both = [np.where((p >= 0) & (m >= 0), o, -1) for p, m, o in zip(person, ours, others, strict=True)]
        row = _pair(confusions(both, person), confusions(both, ours), people, agreement_of, _OF_STAGES)
        row["person"]["soft_agreement"] = known(np.nanmean(agree[:, k]))
        beside = [soft_agreement(np.vstack([np.delete(v, k, axis=0), m]))[-1] for v, m in zip(votes, ours, strict=True)]
        row["model"]["soft_agreement"] = known(np.nanmean(beside))
        rows.append({"name": name} | row)
    all_say = confusions([consensus(v) for v in votes], ours)
    pooled = {name: known(value) for name, value in agreement_of(all_say.sum(axis=0)).items() if name in _OF_STAGES}
    limits = intervals(all_say, people, agreement_of)
    return {
        "n_nights": len(nights),
        "scorers": rows,
        "consensus": pooled | {"interval": {name: limits.get(name) for name in _OF_STAGES}},
    }


def _events(model: Pretrained, room: Room, names: Sequence[str], nights: Sequence[ManyScored]) -> dict[str, Any]:
    kind, rows = room.task.events[0][0], []
    ours = [n.night.predicted(room, model.thresholds) for n in nights]
    counted = [_counted(room, n) for n in nights]
    people = [n.night.entry.subject_id for n in nights]
    for k, name in enumerate(names):
        others = [
            majority_events([e for j, e in enumerate(events) if j != k], kind, len(n.night.human_stages) * EPOCH_S)
            for events, n in zip(counted, nights, strict=True)
        ]
        pair = (event_rows(others, [events[k] for events in counted]), event_rows(others, ours))
        rows.append({"name": name} | _pair(*pair, people, event_figures, _OF_EVENTS, means=True))
    return {"n_nights": len(nights), "scorers": rows}


def _counted(room: Room, night: ManyScored) -> list[tuple[Event, ...]]:
    """The events of each scorer that count, by their own hypnogram, where the task was monitored."""
    heard = night.night.prediction.monitored_stages
    return [room.counted(s.events, heard(room.task, s.stages)) for s in night.scorings]


def _pair(
    person: np.ndarray, ours: np.ndarray, people: list[str], figures: Figures, names: Sequence[str], means: bool = False
) -> dict[str, Any]:
    """Figures of rows of a person and of the model, pooled or means over nights, and of what lies between them."""
    width = person.shape[1]

    def both(sums: np.ndarray) -> dict[str, np.ndarray]:
        one, other = figures(sums[..., :width]), figures(sums[..., width:])
        told = {f"person.{n}": one[n] for n in names} | {f"model.{n}": other[n] for n in names}
        return told | {f"difference.{n}": other[n] - one[n] for n in names}

    rows = np.hstack([person, ours])
    if means:
        spread = over_people(rows, people, both)
        values, limits = spread["mean"], spread["interval_of_mean"]
    else:
        values, limits = {n: known(v) for n, v in both(rows.sum(axis=0)).items()}, intervals(rows, people, both)
    result: dict[str, Any] = {}
    for of in ("person", "model", "difference"):
        result[of] = {n: values[f"{of}.{n}"] for n in names}
        result[of]["interval"] = {n: limits.get(f"{of}.{n}") for n in names}
    return result
