"""The chin, and what muscles sound like."""

from dataclasses import dataclass

import numpy as np
from scipy import signal

from data_pipeline.night import EPOCH_S, EventKind
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W
from data_pipeline.simulate.spread import between
from data_pipeline.simulate.timing import TrueEvent

CHIN_UV = {W: 14.0, N1: 7.0, N2: 5.0, N3: 4.0, REM: 1.3}  # RMS 10–100 Hz; assumed
CHIN_LOG_SD = 0.25  # from epoch to epoch; assumed
TWITCHES_PER_MIN, TWITCH_S, TWITCH_UV = 2.5, (0.1, 0.5), (8.0, 35.0)  # in REM; assumed
AROUSAL_CHIN_GAIN = (3.0, 8.0)  # assumed, 3–10
AROUSAL_CHIN_SHARE_NREM = 0.6  # assumed; in REM the AASM rule demands it

# Of varied nights; all assumed.
WAKE_UV, WAKE_LOG_SD, WAKE_RANGE_UV = 12.0, 0.7, (2.0, 40.0)
CONTRAST, NO_CONTRAST_SHARE = (0.4, 1.3), 0.15  # exponent on the plain ratios between stages; 0 is none
NOISE_UV, DRIFT, DRIFT_LOG_SD = (0.2, 2.0), 0.8, (0.2, 0.6)
TWITCHES_VARIED_PER_MIN, AROUSAL_GAIN_MOST = (0.3, 6.0), (2.5, 9.0)
SNORERS, SNORE_UV, SNORES_PER_MIN, SNORE_BOUT_EPOCHS = 0.35, (2.0, 12.0), (12.0, 20.0), 30


@dataclass(frozen=True)
class Chin:
    """A chin and its electrodes in one night; `PLAIN_CHIN` is one.

    Attributes:
      tone_uv: RMS in each of the five stages.
      noise_uv: RMS that is there whatever the muscle does.
      drift, drift_log_sd: how much of an epoch's deviation stays for the next, and its size.
      twitches_per_min: in REM.
      arousal_share, arousal_gain: how many arousals of NREM move the chin, and how much (from, to).
      snore_uv: RMS in the middle of a snore; 0 for who does not snore. snores_per_min: with every breath.
    """

    tone_uv: tuple[float, ...]
    noise_uv: float = 0.0
    drift: float = 0.0
    drift_log_sd: float = CHIN_LOG_SD
    twitches_per_min: float = TWITCHES_PER_MIN
    arousal_share: float = AROUSAL_CHIN_SHARE_NREM
    arousal_gain: tuple[float, float] = AROUSAL_CHIN_GAIN
    snore_uv: float = 0.0
    snores_per_min: float = 15.0


PLAIN_CHIN = Chin(tuple(CHIN_UV[stage] for stage in range(5)))


def draw_chin(rng: np.random.Generator, variety: float) -> Chin:
    """Draws a chin: loud or faint, with or without a difference between wake and REM; `variety` above 0."""
    wake_uv = float(np.clip(rng.lognormal(np.log(WAKE_UV), WAKE_LOG_SD * variety), *WAKE_RANGE_UV))
    contrast = between(rng, *CONTRAST, variety)
    if rng.random() < NO_CONTRAST_SHARE * variety:
        contrast *= 0.15
    snores = rng.random() < SNORERS * variety
    return Chin(
        tone_uv=tuple(wake_uv * (tone / CHIN_UV[W]) ** contrast for tone in PLAIN_CHIN.tone_uv),
        noise_uv=between(rng, *NOISE_UV, variety),
        drift=DRIFT,
        drift_log_sd=between(rng, *DRIFT_LOG_SD, variety),
        twitches_per_min=between(rng, *TWITCHES_VARIED_PER_MIN, variety),
        arousal_share=between(rng, 0.2, 1.0, variety),
        arousal_gain=(1.3, between(rng, *AROUSAL_GAIN_MOST, variety)),
        snore_uv=float(rng.uniform(*SNORE_UV)) if snores else 0.0,
        snores_per_min=between(rng, *SNORES_PER_MIN, variety),
    )


def make_chin(
    rng: np.random.Generator, stages: np.ndarray, events: list[TrueEvent], rate_hz: int, *, variety: float
) -> np.ndarray:
    """(n,) float32 µV chin EMG: tone by stage, atonia and twitches in REM, bursts with arousals.

    With `variety` the tone may be faint or constant, and snores sound in it.
    """
    chin = draw_chin(rng, variety) if variety > 0 else PLAIN_CHIN
    tone = np.array(chin.tone_uv)[stages]
    fresh = rng.standard_normal(len(stages))
    drift = signal.lfilter([np.sqrt(1 - chin.drift**2)], [1, -chin.drift], fresh) if chin.drift else fresh
    tone = tone * np.exp(chin.drift_log_sd * drift)
    grid = 10  # envelope values a second
    envelope = np.repeat(tone, EPOCH_S * grid)
    envelope *= np.exp(0.15 * rng.standard_normal(len(stages) * EPOCH_S).repeat(grid))
    for event in events:
        if event.kind is EventKind.AROUSAL:
            rem = stages[int(event.onset_s) // EPOCH_S] == REM
            if rem or rng.random() < chin.arousal_share:
                part = slice(round(event.onset_s * grid), round(event.end_s * grid))
                envelope[part] = np.maximum(envelope[part] * rng.uniform(*chin.arousal_gain), 5.0)
    for epoch in np.flatnonzero(stages == REM):
        for onset in rng.uniform(0, EPOCH_S - 1, rng.poisson(chin.twitches_per_min / 2)):
            start = round((epoch * EPOCH_S + onset) * grid)
            stop = start + max(1, round(rng.uniform(*TWITCH_S) * grid))
            envelope[start:stop] += rng.uniform(*TWITCH_UV)
    if chin.snore_uv > 0:
        envelope += _snores(rng, chin, stages, grid)
    if chin.noise_uv > 0:
        envelope = np.hypot(envelope, chin.noise_uv)
    return muscle_noise(rng, envelope, grid, rate_hz)


def _snores(rng: np.random.Generator, chin: Chin, stages: np.ndarray, grid: int) -> np.ndarray:
    """(n,) µV RMS of snoring, a swell with every breath, in bouts of many minutes of sleep."""
    n = len(stages) * EPOCH_S * grid
    breath = np.sin(np.pi * chin.snores_per_min / 60 * np.arange(n) / grid) ** 8
    bouts = np.cumsum(rng.random(len(stages)) < 1 / SNORE_BOUT_EPOCHS) % 2
    loud = (bouts * (stages != W) * rng.lognormal(0, 0.4, len(stages))).repeat(EPOCH_S * grid)
    return chin.snore_uv * loud * breath


def muscle_noise(rng: np.random.Generator, envelope: np.ndarray, grid: int, rate_hz: int) -> np.ndarray:
    """Interference pattern above 10 Hz whose RMS follows `envelope` (`grid` values a second)."""
    n = len(envelope) * rate_hz // grid
    times = (np.arange(n, dtype=np.float32) + 0.5) * np.float32(grid / rate_hz) - 0.5
    high_pass = signal.butter(2, 10, "highpass", fs=rate_hz, output="sos").astype(np.float32)
    noise = signal.sosfilt(high_pass, rng.standard_normal(n, dtype=np.float32))
    return noise * np.interp(times, np.arange(len(envelope)), envelope).astype(np.float32)
