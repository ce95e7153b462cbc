"""What a straight line reads from the micro tokens of an epoch, and what is left of it and of the heads with less.

Less is fewer sensors, the four sets of OSF (arXiv 2603.00190), noise, and sensors that fall off. Stages and events
have people's labels; heart rate and breathing rate label themselves, from the ECG and the belts. The probe is ridge
regression on the mean token of each modality, its penalty chosen by leaving out (Golub et al. 1979): what is measured
is how plainly the encoder says a thing, not how well a network could dig it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from scipy.signal import butter, find_peaks, sosfiltfilt
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from data_pipeline.modalities import Modality
from data_pipeline.night import BREATHING_EVENTS, EPOCH_S, STAGES, Event, EventKind, Night
from sleepmami_jax.evaluation.measures import measure_tasks
from sleepmami_jax.evaluation.nights import ScoredNight
from sleepmami_jax.metrics.events import seconds_of
from sleepmami_jax.metrics.people import intervals
from sleepmami_jax.pretrained import Pretrained
from sleepmami_jax.run.progress import Progress
from sleepmami_jax.trust.judge import Tokens
from sleepmami_jax.trust.shifts import SHIFTS, Shift

EEG, EOG, EMG, ECG, RESP, SPO2 = (Modality[name] for name in ("EEG", "EOG", "EMG", "ECG", "RESP", "SPO2"))
SENSORS = {
    "all sensors": (EEG, EOG, EMG, ECG, RESP, SPO2),
    "brain only": (EEG, EOG),
    "breathing and ECG": (RESP, SPO2, ECG),
    "brain and ECG": (EEG, EOG, ECG),
    "breathing only": (RESP, SPO2),
}
"""OSF's sets (its table of missing channels); what it has no channel for, SpO2, goes with breathing."""
FAULTS = (
    "EEG with noise of 1 times its spread",
    "breathing with noise of 1 times its spread",
    "EEG still in the second half",
    "breathing still in the second half",
    "SpO2 stuck for the second half",
)
"""Noise and detachment, of `trust.shifts.SHIFTS`: the probes are those of nights without."""
TRAIN_NIGHTS, TRAIN_EPOCHS = 20, 6000
"""A line of a few hundred numbers a modality is known from so many epochs (our choice)."""
PENALTIES = np.logspace(0, 6, 13)
RATES = {
    "heart_per_min": (ECG, (8.0, 24.0), 0.33, (30.0, 180.0)),
    "breathing_per_min": (RESP, (0.1, 0.7), 1.5, (6.0, 40.0)),
}
"""Of which modality; the band of a QRS, and of breath; seconds that two are apart at least; what is such a rate."""
FEWEST_CRESTS = 3
EVENTS = {"arousal": frozenset({EventKind.AROUSAL}), "breathing": BREATHING_EVENTS}


def rates(night: Night) -> dict[str, np.ndarray]:
    """By name of the rate (E,) beats or breaths a minute of each epoch, NaN where they cannot be counted.

    Of the ECG what rises most in the band of the QRS; of the first breathing channel each breath.
    """
    told = {name: np.full(night.n_epochs, np.nan) for name in RATES}
    for name, (modality, band_hz, apart_s, limits) in RATES.items():
        channel = next((c for c in night.channels if c.modality is modality), None)
        if channel is not None:
            sos = butter(2, band_hz, "bandpass", fs=channel.rate_hz, output="sos")
            x = sosfiltfilt(sos, np.nan_to_num(channel.samples))
            x = np.abs(x) if modality is ECG else x  # a QRS may point either way
            good = (channel.quality[: night.n_epochs * EPOCH_S] == 0).reshape(-1, EPOCH_S).all(axis=1)
            per_min = _per_min(x, channel.rate_hz, night.n_epochs, apart_s)
            is_one = (per_min >= limits[0]) & (per_min <= limits[1])
            told[name] = np.where(good & is_one, per_min, np.nan)
    return told


def _per_min(x: np.ndarray, rate_hz: int, n_epochs: int, apart_s: float) -> np.ndarray:
    """(n_epochs,) 60 over the median seconds between crests, which rise above half of what an epoch nearly reaches."""
    told, size = np.full(n_epochs, np.nan), EPOCH_S * rate_hz
    for epoch in range(n_epochs):
        piece = x[epoch * size : (epoch + 1) * size]
        crests, _ = find_peaks(piece, height=0.5 * np.percentile(piece, 98), distance=max(1, round(apart_s * rate_hz)))
        if len(crests) >= FEWEST_CRESTS:
            told[epoch] = 60 * rate_hz / float(np.median(np.diff(crests)))
    return told


def labels_of(night: ScoredNight, signals: Night) -> dict[str, np.ndarray]:
    """By name (E,) float labels of epochs, NaN where unknown: a stage's code, whether there is an event, the rates.

    An epoch has an event of which any part lies in it, as OSF labels them.
    """
    n = signals.n_epochs
    labels = {"stages": np.full(n, np.nan)} | {name: np.full(n, np.nan) for name in EVENTS}
    stages = night.human_stages
    if "stages" in night.entry.scored:
        labels["stages"] = np.where(stages >= 0, stages, np.nan)
    for name, kinds in EVENTS.items():
        if kinds & set(night.entry.scored):
            there = _touched([e for e in night.events if e.kind in kinds], n)
            labels[name] = np.where(stages >= 0, there, np.nan)
    return labels | rates(signals)


def _touched(events: Sequence[Event], n_epochs: int) -> np.ndarray:
    there = np.zeros(n_epochs)
    for event in events:
        seconds = seconds_of(event)
        there[seconds.start // EPOCH_S : (seconds.stop - 1) // EPOCH_S + 1] = 1
    return there


class EpochProbe:
    """Lines from the features of epochs to every label that has more than one value; of stages, one line each."""

    def __init__(self, x: np.ndarray, labels: Mapping[str, np.ndarray]):
        self.scaler, self.lines, self.means = StandardScaler().fit(x), {}, {}
        x = self.scaler.transform(x)
        for name, y in labels.items():
            there = np.isfinite(y)
            if len(np.unique(y[there])) > 1:
                wanted = np.eye(len(STAGES))[y[there].astype(int)] if name == "stages" else y[there]
                self.lines[name] = RidgeCV(PENALTIES).fit(x[there], wanted)
                self.means[name] = float(y[there].mean())

    def measured(self, x: np.ndarray, labels: Mapping[str, np.ndarray], nights: np.ndarray, people: Sequence[str]):
        """Figures of epochs of other people; `nights` is the place of each epoch's night among `people`."""
        x, told = self.scaler.transform(x), {}
        for name, line in self.lines.items():
            there = np.isfinite(labels[name])
            y, said = labels[name][there], line.predict(x[there]) if there.any() else np.empty(0)
            if name not in RATES:
                told[f"{name}_auroc"] = _auroc(y, said)
                continue
            own = np.arange(len(people)) == nights[there][:, None]
            errors = {"mae": np.abs(said - y), "mae_mean": np.abs(self.means[name] - y)}
            for key, error in errors.items() if len(y) else ():
                rows = np.column_stack([error @ own, own.sum(axis=0)])
                limits = intervals(rows, people, lambda sums: {"mae": sums[..., 0] / sums[..., 1]})
                told[f"{name}_{key}"] = {"value": float(error.mean()), "interval": limits.get("mae")}
        return told


def _auroc(y: np.ndarray, said: np.ndarray) -> float | None:
    """Of a yes or no; of stages the mean of each that some epochs have and some have not against the rest."""
    is_stages = said.ndim == 2
    sides = [(y == code, said[:, code]) for code in range(len(STAGES))] if is_stages else [(y == 1, said)]
    each = [roc_auc_score(yes, score) for yes, score in sides if len(yes) and 0 < yes.mean() < 1]
    return float(np.mean(each)) if each else None


def measure_probes(
    model: Pretrained, train: Sequence[ScoredNight], test: Sequence[ScoredNight], progress: Progress
) -> list[dict[str, Any]]:
    """A row for each set of sensors and each fault: `condition`, `heads` and `probes`; none without training nights.

    `heads` has kappa and F1 of the model's own tasks. `probes` has, of nights of other people than those it was fitted
    on, `<label>_auroc` of stages (mean of one against the rest), arousals and breathing events, and of either rate its
    mean error with an interval, `<rate>_mae`, beside that of always saying the training mean, `<rate>_mae_mean`. The
    probe of fewer sensors is fitted with these alone, that of a fault on nights without.
    """
    train = train[:: max(1, len(train) // TRAIN_NIGHTS)][:TRAIN_NIGHTS]
    kinds = {channel.modality for night in test for channel in night.entry.channels}
    sets = {name: kept for name, kept in SENSORS.items() if set(kept) & kinds}
    by_name = {shift.name: shift for shift in SHIFTS}
    faults = [by_name[name] for name in FAULTS if set(by_name[name].needs) <= kinds]
    if not train or not sets:
        return []
    tick = progress("probes", len(sets) * len(train) + (len(sets) + len(faults)) * len(test))
    labels = {id(night): labels_of(night, night.read()) for night in (*train, *test)}
    rows, whole = [], None
    for name, kept in sets.items():
        change = partial(_with_only, kept=kept)
        x, y, *_ = _heard(model, train, change, labels, tick)
        heard = _heard(model, test, change, labels, tick)
        if not len(x) or not len(heard[0]):
            continue  # no night of one side has these sensors
        step = max(1, len(x) // TRAIN_EPOCHS)
        probe = EpochProbe(x[::step], {label: values[::step] for label, values in y.items()})
        whole = whole or probe
        rows.append(_row(model, name, probe, heard))
    for shift in faults if whole is not None else ():
        rows.append(
            _row(model, shift.name, whole, _heard(model, test, partial(_with_fault, shift=shift), labels, tick))
        )
    return rows


def _row(model: Pretrained, condition: str, probe: EpochProbe, heard: tuple) -> dict[str, Any]:
    x, labels, places, nights = heard
    heads = {}
    for task, metrics in measure_tasks(model, nights).items():
        name = "kappa" if task == "stages" else "f1"
        heads[f"{task}_{name}"] = {"value": metrics[name], "interval": metrics["interval"].get(name)}
    people = [night.entry.subject_id for night in nights]
    return {"condition": condition, "heads": heads, "probes": probe.measured(x, labels, places, people)}


def _heard(
    model: Pretrained, nights: Sequence[ScoredNight], change: Callable[[Night], Night], labels: Mapping, tick: Callable
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray, list[ScoredNight]]:
    """Features (epochs, F) of all changed nights, their labels, whose they are, and the nights as the model reads them.

    Features are the mean token of each modality, and whether it is there. Epochs in which nothing was heard are out.
    """
    told, there, places, read = [], [], [], []
    for place, night in enumerate(nights):
        prediction, tokens = model.listen(change(night.read()))
        told.append(tokens)
        there.append(prediction.scorable)
        places.append(np.full(len(prediction.scorable), place))
        read.append(replace(night, prediction=prediction, reliability=None))
        tick()
    heard = np.concatenate(there)
    width = next((x.shape[1] for tokens in told for x, _ in tokens.values()), 0)
    x = np.concatenate([_features(t, model, len(ok), width) for t, ok in zip(told, there, strict=True)])
    y = {name: np.concatenate([labels[id(night)][name] for night in nights])[heard] for name in labels[id(nights[0])]}
    return x[heard], y, np.concatenate(places)[heard], read


def _features(tokens: Tokens, model: Pretrained, n_epochs: int, width: int) -> np.ndarray:
    parts = []
    for modality in model.slots:
        x, there = tokens.get(modality, (np.zeros((n_epochs, width)), np.zeros(n_epochs, bool)))
        parts.append(np.column_stack([np.where(there[:, None], x, 0), there]))
    return np.concatenate(parts, axis=1, dtype=np.float64)


def _with_only(night: Night, kept: Sequence[Modality]) -> Night:
    return replace(night, channels=tuple(channel for channel in night.channels if channel.modality in kept))


def _with_fault(night: Night, shift: Shift) -> Night:
    """The night with a fault, the same each time; one that lacks the sensor is as it is."""
    return shift.apply(night, np.random.default_rng(0)) if shift.fits(night) else night
