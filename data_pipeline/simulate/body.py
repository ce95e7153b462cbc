"""Muscles and heart."""

import numpy as np
from scipy import signal

from data_pipeline.night import BREATHING_EVENTS, EPOCH_S, EventKind
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W
from data_pipeline.simulate.person import Person
from data_pipeline.simulate.timing import TrueEvent

CHIN_UV = {W: 14.0, N1: 7.0, N2: 5.0, N3: 4.0, REM: 1.3}  # RMS 10–100 Hz; assumed
CHIN_LOG_SD = 0.25  # from epoch to epoch; assumed
TWITCHES_PER_MIN, TWITCH_S, TWITCH_UV = 2.5, (0.1, 0.5), (8.0, 35.0)  # in REM; assumed
AROUSAL_CHIN_GAIN = (3.0, 8.0)  # assumed, 3–10
AROUSAL_CHIN_SHARE_NREM = 0.6  # assumed; in REM the AASM rule demands it
LEG_REST_UV = 2.0  # RMS; assumed, 1–4

HEART_STAGE_BPM = {W: 0.0, N1: -2.0, N2: -4.0, N3: -3.5, REM: -2.0}  # assumed; small (Nano 2017)
HEART_NIGHT_BPM = -4.0  # fall to the middle of the night; assumed
RSA_SHARE = {W: 0.6, N1: 0.8, N2: 1.0, N3: 1.2, REM: 0.5}  # parasympathetic in NREM (Cabiddu 2012); assumed
MAYER_SHARE = {W: 1.0, N1: 0.8, N2: 0.7, N3: 0.4, REM: 1.3}  # 0.1 Hz; LF/HF high in REM; assumed
AROUSAL_BPM, LIMB_BPM = 11.0, 5.0  # peak 4–6 s after onset; assumed
APNEA_BPM, APNEA_END_BPM = -7.0, 12.0  # slowing during, rise after; assumed
ECG_WAVES = ((-0.17, 0.022, 0.12), (-0.028, 0.008, -0.1), (0.0, 0.01, 1.0), (0.03, 0.01, -0.2), (0.25, 0.045, 0.28))
"""(seconds from R, width in s, size against R) of P, Q, R, S and T in lead II; assumed."""


def make_chin(
    rng: np.random.Generator, stages: np.ndarray, events: list[TrueEvent], rate_hz: int, *, variety: float
) -> np.ndarray:
    """(n,) float32 µV chin EMG: tone by stage, atonia and twitches in REM, bursts with arousals."""
    tone = np.array([CHIN_UV[stage] for stage in range(5)])[stages]
    tone = tone * np.exp(CHIN_LOG_SD * rng.standard_normal(len(stages)))
    grid = 10  # envelope values a second
    envelope = np.repeat(tone, EPOCH_S * grid)
    envelope *= np.exp(0.15 * rng.standard_normal(len(stages) * EPOCH_S).repeat(grid))
    for event in events:
        if event.kind is EventKind.AROUSAL:
            rem = stages[int(event.onset_s) // EPOCH_S] == REM
            if rem or rng.random() < AROUSAL_CHIN_SHARE_NREM:
                part = slice(round(event.onset_s * grid), round(event.end_s * grid))
                envelope[part] = np.maximum(envelope[part] * rng.uniform(*AROUSAL_CHIN_GAIN), 5.0)
    for epoch in np.flatnonzero(stages == REM):
        for onset in rng.uniform(0, EPOCH_S - 1, rng.poisson(TWITCHES_PER_MIN / 2)):
            start = round((epoch * EPOCH_S + onset) * grid)
            stop = start + max(1, round(rng.uniform(*TWITCH_S) * grid))
            envelope[start:stop] += rng.uniform(*TWITCH_UV)
    return _muscle(rng, envelope, grid, rate_hz)


def make_legs(
    rng: np.random.Generator, stages: np.ndarray, events: list[TrueEvent], rate_hz: int, *, variety: float
) -> np.ndarray:
    """(2, n) float32 µV left and right anterior tibialis: quiet, with a burst at each limb movement."""
    grid = 10
    legs = []
    for side in ("left", "right"):
        rest = LEG_REST_UV * np.where(stages == W, 1.6, 1.0) * np.exp(0.2 * rng.standard_normal(len(stages)))
        envelope = np.repeat(rest, EPOCH_S * grid)
        for event in events:
            if event.kind is EventKind.LIMB_MOVEMENT and event.detail["side"] in (side, "both"):
                part = slice(round(event.onset_s * grid), round(event.end_s * grid))
                t = np.linspace(0, 1, part.stop - part.start)
                # Amplitude is peak to peak of the burst; an interference pattern's RMS is about a quarter.
                envelope[part] += event.detail["amplitude_uv"] / 4 * (0.5 + 0.7 * np.sin(np.pi * t))
        legs.append(_muscle(rng, envelope, grid, rate_hz))
    return np.stack(legs)


def _muscle(rng: np.random.Generator, envelope: np.ndarray, grid: int, rate_hz: int) -> np.ndarray:
    """Interference pattern above 10 Hz whose RMS follows `envelope` (`grid` values a second)."""
    n = len(envelope) * rate_hz // grid
    times = (np.arange(n, dtype=np.float32) + 0.5) * np.float32(grid / rate_hz) - 0.5
    high_pass = signal.butter(2, 10, "highpass", fs=rate_hz, output="sos").astype(np.float32)
    noise = signal.sosfilt(high_pass, rng.standard_normal(n, dtype=np.float32))
    return noise * np.interp(times, np.arange(len(envelope)), envelope).astype(np.float32)


def make_heart_beats(
    rng: np.random.Generator,
    person: Person,
    stages: np.ndarray,
    events: list[TrueEvent],
    breath_times_s: np.ndarray,
    *,
    variety: float,
) -> np.ndarray:
    """(n_beats,) float64 seconds of the R peaks: stage, breathing, arousals and apneas move the rate."""
    grid = 4
    n = len(stages) * EPOCH_S * grid
    t = np.arange(n) / grid

    def by_stage(table: dict[int, float]) -> np.ndarray:
        steps = np.repeat(np.array([table[stage] for stage in range(5)])[stages], EPOCH_S * grid)
        smooth = signal.oaconvolve(np.pad(steps, 40, mode="edge"), np.ones(40) / 40, mode="same")
        return smooth[40 : 40 + n]

    night = np.sin(np.pi * np.arange(n) / n)
    bpm = person.heart_bpm + by_stage(HEART_STAGE_BPM) + HEART_NIGHT_BPM * night
    breath = np.interp(t, breath_times_s, np.arange(len(breath_times_s)))
    # RMSSD in ms to bpm: d(bpm) = bpm² / 60000 d(RR); a breath-long sine gives about that difference.
    swing = person.rmssd_ms * person.heart_bpm**2 / 60000
    bpm += swing * by_stage(RSA_SHARE) * np.sin(2 * np.pi * breath)
    mayer = signal.lfilter([1], [1, -2 * 0.985 * np.cos(2 * np.pi * 0.1 / grid), 0.985**2], rng.standard_normal(n))
    bpm += swing * by_stage(MAYER_SHARE) * mayer / mayer.std()
    drift = signal.lfilter([1], [1, -0.999], rng.standard_normal(n))
    bpm += 1.5 * drift / drift.std()
    for event in events:
        start = int(event.onset_s * grid)
        if event.kind in BREATHING_EVENTS:
            strength = 1.0 if event.kind is not EventKind.HYPOPNEA else 0.5
            part = bpm[start : int(event.end_s * grid)]
            part += strength * APNEA_BPM * np.linspace(0, 1, len(part))
            _add_bump(bpm, int(event.end_s * grid), strength * APNEA_END_BPM, grid)
        elif event.kind is EventKind.AROUSAL:
            _add_bump(bpm, start, AROUSAL_BPM, grid)
        elif event.kind is EventKind.LIMB_MOVEMENT:
            _add_bump(bpm, start, LIMB_BPM, grid)
    phase = np.cumsum(np.clip(bpm, 38, 150)) / 60 / grid
    return np.interp(np.arange(1, int(phase[-1])), phase, t)


def _add_bump(bpm: np.ndarray, start: int, height: float, grid: int) -> None:
    t = np.arange(16 * grid) / grid
    wave = height * (t / 5) * np.exp(1 - t / 5)
    part = bpm[start : start + len(wave)]
    part += wave[: len(part)]


def make_ecg(
    rng: np.random.Generator, person: Person, beats_s: np.ndarray, n_seconds: int, rate_hz: int, *, variety: float
) -> np.ndarray:
    """(n,) float32 µV lead II: a P-QRS-T complex at every beat, breathing-free base line and sensor noise."""
    n = n_seconds * rate_hz
    impulses = np.zeros(n, dtype=np.float32)
    np.add.at(impulses, np.minimum((beats_s * rate_hz).astype(np.int64), n - 1), 1)
    before = round(0.25 * rate_hz)
    t = (np.arange(round(0.65 * rate_hz)) - before) / rate_hz
    complex_ = sum(size * np.exp(-0.5 * ((t - at) / width) ** 2) for at, width, size in ECG_WAVES)
    ecg = signal.oaconvolve(impulses, complex_.astype(np.float32))[before : before + n]
    ecg *= person.ecg_r_uv
    ecg += 4 * rng.standard_normal(n, dtype=np.float32)
    return ecg
