"""Prepared folders of nights whose population is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from data_pipeline.night import Demographics
from data_pipeline.population.card import Population
from data_pipeline.population.shift import compare
from data_pipeline.prepare.run import prepare
from data_pipeline.shards.manifest import read_manifest
from tests.support.nights import SCORED, random_night, write_recordings

SLOTS = ("C3", "E1", "THORAX", "SPO2")


BREATHING = SCORED | {"apnea", "mixed_apnea"}


def prepared(folder: Path, seeds, *, change=lambda night: night, subject: str | None = None, slots=SLOTS) -> Path:
    """A prepared folder of nights of three epochs, the last not staged; women and men by turns, aged 40.5, 41.5 …

    `subject` makes all nights those of one person.
    """

    def load(recording, scoring=(), **facts):
        seed = int(recording.read_text().split()[-1])
        night = random_night(seed, 3, slots, night_id=facts["night_id"])
        scoring = replace(night.scoring, stages=np.array([2, seed % 2, -1], np.int8), scored=frozenset(BREATHING))
        person = Demographics(40.5 + seed, "FM"[seed % 2], None if seed == 1 else 25.0 + seed)
        return change(replace(night, scoring=scoring, demographics=person))

    recordings = write_recordings(folder / "in", seeds)
    if subject is not None:
        rows = [f"n{seed},{subject}" for seed in seeds]
        (recordings / "demographics.csv").write_text("\n".join(["night_id,subject_id", *rows]))
    prepare([recordings], folder / "out", load=load)
    return folder / "out"


def replaced(slot: str, **fields):
    """A change of a night: one channel's fields are others, computed from the channel."""

    def change(night):
        channels = tuple(
            replace(c, **{name: value(c) for name, value in fields.items()}) if c.slot == slot else c
            for c in night.channels
        )
        return replace(night, channels=channels)

    return change


def nights_of(folder: Path):
    return [(folder, night) for night in read_manifest(folder).nights]


def matters(a: Population, b: Population) -> set[str]:
    return {difference.what for difference in compare(a, b) if difference.matters}
