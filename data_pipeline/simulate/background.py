"""The EEG's background of a night of one person: a power density that changes from second to second.

Log power by block of 4 s (half overlapping) and frequency is a sum of a few shapes over frequency: what each
stage looks like, bands that drift, rhythms, muscle. Their loadings change over the night as people's do: borders of
stages are soft while the hypnogram has its 30-s steps, neighbouring epochs are alike, eyes open and close in bouts.
Six white sources, correlated over the head, are coloured with it. Sizes are assumed unless a source is named, chosen
so that the spread over people covers that of public recordings.
"""

import numpy as np
from scipy import fft, signal

from data_pipeline.night import EPOCH_S
from data_pipeline.simulate.head import EQUALISER_HZ, Head
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W
from data_pipeline.simulate.person import Person
from data_pipeline.simulate.spread import between, correlated

HOP_S = 2
BLOCK_S = 2 * HOP_S
HIGHEST_HZ = 50
CHUNK = 48  # blocks at a time: they stay in the cache, and BLAS starts no threads for products so small

STAGE_HZ = (0.5, 1, 2, 4, 6, 8, 10, 13, 17, 22, 30, 45)
STAGE_DB = {
    W: (11.5, 11, 9.5, 7.5, 6, 5.5, 6, 4, 2, 0, -5, -8),
    N1: (12, 13, 12, 9, 6.5, 5.5, 5, 2.5, 0, -3.5, -9.5, -13),
    N2: (16, 17.5, 15.5, 12, 9, 7.5, 6, 4, 0, -3.5, -12.5, -17),
    N3: (24, 25, 20.5, 15, 11.5, 9, 8, 4, 0, -3.5, -13, -18),
    REM: (12, 13, 11, 9.5, 6.5, 5.5, 4, 1, -1.5, -4, -12.5, -17),
}
"""Power density of a central derivation at `STAGE_HZ`, dB over 1 µV²/Hz."""
N3_OVER_N2_DB = 3.0  # at least, below 4 Hz: a scorer needs slow waves to say N3
BORDER_S, BORDER_WIDTH_S = 12.0, (12.0, 44.0)  # how far a change of stage lies from the epoch's border; how soft it is
EPOCH_RHO, EPOCH_SD_DB = (0.75, 0.98), (0.5, 1.8)  # drift from epoch to epoch
BLOCK_RHO, BLOCK_SD_DB = (0.1, 0.5), (2.6, 1.6, 1.2, 1.2, 1.0)  # and from block to block, at `EQUALISER_HZ`
NIGHT_SD_DB, SLOW_WAVE_DECLINE_DB = 1.0, (0.0, 2.5)  # from the middle to either end of the night
OPEN_SLOW_DB, OPEN_MUSCLE_DB = (0.0, 6.0), (-1.0, 6.0)  # eyes open
MOOD_RHO = (0.85, 0.98)  # of wake, from epoch to epoch, between restless and calm
RESTLESS_DB, CALM_MUSCLE_DB, CALM_LEVEL_DB = (0.0, 6.0), (0.0, 12.0), (0.0, 6.0)
TRANSIENTS_PER_MIN, TRANSIENTS_AWAKE, TRANSIENT_DB = (0.2, 3.0), 2.0, (3.0, 12.0)  # single slow waves, sweat, pulls
BURST_GAP_S, BURST_DB, BURST_BLOCKS = (60.0, 1800.0), (3.0, 14.0), 12  # muscle and small movements of wake
SHIFT_PER_H = {N1: 25.0, N2: 14.0, N3: 3.0, REM: 14.0}  # passing lightenings too short or weak to score
SHIFT_RATE, SHIFT_DB, SHIFT_BLOCKS = (0.1, 1.6), 5.0, 3
MOVEMENT_PER_H, MOVEMENT_DB, MOVEMENT_BLOCKS = {W: 6.0, N1: 1.5, N2: 0.7, N3: 0.4, REM: 0.7}, (6.0, 20.0), 6
FLOOR_UV_PER_ROOT_HZ = (0.02, 0.35)  # amplifier and electrode
DERIVATION_SD_DB = 1.0  # of a derivation's own curve, and of its gain

POSITIONS = ((-0.4, 0.55), (0.4, 0.55), (-0.5, 0.0), (0.5, 0.0), (-0.25, -0.9), (0.25, -0.9))
"""Of the electrodes: approximate left–right, back–front places on a head of radius 1 (10–20 system)."""
CORRELATION_LENGTH = 1.8  # in head radii: neighbours about 0.7, front to back 0.4; assumed
REGION_DB = {"front": (2.0, 1.0, 0.0, -1.0, 0.0), "centre": (0.0,) * 5, "back": (-4.0, -3.0, -0.5, -2.5, -1.5)}
"""Against the centre, at `EQUALISER_HZ`."""
REGION_ALPHA, REGION_MUSCLE = {"front": 0.7, "centre": 1.0, "back": 1.3}, {"front": 1.1, "centre": 0.9, "back": 1.0}
REGIONS = ("front", "front", "centre", "centre", "back", "back")

BANDS = slice(5, 5 + len(EQUALISER_HZ))  # after the five stages
ALPHA, LIGHT, THETA_N1, THETA_REM, SIGMA, DELTA, SLOW, MUSCLE, LEVEL = range(BANDS.stop, BANDS.stop + 9)
"""Rows of the shapes: closed eyes' alpha, a lightening's alpha, … eyes' slow shifts, and everything at once."""


def make_background(
    rng: np.random.Generator, person: Person, stages: np.ndarray, closed: np.ndarray, rate_hz: int, *, variety: float
) -> list[np.ndarray]:
    """Makes the background of six derivations.

    Args:
      person: someone with a `head`.
      stages: (n_epochs,) int8.
      closed: (n_epochs * 30,) bool, the seconds in which the eyes are closed.
      rate_hz: sampling rate of the result.
      variety: above 0, at most 1.

    Returns:
      Six arrays (n_epochs * 30 * rate_hz,) float32, µV, in the order of the slots of EEG.
    """
    n_bins = int(min(HIGHEST_HZ, 0.45 * rate_hz) * BLOCK_S)
    frequencies = np.arange(n_bins) / BLOCK_S
    shapes, curves = _shapes(person, frequencies), _curves(frequencies)
    per_channel = []
    for region in REGIONS:
        own = np.array(REGION_DB[region]) + rng.normal(0, DERIVATION_SD_DB * variety, len(EQUALISER_HZ))
        level = person.head.gain_db + rng.normal(0, DERIVATION_SD_DB * variety)
        per_channel.append(np.vstack([shapes, own @ curves + level]))
        per_channel[-1][ALPHA] *= REGION_ALPHA[region]
        per_channel[-1][MUSCLE] *= REGION_MUSCLE[region]
    floors = [between(rng, *FLOOR_UV_PER_ROOT_HZ, variety) ** 2 for _ in REGIONS]
    loadings = _loadings(rng, person.head, stages, closed, variety)
    # To the natural logarithm of power, in the shapes, which are few.
    log_shapes = (np.array(per_channel) * (np.log(10) / 10)).astype(np.float32)
    return _coloured(rng, loadings, log_shapes, np.array(floors, np.float32), rate_hz)


def _coloured(
    rng: np.random.Generator, loadings: np.ndarray, log_shapes: np.ndarray, floors: np.ndarray, rate_hz: int
) -> list[np.ndarray]:
    """Correlated noise of density exp(loadings @ log_shapes) + floor, joined from blocks under sine windows.

    `loadings` is (n_blocks, n_shapes), `log_shapes` (6, n_shapes, n_bins), `floors` (6,) µV²/Hz.
    """
    n_channels, _, n_bins = log_shapes.shape
    hop = HOP_S * rate_hz
    mixing = np.linalg.cholesky(correlation_over_the_head()).astype(np.float32)
    window = np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop)).astype(np.float32)
    # Power of one bin: 2 |X|² / length² with E|X|² = 2 scale², over a bin of 1 / BLOCK_S Hz.
    window *= np.float32(2 * hop / (2 * np.sqrt(BLOCK_S)))
    # One array a derivation, so that each can be let go when it is recorded.
    eeg = [np.empty((len(loadings) - 1, hop), dtype=np.float32) for _ in range(n_channels)]
    last = np.zeros((n_channels, hop), dtype=np.float32)
    for start in range(0, len(loadings), CHUNK):
        part = loadings[start : start + CHUNK]
        white = rng.standard_normal((len(part), n_channels, 2 * n_bins), dtype=np.float32)
        mixed = (mixing @ white).view(np.complex64)
        for channel in range(n_channels):
            density = np.exp(part @ log_shapes[channel])
            density += floors[channel]
            density[:, 0] = 0
            blocks = fft.irfft(mixed[:, channel] * np.sqrt(density, out=density), n=2 * hop, axis=1)
            blocks *= window
            # A block is centred where its hop begins: half of the first one lies before the night.
            first, rest = blocks[:1, :hop] + last[channel], blocks[1:, :hop] + blocks[:-1, hop:]
            joined = np.concatenate([first, rest])
            if start:
                eeg[channel][start - 1 : start - 1 + len(joined)] = joined
            else:
                eeg[channel][: len(joined) - 1] = joined[1:]
            last[channel] = blocks[-1, hop:]
    return [samples.ravel() for samples in eeg]


def correlation_over_the_head() -> np.ndarray:
    """(6, 6) float64 correlation between the derivations: it falls with the distance of their electrodes."""
    places = np.array(POSITIONS)
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
    return np.exp(-distance / CORRELATION_LENGTH)


def _curves(frequencies: np.ndarray) -> np.ndarray:
    """(5, n_bins) the smooth curves that add up to an equaliser, each 1 at its own knot."""
    log_hz, knots = np.log(np.maximum(frequencies, 0.4)), np.log(EQUALISER_HZ)
    return np.stack([np.interp(log_hz, knots, knot) for knot in np.eye(len(knots))])


def _shapes(person: Person, frequencies: np.ndarray) -> np.ndarray:
    """(n_shapes, n_bins) decibels over frequency, in the order of the rows named above."""
    head, curves = person.head, _curves(frequencies)
    log_hz = np.log(np.maximum(frequencies, 0.4))

    def bump(centre_hz: float, width_hz: float) -> np.ndarray:
        return np.exp(-0.5 * ((frequencies - centre_hz) / width_hz) ** 2)

    stage = np.stack([np.interp(log_hz, np.log(STAGE_HZ), STAGE_DB[stage]) for stage in range(5)])
    stage += np.array(head.equaliser_db) @ curves + head.tilt_db * (log_hz - np.log(5.0))
    stage += np.array(head.stage_db) @ curves
    low = 1 / (1 + (frequencies / 4) ** 4)
    stage[N3] += head.slow_wave_db * low
    stage[N2] += 0.4 * head.slow_wave_db * low
    deeper = ((stage[N3] - stage[N2]) * low).sum() / low.sum()
    stage[N3] += max(0.0, N3_OVER_N2_DB - deeper) * low * low.sum() / (low**2).sum()
    rhythms = {
        ALPHA: bump(person.alpha_hz, head.alpha_width_hz),
        LIGHT: bump(9.5, 1.5),
        THETA_N1: head.theta_n1_db * bump(head.theta_hz, 1.2),
        THETA_REM: head.theta_rem_db * bump(head.theta_hz, 1.2),
        SIGMA: bump(person.spindle_hz, 1.0),
        DELTA: low,
        SLOW: 1 / (1 + (frequencies / 3) ** 6),
        MUSCLE: np.clip((frequencies - 14) / 10, 0, 1),
        LEVEL: np.ones_like(frequencies),
    }
    return np.vstack([stage, curves, *(rhythms[row] for row in sorted(rhythms))])


def _loadings(
    rng: np.random.Generator, head: Head, stages: np.ndarray, closed: np.ndarray, variety: float
) -> np.ndarray:
    """(n_blocks, n_shapes + 1) float32: how much of each shape is in a block, and 1 for the derivation's own curve."""
    soft = _soft_stages(rng, stages, variety)
    n = len(soft)
    wake, n1, n2, n3, rem = soft.T
    shut = closed[np.minimum(HOP_S * np.arange(n), len(closed) - 1)].astype(np.float32)
    opened = wake * (1 - shut)
    wax = np.clip(0.8 + 0.5 * variety * correlated(rng, (n, 1), 0.6)[:, 0], 0, 1.5)
    loadings = np.zeros((n, LEVEL + 2), dtype=np.float32)
    loadings[:, :5] = soft
    loadings[:, BANDS] = _drift(rng, len(stages), n, variety)
    drowsy = n1 * head.alpha_n1_db + (n2 + n3 + 0.5 * rem) * head.alpha_sleep_db
    loadings[:, ALPHA] = wax * (wake * shut * head.alpha_db + drowsy)
    loadings[:, THETA_N1], loadings[:, THETA_REM] = n1, rem
    loadings[:, SIGMA] = n2 * head.sigma_n2_db + n3 * head.sigma_n3_db
    decline = between(rng, *SLOW_WAVE_DECLINE_DB, variety)
    loadings[:, DELTA] = (n2 + n3) * decline * np.linspace(1, -1, n, dtype=np.float32)
    loadings[:, SLOW] = opened * between(rng, *OPEN_SLOW_DB, variety)
    # Single slow deflections: they make the EEG's amplitude heavy-tailed, and leave the faster bands alone.
    chance = variety * between(rng, *TRANSIENTS_PER_MIN, variety) * HOP_S / 60 * (1 + (TRANSIENTS_AWAKE - 1) * wake)
    loadings[:, SLOW] += (rng.random(n) < chance) * rng.uniform(*TRANSIENT_DB, n)
    loadings[:, MUSCLE] = opened * between(rng, *OPEN_MUSCLE_DB, variety)
    mood = np.repeat(correlated(rng, (len(stages), 1), between(rng, *MOOD_RHO, variety))[:, 0], EPOCH_S // HOP_S)
    restless, calm = np.maximum(mood, 0), np.clip(-mood, 0, 1)
    for row in (SLOW, MUSCLE):
        loadings[:-1, row] += restless * between(rng, *RESTLESS_DB, variety) * wake[:-1]
    # Who lies still with open eyes has an EEG as low and nearly as slow as that of REM sleep.
    for row, lowered_db in ((MUSCLE, CALM_MUSCLE_DB), (LEVEL, CALM_LEVEL_DB)):
        loadings[:-1, row] -= calm * between(rng, *lowered_db, variety) * wake[:-1]
    loadings[:, -1] = 1
    _add_bursts(rng, loadings, stages, restless > 0, variety)
    return loadings


def _soft_stages(rng: np.random.Generator, stages: np.ndarray, variety: float) -> np.ndarray:
    """(n_blocks, 5) float32 how much of each stage a block shows: borders moved, then smoothed."""
    a_epoch = EPOCH_S // HOP_S
    n = len(stages) * a_epoch + 1
    moved = rng.uniform(-1, 1, len(stages) + 1) * variety * BORDER_S / HOP_S
    at = np.arange(n) + np.interp(np.arange(n), np.arange(len(stages) + 1) * a_epoch, moved)
    hard = np.eye(5)[stages[np.clip(np.rint(at).astype(int) // a_epoch, 0, len(stages) - 1)]]
    window = np.hanning(2 * int(between(rng, *BORDER_WIDTH_S, variety) / HOP_S) + 3)
    half = len(window) // 2
    padded = np.pad(hard, ((half, half), (0, 0)), mode="edge")
    soft = signal.oaconvolve(padded, window[:, None] / window.sum(), mode="valid", axes=0)
    return np.clip(soft, 0, 1).astype(np.float32)


def _drift(rng: np.random.Generator, n_epochs: int, n: int, variety: float) -> np.ndarray:
    """(n, 5) float32 dB at `EQUALISER_HZ`: from epoch to epoch, from block to block, and over the night."""
    knots = len(EQUALISER_HZ)
    slow = correlated(rng, (n_epochs, knots), between(rng, *EPOCH_RHO, variety))
    slow *= variety * between(rng, *EPOCH_SD_DB, variety)
    fast = correlated(rng, (n, knots), between(rng, *BLOCK_RHO, variety))
    fast *= np.array(BLOCK_SD_DB, np.float32) * between(rng, 0.7, 1.3, variety) * variety
    night = np.linspace(-1, 1, n, dtype=np.float32)[:, None] * rng.normal(0, NIGHT_SD_DB * variety, knots)
    drift = fast + night
    drift[:-1] += np.repeat(slow, EPOCH_S // HOP_S, axis=0)
    return drift


def _add_bursts(
    rng: np.random.Generator, loadings: np.ndarray, stages: np.ndarray, restless: np.ndarray, variety: float
) -> None:
    """Muscle and movement, mostly awake, and lightenings of sleep that no scorer marks: one to twelve blocks long."""
    stage = np.repeat(stages, EPOCH_S // HOP_S)

    def places(per_h: dict[int, float]) -> np.ndarray:
        chance = np.array([per_h.get(code, 0.0) for code in range(5)]) * HOP_S / 3600
        # Awake all of it comes in the restless half of the time.
        return np.flatnonzero(rng.random(len(stage)) < chance[stage] * np.where(stage == W, 2 * restless, 1))

    gap_s = np.exp(between(rng, *np.log(BURST_GAP_S), variety))
    strongest_db = between(rng, *BURST_DB, variety)
    for at in places({W: 3600 / gap_s}):
        part = loadings[at : at + int(rng.integers(1, BURST_BLOCKS))]
        part[:, MUSCLE] += rng.uniform(0, strongest_db)
        part[:, SLOW] += rng.uniform(0, strongest_db)
    rate = between(rng, *SHIFT_RATE, variety)
    for at in places({code: rate * per_h for code, per_h in SHIFT_PER_H.items()}):
        part = loadings[at : at + int(rng.integers(1, SHIFT_BLOCKS + 1))]
        part[:, LIGHT] += rng.uniform(0, SHIFT_DB)
        part[:, MUSCLE] += rng.uniform(0, SHIFT_DB)
        part[:, DELTA] -= rng.uniform(0, SHIFT_DB / 2)
    for at in places(MOVEMENT_PER_H):
        loadings[at : at + int(rng.integers(1, MOVEMENT_BLOCKS)), LEVEL] += rng.uniform(*MOVEMENT_DB)
