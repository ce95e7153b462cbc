"""Nights that people and a model have scored, made in memory: no model, and what is wrong is known."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np

from data_pipeline.modalities import MODALITY_OF
from data_pipeline.night import EPOCH_S, Channel, Demographics, Event, EventKind, Night
from data_pipeline.tasks import AROUSAL, BREATHING, STAGES
from sleepmami_jax.evaluation.nights import ScoredNight
from sleepmami_jax.scoring.prediction import Prediction
from tests.support.signals import samples_of

TASKS = (STAGES, BREATHING, AROUSAL)
MODEL = SimpleNamespace(folder=SimpleNamespace(tasks=TASKS), thresholds={"breathing": 0.5, "arousal": 0.5})
"""What `evaluation.measures` asks of a model."""
SCORED = ("stages", "hypopnea", "apnea", "arousal")
SLOTS = ("C4", "ECG", "THORAX")
_PERIOD = np.array([0, 2, 2, 3, 4], np.int8)
_PERIOD_S = len(_PERIOD) * EPOCH_S


def scored_night(place: int, *, wrong: int = 4, late_s: int = 0, n_epochs: int = 40, site: str = "here") -> ScoredNight:
    """Night `place`, with so many hypopneas and arousals, all in sleep; the model takes `wrong` epochs of it for N1.

    Every event of the model is `late_s` late. People are of two nights each; every second one is a man.
    """
    stages = np.tile(_PERIOD, n_epochs // len(_PERIOD))
    said = stages.copy()
    said[np.flatnonzero(stages)[:wrong]] = 1
    starts_s = [_PERIOD_S * (k // 2) for k in range(place)]
    hypopneas = [Event(EventKind.HYPOPNEA, s + (40.0, 70.0)[k % 2], 15.0) for k, s in enumerate(starts_s)]
    arousals = [Event(EventKind.AROUSAL, s + (105.0, 130.0)[k % 2], 5.0) for k, s in enumerate(starts_s)]
    probs = {"stages": np.where(np.eye(5, dtype=bool)[said], 0.8, 0.05).astype(np.float32)}
    for task, events in ((BREATHING, hypopneas), (AROUSAL, arousals)):
        of_task = np.zeros((n_epochs * EPOCH_S, 1 + len(task.events)), np.float32)
        of_task[:, 0] = 1
        for event in events:
            seconds = slice(int(event.onset_s) + late_s, int(event.end_s) + late_s)
            of_task[seconds, 0], of_task[seconds, task.class_of(event.kind)] = 0.1, 0.9
        probs[task.name] = of_task
    there = np.ones(n_epochs, bool)
    entry = SimpleNamespace(
        night_id=f"n{place}",
        subject_id=f"s{place // 2}",
        site=site,
        cohort="made",
        duration_s=n_epochs * EPOCH_S,
        demographics=Demographics(20.0 + 5 * place, "FM"[place // 2 % 2], 24.0),
        scored=SCORED,
        stage_codes=stages,
        channels=tuple(SimpleNamespace(modality=MODALITY_OF[slot], slot=slot) for slot in SLOTS),
    )
    prediction = Prediction(TASKS, probs, np.zeros(3, np.float32), there, dict.fromkeys(SLOTS, there))
    return ScoredNight(entry, (*hypopneas, *arousals), prediction, read=partial(_signals, place, stages))


def _signals(seed: int, stages: np.ndarray) -> Night:
    """An EEG that is slower the deeper the sleep, 60 beats and 15 breaths a minute."""
    rng, n = np.random.default_rng(seed), len(stages)
    good = np.zeros(n * EPOCH_S, np.uint8)
    channels = tuple(
        Channel(slot, MODALITY_OF[slot], samples_of(slot, n, rng, stages), good.copy(), slot, "made", 128.0)
        for slot in SLOTS
    )
    return Night(f"n{seed}", f"s{seed // 2}", "here", n * EPOCH_S, channels)
