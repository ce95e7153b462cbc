"""Six EEG derivations against the opposite mastoid: background by stage, spindles, K-complexes, arousals.

The background is one correlated Gaussian field: six white sources mixed by the Cholesky factor of the
correlation between electrodes, then coloured for stage and region. Waves are added where the events say.
"""

import numpy as np

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.night import EventKind
from data_pipeline.simulate.background import correlation_over_the_head, make_background
from data_pipeline.simulate.eyes import Eyes, leak_into_eeg
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W
from data_pipeline.simulate.noise import BLOCK_S, block_frequencies_hz, bump, colour, white_spectrum
from data_pipeline.simulate.person import Person
from data_pipeline.simulate.spread import between
from data_pipeline.simulate.timing import TrueEvent

ELECTRODES = SLOTS[Modality.EEG]
APERIODIC_EXPONENT = {W: 1.45, N1: 1.8, N2: 2.3, N3: 2.8, REM: 2.0}  # 1–28 Hz; assumed, order Schneider 2022
APERIODIC_EXPONENT_HIGH = {W: 1.9, N1: 2.4, N2: 3.0, N3: 3.5, REM: 4.7}  # above the knee (Lendner 2020)
KNEE_HZ = 28.0  # assumed
APERIODIC_UV = {W: 7.0, N1: 7.0, N2: 10.0, N3: 12.0, REM: 7.0}  # RMS, C4–M1; assumed
AGE_FLATTENS = 0.05  # exponent per decade (Kozhemiako 2022: flatter with age); size assumed
SENSOR_UV_PER_ROOT_HZ = 0.08  # amplifier and electrode; assumed

# RMS in µV at the place where each rhythm is strongest; the missing are zero. Sizes assumed.
DELTA_UV = {N1: 2.0, N2: 7.0, REM: 2.0}  # N3 from the person's slow waves
SLOW_WAVE_PEAK_TO_RMS = 4.0  # of narrow-band noise, peak-to-peak of the larger waves
THETA_UV = {W: 2.0, N1: 6.0, N2: 3.5, N3: 3.0, REM: 5.5}
SIGMA_UV = {N2: 1.6, N3: 1.3}
BETA_UV = {W: 3.5, N1: 2.0, N2: 1.2, N3: 0.8, REM: 1.8}
ALPHA_UV = {N1: 2.0, REM: 1.2}  # W from the person's alpha
EYES_CLOSED_SHARE = 0.75  # of wake; assumed

REGION_GAIN = {  # front, centre, back; frontal > central > occipital 1 : .75 : .5 for slow waves; assumed
    "aperiodic": (1.0, 1.0, 0.9),
    "delta": (1.0, 0.75, 0.5),
    "theta": (0.9, 1.0, 0.7),
    "alpha": (0.35, 0.5, 1.0),
    "sigma": (0.8, 1.0, 0.4),
    "beta": (1.0, 0.9, 0.7),
}
SPINDLE_GAIN = {"frontal": (1.0, 0.75, 0.3), "central": (0.6, 1.0, 0.4)}  # two classes (Gorgoni 2016)
K_COMPLEX_GAIN = (1.0, 0.8, 0.4)  # frontal maximum (AASM)
AROUSAL_HZ = {"alpha": (10.0, 1.0), "beta": (21.0, 3.0), "theta": (5.5, 0.8)}
AROUSAL_UV = {"alpha": 14.0, "beta": 9.0, "theta": 15.0}  # RMS; assumed
AROUSAL_SLOW_LEFT = 0.5  # how much of the sleeping background remains; assumed

# Of a varied night; all assumed.
WAVE_GAIN_LOG_SD = 0.2  # of one wave in one derivation
SPINDLE_SHARPNESS = (0.5, 1.5)  # exponent of the envelope
K_WIDTH, K_AFTER, K_BEFORE = (0.07, 0.12), (0.4, 0.9), (-0.5, 0.6)  # of the event's length; of the negative wave
AROUSAL_STRENGTH, AROUSAL_STRENGTH_LOG_SD, AROUSAL_STRONGEST = 0.7, 0.5, 1.6  # against a plain night's
AROUSAL_SLOW_LEFT_VARIED, AROUSAL_REGIONS = (0.5, 1.0), (0.9, 0.9, 1.0)  # all over the head
AROUSAL_MUSCLE_UV, AROUSAL_MUSCLE_SHARE = (0.5, 8.0), 0.6  # RMS
LINES, LINE_HZ, LINE_UV, LINE_WANDER, LINE_LATE_SHARE = 2, (15.0, 34.0), (0.2, 2.0), 0.2, 0.3
"""At most so many; µV amplitude; rad per second of random phase; share that begins after lights off."""


def make_eeg(
    rng: np.random.Generator,
    person: Person,
    stages: np.ndarray,
    events: list[TrueEvent],
    rate_hz: int,
    eyes: Eyes | None,
    *,
    variety: float,
) -> list[np.ndarray]:
    """Makes the six EEG derivations of `SLOTS`, each against the opposite mastoid.

    `stages` is (n_epochs,) int8; of the `events`, spindles, K-complexes and arousals are used; `eyes` are those of a
    varied night, None without variety.

    Returns:
      Six arrays (n_epochs * 30 * rate_hz,) float32, µV; a K-complex begins with negative values.
    """
    if eyes is None:
        eeg = _plain_background(rng, person, stages, rate_hz)
    else:
        eeg = make_background(rng, person, stages, eyes.closed, rate_hz, variety=variety)
    for event in events:
        if event.kind is EventKind.AROUSAL:
            _add_arousal(rng, eeg, event, rate_hz, variety)
        elif event.kind is EventKind.SPINDLE:
            gains = _gains(rng, SPINDLE_GAIN[event.detail["region"]], variety)
            _add_wave(eeg, event, _spindle(rng, event, rate_hz, variety), gains, rate_hz)
        elif event.kind is EventKind.K_COMPLEX:
            gains = _gains(rng, K_COMPLEX_GAIN, variety)
            _add_wave(eeg, event, _k_complex(rng, event, rate_hz, variety), gains, rate_hz)
    if eyes is not None:
        leak_into_eeg(eyes, person.head, eeg, rate_hz)
        _add_lines(rng, eeg, rate_hz, variety)
    return eeg


def _plain_background(rng: np.random.Generator, person: Person, stages: np.ndarray, rate_hz: int) -> list[np.ndarray]:
    frequencies = block_frequencies_hz(rate_hz)
    power, weights = _stage_spectra(rng, person, stages, frequencies)
    white = [white_spectrum(rng, len(stages), rate_hz) for _ in ELECTRODES]
    mixing = np.linalg.cholesky(correlation_over_the_head()).astype(np.float32)
    eeg: list[np.ndarray] = []
    # Last channel first: the factor is triangular, so each needs one source fewer than the one before.
    for channel in reversed(range(len(ELECTRODES))):
        region = channel // 2
        gains = np.array([REGION_GAIN[band][region] ** 2 for band in REGION_GAIN], dtype=np.float32)
        density = _density(power, weights * gains[:, None, None], frequencies)
        mixed = white.pop() * mixing[channel, channel]
        for source, noise in enumerate(white):
            mixed += noise * mixing[channel, source]
        eeg.insert(0, colour(mixed, np.sqrt(density, out=density), rate_hz))
    return eeg


def _stage_spectra(
    rng: np.random.Generator, person: Person, stages: np.ndarray, frequencies: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Unit-power shapes (6 bands, 5 stages, n_bins) and the power of each (6 bands, 5 stages, n_epochs)."""
    n_epochs = len(stages)
    shapes = np.empty((len(REGION_GAIN), 5, len(frequencies)), dtype=np.float32)
    flatter = AGE_FLATTENS * (person.age_years - 40) / 10 + rng.normal(0, 0.1)
    for stage in range(5):
        low = np.clip(frequencies, 0.5, KNEE_HZ) ** -(APERIODIC_EXPONENT[stage] - flatter)
        high = (np.maximum(frequencies, KNEE_HZ) / KNEE_HZ) ** -APERIODIC_EXPONENT_HIGH[stage]
        shapes[0, stage] = low * high / ((low * high).sum() / BLOCK_S)
    bands = ((0.9, 0.45), (5.5, 1.1), (person.alpha_hz, 0.6), (person.spindle_hz, 0.9), (20.0, 4.5))
    for band, (centre, width) in enumerate(bands, start=1):
        shapes[band] = bump(frequencies, centre, width)

    delta = DELTA_UV | {N3: person.slow_wave_uv / SLOW_WAVE_PEAK_TO_RMS}
    alpha = ALPHA_UV | {W: person.alpha_uv / 2.83}
    tables = (APERIODIC_UV, delta, THETA_UV, alpha, SIGMA_UV, BETA_UV)
    level = np.array([[table.get(stage, 0.0) for stage in range(5)] for table in tables], dtype=np.float32)
    # Slow modulation, so that two epochs of a stage are not alike; delta wanes over the night (process S).
    gain = np.exp(0.15 * rng.standard_normal((len(tables), n_epochs), dtype=np.float32))
    gain[1] *= np.linspace(1.12, 0.85, n_epochs)
    closed = rng.random(n_epochs) < EYES_CLOSED_SHARE
    gain[3] *= np.where((stages == W) & ~closed, 0.25, 1.0)
    power = np.zeros((len(tables), 5, n_epochs), dtype=np.float32)
    for stage in range(5):
        power[:, stage] = np.where(stages == stage, (level[:, stage, None] * gain) ** 2, 0)
    return shapes, power


def _density(shapes: np.ndarray, power: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """(n_epochs, n_bins) float32 one-sided density, µV²/Hz."""
    flat_shapes = shapes.reshape(-1, len(frequencies))
    density = power.reshape(len(flat_shapes), -1).T @ flat_shapes
    density += SENSOR_UV_PER_ROOT_HZ**2
    density[:, 0] = 0
    return density


def _gains(rng: np.random.Generator, regions: tuple[float, float, float], variety: float) -> np.ndarray:
    """(6,) float32: what each derivation sees of a wave, front to back."""
    gains = np.repeat(regions, 2)
    if variety > 0:
        gains *= np.exp(rng.normal(0, WAVE_GAIN_LOG_SD * variety, len(gains)))
    return gains.astype(np.float32)


def _add_wave(eeg: list[np.ndarray], event: TrueEvent, wave: np.ndarray, gains: np.ndarray, rate_hz: int) -> None:
    start = round(event.onset_s * rate_hz)
    for gain, samples in zip(gains, eeg, strict=True):
        part = samples[start : start + len(wave)]
        part += gain * wave[: len(part)]


def _spindle(rng: np.random.Generator, event: TrueEvent, rate_hz: int, variety: float) -> np.ndarray:
    """Waxing and waning carrier whose frequency falls: the chirp of sleep spindles."""
    n = round(event.duration_s * rate_hz)
    t = np.arange(n, dtype=np.float32) / rate_hz
    detail = event.detail
    middle = t - event.duration_s / 2
    phase = 2 * np.pi * (detail["frequency_hz"] * middle + 0.5 * detail["chirp_hz_per_s"] * middle**2)
    sharpness = 0.75
    if variety > 0:
        sharpness = between(rng, *SPINDLE_SHARPNESS, variety)
        phase += np.float32(rng.uniform(0, 2 * np.pi))
    envelope = np.sin(np.pi * (np.arange(n, dtype=np.float32) + 0.5) / n) ** sharpness
    return (0.5 * detail["amplitude_uv"] * envelope * np.cos(phase)).astype(np.float32)


def _k_complex(rng: np.random.Generator, event: TrueEvent, rate_hz: int, variety: float) -> np.ndarray:
    """A sharp negative wave (N550), then a slower positive one (AASM); peak to peak `amplitude_uv`.

    A varied night's have a small positive wave before it (P200) or not, and slower or smaller positive ones after.
    """
    t = np.arange(round(event.duration_s * rate_hz), dtype=np.float32) / rate_hz / event.duration_s
    width, after, before = 0.09, 0.65, 0.0
    if variety > 0:
        width, after = between(rng, *K_WIDTH, variety), between(rng, *K_AFTER, variety)
        before = max(0.0, between(rng, *K_BEFORE, variety))
    wave = -np.exp(-0.5 * ((t - 0.3) / width) ** 2) + after * np.exp(-0.5 * ((t - 0.65) / 0.15) ** 2)
    if before > 0:
        wave += before * np.exp(-0.5 * ((t - 0.12) / 0.05) ** 2)
    wave *= np.minimum(1, np.minimum(t, 1 - t) / 0.05)
    return (event.detail["amplitude_uv"] * wave / np.ptp(wave)).astype(np.float32)


def _add_arousal(
    rng: np.random.Generator, eeg: list[np.ndarray], event: TrueEvent, rate_hz: int, variety: float
) -> None:
    """Damps the sleeping background and adds a faster rhythm over the whole head; muscle too in a varied night."""
    start, n = round(event.onset_s * rate_hz), round(event.duration_s * rate_hz)
    n = len(eeg[0][start : start + n])
    t = np.arange(n, dtype=np.float32) / rate_hz
    ramp = np.minimum(1, np.minimum(t, t[::-1]) / 0.4)
    carrier = str(event.detail["carrier"])
    centre, width = AROUSAL_HZ[carrier]
    tones = rng.normal(centre, width, 12).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, 12).astype(np.float32)
    burst = np.cos(2 * np.pi * tones[:, None] * t + phases[:, None]).sum(0) / np.sqrt(6)
    burst *= AROUSAL_UV[carrier] * event.detail["gain"] / 1.65
    slow_left, muscle_uv, regions = AROUSAL_SLOW_LEFT, 0.0, REGION_GAIN[carrier]
    if variety > 0:
        # Around the plain one's size without variety, but most people's stand out less.
        strength = np.exp(variety * rng.normal(np.log(AROUSAL_STRENGTH), AROUSAL_STRENGTH_LOG_SD))
        burst *= np.float32(min(strength, AROUSAL_STRONGEST))
        slow_left, regions = between(rng, *AROUSAL_SLOW_LEFT_VARIED, variety), AROUSAL_REGIONS
        muscle_uv = between(rng, *AROUSAL_MUSCLE_UV, variety) * (rng.random() < AROUSAL_MUSCLE_SHARE)
    damping = 1 - (1 - slow_left) * ramp
    for channel, samples in enumerate(eeg):
        part = samples[start : start + n]
        part *= damping
        part += np.float32(regions[channel // 2]) * (burst * ramp)
        if muscle_uv > 0:
            # The difference of white noise rises with frequency, as muscle does against the EEG.
            noise = np.diff(rng.standard_normal(n + 1, dtype=np.float32)) * np.float32(muscle_uv / np.sqrt(2))
            part += noise * ramp


def _add_lines(rng: np.random.Generator, eeg: list[np.ndarray], rate_hz: int, variety: float) -> None:
    """Narrow lines of devices near the bed, in most nights none, one or two; some begin in the middle of a night."""
    second = 2 * np.pi * np.arange(rate_hz, dtype=np.float32) / rate_hz
    n_seconds = len(eeg[0]) // rate_hz
    for _ in range(int(rng.integers(0, LINES + 1))):
        frequency, size_uv = rng.uniform(*LINE_HZ), variety * rng.uniform(*LINE_UV)
        phase = 2 * np.pi * frequency * np.arange(n_seconds) + np.cumsum(rng.normal(0, LINE_WANDER, n_seconds))
        line = np.sin(np.float32(frequency) * second + (phase % (2 * np.pi)).astype(np.float32)[:, None])
        first = int(rng.integers(n_seconds)) if rng.random() < LINE_LATE_SHARE else 0
        for samples in eeg:
            part = samples.reshape(n_seconds, rate_hz)[first:]
            part += np.float32(size_uv * rng.lognormal(0, 0.5)) * line[first:]
