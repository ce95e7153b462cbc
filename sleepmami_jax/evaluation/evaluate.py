"""A model on prepared nights: every task that has labels, each beside what guessing reaches.

Predicted and human events pass through the same rules, with the same hypnogram deciding what lies in sleep as the
side it belongs to: the AHI compared is the AHI that a report would print.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from data_pipeline.night import Event, EventKind, breathing_was_scored
from data_pipeline.shards.manifest import NightEntry
from sleepmami_jax.config import DataConfig, DataSource
from sleepmami_jax.data.embeddings import EmbeddedFolder
from sleepmami_jax.data.frozen import embed_nights
from sleepmami_jax.data.source import PreparedFolder, chosen_nights
from sleepmami_jax.evaluation.baselines import event_baselines, majority_metrics, median_ahi_mae
from sleepmami_jax.evaluation.events import ahi_metrics, event_metrics, fit_threshold
from sleepmami_jax.evaluation.night import age_probe, sex_probe
from sleepmami_jax.evaluation.sensors import channels_of
from sleepmami_jax.evaluation.staging import staging_metrics
from sleepmami_jax.export.folder import ModelFolder
from sleepmami_jax.pretrained import Pretrained, load
from sleepmami_jax.run.progress import bars
from sleepmami_jax.scoring.events import arousals, breathing_events
from sleepmami_jax.scoring.prediction import Prediction
from sleepmami_jax.scoring.rules import counted_arousals, counted_breathing
from sleepmami_jax.scoring.statistics import breathing_statistics

UNFITTED = 0.5
DECODE = {
    "respiratory": lambda p, t: breathing_events(p.respiratory_probs, t),
    "arousal": lambda p, t: arousals(p.arousal_probs, t),
}
COUNT = {"respiratory": counted_breathing, "arousal": counted_arousals}


@dataclass(frozen=True)
class ScoredNight:
    """A prepared night, what people said of it, and what the model says."""

    entry: NightEntry
    events: tuple[Event, ...]
    prediction: Prediction

    @property
    def human_stages(self) -> np.ndarray:
        return self.entry.stage_codes

    @property
    def model_stages(self) -> np.ndarray:
        """(E,) codes, -1 where nothing could be scored."""
        p = self.prediction
        return np.where(p.scorable, p.stage_probs.argmax(1), -1).astype(np.int8)

    @property
    def staged(self) -> bool:
        """Whether both sides have stages to compare."""
        return "stages" in self.entry.scored and bool(self.prediction.scorable.any())

    def has(self, task: str) -> bool:
        """Whether people looked for this task's events, and the sensors for it are there."""
        scored = self.entry.scored
        if task == "respiratory":
            return breathing_was_scored(scored) and "breathing" not in self.prediction.unavailable
        return EventKind.AROUSAL in scored and "arousal" not in self.prediction.unavailable

    def reference(self, task: str) -> tuple[Event, ...]:
        """The human events that count."""
        stages = self.human_stages if "stages" in self.entry.scored else self.model_stages
        return COUNT[task](self.events, stages)

    def predicted(self, task: str, threshold: float) -> tuple[Event, ...]:
        """The model's events that count."""
        return COUNT[task](DECODE[task](self.prediction, threshold), self.model_stages)


def predict_nights(
    model: Pretrained, data: DataConfig, embeddings: Path, progress: Callable, only: tuple[str, ...] = ()
) -> Iterator[ScoredNight]:
    """The model on the chosen nights of prepared folders, one at a time.

    Args:
      embeddings: where micro tokens are kept; those already there are not made again.
      progress: `(description, total) -> tick`.
      only: channels of the model, as if no others had been recorded (see `sensors.channels_of`); all when empty.
    """
    config, params = model.folder.config, model.folder.params
    folders = embed_nights(config, params, data, embeddings, progress, only)
    for folder in folders:
        for night in chosen_nights(folder.prepared.manifest, data):
            yield _predict(model, folder, night)


def _predict(model: Pretrained, folder: EmbeddedFolder, night: int) -> ScoredNight:
    entry = folder.prepared.manifest.nights[night]
    return ScoredNight(entry, folder.prepared.events(night), model.read(*folder.tokens(night)))


def calibrate(
    folder: ModelFolder, data: DataConfig, embeddings: Path, progress: Callable
) -> tuple[dict[str, float], dict[str, str]]:
    """Event thresholds with the highest F1 on the validation nights of `data`.

    Returns:
      the threshold of each task, and how it came about. Without events to fit it on it is `UNFITTED`, and the
      sentence says why: a model for staging alone needs no scored events.
    """
    validation = DataConfig(shards=_having(data.shards, "val"), split="val")
    nights = list(predict_nights(Pretrained(folder), validation, embeddings, progress))
    thresholds, how = {}, {}
    for task in DECODE:
        labelled = [n for n in nights if n.has(task)]
        references = [n.reference(task) for n in labelled]
        try:
            thresholds[task] = fit_threshold(
                labelled, references, lambda night, t, task=task: night.predicted(task, t)
            )
            how[task] = f"fitted on {sum(map(len, references))} events of {len(labelled)} validation nights"
        except ValueError as reason:
            thresholds[task] = UNFITTED
            how[task] = f"not fitted ({len(nights)} validation nights: {reason})"
            logging.warning("the threshold of %s events is %s, %s", task, UNFITTED, how[task])
    return thresholds, how


def _having(sources: tuple[DataSource, ...], split: str) -> tuple[DataSource, ...]:
    """The prepared folders with any night of a split."""
    return tuple(
        source
        for source in sources
        if any(n.split == split for n in PreparedFolder.open(source.folder).manifest.nights)
    )


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
      `staging`, `respiratory`, `arousal`, `night`; a task without labels is absent. Numbers are finite or None.
      Without training nights (a test set of its own) there is nothing to guess from, and no baseline.

    Raises:
      ValueError: no night of `split` in any folder, a person on both sides, or an unknown channel.
    """
    sources = tuple(DataSource(s) for s in shards)
    channels = channels_of(only or list(model.slots), model.slots)
    if not _having(sources, split):
        raise ValueError(
            f"no night of split {split!r} in {', '.join(shards)}; their manifest.jsonl names the splits"
        )

    def side(name):
        data = DataConfig(shards=_having(sources, name), split=name)
        return list(predict_nights(model, data, embeddings, progress, channels if only else ()))

    train, test = side("train"), side(split)
    if split != "train" and (
        shared := {n.entry.subject_id for n in train} & {n.entry.subject_id for n in test}
    ):
        raise ValueError(
            f"{len(shared)} people are both in train and in {split}, such as {min(shared)}: prepare anew"
        )
    result = measure_tasks(model, test)
    for task in result.keys() & {"staging", *DECODE}:
        result[task]["baselines"] = _baselines(task, train, test)
    return {
        "split": split,
        "n_nights": len(test),
        "n_subjects": len({n.entry.subject_id for n in test}),
        "cohorts": sorted({n.entry.cohort for n in test}),
        "channels": list(channels),
        **result,
        "night": _night_probes(train, test),
    }


def measure_tasks(model: Pretrained, nights: list[ScoredNight]) -> dict[str, Any]:
    """`staging`, `respiratory` and `arousal` metrics of nights, those that have labels."""
    result: dict[str, Any] = {}
    staged = [n for n in nights if n.staged]
    if staged:
        result["staging"] = staging_metrics(
            [n.human_stages for n in staged], [n.model_stages for n in staged]
        )
    thresholds = model.thresholds
    for task in DECODE:
        labelled = [n for n in nights if n.has(task)]
        if not labelled:
            continue
        references = [n.reference(task) for n in labelled]
        predictions = [n.predicted(task, getattr(thresholds, task)) for n in labelled]
        result[task] = event_metrics(references, predictions)
        if task == "respiratory":
            human = [_ahi(events, n.human_stages) for events, n in zip(references, labelled, strict=True)]
            ours = [_ahi(events, n.model_stages) for events, n in zip(predictions, labelled, strict=True)]
            result[task]["ahi"] = ahi_metrics(human, ours)
            result[task]["ahi_mae"] = result[task]["ahi"]["mae_per_h"]
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
      `staging_accuracy`, `staging_macro_f1`, `staging_kappa`; `breathing_f1`, `_precision`, `_recall`, `ahi_mae`
      (events per hour); `arousal_f1`, `_precision`, `_recall`. What has no labels or no sensors is absent.

    Raises:
      ValueError: no night of `split`, or an unknown channel.
      ModelFolderError: the model was never fine-tuned.
    """
    model = model if isinstance(model, Pretrained) else load(model)
    data = DataConfig(shards=tuple(DataSource(str(folder)) for folder in shards), split=split, nights=nights)
    channels = channels_of(only, model.slots) if only else ()
    predicted = predict_nights(model, data, embeddings, progress or bars(quiet=True), channels)
    tasks = measure_tasks(model, list(predicted))
    flat = {}
    for task, prefix, names in _MEASURES:
        flat |= {f"{prefix}{name}": tasks[task][name] for name in names if task in tasks}
    return flat


_MEASURES = (
    ("staging", "staging_", ("accuracy", "macro_f1", "kappa")),
    ("respiratory", "breathing_", ("f1", "precision", "recall")),
    ("respiratory", "", ("ahi_mae",)),
    ("arousal", "arousal_", ("f1", "precision", "recall")),
)


def _baselines(task: str, train: list[ScoredNight], test: list[ScoredNight]) -> dict[str, Any]:
    """What guessing from the training nights reaches."""
    if task == "staging":
        train, test = ([n for n in side if n.staged] for side in (train, test))
        if not train:
            return {}
        return {"majority": majority_metrics([n.human_stages for n in train], [n.human_stages for n in test])}
    train, test = ([n for n in side if n.has(task)] for side in (train, test))
    if not train:
        return {}
    known, wanted = ([n.reference(task) for n in side] for side in (train, test))
    known_stages, wanted_stages = ([n.human_stages for n in side] for side in (train, test))
    guesses: dict[str, Any] = event_baselines(known, known_stages, wanted, wanted_stages)
    if task == "respiratory":
        indices = [
            [ahi for events, s in zip(side, stages, strict=True) if (ahi := _ahi(events, s)) is not None]
            for side, stages in ((known, known_stages), (wanted, wanted_stages))
        ]
        guesses["ahi_mae_train_median"] = median_ahi_mae(*indices)
    return guesses


def _ahi(events, stages) -> float | None:
    return breathing_statistics(events, stages)["ahi_per_h"]


def _night_probes(train, test) -> dict[str, Any]:
    def side(nights, field):
        vectors = np.stack([n.prediction.night_vector for n in nights]) if nights else np.zeros((0, 1))
        return vectors, [getattr(n.entry.demographics, field) for n in nights]

    subjects = [n.entry.subject_id for n in train]
    (x, ages), (x_test, test_ages) = side(train, "age_years"), side(test, "age_years")
    age = age_probe(x, ages, subjects, x_test, test_ages)
    sex = sex_probe(x, side(train, "sex")[1], subjects, x_test, side(test, "sex")[1])
    return {
        "age_mae": age["mae_years"],
        "age_mae_mean_baseline": age["mae_years_mean_baseline"],
        "sex_auroc": sex["auroc"],
        "n_train": age["n_train"],
        "n_test": age["n_test"],
    }
