"""Whether to believe what a model says of a night: one chance of being wrong a task, one an epoch, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data_pipeline.tasks import STAGES, Task
from sleepmami_jax.trust.fit import tempered
from sleepmami_jax.trust.looks import Look
from sleepmami_jax.trust.measures import chosen, of_epochs, of_night
from sleepmami_jax.trust.reasons import channel_reasons, measure_reasons, never_reasons
from sleepmami_jax.trust.reference import Reference

UNSURE = 0.5
"""Chance of being wrong from which on a result counts as unsure: more likely wrong than right."""


@dataclass(frozen=True)
class Reliability:
    """What can be said of how right a score is.

    Attributes:
      risk: by name of the task, the chance that what is said of this night is wrong: of stages that their kappa is
        below 0.6, of events that their index is far off (see `measures.WRONG_PER_H`), or the stages that it is by.
      epoch_risk: (E,) float32, the chance that the stage of an epoch is wrong; 1 where there is none.
      stage_probs: (E, 5) float32, calibrated.
      reasons: what is unusual, a sentence each; none where all is as in the nights that the model learned from.
    """

    risk: dict[str, float]
    epoch_risk: np.ndarray
    stage_probs: np.ndarray
    reasons: tuple[str, ...]

    @property
    def reliable(self) -> dict[str, bool]:
        """By name of the task: is it more likely right than wrong?"""
        return {name: risk < UNSURE for name, risk in self.risk.items()}

    @property
    def unsure(self) -> np.ndarray:
        """(E,) bool: epochs whose stage is more likely wrong than right, and those that have none."""
        return self.epoch_risk >= UNSURE


Tokens = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""By modality the mean micro token (E, D) of each epoch, and where there is one (E,) bool."""


def mean_tokens(x: np.ndarray, ok: np.ndarray, modality_of_token: np.ndarray, modalities: Iterable[str]) -> Tokens:
    """Micro tokens (E, L, D) and their mask (E, L) -> `Tokens`.

    Args:
      modality_of_token: (L,) place of each token's modality among `modalities`.
    """
    means = {}
    for place, name in enumerate(modalities):
        of_kind = modality_of_token == place
        there = ok[:, of_kind]
        if there.any():
            sums = np.einsum("eld,el->ed", x[:, of_kind], there.astype(x.dtype))
            means[str(name)] = sums / np.maximum(there.sum(axis=1), 1)[:, None], there.any(axis=1)
    return means


def judge_looks(
    reference: Reference,
    tasks: Sequence[Task],
    looks: Sequence[Look],
    tokens: Tokens,
    stage_probs: np.ndarray,
    scorable: np.ndarray,
) -> Reliability:
    """Holds a night against what a model knows.

    Args:
      tasks: what the model was trained for.
      looks: of the night's channels, see `looks.look`; those of side channels are not asked for.
      stage_probs: (E, 5), as the model says them; scorable: (E,) bool.
    """
    probs = tempered(stage_probs, reference.temperature.get(STAGES.name, 1.0))
    stages = np.where(scorable, probs.argmax(axis=1), -1)
    measures = of_night(reference, looks, tokens, probs, stages)
    risk: dict[str, float] = {}
    for task in (t for t in tasks if t.name in reference.night):
        own = float(reference.night[task.name](chosen(measures, task, risk.get(STAGES.name))))
        risk[task.name] = max(own, risk.get(STAGES.name, 0.0))  # an index is of an hour of sleep
    epochs, astray = of_epochs(reference, tokens, probs, stages), risk.get(STAGES.name, 0.0)
    wrong = (1 - astray) * reference.epoch(epochs) + astray * reference.epoch_astray(epochs)
    epoch_risk = np.where(scorable, wrong, 1.0).astype(np.float32)
    reasons = channel_reasons(reference, looks) + never_reasons(reference)
    if STAGES.name in reference.night:
        reasons += measure_reasons(reference.night[STAGES.name], measures)
    return Reliability(risk, epoch_risk, probs, reasons)
