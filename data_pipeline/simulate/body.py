"""Eyes and muscles."""

import numpy as np
from scipy import signal

from data_pipeline.night import EPOCH_S, EventKind
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W
from data_pipeline.simulate.noise import block_frequencies_hz, colour, white_spectrum
from data_pipeline.simulate.timing import TrueEvent

REMS_PER_MIN = (4.0, 12.0)  # from the first REM to the last (assumed; Aserinsky 1971 for the rise)
REM_BURST_S = 8.0  # gaps between bursts (Aserinsky 1971)
REM_UV, REM_HOLD_S = (80.0, 220.0), (0.3, 1.2)  # E1 to E2; assumed
SLOW_EYE_HZ, SLOW_EYE_UV = (0.2, 0.45), (50.0, 120.0)  # assumed
SLOW_EYE_SHARE = {W: 0.25, N1: 0.6}  # of epochs; assumed
BLINKS_PER_MIN, BLINK_UV = 12.0, (100.0, 300.0)  # in the wake epochs with open eyes; assumed
FRONTAL_LEAK = 0.45  # of F3 and F4 in the same-side EOG, in phase; assumed, 30–60 %
EYE_NOISE_UV = 4.0  # RMS; assumed

CHIN_UV = {W: 14.0, N1: 7.0, N2: 5.0, N3: 4.0, REM: 1.3}  # RMS 10–100 Hz; assumed
CHIN_LOG_SD = 0.25  # from epoch to epoch; assumed
TWITCHES_PER_MIN, TWITCH_S, TWITCH_UV = 2.5, (0.1, 0.5), (8.0, 35.0)  # in REM; assumed
AROUSAL_CHIN_GAIN = (3.0, 8.0)  # assumed, 3–10
AROUSAL_CHIN_SHARE_NREM = 0.6  # assumed; in REM the AASM rule demands it


def make_eog(
    rng: np.random.Generator, stages: np.ndarray, eeg: list[np.ndarray], rate_hz: int, *, variety: float
) -> np.ndarray:
    """(2, n) float32 µV: E1 and E2 against the opposite mastoid; eye movements in antiphase, EEG in phase."""
    eog = np.empty((2, len(eeg[0])), dtype=np.float32)
    frequencies = block_frequencies_hz(rate_hz)
    shape = (1 / np.maximum(frequencies, 0.4)).astype(np.float32)
    shape[0] = 0
    shape *= EYE_NOISE_UV / np.sqrt((shape**2).sum() * (frequencies[1] - frequencies[0]))
    for channel, frontal in zip(eog, eeg, strict=False):  # F3 beside E1, F4 beside E2
        np.multiply(frontal, FRONTAL_LEAK, out=channel)
        channel += colour(white_spectrum(rng, len(stages), rate_hz), shape, rate_hz)
    for epoch, stage in enumerate(stages):
        start_s = epoch * EPOCH_S
        if stage == REM:
            _add_rapid(rng, eog, start_s, epoch / len(stages), rate_hz)
        elif rng.random() < SLOW_EYE_SHARE.get(int(stage), 0.0):
            _add_slow(rng, eog, start_s, rate_hz)
        elif stage == W:
            for onset in rng.uniform(0, EPOCH_S - 1, rng.poisson(BLINKS_PER_MIN / 2)):
                t = np.arange(round(0.3 * rate_hz), dtype=np.float32) / rate_hz
                blink = rng.uniform(*BLINK_UV) * np.sin(np.pi * t / 0.3) ** 2
                # The lids move the field upwards: E2 sits above the eye, E1 below it.
                _add(eog, start_s + onset, np.array([[-0.6], [1.0]], np.float32) * blink, rate_hz)
    return eog


def _add(signals: np.ndarray, onset_s: float, wave: np.ndarray, rate_hz: int) -> None:
    part = signals[..., round(onset_s * rate_hz) :][..., : wave.shape[-1]]
    part += wave[..., : part.shape[-1]]


def _add_rapid(rng: np.random.Generator, eog: np.ndarray, start_s: int, night: float, rate_hz: int) -> None:
    """Saccades in bursts: a fast step, a hold, a step back."""
    count = rng.poisson(np.interp(night, [0.15, 1], REMS_PER_MIN) / 2)
    if count == 0:
        return
    bursts = rng.uniform(1, EPOCH_S - 3, max(1, round(EPOCH_S / REM_BURST_S / 2)))
    for onset in rng.choice(bursts, count) + rng.exponential(1.0, count):
        hold, rise = rng.uniform(*REM_HOLD_S), rng.uniform(0.03, 0.08)
        t = np.arange(round((hold + 0.6) * rate_hz), dtype=np.float32) / rate_hz
        step = 1 / (1 + np.exp(-np.clip((t - 0.15) / (rise / 4), -60, 60)))
        back = 1 / (1 + np.exp(-np.clip((t - 0.15 - hold) / (rise / 4), -60, 60)))
        wave = 0.5 * rng.uniform(*REM_UV) * rng.choice([-1, 1]) * (step - back)
        _add(eog, min(start_s + onset, start_s + EPOCH_S - 2), np.array([[1.0], [-1.0]], np.float32) * wave, rate_hz)


def _add_slow(rng: np.random.Generator, eog: np.ndarray, start_s: int, rate_hz: int) -> None:
    length = rng.uniform(10, EPOCH_S)
    t = np.arange(round(length * rate_hz), dtype=np.float32) / rate_hz
    wave = 0.5 * rng.uniform(*SLOW_EYE_UV) * np.sin(2 * np.pi * rng.uniform(*SLOW_EYE_HZ) * t)
    wave *= np.minimum(1, np.minimum(t, t[::-1]) / 2)
    onset = start_s + rng.uniform(0, EPOCH_S - length)
    _add(eog, onset, np.array([[1.0], [-1.0]], np.float32) * wave, rate_hz)


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
