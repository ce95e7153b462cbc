"""What a laboratory measures of a night: the bank of numbers that a foundation model must be better than.

Statistics of sleep, indices of events, oximetry; spectra of the EEG and variability of the heart by stage. Stages and
events are a person's where somebody scored them, and the model's own otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from mne.preprocessing.ecg import qrs_detector
from scipy.signal import lombscargle, welch

from data_pipeline.modalities import Modality
from data_pipeline.night import EPOCH_S, STAGES, Channel, Night, Quality
from data_pipeline.population.spectrum import BANDS_HZ
from data_pipeline.tasks import BREATHING, TASKS
from sleepmami_jax.scoring.prediction import Prediction
from sleepmami_jax.tasks import counted_events, rooms_of
from sleepmami_jax.tasks.oximetry import (
    counted_desaturations,
    desaturations,
    hypoxic_burden,
    oximetry_statistics,
    valid_spo2,
)
from sleepmami_jax.tasks.rules import per_hour, sleep_minutes
from sleepmami_jax.tasks.stages import sleep_statistics

SEGMENT_S = 4
"""Of Welch's spectra: lines 0.25 Hz apart."""
SLOPE_HZ = (2.0, 30.0)
"""Over which the 1/f slope is fitted, without what the high-pass takes (our choice)."""
FEW_EPOCHS = 4
"""A spectrum of fewer epochs of a stage, two minutes, is not given (our choice)."""
INTERVAL_S, INTERVAL_STEP = (0.3, 2.0), 0.2
"""Between beats of a heart at 30 to 200 a minute; one that differs by more from the last is not normal (Malik)."""
WINDOW_S, WINDOW_BEATS = 300, 100
"""Of the short-term variability of the heart (Task Force of the ESC and NASPE 1996); how many beats it needs (ours)."""
LF_HZ, HF_HZ = (0.04, 0.15), (0.15, 0.4)
"""Task Force 1996."""
STATES = {"w": (0,), "nrem": (1, 2, 3), "rem": (4,)}
"""In which the heart is measured."""


def engineered(night: Night, prediction: Prediction | None, thresholds: Mapping[str, float]) -> dict[str, float]:
    """The bank of one night: finite numbers by name, those of which nothing can be known left out.

    Args:
      night: whole and in memory, with its scoring where there is one.
      prediction: the model's, None from a model that cannot score.
      thresholds: of that model.

    Raises:
      ValueError: nobody scored the night's stages, and the model cannot.
    """
    scored = night.scoring.scored if night.scoring else frozenset()
    if "stages" in scored:
        stages = night.scoring.stages
    elif prediction is not None:
        stages = prediction.stages
    else:
        raise ValueError(f"{night.night_id}: nobody scored its stages, and this model cannot; fine-tune it first")
    found = dict(sleep_statistics(stages)) | _events(night, stages, prediction, thresholds)
    asleep = stages[stages > 0]
    found["stage_shifts_per_h"] = per_hour(int((np.diff(asleep) != 0).sum()), sleep_minutes(stages))
    for channels, measure in ((Modality.EEG, _spectra), (Modality.ECG, _heart)):
        found |= measure([c for c in night.channels if c.modality is channels], stages)
    numbers = {name: float(v) for name, v in found.items() if isinstance(v, int | float | np.number)}
    return {name: value for name, value in numbers.items() if np.isfinite(value)}


def _events(night: Night, stages: np.ndarray, prediction: Prediction | None, thresholds: Mapping[str, float]) -> dict:
    """Statistics of every task of events that somebody, or the model, can tell of, and of the oximeter."""
    told = prediction.tasks if prediction is not None else ()
    rooms = rooms_of(tuple({task.name: task for task in (*TASKS, *told)}.values()))
    modelled = [r for r in rooms if r.task in told and r.task.name not in prediction.unavailable]
    counted, found = {}, {}
    for room in rooms:
        if night.scoring is not None and room.task.was_scored(night.scoring.scored):
            counted[room.task.name] = room.counted(night.scoring.events, stages)
        elif room in modelled:
            counted[room.task.name] = counted_events(room, modelled, prediction.probs, thresholds, stages)
    for room in rooms:
        if room.task.name in counted:
            found |= room.statistics(counted, stages)
    for channel in (c for c in night.channels if c.modality is Modality.SPO2):
        spo2 = valid_spo2(channel)
        found |= oximetry_statistics(spo2, counted_desaturations(desaturations(spo2), stages), stages)
        if BREATHING.name in counted:
            found["hypoxic_burden_pct_min_per_h"] = hypoxic_burden(
                spo2, counted[BREATHING.name], sleep_minutes(stages)
            )[0]
    return found


def _spectra(channels: list[Channel], stages: np.ndarray) -> dict[str, float]:
    """log10 power in uV^2 of the usual bands, and the 1/f slope, by stage: of the median spectrum, mean of channels."""
    of_stage: dict[str, list[np.ndarray]] = {}
    for channel in channels:
        rate, n = channel.rate_hz, len(stages)
        good = (channel.quality[: n * EPOCH_S] == Quality.GOOD).reshape(n, EPOCH_S).all(1)
        for code, stage in enumerate(STAGES):
            epochs = np.flatnonzero(good & (stages == code))
            if len(epochs) >= FEW_EPOCHS:
                samples = channel.samples[: n * EPOCH_S * rate].reshape(n, -1)[epochs].astype(np.float64)
                hz, power = welch(samples, rate, nperseg=SEGMENT_S * rate)
                measured = _bands_and_slope(hz, np.median(power, axis=0))
                of_stage.setdefault(stage, []).append(measured)
    names = [*(f"eeg_{band}_log" for band in BANDS_HZ), "eeg_slope"]
    return {
        f"{name}_{stage.lower()}": value
        for stage, measured in of_stage.items()
        for name, value in zip(names, np.mean(measured, axis=0), strict=True)
    }


def _bands_and_slope(hz: np.ndarray, power: np.ndarray) -> np.ndarray:
    power = np.maximum(power, np.finfo(np.float32).tiny)
    bands = [np.log10(power[(hz >= low) & (hz < high)].sum() * (hz[1] - hz[0])) for low, high in BANDS_HZ.values()]
    fitted = (hz >= SLOPE_HZ[0]) & (hz <= SLOPE_HZ[1])
    return np.array([*bands, np.polyfit(np.log10(hz[fitted]), np.log10(power[fitted]), 1)[0]])


def _heart(channels: list[Channel], stages: np.ndarray) -> dict[str, float]:
    """Rate and short-term variability of the heart, by state: means over windows of five minutes."""
    found: dict[str, list[dict[str, float]]] = {state: [] for state in STATES}
    for channel in channels:
        for start_s, beats_s, normal in _windows(channel):
            codes, counts = np.unique(stages[start_s // EPOCH_S :][: WINDOW_S // EPOCH_S], return_counts=True)
            most = codes[counts.argmax()] if len(codes) else -1
            for state in (name for name, members in STATES.items() if most in members):
                found[state].append(_variability(beats_s, normal))
    return {
        f"{name}_{state}": float(np.mean([window[name] for window in windows]))
        for state, windows in found.items()
        for name in (windows[0] if windows else ())
    }


def _windows(channel: Channel) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(start in s, times of beats in s, which intervals between them are normal) of windows with beats enough."""
    rate = channel.rate_hz
    if len(channel.samples) < WINDOW_S * rate or not (channel.quality == Quality.GOOD).any():
        return
    beats_s = np.asarray(qrs_detector(rate, channel.samples.astype(np.float64), verbose=False)) / rate
    beats_s = beats_s[channel.quality[np.minimum(beats_s.astype(int), len(channel.quality) - 1)] == Quality.GOOD]
    for start_s in range(0, len(channel.quality) - WINDOW_S + 1, WINDOW_S):
        own = beats_s[(beats_s >= start_s) & (beats_s < start_s + WINDOW_S)]
        interval = np.diff(own)
        steady = np.abs(np.diff(interval, prepend=interval[:1])) <= INTERVAL_STEP * interval
        normal = (interval > INTERVAL_S[0]) & (interval < INTERVAL_S[1]) & steady
        if normal.sum() >= WINDOW_BEATS:
            yield start_s, own, normal


def _variability(beats_s: np.ndarray, normal: np.ndarray) -> dict[str, float]:
    """Task Force 1996, of the normal intervals of a window."""
    interval_ms = 1000 * np.diff(beats_s)
    change_ms = np.diff(interval_ms)[normal[1:] & normal[:-1]]
    nn = interval_ms[normal]
    hz = np.arange(LF_HZ[0], HF_HZ[1], 1 / WINDOW_S)
    power = lombscargle(beats_s[1:][normal], nn - nn.mean(), 2 * np.pi * hz)
    low = power[hz < LF_HZ[1]].sum()
    return {
        "heart_per_min": 60000 / nn.mean(),
        "sdnn_log": np.log10(max(nn.std(), 1.0)),
        "rmssd_log": np.log10(max(np.sqrt(np.mean(change_ms**2)), 1.0)) if len(change_ms) else 0.0,
        "pnn50": float((np.abs(change_ms) > 50).mean()) if len(change_ms) else 0.0,
        "lf_share": float(low / power.sum()) if power.sum() > 0 else 0.5,
    }
