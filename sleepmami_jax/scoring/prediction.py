"""What the model says about a night (`Prediction`), and what scoring makes of it (`Scores`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data_pipeline.night import EPOCH_S, STAGES, Event, Modality

RESPIRATORY_CLASSES = ("none", "hypopnea", "apnea")
"""Columns of `Prediction.respiratory_probs`."""


@dataclass(frozen=True)
class Prediction:
    """The model's outputs for one night of E epochs and S = 30 E seconds.

    Attributes:
      stage_probs: (E, 5) float32 over `STAGES`; rows of scorable epochs sum to 1.
      respiratory_probs: (S, 3) float32 over `RESPIRATORY_CLASSES`, one row a second.
      arousal_probs: (S,) float32, one value a second.
      night_vector: (D,) float32 embedding of the whole night.
      scorable: (E,) bool, epochs with any usable signal.
      missing: modalities that this night does not have.

    Raises:
      ValueError: an array has another shape than this, or values that are no probabilities.
    """

    stage_probs: np.ndarray
    respiratory_probs: np.ndarray
    arousal_probs: np.ndarray
    night_vector: np.ndarray
    scorable: np.ndarray
    missing: tuple[str, ...] = ()

    def __post_init__(self):
        n_epochs = len(self.stage_probs)
        seconds = n_epochs * EPOCH_S
        shapes = {
            "stage_probs": (n_epochs, len(STAGES)),
            "respiratory_probs": (seconds, len(RESPIRATORY_CLASSES)),
            "arousal_probs": (seconds,),
            "scorable": (n_epochs,),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise ValueError(f"Prediction.{name} has shape {array.shape}; {n_epochs} epochs need {shape}")
            if name != "scorable" and not ((array >= 0) & (array <= 1 + 1e-4)).all():
                raise ValueError(f"Prediction.{name} has values outside 0..1 or NaN; pass probabilities")
        unknown = set(self.missing) - set(Modality)
        if unknown:
            raise ValueError(f"Prediction.missing names {sorted(unknown)}; expected some of {list(Modality)}")

    @property
    def unavailable(self) -> dict[str, str]:
        """Tasks that this night's sensors do not allow, each with the reason; never to be reported as
        zero."""
        missing = set(self.missing)
        reasons = {}
        if {Modality.RESP, Modality.SPO2} <= missing:
            reasons["breathing"] = "no breathing sensor (RESP) and no oximeter (SPO2)"
        if Modality.EEG in missing:
            reasons["arousal"] = "no EEG"
        if Modality.SPO2 in missing:
            reasons["oximetry"] = "no oximeter (SPO2)"
        return reasons


@dataclass(frozen=True)
class Thresholds:
    """Probabilities above which a second belongs to an event; fitted on validation nights, kept with the
    model."""

    respiratory: float
    arousal: float

    def __post_init__(self):
        for name in ("respiratory", "arousal"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"threshold {name} is {getattr(self, name)}; expected 0 <= threshold < 1")


@dataclass(frozen=True)
class Scores:
    """A scored night: everything that the report, the tables and the annotation file say.

    Attributes:
      stages: (E,) int8 codes of `STAGES`, -1 where nothing could be scored.
      stage_probs: (E, 5) float32 over `STAGES`.
      events: events that count, sorted by onset: breathing events, arousals and desaturations.
      confidences: for each event its mean probability; None for a desaturation, which is measured.
      links: for each event the places in `events` of the events that go with it (event -> arousal and
        desaturation, and back).
      statistics: flat, finite numbers, words or None; keys end in their units.
      rules: how the statistics are defined, sentence by sentence.
      agreement: with the human scoring, by task; empty when nobody scored this night.
      unavailable: tasks this night's sensors do not allow, with the reason.
      missing: modalities this night does not have.
      warnings: one sentence each.
      model_card: facts about the model that scored it.
    """

    stages: np.ndarray
    stage_probs: np.ndarray
    events: tuple[Event, ...]
    confidences: tuple[float | None, ...]
    links: tuple[tuple[int, ...], ...]
    statistics: dict[str, Any]
    rules: dict[str, str]
    agreement: dict[str, dict[str, Any]]
    unavailable: dict[str, str]
    missing: tuple[str, ...]
    warnings: tuple[str, ...]
    model_card: dict[str, Any] = field(default_factory=dict)
