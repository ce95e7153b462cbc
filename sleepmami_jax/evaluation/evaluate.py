"""A model on prepared nights: every task that has labels, each beside what guessing reaches.

Predicted and human events pass through the same rules, with the same hypnogram deciding what lies in sleep as the
side it belongs to: the AHI compared is the AHI that a report would print.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from data_pipeline.night import Event
from data_pipeline.shards.manifest import NightEntry
from data_pipeline.tasks import APNEA_TYPE, BREATHING
from sleepmami_jax.config import DataConfig, DataSource
from sleepmami_jax.data.frozen import embed_nights
from sleepmami_jax.data.nights import night_of
from sleepmami_jax.data.source import chosen_nights, with_nights
from sleepmami_jax.evaluation.baselines import event_baselines, majority_metrics, median_index_mae
from sleepmami_jax.evaluation.night import binary_probe, is_man, number_probe
from sleepmami_jax.evaluation.sensors import channels_of
from sleepmami_jax.export.folder import ModelFolder
from sleepmami_jax.metrics.calibration import calibration_metrics
from sleepmami_jax.metrics.events import event_metrics, fit_threshold, index_metrics, type_metrics
from sleepmami_jax.metrics.staging import staging_metrics
from sleepmami_jax.pretrained import Pretrained, load
from sleepmami_jax.run.progress import bars
from sleepmami_jax.scoring.prediction import Prediction
from sleepmami_jax.tasks import Room, counted_events, rooms_of
from sleepmami_jax.tasks.breathing import typed
from sleepmami_jax.trust.judge import Reliability
from sleepmami_jax.trust.measures import KAPPA_WRONG, index_is_wrong

UNFITTED = 0.5


@dataclass(frozen=True)
class ScoredNight:
    """A prepared night, what people said of it, what the model says, and how far it is to be believed."""

    entry: NightEntry
    events: tuple[Event, ...]
    prediction: Prediction
    reliability: Reliability | None = None

    @property
    def human_stages(self) -> np.ndarray:
        return self.entry.stage_codes

    def human_stages_of(self, room: Room) -> np.ndarray:
        """(E,) codes, -1 where the task was not monitored: neither side can say anything there."""
        return np.where(self.prediction.monitored(room.task), self.human_stages, np.int8(-1))

    @property
    def model_stages(self) -> np.ndarray:
        """(E,) codes, -1 where nothing could be scored."""
        return self.prediction.stages

    @property
    def staged(self) -> bool:
        """Whether both sides have stages to compare."""
        return "stages" in self.entry.scored and bool(self.prediction.scorable.any())

    def has(self, room: Room) -> bool:
        """Whether people looked for this task's events, and the sensors for it are there."""
        return room.task.was_scored(self.entry.scored) and room.task.name not in self.prediction.unavailable

    def reference(self, room: Room) -> tuple[Event, ...]:
        """The human events of a task that count."""
        if "stages" in self.entry.scored:
            return room.counted(self.events, self.human_stages_of(room))
        return room.counted(self.events, self.prediction.monitored_stages(room.task))

    def predicted(self, room: Room, thresholds: Mapping[str, float]) -> tuple[Event, ...]:
        """The model's events of a task that count, by the thresholds of it and of what may disturb them."""
        known = thresholds.keys() - self.prediction.unavailable.keys()
        rooms = [other for other in rooms_of(self.prediction.tasks) if other.task.name in known]
        return counted_events(
            room, rooms, self.prediction.probs, thresholds, self.prediction.monitored_stages(room.task)
        )

    def with_types(self, breathing: Sequence[Event]) -> tuple[Event, ...]:
        """Breathing events with the types that the model tells of the apneas among them."""
        return tuple(event for event, _ in typed(breathing, self.prediction.probs[APNEA_TYPE.name]))


def predict_nights(
    model: Pretrained,
    data: DataConfig,
    embeddings: Path,
    progress: Callable,
    only: tuple[str, ...] = (),
    judged: bool = False,
) -> Iterator[ScoredNight]:
    """The model on the chosen nights of prepared folders, one at a time.

    Args:
      embeddings: where micro tokens are kept; those already there are not made again.
      progress: `(description, total) -> tick`.
      only: channels of the model, as if no others had been recorded (see `sensors.channels_of`); all when empty.
      judged: whether it is asked how far to believe it, for which the signals are read again.
    """
    config, params = model.folder.config, model.folder.params
    for folder in embed_nights(config, params, data, embeddings, progress, only):
        prepared = folder.prepared
        for night in chosen_nights(prepared.manifest, data):
            entry = prepared.manifest.nights[night]
            tokens, ok = folder.tokens(night)
            prediction = model.infer(tokens, ok, entry.channels)
            reliability = None
            if judged and model.folder.reference is not None:
                reliability = model.judge(night_of(prepared, night), prediction, model.heard(tokens, ok))
            yield ScoredNight(entry, prepared.events(night), prediction, reliability)


def calibrate(
    folder: ModelFolder, data: DataConfig, embeddings: Path, progress: Callable
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
    progress: Callable,
    only: Sequence[str] = (),
) -> dict[str, Any]:
    """Metrics of every task that has labels in `split`, beside baselines taken from the training nights.

    Args:
      only: channels or modalities, as if no others had been recorded; all when empty.

    Returns:
      by name of the task, and `night`; a task without labels is absent. Numbers are finite or None.
      Without training nights (a test set of its own) there is nothing to guess from, and no baseline.

    Raises:
      ValueError: no night of `split` in any folder, a person on both sides, or an unknown channel.
    """
    sources = tuple(DataSource(s) for s in shards)
    channels = channels_of(only or list(model.slots), model.slots)
    if not with_nights(DataConfig(shards=sources, split=split)).shards:
        raise ValueError(f"no night of split {split!r} in {', '.join(shards)}; their manifest.jsonl names the splits")

    def side(name, judged):
        data = with_nights(DataConfig(shards=sources, split=name))
        return list(predict_nights(model, data, embeddings, progress, channels if only else (), judged))

    train, test = side("train", judged=False), side(split, judged=True)
    if split != "train" and (shared := {n.entry.subject_id for n in train} & {n.entry.subject_id for n in test}):
        raise ValueError(f"{len(shared)} people are both in train and in {split}, such as {min(shared)}: prepare anew")
    result = measure_tasks(model, test)
    if "stages" in result:
        known, wanted = ([n.human_stages for n in nights if n.staged] for nights in (train, test))
        result["stages"]["baselines"] = {"majority": majority_metrics(known, wanted)} if known else {}
    for room in rooms_of(model.folder.tasks):
        if room.task.name in result:
            result[room.task.name]["baselines"] = _event_baselines(room, train, test)
    return {
        "split": split,
        "n_nights": len(test),
        "n_subjects": len({n.entry.subject_id for n in test}),
        "cohorts": sorted({n.entry.cohort for n in test}),
        "channels": list(channels),
        **result,
        "trust": measure_trust(model, test),
        "night": _night_probes(train, test),
    }


def measure_trust(model: Pretrained, nights: Sequence[ScoredNight]) -> dict[str, Any]:
    """How good the chances of being wrong are: `calibration_metrics` of epochs, and of nights by task; {} without any.

    A night's stages are wrong below a kappa of 0.6, events by `index_is_wrong`.
    """
    judged = [night for night in nights if night.reliability is not None]
    staged = [night for night in judged if night.staged]
    if not staged:
        return {}
    known = [(n.human_stages >= 0) & n.prediction.scorable for n in staged]
    epoch_risk = np.concatenate([n.reliability.epoch_risk[k] for n, k in zip(staged, known, strict=True)])
    wrong = np.concatenate([(n.human_stages != n.model_stages)[k] for n, k in zip(staged, known, strict=True)])
    kappas = [staging_metrics([n.human_stages], [n.model_stages])["kappa"] or 0.0 for n in staged]
    measured = {
        "epochs": calibration_metrics(epoch_risk, wrong),
        "stages": calibration_metrics([n.reliability.risk["stages"] for n in staged], np.less(kappas, KAPPA_WRONG)),
    }
    for room in rooms_of(model.folder.tasks):
        told = [n for n in judged if n.has(room) and room.task.name in n.reliability.risk]
        if told:
            human = _indices(room, [n.reference(room) for n in told], [n.human_stages_of(room) for n in told])
            found = [n.predicted(room, model.thresholds) for n in told]
            ours = _indices(room, found, [n.prediction.monitored_stages(room.task) for n in told])
            off = [index_is_wrong(*pair) for pair in zip(ours, human, strict=True)]
            measured[room.task.name] = calibration_metrics([n.reliability.risk[room.task.name] for n in told], off)
    return measured


def measure_tasks(model: Pretrained, nights: list[ScoredNight]) -> dict[str, Any]:
    """Metrics of nights by task, of those that have labels: `staging_metrics`, `event_metrics`.

    Those of events have `index` too, `index_metrics` of what the report calls their index, and `index_mae`; types of
    apneas have `type_metrics` alone.
    """
    thresholds, result = model.thresholds, {}
    if staged := [n for n in nights if n.staged]:
        result["stages"] = staging_metrics([n.human_stages for n in staged], [n.model_stages for n in staged])
    for room in rooms_of(model.folder.tasks):
        labelled = [n for n in nights if n.has(room)]
        if not labelled:
            continue
        references = [n.reference(room) for n in labelled]
        predictions = [n.predicted(room, thresholds) for n in labelled]
        human = _indices(room, references, [n.human_stages_of(room) for n in labelled])
        ours = _indices(room, predictions, [n.prediction.monitored_stages(room.task) for n in labelled])
        index = index_metrics(human, ours, room.severity)
        metrics = event_metrics(references, predictions)
        result[room.task.name] = metrics | {"index": index, "index_mae": index["mae_per_h"]}
        typed_nights = [n for n in labelled if APNEA_TYPE.was_scored(n.entry.scored)]
        if room.task.name == BREATHING.name and APNEA_TYPE in model.folder.tasks and typed_nights:
            told = [n.with_types(n.predicted(room, thresholds)) for n in typed_nights]
            result[APNEA_TYPE.name] = type_metrics([n.reference(room) for n in typed_nights], told)
    return result


def measure(
    model: Pretrained | Path,
    shards: Sequence[str | Path],
    *,
    embeddings: Path,
    split: str = "test",
    nights: int | None = None,
    only: Sequence[str] = (),
    progress: Callable | None = None,
) -> dict[str, float | None]:
    """The numbers of `measure_tasks` that runs are compared by, flat; no training night is looked at.

    Args:
      model: or its folder.
      shards: prepared folders.
      embeddings: where micro tokens are kept; those already there are not made again.
      nights: only the first so many of each folder.
      only: as in `evaluate`.
      progress: `(description, total) -> tick`; nothing is shown when None.

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
    indices = (_indices(room, known, known_stages), _indices(room, wanted, wanted_stages))
    guesses["index_mae_train_median"] = median_index_mae(*([i for i in side if i is not None] for side in indices))
    return guesses


def _indices(room: Room, nights: Sequence[Sequence[Event]], stages: Sequence[np.ndarray]) -> list[float | None]:
    """The task's index of each night, per hour; None without sleep."""
    return [room.statistics({room.task.name: events}, s)[room.index] for events, s in zip(nights, stages, strict=True)]


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
