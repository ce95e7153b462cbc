"""What happens in a night: breathing events and their effects, limb movements, arousals, sleep waves.

Times are rounded to 10 ms, so a scorer's file and the truth agree to the digit. Order matters: breathing
first, limb movements where breathing is quiet, then spontaneous arousals, then the waves that arousals
interrupt.
"""

import numpy as np

from data_pipeline.night import BREATHING_EVENTS, EPOCH_S, EventKind
from data_pipeline.simulate.breathing_events import draw_breathing_events, score_by_rule
from data_pipeline.simulate.constitution import LEG_REST_UV
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W
from data_pipeline.simulate.person import Person
from data_pipeline.simulate.timing import TrueEvent, onsets_s, rounded, second_rate
from data_pipeline.simulate.waves import draw_waves

AROUSAL_LAG_S = (0.5, 2.0)  # mean and SD after event end: mode 0 s, 90 % in -4...+9 s (Zitting 2023)
AROUSAL_STAGE_RATE = {N1: 25.0, N2: 12.0, N3: 4.0, REM: 12.0}  # per hour, spontaneous; assumed
AROUSAL_MEDIAN_S, AROUSAL_LOG_SD, AROUSAL_RANGE_S = (7.0, 0.45, (3.2, 15.0))  # AASM >= 3 s; Ferri 2015 6.5 ± 0.9
AROUSAL_SLEEP_BEFORE_S = 10.0  # AASM
AROUSAL_CARRIER_SHARE = {"alpha": 0.5, "beta": 0.3, "theta": 0.2}  # assumed

LIMB_MEAN_S, LIMB_SD_S, LIMB_RANGE_S = 3.2, 1.2, (0.6, 9.5)  # AASM 0.5–10 s; mean Ferri 2015
LIMB_ISOLATED_PER_H = 4.0  # assumed
LIMB_STAGE_RATE = {N1: 0.8, N2: 1.0, N3: 0.5, REM: 0.1}  # N2 > N1 > N3 >> REM; assumed
LIMB_RUN = (4, 40)  # movements in a periodic run; AASM >= 4
LIMB_INTERVAL_LOG_SD = 0.3  # assumed
LIMB_UV, LIMB_UV_VARIED = (30.0, 150.0), (40.0, 350.0)  # peak to peak; a movement is 8 µV above rest (AASM); assumed
LIMB_UV_PER_REST = 4.0  # peak to peak over RMS: a tense leg's movement must stand out of more; assumed
LIMB_WEAK_UV, LIMB_SHORT_S, LIMB_LONG_S = (6.0, 20.0), (0.15, 0.4), (11.0, 25.0)  # movements that are not scored
LIMB_NEAR_MISS_PER_H, LIMB_NEAR_MISS_LOG_SD = 6.0, 0.8  # assumed


def draw_events(
    rng: np.random.Generator,
    person: Person,
    stages: np.ndarray,
    *,
    variety: float,
    cpap_from_s: float | None = None,
) -> list[TrueEvent]:
    """Draws all events of a night, sorted by onset; `stages` is (n_epochs,) int8.

    Hypopneas with neither a desaturation of 3 % nor an arousal are not `scored` (rule 1A); RERAs are. From
    `cpap_from_s` on, if it is given, the person breathes under pressure.
    """
    breathing = draw_breathing_events(rng, person, stages, cpap_from_s=cpap_from_s, variety=variety)
    limbs = _limb_movements(rng, person, stages, breathing, variety)
    arousals = _arousals(rng, person, stages, breathing, limbs)
    breathing = score_by_rule(breathing, arousals)
    waves = draw_waves(rng, person, stages, arousals, variety=variety)
    return sorted([*breathing, *limbs, *arousals, *waves], key=lambda event: (event.onset_s, event.kind))


def _limb_movements(
    rng: np.random.Generator, person: Person, stages: np.ndarray, breathing: list[TrueEvent], variety: float
) -> list[TrueEvent]:
    """Periodic runs and isolated movements; none within 0.5 s of a breathing event (AASM)."""
    weight = second_rate(stages, LIMB_STAGE_RATE)
    if not weight.any():
        return []
    busy = np.zeros(len(weight), dtype=bool)
    for event in breathing:
        if event.kind in BREATHING_EVENTS:
            busy[max(0, int(event.onset_s - 11)) : int(event.end_s + 2)] = True
    onsets: list[tuple[float, str]] = []
    wanted = person.plm_per_h * np.count_nonzero(weight) / 3600
    starts = rng.choice(len(weight), size=400, p=weight / weight.sum())
    for start in starts:
        if len(onsets) >= wanted:
            break
        time = float(start) + (rng.random() if variety > 0 else 0.0)
        intervals = rng.lognormal(np.log(person.plm_interval_s), LIMB_INTERVAL_LOG_SD, rng.integers(*LIMB_RUN))
        for interval in np.clip(intervals, 12, 85):
            if time + 15 >= len(weight) or weight[int(time)] == 0:
                break
            onsets.append((time, "periodic"))
            time += interval
    isolated = onsets_s(rng, weight / weight[weight > 0].mean() * LIMB_ISOLATED_PER_H / 3600, 15)
    onsets += [(float(time), "isolated") for time in isolated]
    events: list[TrueEvent] = []
    for time, pattern in sorted(onsets):
        if busy[min(int(time), len(busy) - 1)] or time + 15 >= len(weight):
            continue
        if events and time < events[-1].end_s + 6:
            continue
        duration = float(np.clip(rng.normal(LIMB_MEAN_S, LIMB_SD_S), *LIMB_RANGE_S))
        side = ("left", "right", "both")[int(rng.choice(3, p=[0.3, 0.3, 0.4]))]
        detail = {"pattern": pattern, "side": side, "amplitude_uv": _limb_uv(rng, person, variety)}
        detail["arouses"] = float(rng.random() < person.constitution.limb_arousal_share)
        events.append(TrueEvent(EventKind.LIMB_MOVEMENT, rounded(time), rounded(duration), detail=detail))
    return events + (_limb_near_misses(rng, person, events, len(weight), variety) if variety > 0 else [])


def _limb_uv(rng: np.random.Generator, person: Person, variety: float) -> float:
    if variety == 0:
        return round(float(rng.uniform(*LIMB_UV)), 1)
    low, high = LIMB_UV_VARIED
    above_rest = low * (high / low) ** rng.random()
    return round(float(above_rest + LIMB_UV_PER_REST * (max(person.constitution.leg_rest_uv) - LEG_REST_UV)), 1)


def _limb_near_misses(
    rng: np.random.Generator, person: Person, limbs: list[TrueEvent], n_seconds: int, variety: float
) -> list[TrueEvent]:
    """Movements that are none by the AASM's rules: too weak, too short, too long."""
    often = variety * rng.lognormal(0, LIMB_NEAR_MISS_LOG_SD) * LIMB_NEAR_MISS_PER_H
    taken = np.array([event.onset_s for event in limbs])
    events: list[TrueEvent] = []
    for time in onsets_s(rng, np.full(n_seconds, often / 3600), 30.0):
        if time + 30 >= n_seconds or (len(taken) and np.abs(taken - time).min() < 30):
            continue
        kind = rng.choice(["weak", "short", "long"], p=[0.5, 0.3, 0.2])
        duration = {"weak": (0.5, 9.0), "short": LIMB_SHORT_S, "long": LIMB_LONG_S}[kind]
        amplitude = rng.uniform(*LIMB_WEAK_UV) if kind == "weak" else _limb_uv(rng, person, variety)
        detail = {"near_miss": 1.0, "side": str(rng.choice(["left", "right", "both"])), "arouses": 0.0}
        detail["amplitude_uv"] = round(float(amplitude), 1)
        length = rounded(rng.uniform(*duration))
        events.append(TrueEvent(EventKind.LIMB_MOVEMENT, rounded(time), length, scored=False, detail=detail))
    return events


def _arousals(
    rng: np.random.Generator, person: Person, stages: np.ndarray, breathing: list[TrueEvent], limbs: list[TrueEvent]
) -> list[TrueEvent]:
    """Arousals after breathing events, with limb movements, and by themselves, each after 10 s of sleep."""
    asleep = np.repeat(stages != W, EPOCH_S)
    wanted: list[tuple[float, str]] = []
    for event in breathing:
        if event.kind in BREATHING_EVENTS and event.detail["arouses"]:
            lag = np.clip(rng.normal(*AROUSAL_LAG_S), -3.5, 8)
            wanted.append((event.end_s + float(lag), "breathing"))
    wanted += [
        (event.onset_s + float(rng.uniform(-0.4, 0.8)), "limb_movement") for event in limbs if event.detail["arouses"]
    ]
    rate = second_rate(stages, AROUSAL_STAGE_RATE)
    if rate.any():
        per_s = rate / rate[rate > 0].mean() * person.arousal_per_h / 3600
        spontaneous = onsets_s(rng, per_s, 25)
        taken = np.array([time for time, _ in wanted])
        wanted += [
            (float(time), "spontaneous")
            for time in spontaneous
            if len(taken) == 0 or np.abs(taken - time).min() > 30  # a caused arousal goes first
        ]
    events: list[TrueEvent] = []
    free_s = AROUSAL_SLEEP_BEFORE_S
    for onset, cause in sorted(wanted):
        if onset < free_s or onset + 20 >= len(asleep):
            continue
        if not asleep[int(onset - AROUSAL_SLEEP_BEFORE_S) : int(onset) + 4].all():
            continue
        duration = float(np.clip(rng.lognormal(np.log(AROUSAL_MEDIAN_S), AROUSAL_LOG_SD), *AROUSAL_RANGE_S))
        carrier = str(rng.choice(list(AROUSAL_CARRIER_SHARE), p=list(AROUSAL_CARRIER_SHARE.values())))
        detail = {"cause": cause, "carrier": carrier, "gain": round(float(rng.uniform(1.3, 2.0)), 2)}
        events.append(TrueEvent(EventKind.AROUSAL, rounded(onset), rounded(duration), detail=detail))
        free_s = events[-1].end_s + AROUSAL_SLEEP_BEFORE_S
    return events
