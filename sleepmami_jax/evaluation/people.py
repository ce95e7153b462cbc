"""People of prepared nights: who they are, their night's vector, and the bank of engineered numbers beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from data_pipeline.night import Demographics
from sleepmami_jax.data.frozen import embed_nights
from sleepmami_jax.data.nights import night_of
from sleepmami_jax.data.source import chosen_nights, nights_of_split
from sleepmami_jax.evaluation.engineered import engineered
from sleepmami_jax.evaluation.linear import is_man
from sleepmami_jax.pretrained import Pretrained
from sleepmami_jax.run.progress import Progress

DEMOGRAPHICS, ENGINEERED, VECTOR = "demographics", "engineered", "night vector"
"""Blocks of features."""


@dataclass(frozen=True)
class Person:
    """One person; of several nights the mean, of what is known in each.

    Attributes:
      subject_id, demographics: as in `Night`, those of the first night.
      vector: (D,) float64, the night's vector.
      bank: `engineered` numbers.
    """

    subject_id: str
    demographics: Demographics
    vector: np.ndarray
    bank: dict[str, float]


def people_of(
    model: Pretrained, shards: Sequence[str], split: str, embeddings: Path, progress: Progress
) -> tuple[Person, ...]:
    """The people of a split of prepared folders, in the order of their nights.

    Args:
      embeddings: where micro tokens are kept; those already there are not made again.

    Raises:
      ValueError: no night of `split`; people of two cohorts have one id; or a night that neither a person nor the model
        scored.
    """
    data = nights_of_split(shards, split)
    nights, cohort = defaultdict(list), {}
    for folder in embed_nights(model.folder.config, model.folder.params, data, embeddings, progress):
        chosen = chosen_nights(folder.prepared.manifest, data)
        tick = progress(f"measures of {split} nights", len(chosen))
        for n in chosen:
            entry = folder.prepared.manifest.nights[n]
            if cohort.setdefault(entry.subject_id, entry.cohort) != entry.cohort:
                raise ValueError(
                    f"person {entry.subject_id} is in two cohorts; probe the folders of one cohort at a time"
                )
            tokens, ok = folder.tokens(n)
            can_score = bool(model.folder.tasks)
            prediction = model.infer(tokens, ok, entry.channels) if can_score else None
            vector = prediction.night_vector if can_score else model.vector(tokens, ok)
            with threadpool_limits(1, "blas"):  # small matrices, for which threads wait more than they work
                bank = engineered(night_of(folder.prepared, n), prediction, model.folder.thresholds)
            nights[entry.subject_id].append(Person(entry.subject_id, entry.demographics, vector, bank))
            tick()
    return tuple(_one(own) for own in nights.values())


def blocks_of(people: Sequence[Person], like: Sequence[Person] | None = None) -> dict[str, np.ndarray]:
    """Blocks of features by name, each (N, P) float64, NaN where unknown; engineered are those that `like` has."""
    known = [(p.demographics.age_years, is_man(p.demographics.sex), p.demographics.bmi) for p in people]
    names = sorted({name for person in like or people for name in person.bank})
    bank = np.array([[person.bank.get(name, np.nan) for name in names] for person in people])
    return {
        DEMOGRAPHICS: np.array(known, np.float64).reshape(len(people), 3),  # None becomes NaN
        ENGINEERED: bank.reshape(len(people), len(names)),
        VECTOR: np.array([person.vector for person in people], np.float64),
    }


def _one(nights: list[Person]) -> Person:
    names = {name for night in nights for name in night.bank}
    bank = {name: float(np.mean([n.bank[name] for n in nights if name in n.bank])) for name in names}
    vector = np.mean([night.vector for night in nights], axis=0, dtype=np.float64)
    return Person(nights[0].subject_id, nights[0].demographics, vector, bank)
