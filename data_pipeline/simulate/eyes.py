"""The eyes: closed or open, blinking, darting, rolling; how the EOG sees them, and what of them reaches the EEG.

A plain night (`variety` 0) draws movements as it writes them into the EOG. A varied one draws the eyes first, for
they are behind three things: alpha where they are closed, the EOG, and the front of the EEG.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.night import EPOCH_S
from data_pipeline.simulate.head import Head
from data_pipeline.simulate.hypnogram import N1, REM, W
from data_pipeline.simulate.noise import block_frequencies_hz, colour, white_spectrum
from data_pipeline.simulate.spread import between

REMS_PER_MIN = (4.0, 12.0)  # from the first REM to the last (assumed; Aserinsky 1971 for the rise)
REM_BURST_S = 8.0  # gaps between bursts (Aserinsky 1971)
REM_UV, REM_HOLD_S = (80.0, 220.0), (0.3, 1.2)  # E1 to E2; assumed
SLOW_EYE_HZ, SLOW_EYE_UV = (0.2, 0.45), (50.0, 120.0)  # assumed
SLOW_EYE_SHARE = {W: 0.25, N1: 0.6}  # of epochs; assumed
BLINKS_PER_MIN, BLINK_UV = 12.0, (100.0, 300.0)  # in the wake epochs with open eyes; assumed
FRONTAL_LEAK = 0.45  # of F3 and F4 in the same-side EOG, in phase; assumed, 30–60 %
EYE_NOISE_UV = 4.0  # RMS; assumed

# Of a varied night; all assumed.
BOUT_S = (40.0, 1000.0)  # mean time for which eyes stay closed, or open
CLOSED_STYLES = (0.5, 0.35, 0.15)  # half and half, mostly closed, always closed
BLINKS_VARIED_PER_MIN, BLINK_S = (0.0, 24.0), (0.2, 0.5)
LOOKS_PER_MIN = (0.0, 10.0)  # saccades of someone awake with open eyes
REMS_VARIED_PER_MIN, REM_CLUSTERING = (1.0, 22.0), 0.7  # gamma shape of an epoch's rate: some have none, some many
SLOW_EYE_VARIED_SHARE, SLOW_EYE_VARIED_S = {W: (0.0, 0.4), N1: (0.1, 0.9)}, (4.0, 28.0)
MOVEMENT_GAIN_LOG_SD = 0.4  # a person's eye potential and electrodes against the usual
LEAK_OF_FRONT, NOISE_UV, COMMON_UV = (0.2, 0.7), (2.0, 12.0), (0.0, 8.0)
VERTICAL = ((0.1, 0.8), (0.4, 1.1))  # of a blink at E1, upside down, and at E2
FLIPPED_BOTH, FLIPPED_ONE = 0.10, 0.05  # share of nights with electrodes plugged the wrong way round
HORIZONTAL_LEAK, OCCIPITAL_LEAK = 0.5, 0.1  # of a vertical one's, opposite on the two sides; of the central one


@dataclass(frozen=True)
class Eyes:
    """A night of two eyes.

    Attributes:
      closed: (n_seconds,) bool.
      movements: each its onset in seconds and (2, k) float µV at the signals' rate: to the left, and upwards.
    """

    closed: np.ndarray
    movements: list[tuple[float, np.ndarray]]


def draw_eyes(rng: np.random.Generator, head: Head, stages: np.ndarray, rate_hz: int, *, variety: float) -> Eyes:
    """Draws the eyes of a varied night; `stages` is (n_epochs,) int8."""
    closed = _closed(rng, len(stages) * EPOCH_S, variety)
    blinks, looks = between(rng, *BLINKS_VARIED_PER_MIN, variety), between(rng, *LOOKS_PER_MIN, variety)
    rems = between(rng, *REMS_VARIED_PER_MIN, variety)
    rolling = {stage: between(rng, *share, variety) for stage, share in SLOW_EYE_VARIED_SHARE.items()}
    gain = np.exp(rng.normal(0, MOVEMENT_GAIN_LOG_SD * variety))
    movements: list[tuple[float, np.ndarray]] = []
    for epoch, stage in enumerate(stages):
        darts: list[float] = []
        if stage == REM:
            rate = rems * rng.gamma(REM_CLUSTERING, 1 / REM_CLUSTERING) * (0.6 + 0.8 * epoch / len(stages))
            darts = list(rng.uniform(0, EPOCH_S - 2, rng.poisson(rate / 2)))
        elif stage == W:
            darts = [at for at in rng.uniform(0, EPOCH_S - 2, rng.poisson(looks / 2)) if not closed[_second(epoch, at)]]
            for at in rng.uniform(0, EPOCH_S - 1, rng.poisson(blinks / 2)):
                if not closed[_second(epoch, at)]:
                    wave = head.blink_uv * rng.lognormal(0, 0.3) * _blink(rng.uniform(*BLINK_S), rate_hz)
                    movements.append((epoch * EPOCH_S + at, np.stack([0 * wave, wave])))
        for at in darts:
            wave = gain * _dart(rng, rate_hz)
            movements.append((epoch * EPOCH_S + at, np.stack([wave, rng.normal(0, 0.4) * wave])))
        if rng.random() < rolling.get(int(stage), 0.0):
            length = rng.uniform(*SLOW_EYE_VARIED_S)
            wave = gain * _roll(rng, length, rate_hz)
            at = epoch * EPOCH_S + rng.uniform(0, EPOCH_S - length)
            movements.append((at, np.stack([wave, rng.normal(0, 0.2) * wave])))
    return Eyes(closed, movements)


def _closed(rng: np.random.Generator, n_seconds: int, variety: float) -> np.ndarray:
    """(n_seconds,) bool in bouts; some lie with closed eyes most of the time, some all of it."""
    change = rng.random((n_seconds, 2)) < 1 / np.exp(between(rng, *np.log(BOUT_S), variety))
    bouts, others = (np.cumsum(change, axis=0) % 2 == rng.integers(2, size=2)).T
    style = rng.choice(3, p=CLOSED_STYLES)
    return bouts if style == 0 else bouts | others if style == 1 else np.ones(n_seconds, dtype=bool)


def _second(epoch: int, at: float) -> int:
    return epoch * EPOCH_S + int(at)


def leak_into_eeg(eyes: Eyes, head: Head, eeg: list[np.ndarray], rate_hz: int) -> None:
    """Adds what of the movements reaches F3, F4, C3, C4, O1 and O2, in place: most in front, next to none behind."""
    central = head.frontal_leak * head.central_leak
    for samples, slot in zip(eeg, SLOTS[Modality.EEG], strict=True):
        up = {"F": head.frontal_leak, "C": central, "O": OCCIPITAL_LEAK * central}[slot[0]]
        left = up * HORIZONTAL_LEAK * (1 if slot[1] in "13" else -1)
        gains = np.array([left, up], dtype=np.float32)
        for onset_s, wave in eyes.movements:
            _add(samples, onset_s, gains @ wave, rate_hz)


def make_eog(
    rng: np.random.Generator,
    stages: np.ndarray,
    eeg: list[np.ndarray],
    rate_hz: int,
    eyes: Eyes | None,
    *,
    variety: float,
) -> np.ndarray:
    """Makes E1 and E2 against a mastoid: eye movements in antiphase, the front of the EEG in phase.

    Args:
      stages: (n_epochs,) int8.
      eeg: the six derivations, (n,) float32 µV each, F3 and F4 first.
      rate_hz: their sampling rate.
      eyes: those of a varied night; None draws those of a plain one.

    Returns:
      (2, n) float32 µV.
    """
    if eyes is None:
        eog = _front(rng, stages, eeg, (FRONTAL_LEAK, FRONTAL_LEAK), (EYE_NOISE_UV, EYE_NOISE_UV), rate_hz)
        _add_movements(eog, _plain_movements(rng, stages, rate_hz), (-0.6, 1.0), rate_hz)
        return eog
    leaks, noises_uv = ([between(rng, *limits, variety) for _ in "12"] for limits in (LEAK_OF_FRONT, NOISE_UV))
    eog = _front(rng, stages, eeg, leaks, noises_uv, rate_hz)
    # Where both stand against one mastoid, both carry what that one picks up.
    common = _falling(rate_hz, between(rng, *COMMON_UV, variety))
    eog += colour(white_spectrum(rng, len(stages), rate_hz), common, rate_hz)
    _add_movements(eog, eyes.movements, [between(rng, *limits, variety) for limits in VERTICAL], rate_hz)
    if rng.random() < FLIPPED_BOTH * variety:
        eog *= -1
    if rng.random() < FLIPPED_ONE * variety:
        eog[int(rng.integers(2))] *= -1
    return eog


def _front(
    rng: np.random.Generator,
    stages: np.ndarray,
    eeg: list[np.ndarray],
    leaks: Sequence[float],
    noises_uv: Sequence[float],
    rate_hz: int,
) -> np.ndarray:
    """(2, n) float32: the frontal EEG as the eye electrodes see it, F3 beside E1, F4 beside E2, and their own noise."""
    eog = np.empty((2, len(eeg[0])), dtype=np.float32)
    for channel, frontal, leak, noise_uv in zip(eog, eeg, leaks, noises_uv, strict=False):
        np.multiply(frontal, leak, out=channel)
        channel += colour(white_spectrum(rng, len(stages), rate_hz), _falling(rate_hz, noise_uv), rate_hz)
    return eog


def _falling(rate_hz: int, rms_uv: float) -> np.ndarray:
    """(n_bins,) float32 amplitude density of noise that falls with frequency."""
    frequencies = block_frequencies_hz(rate_hz)
    shape = (1 / np.maximum(frequencies, 0.4)).astype(np.float32)
    shape[0] = 0
    shape *= rms_uv / np.sqrt((shape**2).sum() * (frequencies[1] - frequencies[0]))
    return shape


def _plain_movements(rng: np.random.Generator, stages: np.ndarray, rate_hz: int) -> list[tuple[float, np.ndarray]]:
    movements: list[tuple[float, np.ndarray]] = []
    for epoch, stage in enumerate(stages):
        start_s = epoch * EPOCH_S
        if stage == REM:
            count = rng.poisson(np.interp(epoch / len(stages), [0.15, 1], REMS_PER_MIN) / 2)
            if count == 0:
                continue
            bursts = rng.uniform(1, EPOCH_S - 3, max(1, round(EPOCH_S / REM_BURST_S / 2)))
            for onset in rng.choice(bursts, count) + rng.exponential(1.0, count):
                wave = _dart(rng, rate_hz)
                movements.append((start_s + min(onset, EPOCH_S - 2), np.stack([wave, 0 * wave])))
        elif rng.random() < SLOW_EYE_SHARE.get(int(stage), 0.0):
            length = rng.uniform(10, EPOCH_S)
            wave = _roll(rng, length, rate_hz)
            movements.append((start_s + rng.uniform(0, EPOCH_S - length), np.stack([wave, 0 * wave])))
        elif stage == W:
            for onset in rng.uniform(0, EPOCH_S - 1, rng.poisson(BLINKS_PER_MIN / 2)):
                wave = rng.uniform(*BLINK_UV) * _blink(0.3, rate_hz)
                movements.append((start_s + onset, np.stack([0 * wave, wave])))
    return movements


def _dart(rng: np.random.Generator, rate_hz: int) -> np.ndarray:
    """A saccade to either side: a fast step, a hold, a step back."""
    hold, rise = rng.uniform(*REM_HOLD_S), rng.uniform(0.03, 0.08)
    t = np.arange(round((hold + 0.6) * rate_hz), dtype=np.float32) / rate_hz
    step = 1 / (1 + np.exp(-np.clip((t - 0.15) / (rise / 4), -60, 60)))
    back = 1 / (1 + np.exp(-np.clip((t - 0.15 - hold) / (rise / 4), -60, 60)))
    return 0.5 * rng.uniform(*REM_UV) * rng.choice([-1, 1]) * (step - back)


def _roll(rng: np.random.Generator, length_s: float, rate_hz: int) -> np.ndarray:
    """Slow sweeps from side to side."""
    t = np.arange(round(length_s * rate_hz), dtype=np.float32) / rate_hz
    wave = 0.5 * rng.uniform(*SLOW_EYE_UV) * np.sin(2 * np.pi * rng.uniform(*SLOW_EYE_HZ) * t)
    wave *= np.minimum(1, np.minimum(t, t[::-1]) / 2)
    return wave


def _blink(length_s: float, rate_hz: int) -> np.ndarray:
    """The lids move the field upwards, and back."""
    t = np.arange(round(length_s * rate_hz), dtype=np.float32) / rate_hz
    return np.sin(np.pi * t / length_s) ** 2


def _add_movements(
    eog: np.ndarray, movements: list[tuple[float, np.ndarray]], upwards: Sequence[float], rate_hz: int
) -> None:
    """Sideways is opposite in E1 and E2; `upwards` is what E1, below its eye, and E2, above it, see of the vertical."""
    for onset_s, (left, up) in movements:
        for channel, sideways, vertical in zip(eog, (1, -1), np.float32(upwards), strict=True):
            _add(channel, onset_s, sideways * left + vertical * up, rate_hz)


def _add(samples: np.ndarray, onset_s: float, wave: np.ndarray, rate_hz: int) -> None:
    part = samples[round(onset_s * rate_hz) :][: len(wave)]
    part += wave[: len(part)]
