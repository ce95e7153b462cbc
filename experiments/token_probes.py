"""What frozen features hold before any fine-tuning: linear probes of micro tokens and of night vectors.

A probe sees training people only, its penalty included, which is chosen by cross-validation with all nights of a
person in one fold. Seconds and epochs are drawn by a fixed seed, few enough for a probe to take seconds.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from data_pipeline.night import EPOCH_S, UNKNOWN_STAGE, Event
from data_pipeline.shards.manifest import NightEntry
from data_pipeline.tasks import AROUSAL, BREATHING, K_COMPLEX, SPINDLE, Task
from sleepmami_jax.config import DataConfig, DataSource, ModalitiesConfig
from sleepmami_jax.data.embeddings import EmbeddedFolder
from sleepmami_jax.data.frozen import embed_nights
from sleepmami_jax.data.labels import event_labels
from sleepmami_jax.data.source import chosen_nights
from sleepmami_jax.evaluation.baselines import majority_metrics
from sleepmami_jax.metrics.staging import staging_metrics
from sleepmami_jax.models.micro import layout
from sleepmami_jax.pretrained import Pretrained
from sleepmami_jax.run.progress import bars
from sleepmami_jax.tasks import breathing

from .night_probes import Facts

EVENTS = (
    BREATHING,
    AROUSAL,
    *(replace(task, rate_hz=1) for task in (SPINDLE, K_COMPLEX)),
)
"""What is looked for in the tokens of a second."""
TRAIN_EPOCHS, TRAIN_SECONDS, TEST_SECONDS = 3000, 5000, 30000
"""Drawn in all; training seconds of an event are half of them its own, where there are so many."""
FOLDS = 3
CS = (1e-4, 1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class TokenNight:
    """A prepared night whose micro tokens are kept; they are read when asked for."""

    folder: EmbeddedFolder
    night: int
    modalities: ModalitiesConfig

    @property
    def entry(self) -> NightEntry:
        return self.folder.prepared.manifest.nights[self.night]

    def events(self) -> tuple[Event, ...]:
        return self.folder.prepared.events(self.night)

    def tokens(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """For each modality its tokens (E, L, D) float32, 0 where there are none, and which are there (E, L)."""
        x, ok = self.folder.tokens(self.night)
        x = np.where(ok[..., None], x, 0).astype(np.float32)
        ends = np.cumsum(list(layout(self.modalities).tokens.values()))[:-1]
        return np.split(x, ends, axis=1), np.split(ok, ends, axis=1)

    def epoch_features(self) -> np.ndarray:
        """(E, M * D + M): the mean token of each modality, 0 where it is missing, and a flag that it is there."""
        parts, there = self.tokens()
        means = [x.sum(1) / np.maximum(ok.sum(1), 1)[:, None] for x, ok in zip(parts, there, strict=True)]
        return np.concatenate([*means, np.stack([ok.any(1) for ok in there], 1)], 1, dtype=np.float32)

    def second_features(self, seconds: np.ndarray) -> np.ndarray:
        """(n, M * D + M): of each modality the token that covers the second, as `epoch_features`."""
        parts, there = self.tokens()
        epoch, second = np.divmod(seconds, EPOCH_S)
        place = [second // token_s for token_s in layout(self.modalities).token_s.values()]
        found = [x[epoch, p] for x, p in zip(parts, place, strict=True)]
        flags = np.stack([ok[epoch, p] for ok, p in zip(there, place, strict=True)], 1)
        return np.concatenate([*found, flags], 1, dtype=np.float32)

    def statistics(self) -> np.ndarray:
        """(M * 2 * D,): mean and standard deviation of each modality's tokens over the night, 0 where missing."""
        columns = []
        for x, ok in zip(*self.tokens(), strict=True):
            there = x[ok]
            columns += [there.mean(0), there.std(0)] if len(there) else [np.zeros(x.shape[-1])] * 2
        return np.concatenate(columns)

    def facts(self) -> Facts:
        scored, ahi = self.entry.scored, None
        if BREATHING.was_scored(scored) and "stages" in scored:
            stages, room = self.entry.stage_codes, breathing.ROOM
            ahi = room.statistics({BREATHING.name: room.counted(self.events(), stages)}, stages)[room.index]
        return Facts(self.entry.subject_id, self.entry.demographics, ahi)


def token_nights(
    model: Pretrained,
    shards: Sequence[str | Path],
    *,
    split: str,
    embeddings: Path,
    nights: int | None = None,
) -> list[TokenNight]:
    """The nights of a split with their micro tokens, which are made if they are not in `embeddings`.

    With `nights` only the first so many of each folder.
    """
    config, params = model.folder.config, model.folder.params
    data = DataConfig(shards=tuple(DataSource(str(folder)) for folder in shards), split=split, nights=nights)
    folders = embed_nights(config, params, data, embeddings, bars(quiet=True))
    return [
        TokenNight(folder, night, config.modalities)
        for folder in folders
        for night in chosen_nights(folder.prepared.manifest, data)
    ]


def token_probe(train: Sequence[TokenNight], test: Sequence[TokenNight], *, seed: int = 0) -> dict[str, float | None]:
    """Stages from the mean tokens of an epoch, and events from the tokens of a second, by logistic regression.

    Args:
      train: nights to learn from.
      test: nights of other people.
      seed: of the draw of epochs and seconds.

    Returns:
      `stages_macro_f1`, `stages_kappa`, `stages_macro_f1_majority`, and for each of `EVENTS` that was scored on
      both sides its `_ap` (average precision), `_auroc` and `_prevalence` in the test seconds, which is what
      guessing has for average precision; None where it cannot be measured.
    """
    rng = np.random.default_rng(seed)
    result = _staging(train, test, rng)
    for task in EVENTS:
        result |= _event(task, train, test, rng)
    return result


def _staging(train, test, rng) -> dict[str, float | None]:
    train, test = ([n for n in side if "stages" in n.entry.scored] for side in (train, test))
    if not train or not test:
        return {}
    codes = [n.entry.stage_codes for n in train]
    rows = _draw([np.flatnonzero(c != UNKNOWN_STAGE) for c in codes], TRAIN_EPOCHS, rng)
    x = np.concatenate([n.epoch_features()[r] for n, r in zip(train, rows, strict=True)])
    y = np.concatenate([c[r] for c, r in zip(codes, rows, strict=True)])
    fitted = _fit(x, y, _subjects(train, rows), "f1_macro")
    wanted = [n.entry.stage_codes for n in test]
    guessed = majority_metrics(codes, wanted)["macro_f1"]
    if fitted is None:
        return {"stages_macro_f1": None, "stages_kappa": None, "stages_macro_f1_majority": guessed}
    metrics = staging_metrics(wanted, [fitted.predict(n.epoch_features()) for n in test])
    return {
        "stages_macro_f1": metrics["macro_f1"],
        "stages_kappa": metrics["kappa"],
        "stages_macro_f1_majority": guessed,
    }


def _event(task: Task, train, test, rng) -> dict[str, float | None]:
    name = task.name
    train, test = ([n for n in side if task.was_scored(n.entry.scored)] for side in (train, test))
    if not train or not test:
        return {}
    labels, wanted = ([event_seconds(n, task) for n in side] for side in (train, test))
    # Ranking does not depend on how many of either kind the probe learns from; rare events need the half.
    own = _draw([np.flatnonzero(y) for y in labels], TRAIN_SECONDS // 2, rng)
    others = _draw([np.flatnonzero(~y) for y in labels], TRAIN_SECONDS - sum(map(len, own)), rng)
    rows = [np.concatenate(pair) for pair in zip(own, others, strict=True)]
    x = np.concatenate([n.second_features(r) for n, r in zip(train, rows, strict=True)])
    y = np.concatenate([labels[i][r] for i, r in enumerate(rows)])
    test_rows = _draw([np.arange(len(y)) for y in wanted], TEST_SECONDS, rng)
    truth = np.concatenate([wanted[i][r] for i, r in enumerate(test_rows)])
    fitted = _fit(x, y, _subjects(train, rows), "average_precision") if len(set(truth)) == 2 else None
    if fitted is None:
        return {f"{name}_ap": None, f"{name}_auroc": None, f"{name}_prevalence": float(truth.mean())}
    score = np.concatenate(
        [fitted.decision_function(n.second_features(r)) for n, r in zip(test, test_rows, strict=True) if len(r)]
    )
    return {
        f"{name}_ap": float(average_precision_score(truth, score)),
        f"{name}_auroc": float(roc_auc_score(truth, score)),
        f"{name}_prevalence": float(truth.mean()),
    }


def event_seconds(night: TokenNight, task: Task) -> np.ndarray:
    """(30 E,) bool: seconds of any class of the task, as the labels of training have them."""
    n_seconds = night.entry.n_epochs * EPOCH_S
    return event_labels(night.events(), night.entry.scored, [task], 0.0, n_seconds)[task.name] > 0


def _draw(rows: list[np.ndarray], n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """At most `n` of all rows, without replacement: which of each night, ascending."""
    night = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    chosen = np.sort(rng.permutation(len(night))[:n])
    every = np.concatenate(rows)
    return [every[chosen[night[chosen] == i]] for i in range(len(rows))]


def _subjects(nights: Sequence[TokenNight], rows: list[np.ndarray]) -> np.ndarray:
    return np.repeat([n.entry.subject_id for n in nights], [len(r) for r in rows])


def _fit(x: np.ndarray, y: np.ndarray, subjects: np.ndarray, scoring: str):
    """Logistic regression with the penalty that `scoring` likes best.

    None with fewer than `FOLDS` people, or one class only in a fold.
    """
    if len(set(subjects)) < FOLDS or len(set(y)) < 2:
        return None
    folds = list(GroupKFold(FOLDS).split(x, y, subjects))
    if any(len(set(y[rows])) < 2 for rows, _ in folds):
        return None
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200, tol=1e-3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the weakest penalties come close enough
        return GridSearchCV(probe, {"logisticregression__C": CS}, scoring=scoring, cv=folds).fit(x, y)
