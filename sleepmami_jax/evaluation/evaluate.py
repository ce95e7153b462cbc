"""A model on prepared nights: every task that has labels, each beside what guessing reaches.

Predicted and human events pass through the same rules, with the same hypnogram deciding what lies in sleep as the
side it belongs to: the AHI compared is the AHI that a report would print.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from data_pipeline.night import Event
from sleepmami_jax.config import DataConfig, DataSource
from sleepmami_jax.data.source import nights_of_split, with_nights
from sleepmami_jax.evaluation.baselines import event_baselines, majority_metrics, median_index_mae
from sleepmami_jax.evaluation.linear import binary_probe, is_man, number_probe
from sleepmami_jax.evaluation.measures import compare, index_of, measure_all, measure_tasks, measure_trust
from sleepmami_jax.evaluation.nights import ScoredNight, predict_nights
from sleepmami_jax.evaluation.peers import check_installed, measure_peer
from sleepmami_jax.evaluation.probes import measure_probes
from sleepmami_jax.evaluation.scorers import measure_scorers, read_scorers
from sleepmami_jax.evaluation.sensors import channels_of
from sleepmami_jax.evaluation.subgroups import subgroups
from sleepmami_jax.export.folder import ModelFolder
from sleepmami_jax.metrics.events import fit_threshold
from sleepmami_jax.pretrained import Pretrained, load
from sleepmami_jax.run.progress import Progress, bars
from sleepmami_jax.tasks import Room, rooms_of

UNFITTED = 0.5


def calibrate(
    folder: ModelFolder, data: DataConfig, embeddings: Path, progress: Progress
) -> tuple[dict[str, float], dict[str, str]]:
    """Event thresholds with the highest F1 on the validation nights of `data`.

    Returns:
      the threshold of each task, and how it came about. Without events to fit it on it is `UNFITTED`, and the
      sentence says why: a model for staging alone needs no scored events.
    """
    validation = with_nights(DataConfig(shards=data.shards, split="val"))
    nights = list(predict_nights(Pretrained(folder), validation, embeddings, progress))
    thresholds: dict[str, float] = {}
    how = {}
    # What disturbs comes before what is disturbed.
    for room in sorted(rooms_of(folder.tasks), key=lambda room: bool(room.disturbed_by)):
        name = room.task.name
        labelled = [n for n in nights if n.has(room)]
        references = [n.reference(room) for n in labelled]

        def decode(night: ScoredNight, threshold: float, room: Room = room) -> tuple[Event, ...]:
            return night.predicted(room, thresholds | {room.task.name: threshold})

        try:
            thresholds[name] = fit_threshold(labelled, references, decode)
            how[name] = f"fitted on {sum(map(len, references))} events of {len(labelled)} validation nights"
        except ValueError as reason:
            thresholds[name] = UNFITTED
            how[name] = f"not fitted ({len(nights)} validation nights: {reason})"
            logging.warning("the threshold of %s is %s, %s", room.task.plural, UNFITTED, how[name])
    return thresholds, how


def evaluate(
    model: Pretrained,
    shards: tuple[str, ...],
    *,
    split: str,
    embeddings: Path,
    progress: Progress,
    only: Sequence[str] = (),
    scorers: Sequence[Path] = (),
    beside: Sequence[str] = (),
    probes: bool = False,
) -> dict[str, Any]:
    """Metrics of every task that has labels in `split`, beside baselines taken from the training nights.

    Args:
      only: channels or modalities, as if no others had been recorded; all when empty.
      scorers: a folder of scorings of the same nights for each of several people (see `evaluation.scorers`).
      beside: other stagers, of `evaluation.peers.PEERS`, for the same nights.
      probes: whether it is measured with fewer sensors, noise and sensors that fall off too (`evaluation.probes`).

    Returns:
      by name of the task (see `measure_compared`), and `night`; `subgroups`, a row a group; `scorers`, `beside` and
      `probes` where asked for. A task without labels is absent. Numbers are finite or None.
      Without training nights (a test set of its own) there is nothing to guess from, and no baseline.

    Raises:
      ValueError: no night of `split` in any folder, a person on both sides, an unknown channel, scorings that are of
        none of the nights, or a peer that is not installed.
    """
    check_installed(beside)
    channels = channels_of(only or list(model.slots), model.slots)
    measured = nights_of_split(shards, split)

    def predicted(data: DataConfig, judged: bool) -> list[ScoredNight]:
        return list(predict_nights(model, data, embeddings, progress, channels if only else (), judged))

    train_data = with_nights(DataConfig(shards=tuple(map(DataSource, shards)), split="train"))
    train, test = predicted(train_data, judged=False), predicted(measured, judged=True)
    if split != "train" and (shared := {n.entry.subject_id for n in train} & {n.entry.subject_id for n in test}):
        raise ValueError(f"{len(shared)} people are both in train and in {split}, such as {min(shared)}: prepare anew")
    compared = compare(model, test)
    result = measure_all(model, compared)
    if "stages" in result:
        known, wanted = ([n.human_stages for n in nights if n.staged] for nights in (train, test))
        result["stages"]["baselines"] = {"majority": majority_metrics(known, wanted)} if known else {}
    for room in rooms_of(model.folder.tasks):
        if room.task.name in result:
            result[room.task.name]["baselines"] = _event_baselines(room, train, test)
    more: dict[str, Any] = {"subgroups": subgroups(compared, test)}
    if scorers:
        more["scorers"] = measure_scorers(model, [f.name for f in scorers], read_scorers(scorers, test))
    if beside and "stages" in compared:
        staged = compared["stages"].nights
        more["beside"] = {name: measure_peer(name, staged, progress(name, len(staged))) for name in beside}
    if probes:
        more["probes"] = measure_probes(model, train, test, progress)
    return {
        "split": split,
        "n_nights": len(test),
        "n_subjects": len({n.entry.subject_id for n in test}),
        "cohorts": sorted({n.entry.cohort for n in test}),
        "channels": list(channels),
        **result,
        "trust": measure_trust(model, test),
        "night": _night_probes(train, test),
        **more,
    }


def measure(
    model: Pretrained | Path,
    shards: Sequence[str | Path],
    *,
    embeddings: Path,
    split: str = "test",
    nights: int | None = None,
    only: Sequence[str] = (),
    progress: Progress | None = None,
) -> dict[str, float | None]:
    """The numbers of `measure_tasks` that runs are compared by, flat; no training night is looked at.

    Args:
      model: or its folder.
      shards: prepared folders.
      embeddings: where micro tokens are kept; those already there are not made again.
      nights: only the first so many of each folder.
      only: as in `evaluate`.
      progress: nothing is shown when None.

    Returns:
      `stages_accuracy`, `stages_macro_f1`, `stages_kappa`; for each task of events its `_f1`, `_precision`, `_recall`
      and `_index_mae` (events per hour). What has no labels or no sensors is absent.

    Raises:
      ValueError: no night of `split`, or an unknown channel.
      ModelFolderError: the model was never fine-tuned.
    """
    model = model if isinstance(model, Pretrained) else load(model)
    data = DataConfig(shards=tuple(DataSource(str(folder)) for folder in shards), split=split, nights=nights)
    channels = channels_of(only, model.slots) if only else ()
    predicted = predict_nights(model, data, embeddings, progress or bars(quiet=True), channels)
    tasks = measure_tasks(model, list(predicted))
    names = ("accuracy", "macro_f1", "kappa", "f1", "precision", "recall", "index_mae")
    return {f"{task}_{name}": metrics[name] for task, metrics in tasks.items() for name in names if name in metrics}


def _event_baselines(room: Room, train: list[ScoredNight], test: list[ScoredNight]) -> dict[str, Any]:
    """What guessing from the training nights reaches in the events of a task."""
    train, test = ([n for n in side if n.has(room)] for side in (train, test))
    if not train:
        return {}
    known, wanted = ([n.reference(room) for n in side] for side in (train, test))
    known_stages, wanted_stages = ([n.human_stages_of(room) for n in side] for side in (train, test))
    guesses: dict[str, Any] = event_baselines(known, known_stages, wanted, wanted_stages)
    indices = (index_of(room, known, known_stages), index_of(room, wanted, wanted_stages))
    guesses["index_mae_train_median"] = median_index_mae(*([i for i in side if i is not None] for side in indices))
    return guesses


def _night_probes(train, test) -> dict[str, Any]:
    subjects = [n.entry.subject_id for n in train]
    x, x_test = (np.array([n.prediction.night_vector for n in nights]) for nights in (train, test))
    ages, test_ages = ([n.entry.demographics.age_years for n in nights] for nights in (train, test))
    men, test_men = ([is_man(n.entry.demographics.sex) for n in nights] for nights in (train, test))
    age, sex = number_probe(x, ages, subjects, x_test, test_ages), binary_probe(x, men, subjects, x_test, test_men)
    return {
        "age_mae": age["mae"],
        "age_mae_median_baseline": age["mae_median"],
        "sex_auroc": sex["auroc"],
        "n_train": age["n_train"],
        "n_test": age["n_test"],
    }
