"""Breath by breath: two flow sensors, two effort belts, and the oxygen that follows.

One volume curve drives all: the belts see it, the thermistor and the nasal cannula see its slope. Events
turn the flow down and shift the belts against each other; SpO2 is a base line with the desaturations cut
out of it.
"""

from dataclasses import dataclass

import numpy as np
from scipy import signal

from data_pipeline.night import BREATHING_EVENTS, EPOCH_S, EventKind
from data_pipeline.simulate.breathing_events import BREATHING_RECOVERY_S
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W
from data_pipeline.simulate.person import Person
from data_pipeline.simulate.timing import TrueEvent, second_rate

INTERVAL_CV = {W: 0.20, N1: 0.16, N2: 0.08, N3: 0.05, REM: 0.15}  # assumed; order Rostig 2003
AMPLITUDE_CV_RATIO = 1.5  # of the interval's; assumed
RATE_OFFSET_PER_MIN = {W: 0.0, N1: 0.0, N2: 0.0, N3: 0.3, REM: 0.5}  # assumed
VOLUME = {W: 1.0, N1: 0.95, N2: 0.92, N3: 0.92, REM: 0.78}  # REM tidal volume 73 % of wake (Douglas 1982)
ABDOMINAL_SHARE = {W: 0.54, N1: 0.48, N2: 0.42, N3: 0.38, REM: 0.56}  # Stradling 1985; N1, N2 assumed
INSPIRATION_SHARE = 0.4  # I:E about 1 : 1.5
SIGHS_PER_H, SIGH_VOLUME = 4.0, 2.2  # assumed, 2–6 /h and 2–2.5 times
HYPERPNOEA = 1.6  # breaths after an event; assumed, 1.5–2 times
THERMISTOR_LAG_S = 0.6  # assumed, 0.5–1 s
THERMISTOR_HIDES = 0.7  # exponent on a hypopnea's flow: temperature sees less of it; assumed
PARADOX_CYCLES = {"apnea": (0.33, 0.5), "hypopnea": (0.10, 0.25)}  # belts' shift in breaths: 90–180°; assumed
SENSOR_NOISE = 0.012  # of a usual breath; assumed
HEART_IN_FLOW = 0.012  # cardiogenic oscillation, of a usual breath; assumed
FLOW_LIMIT = 0.75  # an obstructed inspiration is cut at this share of its peak; assumed
SPO2_STAGE = {W: 0.0, N1: -0.6, N2: -0.8, N3: -0.8, REM: -1.1}  # % against wake (derived, Stradling 1985)
SPO2_WANDER = 0.3  # slow, %; assumed
SPO2_FLOOR = 50.0


@dataclass(frozen=True)
class Breathing:
    """What the chest does.

    Attributes:
      thermistor, nasal_pressure, thorax, abdomen: (n_seconds * rate_hz,) float32; a usual breath has
      amplitude 1. spo2_percent: (n_seconds,) float32 before the oximeter rounds it.
      breath_times_s: onsets of inspiration, for the heart to follow.
    """

    thermistor: np.ndarray
    nasal_pressure: np.ndarray
    thorax: np.ndarray
    abdomen: np.ndarray
    spo2_percent: np.ndarray
    breath_times_s: np.ndarray


def make_breathing(
    rng: np.random.Generator,
    person: Person,
    stages: np.ndarray,
    events: list[TrueEvent],
    rate_hz: int,
    *,
    variety: float,
) -> Breathing:
    """Makes flow and effort at `rate_hz`, and saturation, for a night.

    `stages` is (n_epochs,) int8; of the `events`, breathing events and desaturations are used.
    """
    n_seconds = len(stages) * EPOCH_S
    n = n_seconds * rate_hz
    times, volumes = _breaths(rng, person, stages, n_seconds)
    t = np.arange(n, dtype=np.float64) / rate_hz
    phase = np.interp(t, times, np.arange(len(times)))
    size = np.interp(t, times, volumes).astype(np.float32)
    flow_gain, effort_gain, shift, limited, apnea_like = _event_gains(rng, events, n, rate_hz)

    flow = size * flow_gain * _flow_shape(phase)
    nasal = np.sign(flow) * np.minimum(np.abs(flow), np.where(limited, FLOW_LIMIT * size * flow_gain, np.inf)) ** 2
    felt = np.where(
        apnea_like, flow, np.sign(flow) * np.abs(flow) * np.maximum(flow_gain, 1e-3) ** (THERMISTOR_HIDES - 1)
    )
    pole = np.exp(-1 / (THERMISTOR_LAG_S * rate_hz))
    thermistor = signal.lfilter([1 - pole], [1, -pole], felt)
    thermistor *= 1.6  # the lag takes that much of a breath of 4 s

    share = np.repeat(np.array([ABDOMINAL_SHARE[stage] for stage in range(5)])[stages], EPOCH_S * rate_hz)
    thorax = size * effort_gain * _volume_shape(phase - shift) * 2 * (1 - share)
    abdomen = size * effort_gain * _volume_shape(phase) * 2 * share

    heart = np.sin(2 * np.pi * person.heart_bpm / 60 * t)
    signals = []
    for clean, beat in ((thermistor, 1.0), (nasal, 1.0), (thorax, 0.6), (abdomen, 0.3)):
        noise = rng.standard_normal(n, dtype=np.float32)
        signals.append((clean + SENSOR_NOISE * noise + HEART_IN_FLOW * beat * heart).astype(np.float32))
    spo2 = _spo2(rng, person, stages, events)
    return Breathing(*signals, spo2_percent=spo2, breath_times_s=times)


def _breaths(
    rng: np.random.Generator, person: Person, stages: np.ndarray, n_seconds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Onset (s) and size of every breath; intervals and sizes vary as their stage does."""
    n = int(n_seconds / 60 * (person.breaths_per_min + 1) * 1.6) + 20
    normal = rng.standard_normal((2, n))
    sighs = rng.random(n) < SIGHS_PER_H / 60 / person.breaths_per_min
    times, sizes = [0.0], [1.0]
    for draw, size_draw, sigh in zip(*normal, sighs, strict=True):
        stage = int(stages[min(int(times[-1]) // EPOCH_S, len(stages) - 1)])
        cv = INTERVAL_CV[stage]
        interval = 60 / (person.breaths_per_min + RATE_OFFSET_PER_MIN[stage]) * np.exp(cv * draw)
        times.append(times[-1] + min(max(interval, 1.6), 9.0))
        size = VOLUME[stage] * np.exp(AMPLITUDE_CV_RATIO * cv * size_draw)
        sizes.append(min(size, 1.8) * (SIGH_VOLUME if sigh else 1.0))
        if times[-1] > n_seconds:
            break
    return np.array(times), np.array(sizes)


def _volume_shape(phase: np.ndarray) -> np.ndarray:
    """Lung volume over a breath, -0.5 … 0.5: up during inspiration, down during expiration."""
    part = (phase % 1).astype(np.float32)
    rising = part < INSPIRATION_SHARE
    angle = np.where(rising, part / INSPIRATION_SHARE, 1 + (part - INSPIRATION_SHARE) / (1 - INSPIRATION_SHARE))
    return -0.5 * np.cos(np.float32(np.pi) * angle)


def _flow_shape(phase: np.ndarray) -> np.ndarray:
    """The slope of `_volume_shape`, inspiration positive with peak 1."""
    part = (phase % 1).astype(np.float32)
    rising = part < INSPIRATION_SHARE
    angle = np.where(rising, part / INSPIRATION_SHARE, 1 + (part - INSPIRATION_SHARE) / (1 - INSPIRATION_SHARE))
    height = np.where(rising, 1.0, INSPIRATION_SHARE / (1 - INSPIRATION_SHARE)).astype(np.float32)
    return height * np.sin(np.float32(np.pi) * angle)


def _event_gains(
    rng: np.random.Generator, events: list[TrueEvent], n: int, rate_hz: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Per sample: gain of flow, gain of effort, shift of the thorax (breaths), flow limited, apnea."""
    flow, effort = np.ones(n, dtype=np.float32), np.ones(n, dtype=np.float32)
    shift, limited, apnea_like = np.zeros(n, np.float32), np.zeros(n, bool), np.zeros(n, bool)
    for event in events:
        start = round(event.onset_s * rate_hz)
        if event.kind in BREATHING_EVENTS:
            length = round(event.duration_s * rate_hz)
            part = slice(start, start + length)
            t = np.arange(length, dtype=np.float32) / rate_hz
            inside = np.minimum(1, np.minimum(t, t[::-1]) / 1.0)  # one second to close and to open
            left = float(event.detail["flow_left"])
            apnea = event.kind is not EventKind.HYPOPNEA
            obstructed = event.kind is not EventKind.CENTRAL_APNEA and event.detail.get("type") != "central"
            flow[part] = 1 - (1 - left) * inside
            if not obstructed:
                effort[part] = flow[part]
            else:
                # Effort grows against the closed airway while the two belts work against each other.
                effort_left = float(rng.uniform(0.45, 0.65)) if apnea else (1 + left) / 2
                effort[part] = 1 - (1 - effort_left) * inside * (1 - 0.5 * t / event.duration_s)
                shift[part] = inside * rng.uniform(*PARADOX_CYCLES["apnea" if apnea else "hypopnea"])
                limited[part] = not apnea
            if event.kind is EventKind.MIXED_APNEA:
                half = slice(start, start + length // 2)
                effort[half] = flow[half]
                shift[half] = 0
            apnea_like[part] = apnea
            after = slice(start + length, start + length + round(0.8 * BREATHING_RECOVERY_S * rate_hz))
            extra = np.linspace(HYPERPNOEA - 1, 0, after.stop - after.start, dtype=np.float32)
            count = len(flow[after])
            flow[after] += extra[:count]
            effort[after] += extra[:count]
    return flow, effort, shift, limited, apnea_like


def _spo2(rng: np.random.Generator, person: Person, stages: np.ndarray, events: list[TrueEvent]) -> np.ndarray:
    """(n_seconds,) float32 saturation in %; overlapping desaturations do not add, the deeper one shows."""
    n_seconds = len(stages) * EPOCH_S
    base = np.pad(second_rate(stages, SPO2_STAGE), 30, mode="edge")
    base = signal.oaconvolve(base, np.ones(60) / 60, mode="same")[30:-30]
    wander = signal.lfilter([1], [1, -0.98], rng.standard_normal(n_seconds)) * np.sqrt(1 - 0.98**2)
    fall = np.zeros(n_seconds)
    for event in events:
        if event.kind is not EventKind.DESATURATION:
            continue
        t = np.arange(int(event.onset_s), min(n_seconds, int(event.end_s) + 2), dtype=np.float64)
        nadir, depth = float(event.detail["nadir_s"]), float(event.detail["depth_percent"])
        down = np.clip((t - event.onset_s) / (nadir - event.onset_s), 0, 1)
        up = np.clip((t - nadir) / (event.end_s - nadir), 0, 1)
        curve = depth * 0.5 * (1 - np.cos(np.pi * down)) * 0.5 * (1 + np.cos(np.pi * up))
        part = fall[int(event.onset_s) : int(event.onset_s) + len(t)]
        np.maximum(part, curve, out=part)
    spo2 = person.spo2_percent + base + SPO2_WANDER * wander - fall
    return np.clip(spo2, SPO2_FLOOR, 100).astype(np.float32)
