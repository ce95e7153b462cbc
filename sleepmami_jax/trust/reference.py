"""What a model knows of the nights that it learned from: what is usual, and how often it is wrong where it is not.

It travels with the model (`config.json`), so that one recording can be held against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from data_pipeline.modalities import Modality
from sleepmami_jax.trust.looks import Look, names

FURTHEST = 8.0
"""Standard deviations beyond which a number is as far off as it can be."""
LEAST_SD = 0.2
"""Of the numbers of a look, decimal logarithms or shares: a factor of 1.6, a heart that is heard in a leg."""


UNKNOWN_SD = 1e6


@dataclass(frozen=True)
class Usual:
    """Numbers as they are in the nights that a model learned from.

    Attributes:
      mean, sd: of each number.
      far: distance (see `distance`) that one in twenty of those nights exceeds.
    """

    mean: tuple[float, ...]
    sd: tuple[float, ...]
    far: float

    def __post_init__(self) -> None:
        if not len(self.mean) == len(self.sd) or not all(sd > 0 for sd in self.sd) or not self.far > 0:
            raise ValueError(f"{len(self.mean)} means, {len(self.sd)} sd, far {self.far}; expected as many, above 0")

    def z(self, x: np.ndarray) -> np.ndarray:
        """(..., F) -> (..., F) standard deviations from the mean, at most `FURTHEST`; NaN where x is."""
        return np.clip((x - np.array(self.mean)) / np.array(self.sd), -FURTHEST, FURTHEST)

    def distance(self, x: np.ndarray) -> np.ndarray:
        """(..., F) -> (...) root mean square of `z` over the numbers that are known."""
        return np.sqrt(np.nanmean(np.square(self.z(x)), axis=-1))


def usual(x: np.ndarray, least_sd: float) -> Usual:
    """What is usual among (n, F) numbers; those that are not known are NaN, and of what nobody knows all is usual."""
    known = np.isfinite(x)
    n = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, x, 0).sum(axis=0) / n
    sd = np.sqrt(np.where(known, np.square(x - mean), 0).sum(axis=0) / n)
    sd = np.where(known.any(axis=0), np.maximum(sd, least_sd), UNKNOWN_SD)
    rough = Usual(_short(mean), _short(sd), 1.0)
    return Usual(rough.mean, rough.sd, float(f"{max(np.percentile(rough.distance(x), 95), 1.0):.4g}"))


def _short(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.4g}") for value in values)


@dataclass(frozen=True)
class Risk:
    """The chance that something is wrong, by measures of it: `1 / (1 + exp(-(bias + weights . x)))`.

    Attributes:
      measures: names of the x, each at least 0 and the larger the worse.
      weights: at least 0 each.
      usual: of each measure, what one in twenty of the cases that were right exceeds.
      bias: log odds where all measures are 0.
      cases, wrong: what it was fitted on, and how many of these were wrong.
    """

    measures: tuple[str, ...]
    weights: tuple[float, ...]
    usual: tuple[float, ...]
    bias: float
    cases: int
    wrong: int

    def __post_init__(self) -> None:
        n = len(self.measures)
        if not n == len(self.weights) == len(self.usual) or not all(weight >= 0 for weight in self.weights):
            raise ValueError(f"weights {self.weights} of {n} measures; expected one of each, at least 0")

    def parts(self, x: Mapping[str, np.ndarray | float]) -> np.ndarray:
        """(..., measures) what each adds to the log odds."""
        return np.stack(
            [w * np.asarray(x[name], float) for name, w in zip(self.measures, self.weights, strict=True)], -1
        )

    def __call__(self, x: Mapping[str, np.ndarray | float]) -> np.ndarray:
        """The chance, shaped as the measures are."""
        return 1 / (1 + np.exp(-(self.bias + self.parts(x).sum(-1))))


@dataclass(frozen=True)
class Reference:
    """All of it.

    Attributes:
      looks: by modality, of `Look.shape`.
      levels: by modality, of `Look.level` alone.
      tokens: by modality, of the mean micro token of an epoch.
      temperature: by name of the task, what logits are divided by to be probabilities.
      epoch, epoch_astray: the chance that an epoch's stage is wrong, by `measures.of_epochs`, in a night whose stages
        are right on the whole, and in one whose stages are wrong.
      night: by name of the task, the chance that what is said of the night is wrong, by `measures.of_night`.
      never: stages that no training night had, so that the model cannot find them.
      nights: how many stand behind it; `shifted`: and how many on which something was put wrong on purpose.
    """

    looks: dict[str, Usual]
    levels: dict[str, Usual]
    tokens: dict[str, Usual]
    temperature: dict[str, float]
    epoch: Risk
    epoch_astray: Risk
    night: dict[str, Risk]
    never: tuple[str, ...]
    nights: int
    shifted: int

    def __post_init__(self) -> None:
        for kind, known in self.looks.items():
            if len(known.mean) != len(names(Modality(kind))):
                raise ValueError(
                    f"looks of {kind} have {len(known.mean)} numbers; expected {len(names(Modality(kind)))}"
                )
        if wrong := [name for name, t in self.temperature.items() if not 0.05 <= t <= 20]:
            raise ValueError(f"temperature of {wrong[0]} {self.temperature[wrong[0]]}; expected 0.05 to 20")

    def joined_by(self, later: Reference) -> Reference:
        """The same, and of tasks that it knows nothing of what a later one knows."""
        more = {name: getattr(later, name) | getattr(self, name) for name in ("temperature", "night")}
        return replace(self, **more)

    def distance(self, look: Look, as_a: Modality | None = None) -> float | None:
        """How far a channel looks from those of a kind, its own unless `as_a` is given; None for an unknown kind."""
        known = self.looks.get(as_a or look.modality)
        if known is None or len(known.mean) != len(look.shape):
            return None
        return float(known.distance(look.shape))
