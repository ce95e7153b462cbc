"""What goes wrong in a recording: movement, electrode pops, loose leads, sweat, a lost oximeter, mains.

An artefact is drawn first, as a fact with channel and interval that the truth file keeps, and then put
into signals.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.night import EPOCH_S
from data_pipeline.simulate.hypnogram import W

ELECTRIC = tuple(modality for modality in Modality if modality.facts.voltage)
MOVEMENTS_PER_WAKE_MIN, MOVEMENTS_PER_SLEEP_H = 0.25, 1.0  # assumed, 3–8 /h near wake
MOVEMENT_S, MOVEMENT_UV = (3.0, 30.0), (80.0, 350.0)  # assumed, 3–45 s (IRLSSG 2021)
POPS_PER_H, POP_UV, POP_DECAY_S = 0.3, (150.0, 800.0), (0.2, 1.0)  # per electrode; assumed, 0–5 /h
LEAD_OFF_SHARE, LEAD_OFF_S = 0.03, (180.0, 1800.0)  # of channels a night; assumed, 1–5 %
LEAD_OFF_MAINS_UV = (100.0, 800.0)  # a loose electrode picks up mains; assumed
SWEAT_SHARE, SWEAT_S, SWEAT_UV = 0.15, (300.0, 2400.0), (40.0, 100.0)  # of nights; assumed
SPO2_DROPOUT_SHARE, SPO2_DROPOUT_S = (0.003, 0.02), (5.0, 90.0)  # of the night; assumed, 0.5–3 %
MAINS_UV, MAINS_LOG_SD = 1.5, 0.8  # median on a good electrode; assumed, 0–30

# What varies from night to night, besides:
MOVEMENT_RATE_LOG_MEAN, MOVEMENT_RATE_LOG_SD, MAINS_MORE_LOG_SD = -0.9, 0.9, 0.5  # assumed
MAINS_BOUTS, MAINS_BOUT_UV, MAINS_BOUT_S = (
    0.3,
    (3.0, 30.0),
    (300.0, 7200.0),
)  # per electrode; assumed
FAILURE_SHARE = 0.04  # of sensors, for a long part of the night; assumed
FAILURE_S, FAILURE_TO_END_SHARE = (600.0, 10800.0), 0.4  # assumed
FAILURE_KINDS = {"dead": 0.4, "hum": 0.3, "open": 0.3}  # an electrode that came off: short-circuit, aerial, noise
DEAD_HUM_UV, OPEN_UV = (400.0, 3000.0), (5.0, 60.0)  # peak of the hum, RMS of the noise; assumed
STUCK_PER_NIGHT, STUCK_S = 0.7, (15.0, 120.0)  # an oximeter that holds a value; assumed
NOISY_PER_NIGHT, NOISY_S, NOISY_PERCENT = 1.5, (30.0, 600.0), (0.7, 3.0)  # cold fingers, a loose clip; assumed
PROBE_OFF_PERCENT = (0.0, 30.0)  # what an oximeter shows without a finger; assumed


@dataclass(frozen=True)
class Artefact:
    """A fault with its place.

    Attributes:
      kind: "movement", "pop", "lead_off", "sweat", "dropout" or "mains"; of varied nights also "dead" and "open" for
        sensors that fail for long, "stuck" and "noisy" for an oximeter.
      slot: canonical channel, or "all" for a movement.
      onset_s, duration_s: seconds; mains lasts the whole night.
      amplitude: µV for the electric ones, for an oximeter what it reads without a finger or how noisy it is, in %.
    """

    kind: str
    slot: str
    onset_s: float
    duration_s: float
    amplitude: float


def draw_artefacts(rng: np.random.Generator, stages: np.ndarray, *, variety: float) -> list[Artefact]:
    """Draws a night's artefacts, sorted by onset; `stages` is (n_epochs,) int8."""
    n_seconds = len(stages) * EPOCH_S
    found: list[Artefact] = []

    def add(kind: str, slot: str, onset: float, duration: float, amplitude: float) -> None:
        onset = min(max(0.0, onset), n_seconds - 1.0)
        duration = min(duration, n_seconds - onset)
        found.append(Artefact(kind, slot, round(onset, 2), round(duration, 2), round(amplitude, 2)))

    wake = np.repeat(stages == W, EPOCH_S)
    restless = rng.lognormal(variety * MOVEMENT_RATE_LOG_MEAN, variety * MOVEMENT_RATE_LOG_SD) if variety > 0 else 1
    mains_log_sd = MAINS_LOG_SD + variety * MAINS_MORE_LOG_SD
    per_s = restless * np.where(wake, MOVEMENTS_PER_WAKE_MIN / 60, MOVEMENTS_PER_SLEEP_H / 3600)
    for second in np.flatnonzero(rng.random(n_seconds) < per_s):
        # In sleep a movement is short, or the person would be awake.
        longest = MOVEMENT_S[1] if wake[second] else 6.0
        onset = second + (rng.random() if variety > 0 else 0.0)
        add("movement", "all", onset, rng.uniform(MOVEMENT_S[0], longest), rng.uniform(*MOVEMENT_UV))
    electric = [slot for modality in ELECTRIC for slot in SLOTS[modality]]
    for slot in electric:
        add("mains", slot, 0.0, float(n_seconds), MAINS_UV * rng.lognormal(0, mains_log_sd))
        if slot in (*SLOTS[Modality.EEG], *SLOTS[Modality.EOG]):
            for onset in rng.uniform(0, n_seconds, rng.poisson(POPS_PER_H * n_seconds / 3600)):
                add("pop", slot, onset, rng.uniform(*POP_DECAY_S) * 3, rng.uniform(*POP_UV))
    for slot in electric + list(SLOTS[Modality.RESP]):
        if rng.random() < LEAD_OFF_SHARE:
            length = min(rng.uniform(*LEAD_OFF_S), n_seconds / 6)
            strength = rng.uniform(*LEAD_OFF_MAINS_UV) if slot in electric and rng.random() < 0.5 else 0.0
            add("lead_off", slot, rng.uniform(0, n_seconds - length), length, strength)
    if rng.random() < SWEAT_SHARE:
        length = min(rng.uniform(*SWEAT_S), n_seconds / 3)
        onset, strength = rng.uniform(0, n_seconds - length), rng.uniform(*SWEAT_UV)
        for slot in SLOTS[Modality.EEG]:
            add("sweat", slot, onset, length, strength * rng.uniform(0.6, 1.2))
    budget = rng.uniform(*SPO2_DROPOUT_SHARE) * n_seconds
    while budget > 0:
        length = float(rng.integers(*map(int, SPO2_DROPOUT_S)))
        add("dropout", "SPO2", float(rng.integers(0, n_seconds)), length, 0.0)
        budget -= length
    if variety > 0:
        _draw_failures(rng, n_seconds, variety, add)
    return sorted(found, key=lambda artefact: (artefact.onset_s, artefact.kind, artefact.slot))


def _draw_failures(
    rng: np.random.Generator, n_seconds: int, variety: float, add: Callable[[str, str, float, float, float], None]
) -> None:
    """Hum that comes and goes, sensors that fail for long, and an oximeter's moods; `add` takes what is drawn."""
    head = (*SLOTS[Modality.EEG], *SLOTS[Modality.EOG])
    electric = [slot for modality in ELECTRIC for slot in SLOTS[modality]]
    for slot in electric:
        for onset in rng.uniform(0, n_seconds, rng.poisson(MAINS_BOUTS * variety)):
            add("mains", slot, onset, rng.uniform(*MAINS_BOUT_S), rng.uniform(*MAINS_BOUT_UV))
    for slot in (*electric, *SLOTS[Modality.RESP], "SPO2"):
        if rng.random() >= FAILURE_SHARE * variety:
            continue
        onset = rng.uniform(0, 0.95 * n_seconds)
        length = float(n_seconds) if rng.random() < FAILURE_TO_END_SHARE else rng.uniform(*FAILURE_S)
        kind = str(rng.choice(list(FAILURE_KINDS), p=list(FAILURE_KINDS.values())))
        if slot == "SPO2":
            add("dropout", slot, onset, length, float(rng.choice(PROBE_OFF_PERCENT)))
        elif kind == "open" and slot in head:
            add("open", slot, onset, length, rng.uniform(*OPEN_UV))
        else:
            add("dead", slot, onset, length, rng.uniform(*DEAD_HUM_UV) if kind == "hum" and slot in electric else 0.0)
    for onset in rng.uniform(0, n_seconds, rng.poisson(STUCK_PER_NIGHT * variety)):
        add("stuck", "SPO2", onset, rng.uniform(*STUCK_S), 0.0)
    for onset in rng.uniform(0, n_seconds, rng.poisson(NOISY_PER_NIGHT * variety)):
        add("noisy", "SPO2", onset, rng.uniform(*NOISY_S), rng.uniform(*NOISY_PERCENT))


def add_electric(
    rng: np.random.Generator, samples: np.ndarray, slot: str, artefacts: list[Artefact], mains_hz: int, rate_hz: int
) -> None:
    """Puts the artefacts of one electric channel into `samples` ((n,) float32 µV), in place."""
    second = np.arange(rate_hz, dtype=np.float32) / rate_hz
    # Whole cycles fit into a second, so one second of mains repeats without a seam.
    period = np.sin(2 * np.pi * mains_hz * second + rng.uniform(0, 2 * np.pi)).astype(np.float32)
    if mains_hz > 0.45 * rate_hz:
        period[:] = 0  # the recorder filters what it cannot sample
    for artefact, part in _parts(samples, slot, artefacts, rate_hz):
        t = np.arange(len(part), dtype=np.float32) / rate_hz
        if artefact.kind == "mains":
            whole = part[: len(part) // rate_hz * rate_hz].reshape(-1, rate_hz)
            whole += artefact.amplitude * period
        elif artefact.kind == "movement":
            part += artefact.amplitude * rng.uniform(0.3, 1.0) * _movement(rng, len(part), rate_hz)
        elif artefact.kind == "pop":
            part += artefact.amplitude * rng.choice([-1, 1]) * np.exp(-3 * t / artefact.duration_s)
        elif artefact.kind == "sweat":
            wave = np.sin(2 * np.pi * 0.3 * t + 2 * np.sin(2 * np.pi * 0.05 * t))
            part += artefact.amplitude * wave * np.minimum(1, np.minimum(t, t[::-1]) / 30)
        elif artefact.kind == "lead_off":
            part[:] = artefact.amplitude * np.resize(period, len(part))
    # Last of all, for nothing reaches a recorder past an electrode that came off.
    for artefact, part in _parts(samples, slot, artefacts, rate_hz):
        if artefact.kind == "dead":
            part[:] = artefact.amplitude * np.resize(period, len(part))
        elif artefact.kind == "open":
            part[:] = np.float32(artefact.amplitude) * rng.standard_normal(len(part), dtype=np.float32)


def _parts(
    samples: np.ndarray, slot: str, artefacts: list[Artefact], rate_hz: int
) -> Iterator[tuple[Artefact, np.ndarray]]:
    """The artefacts of a channel, each with a view of the samples that it is in."""
    for artefact in artefacts:
        if artefact.slot in (slot, "all"):
            start = round(artefact.onset_s * rate_hz)
            yield artefact, samples[start : start + round(artefact.duration_s * rate_hz)]


def _movement(rng: np.random.Generator, n: int, rate_hz: int) -> np.ndarray:
    """(n,) float32 of about unit RMS: slow swings and muscle together."""
    n_swings = max(3, 2 * n // rate_hz)
    slow = np.interp(np.arange(n), np.linspace(0, n, n_swings), rng.standard_normal(n_swings))
    ramp = np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / (0.3 * rate_hz))
    return ((0.8 * slow + 0.4 * rng.standard_normal(n)) * ramp).astype(np.float32)


def add_to_breathing(
    rng: np.random.Generator, samples: np.ndarray, slot: str, artefacts: list[Artefact], rate_hz: int
) -> None:
    """Puts movements and loose sensors into a flow or effort channel (n,), in place; a breath is 1."""
    for artefact, part in _parts(samples, slot, artefacts, rate_hz):
        if artefact.kind == "movement":
            part += 0.8 * _movement(rng, len(part), rate_hz)
        elif artefact.kind == "lead_off":
            part[:] = 0
    for artefact, part in _parts(samples, slot, artefacts, rate_hz):
        if artefact.kind == "dead":
            part[:] = 0


def add_to_spo2(rng: np.random.Generator, samples: np.ndarray, artefacts: list[Artefact]) -> None:
    """Puts an oximeter's faults into `samples` ((n_seconds,) %), in place: a lost finger, held and noisy values."""
    for artefact, part in _parts(samples, "SPO2", artefacts, rate_hz=1):
        if artefact.kind == "stuck" and len(part):
            part[:] = part[0]
        elif artefact.kind == "noisy":
            part += np.rint(artefact.amplitude * rng.standard_normal(len(part)))
            np.clip(part, 0, 100, out=part)
    for artefact in artefacts:
        if artefact.slot == "SPO2" and artefact.kind == "dropout":
            samples[int(artefact.onset_s) : int(artefact.onset_s + artefact.duration_s)] = artefact.amplitude
