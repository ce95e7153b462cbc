"""The heart: when it beats, and the ECG."""

import numpy as np
from scipy import signal

from data_pipeline.night import BREATHING_EVENTS, EPOCH_S, EventKind
from data_pipeline.simulate.constitution import Constitution
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W
from data_pipeline.simulate.person import Person
from data_pipeline.simulate.timing import TrueEvent

HEART_STAGE_BPM = {W: 0.0, N1: -2.0, N2: -4.0, N3: -3.5, REM: -2.0}  # assumed; small (Nano 2017)
HEART_NIGHT_BPM = -4.0  # fall to the middle of the night; assumed
RSA_SHARE = {W: 0.6, N1: 0.8, N2: 1.0, N3: 1.2, REM: 0.5}  # parasympathetic in NREM (Cabiddu 2012); assumed
MAYER_SHARE = {W: 1.0, N1: 0.8, N2: 0.7, N3: 0.4, REM: 1.3}  # 0.1 Hz; LF/HF high in REM; assumed
AROUSAL_BPM, LIMB_BPM = 11.0, 5.0  # peak 4–6 s after onset; assumed
APNEA_BPM, APNEA_END_BPM = -7.0, 12.0  # slowing during, rise after; assumed
BPM_RANGE, BPM_RANGE_VARIED = (38, 150), (30, 190)  # of a moment; assumed
FIBRILLATION_CV = 0.22  # of the intervals, one from the next; assumed
EARLY_SHARE = {"ventricular": (0.5, 0.72), "atrial": (0.6, 0.8)}  # a premature beat's interval; assumed
PREMATURE_SHARE = 0.78  # an interval shorter than this share of those beside it ends in a premature beat
VENTRICULAR_WAVES = ((0.0, 0.045, 1.3), (0.28, 0.07, -0.5))  # wide, with T against it and no P; assumed
FLUTTER_HZ, FLUTTER_SHARE = (4.5, 8.0), (0.02, 0.08)  # fibrillating atria, of R; assumed
ECG_NOISE_UV, ECG_NOISE_LOG_SD = 4.0, 0.8  # RMS; assumed
WANDER_UV = (0.0, 150.0)  # base line with each breath; assumed
R_SWING_SHARE = (0.0, 0.12)  # R grows and shrinks with the breath as the heart turns; assumed, 5–10 %


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
        if "near_miss" in event.detail:
            continue
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
    phase = np.cumsum(np.clip(bpm, *(BPM_RANGE_VARIED if variety > 0 else BPM_RANGE))) / 60 / grid
    counts = np.arange(1, int(phase[-1]), dtype=np.float64)
    own = person.constitution
    if own.fibrillates:
        counts = np.cumsum(rng.lognormal(0, FIBRILLATION_CV, len(counts)))
        counts = counts[(counts > 1) & (counts < phase[-1])]
    beats_s = np.interp(counts, phase, t)
    return _with_premature_beats(rng, beats_s, own) if own.ectopic_per_h else beats_s


def _with_premature_beats(rng: np.random.Generator, beats_s: np.ndarray, own: Constitution) -> np.ndarray:
    """Some beats come early; the next one comes when it would have come."""
    chance = own.ectopic_per_h / 3600 * np.diff(beats_s)
    early = 1 + np.flatnonzero(rng.random(len(chance)) < chance)
    share = rng.uniform(*EARLY_SHARE["ventricular" if own.is_ventricular else "atrial"], len(early))
    beats_s = beats_s.copy()
    beats_s[early] = beats_s[early - 1] + share * (beats_s[early] - beats_s[early - 1])
    return beats_s


def _add_bump(bpm: np.ndarray, start: int, height: float, grid: int) -> None:
    t = np.arange(16 * grid) / grid
    wave = height * (t / 5) * np.exp(1 - t / 5)
    part = bpm[start : start + len(wave)]
    part += wave[: len(part)]


def make_ecg(
    rng: np.random.Generator,
    person: Person,
    beats_s: np.ndarray,
    breath_times_s: np.ndarray,
    n_seconds: int,
    rate_hz: int,
    *,
    variety: float,
) -> np.ndarray:
    """(n,) float32 µV: a P-QRS-T complex at every beat and sensor noise; with variety, breathing moves the base line.

    Premature beats are told by their intervals; the largest wave of a usual beat is `person.ecg_r_uv`.
    """
    n, own = n_seconds * rate_hz, person.constitution
    sizes = np.ones(len(beats_s), dtype=np.float32)
    if variety > 0:
        breath = np.interp(beats_s, breath_times_s, np.arange(len(breath_times_s)))
        swing = variety * rng.uniform(*R_SWING_SHARE)
        sizes += np.float32(swing) * np.sin(2 * np.pi * breath + rng.uniform(0, 2 * np.pi)).astype(np.float32)
    is_early = _is_premature(beats_s) if own.ectopic_per_h and own.is_ventricular else np.zeros(len(beats_s), bool)
    waves = own.ecg_waves[1:] if own.fibrillates else own.ecg_waves
    ecg = _complexes(beats_s[~is_early], sizes[~is_early], waves, n, rate_hz)
    if is_early.any():
        ecg += _complexes(beats_s[is_early], sizes[is_early], VENTRICULAR_WAVES, n, rate_hz)
    ecg *= person.ecg_r_uv
    noise_uv = ECG_NOISE_UV * (rng.lognormal(0, variety * ECG_NOISE_LOG_SD) if variety > 0 else 1)
    ecg += np.float32(noise_uv) * rng.standard_normal(n, dtype=np.float32)
    if variety > 0:
        ecg += _base_line(rng, person, breath_times_s, n, rate_hz, variety)
    return ecg


def _is_premature(beats_s: np.ndarray) -> np.ndarray:
    """(n_beats,) bool."""
    intervals = np.diff(beats_s, prepend=beats_s[0] - 1.0)
    beside = signal.medfilt(intervals, 5)
    return intervals < PREMATURE_SHARE * beside


def _complexes(beats_s: np.ndarray, sizes: np.ndarray, waves: tuple, n: int, rate_hz: int) -> np.ndarray:
    """(n,) float32: the same complex at every beat, each with its size."""
    impulses = np.zeros(n, dtype=np.float32)
    np.add.at(impulses, np.minimum((beats_s * rate_hz).astype(np.int64), n - 1), sizes)
    before = round(0.25 * rate_hz)
    t = (np.arange(round(0.65 * rate_hz)) - before) / rate_hz
    complex_ = sum(size * np.exp(-0.5 * ((t - at) / width) ** 2) for at, width, size in waves)
    return signal.oaconvolve(impulses, complex_.astype(np.float32))[before : before + n]


def _base_line(
    rng: np.random.Generator, person: Person, breath_times_s: np.ndarray, n: int, rate_hz: int, variety: float
) -> np.ndarray:
    """(n,) float32 µV: what breathing, slow drift and fibrillating atria add."""
    grid = 20
    t = np.arange(n * grid // rate_hz + 1) / grid
    breath = np.interp(t, breath_times_s, np.arange(len(breath_times_s)))
    size = np.interp(t, t[:: 60 * grid], rng.lognormal(0, 0.4, len(t[:: 60 * grid])))
    slow = variety * rng.uniform(*WANDER_UV) * size * np.sin(2 * np.pi * breath)
    if person.constitution.fibrillates:
        sos = signal.butter(2, FLUTTER_HZ, "bandpass", fs=grid, output="sos")
        flutter = signal.sosfilt(sos, rng.standard_normal(len(t)))
        slow += person.ecg_r_uv * rng.uniform(*FLUTTER_SHARE) * flutter / flutter.std()
    return np.interp(np.arange(n, dtype=np.float32) / rate_hz, t, slow).astype(np.float32)
