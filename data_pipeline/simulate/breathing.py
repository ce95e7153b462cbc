"""Breath by breath: two flow sensors, two effort belts, and the oxygen that follows.

One volume curve drives all: the belts see it, the thermistor and the nasal cannula see its slope. Events
turn the flow down and shift the belts against each other; SpO2 is a base line with the desaturations cut
out of it.
"""

from dataclasses import dataclass

import numpy as np
from scipy import signal

from data_pipeline.night import APNEAS, BREATHING_EVENTS, EPOCH_S, EventKind
from data_pipeline.simulate.airflow import nose_share, put_under_pressure, snoring
from data_pipeline.simulate.breathing_events import BREATHING_RECOVERY_S
from data_pipeline.simulate.breathing_sensors import sensor_noise, shift_and_drift, turns
from data_pipeline.simulate.constitution import Constitution
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W
from data_pipeline.simulate.oximeter import averaged, averaging_s
from data_pipeline.simulate.person import Person
from data_pipeline.simulate.timing import TrueEvent, second_rate

INTERVAL_CV = {W: 0.20, N1: 0.16, N2: 0.08, N3: 0.05, REM: 0.15}  # assumed; order Rostig 2003
AMPLITUDE_CV_RATIO = 1.5  # of the interval's; assumed
RATE_OFFSET_PER_MIN = {W: 0.0, N1: 0.0, N2: 0.0, N3: 0.3, REM: 0.5}  # assumed
VOLUME = {W: 1.0, N1: 0.95, N2: 0.92, N3: 0.92, REM: 0.78}  # REM tidal volume 73 % of wake (Douglas 1982)
ABDOMINAL_SHARE = {W: 0.54, N1: 0.48, N2: 0.42, N3: 0.38, REM: 0.56}  # Stradling 1985; N1, N2 assumed
SIGHS_PER_H, SIGH_VOLUME = 4.0, 2.2  # assumed, 2–6 /h and 2–2.5 times
BREATH_MEMORY, BREATH_WANDER_LOG_SD = 0.97, 0.15  # sizes drift over some dozen breaths; assumed
BREATH_SHAPE_SD = 0.02  # of a breath, from second to second; assumed
CLOSING_S = 1.0  # to close and to open an airway; assumed
WAXING = (0.4, 1.1)  # breaths between the apneas of Cheyne–Stokes: the smallest, and what is added; assumed
HYPERPNOEA = 1.6  # breaths after an event; assumed, 1.5–2 times
THERMISTOR_LAG_S = 0.6  # assumed, 0.5–1 s
LINEARISED_SHARE = 0.4  # of recorders give the root of the nasal pressure, which is linear in flow; assumed
THERMISTOR_LAG_RANGE_S, THERMISTOR_HIDES_RANGE = (0.3, 1.2), (0.5, 1.0)  # assumed
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
    cpap_from_s: float | None = None,
) -> Breathing:
    """Makes flow and effort at `rate_hz`, and saturation, for a night.

    `stages` is (n_epochs,) int8; of the `events`, breathing events and desaturations are used. From `cpap_from_s` on,
    if it is given, the person breathes through a mask under pressure.
    """
    own = person.constitution
    n_seconds = len(stages) * EPOCH_S
    n = n_seconds * rate_hz
    times, volumes = _breaths(rng, person, stages, n_seconds, variety)
    t = np.arange(n, dtype=np.float64) / rate_hz
    phase = np.interp(t, times, np.arange(len(times)))
    if variety > 0:  # no two breaths have one shape
        phase += variety * BREATH_SHAPE_SD * np.interp(t, np.arange(n_seconds), rng.standard_normal(n_seconds))
    size = np.interp(t, times, volumes).astype(np.float32)
    flow_gain, effort_gain, shift, limited, apnea_like = _event_gains(rng, events, n, rate_hz)

    flow = size * flow_gain * _flow_shape(phase, own)
    exponent, hides, lag_s = (2, THERMISTOR_HIDES, THERMISTOR_LAG_S) if variety == 0 else _sensor_kind(rng, variety)
    felt_flow = np.minimum(np.abs(flow), np.where(limited, FLOW_LIMIT * size * flow_gain, np.inf))
    nasal = np.sign(flow) * felt_flow**exponent
    felt = np.where(apnea_like, flow, np.sign(flow) * np.abs(flow) * np.maximum(flow_gain, 1e-3) ** (hides - 1))
    pole = np.exp(-1 / (lag_s * rate_hz))
    thermistor = signal.lfilter([1 - pole], [1, -pole], felt)
    thermistor *= 1.6  # the lag takes that much of a breath of 4 s
    if variety > 0:
        nasal *= np.repeat(nose_share(rng, own, stages), rate_hz)
        nasal += snoring(rng, own, stages, flow)
    if cpap_from_s is not None:
        put_under_pressure(rng, flow, nasal, thermistor, round(cpap_from_s * rate_hz), rate_hz)

    share = np.repeat(np.array([ABDOMINAL_SHARE[stage] for stage in range(5)])[stages], EPOCH_S * rate_hz)
    thorax = size * effort_gain * _volume_shape(phase - shift, own) * 2 * (1 - share)
    abdomen = size * effort_gain * _volume_shape(phase, own) * 2 * share

    heart = np.sin(2 * np.pi * person.heart_bpm / 60 * t)
    turned_s = turns(rng, n_seconds) if variety > 0 else np.empty(0)
    signals = []
    for clean, beat in ((thermistor, 1.0), (nasal, 1.0), (thorax, 0.6), (abdomen, 0.3)):
        noise = rng.standard_normal(n, dtype=np.float32)
        noisy = SENSOR_NOISE * (sensor_noise(rng, variety) if variety > 0 else 1)
        signals.append((clean + noisy * noise + HEART_IN_FLOW * beat * heart).astype(np.float32))
        if variety > 0:
            shift_and_drift(rng, signals[-1], turned_s, rate_hz, variety)
    spo2 = _spo2(rng, person, stages, events, variety)
    return Breathing(*signals, spo2_percent=spo2, breath_times_s=times)


def _sensor_kind(rng: np.random.Generator, variety: float) -> tuple[int, float, float]:
    """Power of the flow that nasal pressure follows, how a thermistor hides a hypopnea, and its lag in seconds."""
    exponent = 1 if rng.random() < LINEARISED_SHARE * variety else 2
    hides = THERMISTOR_HIDES + variety * (rng.uniform(*THERMISTOR_HIDES_RANGE) - THERMISTOR_HIDES)
    lag_s = THERMISTOR_LAG_S + variety * (rng.uniform(*THERMISTOR_LAG_RANGE_S) - THERMISTOR_LAG_S)
    return exponent, hides, lag_s


def _breaths(
    rng: np.random.Generator, person: Person, stages: np.ndarray, n_seconds: int, variety: float
) -> tuple[np.ndarray, np.ndarray]:
    """Onset (s) and size of every breath; intervals and sizes vary as their stage does."""
    n = int(n_seconds / 60 * (person.breaths_per_min + 1) * 1.6) + 20
    normal = rng.standard_normal((2, n))
    sighs = rng.random(n) < SIGHS_PER_H / 60 / person.breaths_per_min
    times, sizes = [0.0], [1.0]
    for draw, size_draw, sigh in zip(*normal, sighs, strict=True):
        stage = int(stages[min(int(times[-1]) // EPOCH_S, len(stages) - 1)])
        cv = INTERVAL_CV[stage] * person.constitution.irregularity
        interval = 60 / (person.breaths_per_min + RATE_OFFSET_PER_MIN[stage]) * np.exp(cv * draw)
        times.append(times[-1] + min(max(interval, 1.6), 9.0))
        size = VOLUME[stage] * np.exp(AMPLITUDE_CV_RATIO * cv * size_draw)
        sizes.append(min(size, 1.8) * (SIGH_VOLUME if sigh else 1.0))
        if times[-1] > n_seconds:
            break
    sizes = np.array(sizes)
    if variety > 0:
        wander = signal.lfilter([np.sqrt(1 - BREATH_MEMORY**2)], [1, -BREATH_MEMORY], rng.standard_normal(len(sizes)))
        sizes *= np.exp(variety * BREATH_WANDER_LOG_SD * wander)
    return np.array(times), sizes


def _volume_shape(phase: np.ndarray, own: Constitution) -> np.ndarray:
    """Lung volume over a breath, -0.5 … 0.5: up during inspiration, down during expiration."""
    _, angle = _half_waves(phase, own)
    return -0.5 * np.cos(np.float32(np.pi) * angle)


def _flow_shape(phase: np.ndarray, own: Constitution) -> np.ndarray:
    """The slope of `_volume_shape`, inspiration positive with peak 1."""
    share = own.inspiration_share
    rising, angle = _half_waves(phase, own)
    height = np.where(rising, 1.0, share / (1 - share)).astype(np.float32)
    return height * np.sin(np.float32(np.pi) * angle)


def _half_waves(phase: np.ndarray, own: Constitution) -> tuple[np.ndarray, np.ndarray]:
    """Whether a breath is rising at each sample, and how far it is: 0 to 1 up, 1 to 2 down."""
    part, share = (phase % 1).astype(np.float32), own.inspiration_share
    rising = part < share
    falling = np.maximum((part - share) / (1 - share), 0) ** own.expiration_bend
    return rising, np.where(rising, part / share, 1 + falling)


def _event_gains(
    rng: np.random.Generator, events: list[TrueEvent], n: int, rate_hz: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Per sample: gain of flow, gain of effort, shift of the thorax (breaths), flow limited, apnea."""
    flow, effort = np.ones(n, dtype=np.float32), np.ones(n, dtype=np.float32)
    shift, limited, apnea_like = np.zeros(n, np.float32), np.zeros(n, bool), np.zeros(n, bool)
    for event in events:
        start = round(event.onset_s * rate_hz)
        if event.kind in BREATHING_EVENTS | {EventKind.RERA}:
            length = round(event.duration_s * rate_hz)
            part = slice(start, start + length)
            t = np.arange(length, dtype=np.float32) / rate_hz
            closing_s, opening_s = event.detail.get("closing_s", CLOSING_S), event.detail.get("opening_s", CLOSING_S)
            inside = np.minimum(1, np.minimum(t / closing_s, t[::-1] / opening_s))
            left = float(event.detail["flow_left"])
            apnea = event.kind in APNEAS
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
            extra = _after(event, rate_hz)
            after = slice(start + length, start + length + len(extra))
            count = len(flow[after])
            flow[after] += extra[:count]
            effort[after] += extra[:count]
    return flow, effort, shift, limited, apnea_like


def _after(event: TrueEvent, rate_hz: int) -> np.ndarray:
    """(n,) float32: what is added to the gain after an event: deeper breaths that fade, or grow and shrink again."""
    if "cycle_s" in event.detail:
        part = np.linspace(0, 1, max(0, round((event.detail["cycle_s"] - event.duration_s) * rate_hz)))
        return (WAXING[0] - 1 + WAXING[1] * np.sin(np.pi * part)).astype(np.float32)
    hyperpnoea = event.detail.get("hyperpnoea", HYPERPNOEA)
    return np.linspace(hyperpnoea - 1, 0, round(0.8 * BREATHING_RECOVERY_S * rate_hz), dtype=np.float32)


def _spo2(
    rng: np.random.Generator, person: Person, stages: np.ndarray, events: list[TrueEvent], variety: float
) -> np.ndarray:
    """(n_seconds,) float32 saturation in %; overlapping desaturations do not add, the deeper one shows."""
    n_seconds = len(stages) * EPOCH_S
    base = np.pad(second_rate(stages, SPO2_STAGE), 30, mode="edge")
    base = signal.oaconvolve(base, np.ones(60) / 60, mode="same")[30:-30]
    wander = signal.lfilter([1], [1, -0.98], rng.standard_normal(n_seconds)) * np.sqrt(1 - 0.98**2)
    fall = np.zeros(n_seconds)
    length_s = averaging_s(rng, variety) if variety > 0 else 1
    for event in events:
        if event.kind is not EventKind.DESATURATION:
            continue
        t = np.arange(int(event.onset_s), min(n_seconds, int(event.end_s) + 2), dtype=np.float64)
        nadir, depth = float(event.detail["nadir_s"]), float(event.detail["depth_percent"])
        down = np.clip((t - event.onset_s) / (nadir - event.onset_s), 0, 1)
        up = np.clip((t - nadir) / (event.end_s - nadir), 0, 1)
        curve = depth * 0.5 * (1 - np.cos(np.pi * down)) * 0.5 * (1 + np.cos(np.pi * up))
        if length_s > 1:
            curve = averaged(curve, length_s)
        part = fall[int(event.onset_s) : int(event.onset_s) + len(t)]
        np.maximum(part, curve, out=part)
    spo2 = person.spo2_percent + base + SPO2_WANDER * wander - fall
    return np.clip(spo2, SPO2_FLOOR, 100).astype(np.float32)
