"""What scorers marked in the nights of a run: how often each class, and where its events lie. No signal is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_pipeline.night import EPOCH_S, STAGES
from data_pipeline.tasks import Task, TaskKind
from sleepmami_jax.config import DataConfig
from sleepmami_jax.data.labels import event_labels
from sleepmami_jax.data.source import PreparedFolder, chosen_nights


def class_counts(data: DataConfig, tasks: Sequence[Task]) -> dict[str, np.ndarray]:
    """Known labels of each class in the nights of `data`: epochs of `stages` (5,), seconds of events (K,), float64.

    Raises:
      ValueError: a manifest or a shard is missing or damaged, or there is no such night.
    """
    counts = {
        task.name: np.zeros(len(STAGES) if task.kind is TaskKind.STAGES else len(task.events) + 1) for task in tasks
    }
    for source in data.shards:
        folder = PreparedFolder.open(source.folder)
        for night in chosen_nights(folder.manifest, data):
            entry = folder.manifest.nights[night]
            events = folder.events(night) if any(_counted(task, entry.event_counts) for task in tasks) else ()
            own = [task for task in tasks if task.kind is not TaskKind.STAGES]
            labels = event_labels(events, entry.scored, own, 0.0, entry.n_epochs * EPOCH_S)
            for name, values in (labels | {"stages": entry.stage_codes}).items():
                if name in counts:
                    counts[name] += np.bincount(values[values >= 0], minlength=len(counts[name]))
    return counts


def _counted(task: Task, event_counts: dict[str, int]) -> bool:
    """Whether a night has an event of the task, by its manifest."""
    return not task.kinds.isdisjoint(event_counts)


@dataclass(frozen=True, eq=False)
class EventWindows:
    """Where windows lie that hold an event: of each task as often, of each of its classes as often, of each event.

    Attributes:
      share: of all windows that are placed so.
      epochs: the length of a window.
      places: of each task, of each of its classes that there is, (n, 2) int32: an event's night, the epoch of its
        middle.
      n_epochs: of each night of the folder.
    """

    share: float
    epochs: int
    places: tuple[tuple[np.ndarray, ...], ...]
    n_epochs: np.ndarray

    @classmethod
    def of(
        cls, folder: PreparedFolder, nights: Sequence[int], tasks: Sequence[Task], epochs: int, share: float
    ) -> EventWindows | None:
        """Those of the folder's `nights`; None where no event of `tasks` is."""
        found: dict[str, dict[int, list[tuple[int, int]]]] = {task.name: {} for task in tasks}
        for night in nights:
            entry = folder.manifest.nights[night]
            own = [task for task in tasks if _counted(task, entry.event_counts) and task.was_scored(entry.scored)]
            for event in folder.events(night) if own else ():
                middle = int((event.onset_s + event.end_s) / 2 // EPOCH_S)
                place = night, min(max(middle, 0), entry.n_epochs - 1)
                for task in own:
                    if number := task.class_of(event.kind):
                        found[task.name].setdefault(number, []).append(place)
        places = tuple(
            tuple(np.array(of_class[number], np.int32) for number in sorted(of_class))
            for of_class in found.values()
            if of_class
        )
        n_epochs = np.array([entry.n_epochs for entry in folder.manifest.nights], np.int32)
        return cls(share, epochs, places, n_epochs) if places else None

    def draw(self, rng: np.random.Generator) -> tuple[int, int] | None:
        """A night and the first epoch of a window in which a random event lies anywhere; None if it is to lie as usual.

        At the night's ends the window stays within it.
        """
        if rng.random() >= self.share:
            return None
        of_task = self.places[rng.integers(len(self.places))]
        of_class = of_task[rng.integers(len(of_task))]
        night, epoch = of_class[rng.integers(len(of_class))].tolist()
        start = epoch - int(rng.integers(self.epochs))
        return night, min(max(start, 0), max(int(self.n_epochs[night]) - self.epochs, 0))
