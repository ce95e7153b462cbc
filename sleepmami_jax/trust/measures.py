"""A night, and what a model said of it, as numbers that are 0 where all is as usual and the larger the worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from data_pipeline.modalities import MODALITY_OF, Modality
from data_pipeline.night import STAGES
from data_pipeline.tasks import Task, TaskKind
from sleepmami_jax.trust.looks import Look
from sleepmami_jax.trust.reference import Reference

ALLOWED = 1.5
"""Times the distance that one in twenty training nights exceeds: people differ more than those who made a training set
could think of (assumed; EEG of the five people that we could look at lay up to 1.4 times that)."""
LEAST_PROBABILITY = 1e-4
NEIGHBOURS = 2
"""Epochs on either side of one that may agree with it."""
FEWEST_TO_SEPARATE = 20
"""Epochs without which it cannot be told whether stages differ in their spectra."""


STAGING = ("EEG", "EOG", "EMG")
"""What stages are told from (AASM manual)."""
OF_STAGES = (
    *(f"{kind} unlike" for kind in STAGING),
    *(f"{kind} tokens unlike" for kind in STAGING[:2]),
    "EEG absent",
    "unsure",
    "alike",
    "repeated",
    "one stage",
    "restless",
    "not scored",
)
OF_EPOCHS = ("doubt", "unlike", "alone")
KAPPA_WRONG = 0.6
"""A hypnogram below it is called wrong: two people reach 0.76 (Lee et al. 2022)."""
WRONG_PER_H, WRONG_SHARE = 5.0, 0.5
"""An index is called wrong that is off by more than 5 an hour and by more than half of itself: 5 an hour lie between
two severities of apnea."""


def chosen(measures: Mapping[str, float], task: Task, stages_risk: float | None) -> dict[str, float]:
    """Of `of_night` those that matter for a task; for one of events also how probable it is that stages are wrong."""
    if task.kind is TaskKind.STAGES:
        return {name: measures.get(name, 0.0) for name in OF_STAGES}
    kinds = dict.fromkeys(MODALITY_OF.get(need, need) for need in task.needs)
    sensors = [f"{kind}{what} unlike" for kind in kinds for what in ("", " tokens")]
    own = {name: measures.get(name, 0.0) for name in sensors}
    return own | {"stages": float(_odds(np.array(stages_risk or 0.0)))}


def check(reference: Reference, tasks: Sequence[Task], token_width: int) -> None:
    """Raises ValueError if a reference is not of these tasks, or of tokens (..., token_width)."""
    by_name = {task.name: task for task in tasks}
    for name, risk in reference.night.items():
        if name not in by_name or risk.measures != tuple(chosen({}, by_name[name], None)):
            raise ValueError(f"night.{name}: not of a task of the model, or of other measures")
    for where, risk in (("epoch", reference.epoch), ("epoch_astray", reference.epoch_astray)):
        if risk.measures != OF_EPOCHS:
            raise ValueError(f"{where}: of measures {risk.measures}; expected {OF_EPOCHS}")
    widths = {f"tokens.{kind}": (known, token_width) for kind, known in reference.tokens.items()}
    widths |= {f"levels.{kind}": (known, 1) for kind, known in reference.levels.items()}
    for where, (known, width) in widths.items():
        if len(known.mean) != width:
            raise ValueError(f"{where}: {len(known.mean)} numbers; expected {width}")


def index_is_wrong(said: float | None, truth: float | None) -> bool:
    """Whether an index is far from the truth, by `WRONG_PER_H` and `WRONG_SHARE`; also where only one exists."""
    if said is None or truth is None:
        return said is not truth
    return abs(said - truth) > max(WRONG_PER_H, WRONG_SHARE * truth)


def beyond(distance: float | np.ndarray | None, far: float) -> float | np.ndarray:
    """How far a distance exceeds what is usual, as a logarithm; 0 where it does not or is unknown."""
    if distance is None:
        return 0.0
    return np.log(np.maximum(np.nan_to_num(distance, nan=0.0), ALLOWED * far) / (ALLOWED * far))


def of_night(
    reference: Reference,
    looks: Sequence[Look],
    tokens: Mapping[str, tuple[np.ndarray, np.ndarray]],
    stage_probs: np.ndarray,
    stages: np.ndarray,
) -> dict[str, float]:
    """Measures of the whole night.

    Args:
      looks: of its channels.
      tokens: by modality the mean micro token (E, D) of each epoch, and where there is one (E,).
      stage_probs: (E, 5), calibrated.
      stages: (E,) codes, -1 where nothing could be scored.
    """
    measures: dict[str, float] = {}
    for kind, known in reference.looks.items():
        own = [reference.distance(look) for look in looks if look.modality == kind]
        measures[f"{kind} unlike"] = beyond(float(np.median(own)), known.far) if own else 0.0
        measures[f"{kind} absent"] = float(not own)
    for kind, known in reference.tokens.items():
        x, there = tokens.get(kind, (np.empty((0, 0)), np.zeros(0, bool)))
        measures[f"{kind} tokens unlike"] = (
            float(beyond(known.distance(x[there]), known.far).mean()) if there.any() else 0.0
        )
    scored = stages >= 0
    measures["unsure"] = float(1 - stage_probs[scored].max(axis=1).mean()) if scored.any() else 1.0
    measures["alike"] = _alike(looks, stages)
    measures["repeated"] = _repeated(looks)
    measures["one stage"] = _one_stage(stages[scored])
    measures["restless"] = _restless(stages[scored])
    measures["not scored"] = float(1 - scored.mean())
    return measures


def of_epochs(
    reference: Reference,
    tokens: Mapping[str, tuple[np.ndarray, np.ndarray]],
    stage_probs: np.ndarray,
    stages: np.ndarray,
) -> dict[str, np.ndarray]:
    """Measures (E,) of each epoch; arguments as in `of_night`."""
    unlike = np.zeros(len(stages))
    for kind, known in reference.tokens.items():
        if kind in tokens:
            x, there = tokens[kind]
            unlike[there] = np.maximum(unlike[there], beyond(known.distance(x[there]), known.far))
    agree = np.zeros(len(stages))
    for step in range(1, NEIGHBOURS + 1):
        for shifted in (np.roll(stages, step), np.roll(stages, -step)):
            agree += shifted == stages
    return {
        "doubt": _odds(1 - stage_probs.max(axis=1)),
        "unlike": unlike,
        "alone": 1 - agree / (2 * NEIGHBOURS),
    }


def _odds(p: np.ndarray) -> np.ndarray:
    """Log odds, above those of `LEAST_PROBABILITY`."""
    p = np.clip(p, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return np.log(p / (1 - p)) - np.log(LEAST_PROBABILITY / (1 - LEAST_PROBABILITY))


def _alike(looks: Sequence[Look], stages: np.ndarray) -> float:
    """How little of what varies in the EEG's spectra its stages explain, in the best channel; 1 is nothing."""
    best = None
    for look in looks:
        if look.modality == Modality.EEG and len(look.powers) == len(stages):
            known = np.isfinite(look.powers).all(axis=1) & (stages >= 0)
            powers, codes = look.powers[known], stages[known]
            if len(codes) < FEWEST_TO_SEPARATE:
                continue
            groups = [powers[codes == code] for code in range(len(STAGES)) if (codes == code).any()]
            within = sum(group.var(axis=0).sum() * len(group) for group in groups) / len(codes)
            explained = 1 - within / max(float(powers.var(axis=0).sum()), 1e-9)
            best = explained if best is None else max(best, explained)
    return 0.0 if best is None else float(1 - best) ** 4  # of a person's night a half or more is unexplained too


def _repeated(looks: Sequence[Look]) -> float:
    """Share of epochs that are another one over again."""
    shares = []
    for look in looks:
        powers = look.powers[np.isfinite(look.powers).all(axis=1)] if look.powers.size else look.powers
        if len(powers):
            shares.append(1 - len(np.unique(np.round(powers, 3), axis=0)) / len(powers))
    return float(min(shares, default=0.0))


def _one_stage(stages: np.ndarray) -> float:
    """How much of the night more than half is one stage, 0..1."""
    return (
        max(0.0, 2 * float(np.bincount(stages, minlength=len(STAGES)).max()) / len(stages) - 1) if len(stages) else 0.0
    )


def _restless(stages: np.ndarray) -> float:
    """Share of epochs that begin another stage."""
    return float((np.diff(stages) != 0).mean()) if len(stages) > 1 else 0.0
