"""What a run is validated on: its own loss, without what is done to training examples alone, on held-out nights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sleepmami_jax.config import Augmentation, ConfigError, DataConfig, Experiment, Finetuning, MicroPretraining
from sleepmami_jax.data.order import open_nights
from sleepmami_jax.data.source import with_nights

SEED = 0
"""Of the held-out batches and of what is drawn in their loss, whatever the run's own: runs are compared on the same."""


@dataclass(frozen=True)
class StageProbe:
    """What stages are read from by a linear probe, and of whom.

    Attributes:
      features: `Phase.loss` whose loss is 0 and whose metrics are of the global batch, the same on all devices:
        `features` (B, F) float32, `stage` (B,) and `night` (B,) int32 as in `data.batches`.
      people: (nights,) number of the person of each of `order.open_nights`.
    """

    features: Callable
    people: np.ndarray


@dataclass(frozen=True)
class HeldOut:
    """What the training loop needs to know to validate.

    Attributes:
      loss: as `Phase.loss`.
      batches: as `Phase.batches`.
      probe: None where there is nothing to probe, or nobody to probe it on.
    """

    loss: Callable
    batches: Any
    probe: StageProbe | None = None


def held_out(experiment: Experiment) -> Experiment:
    """The run as validation sees it. Masks, hidden modalities and views of pretraining are its task, and stay.

    Raises:
      ConfigError: no night is held out.
    """
    data = with_nights(replace(experiment.data, split="val", skip=0, nights=None, workers=0))
    if not data.shards:
        night = "scored night" if data.scored else "night"
        advice = "prepare nights of more people, or set it to null"
        raise ConfigError(f"no {night} of split 'val' in data.shards; {advice}", ("validation",))
    objective = experiment.objective
    match objective:
        case MicroPretraining():
            objective = replace(objective, augment=Augmentation())
        case Finetuning():
            objective = replace(objective, augment=Augmentation(), drop_modality=0.0, event_windows=0.0)
    return replace(experiment, objective=objective, data=data, seed=SEED)


def staged_people(data: DataConfig) -> np.ndarray | None:
    """`StageProbe.people`, or None where fewer than two have a night whose stages were scored."""
    nights = open_nights(data)
    staged = {n.subject_id for n in nights if n.split == data.split and "stages" in n.scored}
    if len(staged) < 2:
        return None
    return np.unique([night.subject_id for night in nights], return_inverse=True)[1]
