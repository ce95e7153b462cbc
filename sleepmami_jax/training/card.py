"""What a model folder says of the run that made it: how it was trained, and on whose nights."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data_pipeline.annotations.table import SILVER
from data_pipeline.population.card import population_of
from data_pipeline.population.norms import norms_of
from data_pipeline.shards.manifest import NightEntry
from data_pipeline.tasks import BREATHING
from sleepmami_jax.config import Experiment, to_dict
from sleepmami_jax.data.source import PreparedFolder, chosen_nights, manifest_sha256
from sleepmami_jax.export.folder import ModelFolder
from sleepmami_jax.export.readme import SIMULATED
from sleepmami_jax.tasks import rooms_of
from sleepmami_jax.tasks.breathing import CHILD_YEARS
from sleepmami_jax.tasks.stages import in_bed, sleep_statistics
from sleepmami_jax.training.validation import outcome

_SILVER = re.compile(rf"{SILVER} (\S+),")
PROGRAMS = ("sleepmami", "jax", "flax", "optax")
"""Whose versions a card gives: what decides what a step computes."""


def model_card(experiment: Experiment, start: ModelFolder | None, state: dict[str, Any]) -> dict[str, Any]:
    """`ModelFolder.card` after a run that began with `start` and ended with `state`.

    Returns:
      `training`: an entry a run, oldest first, where labels were a model's with `silver`, nights by the model;
      `manifests_sha256` name the digests of all records; `population`: of the nights of this one; `norms`: of those
      that people scored, where there are enough.
    """
    nights = _nights(experiment)
    return {
        "training": [*(start.card["training"] if start else []), _training(experiment, nights, state)],
        "population": asdict(population_of(nights)),
        "norms": [asdict(norm) for norm in norms_of(_scored(experiment))],
    }


def _nights(experiment: Experiment) -> list[tuple[Path, NightEntry]]:
    """The nights of a run, each with the folder of its shard."""
    nights = []
    for source in experiment.data.shards:
        manifest = PreparedFolder.open(source.folder).manifest
        nights += [(Path(source.folder), manifest.nights[n]) for n in chosen_nights(manifest, experiment.data)]
    return nights


def _scored(experiment: Experiment) -> Iterator[tuple[NightEntry, dict[str, float | None]]]:
    """Nights of people that people scored, with what the scoring makes of them; silver labels are a model's.

    As a report has them: times of sleep are of the time in bed. The AHI of children is left out, for their rule asks
    the signals how long two breaths are.
    """
    rooms = rooms_of(experiment.tasks)
    for source in experiment.data.shards if experiment.tasks else ():
        prepared = PreparedFolder.open(source.folder)
        for place in chosen_nights(prepared.manifest, experiment.data):
            night = prepared.manifest.nights[place]
            if night.cohort != SIMULATED and "stages" in night.scored and not _SILVER.search(" ".join(night.notes)):
                stages, events = night.stage_codes, prepared.events(place)
                statistics = dict(sleep_statistics(in_bed(stages, night.lights_s)))
                age_years = night.demographics.age_years
                is_child = age_years is not None and age_years < CHILD_YEARS
                for room in rooms:
                    if room.task.was_scored(night.scored) and not (is_child and room.task.name == BREATHING.name):
                        counted = {room.task.name: room.counted(events, stages)}
                        statistics[room.index] = room.statistics(counted, stages)[room.index]
                yield night, statistics


def _training(experiment: Experiment, nights: list[tuple[Path, NightEntry]], state: dict[str, Any]) -> dict[str, Any]:
    entries = [night for _, night in nights]
    silver = Counter(
        name for night in entries if experiment.tasks for name in set(_SILVER.findall(" ".join(night.notes)))
    )
    validation = {"validation": outcome(experiment, state)} if experiment.validation else {}
    return {
        "name": experiment.name,
        "objective": type(experiment.objective).__name__,
        "steps": int(state["step"]),
        "seed": experiment.seed,
        "config_sha256": hashlib.sha256(json.dumps(to_dict(experiment)).encode()).hexdigest(),
        "manifests_sha256": [manifest_sha256(source.folder) for source in experiment.data.shards],
        "nights": len(entries),
        "subjects": len({n.subject_id for n in entries}),
        "hours": round(sum(n.duration_s for n in entries) / 3600, 1),
        "cohorts": sorted({n.cohort for n in entries}),
        "sites": sorted({n.site for n in entries if n.site}),
        "versions": {name: version(name) for name in PROGRAMS},
        **({"silver": dict(sorted(silver.items()))} if silver else {}),
        **validation,
    }
