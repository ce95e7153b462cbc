"""The chin, and what muscles sound like."""

import numpy as np
from scipy import signal

from data_pipeline.night import EPOCH_S, EventKind
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W
from data_pipeline.simulate.timing import TrueEvent

CHIN_UV = {W: 14.0, N1: 7.0, N2: 5.0, N3: 4.0, REM: 1.3}  # RMS 10–100 Hz; assumed
CHIN_LOG_SD = 0.25  # from epoch to epoch; assumed
TWITCHES_PER_MIN, TWITCH_S, TWITCH_UV = 2.5, (0.1, 0.5), (8.0, 35.0)  # in REM; assumed
AROUSAL_CHIN_GAIN = (3.0, 8.0)  # assumed, 3–10
AROUSAL_CHIN_SHARE_NREM = 0.6  # assumed; in REM the AASM rule demands it


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
    return muscle_noise(rng, envelope, grid, rate_hz)


def muscle_noise(rng: np.random.Generator, envelope: np.ndarray, grid: int, rate_hz: int) -> np.ndarray:
    """Interference pattern above 10 Hz whose RMS follows `envelope` (`grid` values a second)."""
    n = len(envelope) * rate_hz // grid
    times = (np.arange(n, dtype=np.float32) + 0.5) * np.float32(grid / rate_hz) - 0.5
    high_pass = signal.butter(2, 10, "highpass", fs=rate_hz, output="sos").astype(np.float32)
    noise = signal.sosfilt(high_pass, rng.standard_normal(n, dtype=np.float32))
    return noise * np.interp(times, np.arange(len(envelope)), envelope).astype(np.float32)
