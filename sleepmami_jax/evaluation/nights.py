"""Prepared nights, what people said of them and what a model says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from data_pipeline.night import Event, Night
from data_pipeline.shards.manifest import NightEntry
from data_pipeline.tasks import APNEA_TYPE
from sleepmami_jax.config import DataConfig
from sleepmami_jax.data.frozen import embed_nights
from sleepmami_jax.data.nights import night_of
from sleepmami_jax.data.source import chosen_nights
from sleepmami_jax.pretrained import Pretrained
from sleepmami_jax.run.progress import Progress
from sleepmami_jax.scoring.prediction import Prediction
from sleepmami_jax.tasks import Room, counted_events, rooms_of
from sleepmami_jax.tasks.breathing import typed
from sleepmami_jax.trust.judge import Reliability


@dataclass(frozen=True)
class ScoredNight:
    """A prepared night, what people said of it, what the model says, and how far it is to be believed.

    Attributes:
      entry, events: the night's line in the manifest, and the events that people marked.
      prediction, reliability: the model's.
      read: gives its signals; they are not kept.
    """

    entry: NightEntry
    events: tuple[Event, ...]
    prediction: Prediction
    reliability: Reliability | None = None
    read: Callable[[], Night] | None = None

    @property
    def human_stages(self) -> np.ndarray:
        return self.entry.stage_codes

    def human_stages_of(self, room: Room) -> np.ndarray:
        """(E,) codes, -1 where the task was not monitored."""
        return self.prediction.monitored_stages(room.task, self.human_stages)

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
    progress: Progress,
    only: tuple[str, ...] = (),
    judged: bool = False,
) -> Iterator[ScoredNight]:
    """The model on the chosen nights of prepared folders, one at a time.

    Args:
      embeddings: where micro tokens are kept; those already there are not made again.
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
            reliability, read = None, partial(night_of, prepared, night)
            if judged and model.folder.reference is not None:
                reliability = model.judge(read(), prediction, model.heard(tokens, ok))
            yield ScoredNight(entry, prepared.events(night), prediction, reliability, read)
