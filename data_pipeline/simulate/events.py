"""What happens in a night: breathing events and their effects, limb movements, arousals, sleep waves.

Times are rounded to 10 ms, so a scorer's file and the truth agree to the digit. Order matters: breathing
first, limb movements where breathing is quiet, then spontaneous arousals, then the waves that arousals
interrupt.
"""

import numpy as np

from data_pipeline.night import APNEAS, BREATHING_EVENTS, EPOCH_S, EventKind
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W
from data_pipeline.simulate.person import Person
from data_pipeline.simulate.timing import TrueEvent, onsets_s, rounded, second_rate
from data_pipeline.simulate.waves import draw_waves

BREATHING_STAGE_RATE = {N1: 1.3, N2: 1.0, N3: 0.3}  # relative to N2; REM is a trait; assumed
BREATHING_LOG_SD, BREATHING_RANGE_S = 0.35, (10.5, 90.0)  # within a person; the AASM rule asks for >= 10 s
BREATHING_REM_LONGER = 1.35  # longer in REM in 12 of 12 (Findley 1985); size assumed
BREATHING_RECOVERY_S = 12.0  # least time of open breathing between two events; assumed
MIXED_SHARE = 0.08  # of the apneas; assumed
AROUSAL_IN_N3, AROUSAL_IN_REM = -0.15, 0.05  # added to the share of events that arouse; assumed
AROUSAL_LAG_S = (0.5, 2.0)  # mean and SD after event end: mode 0 s, 90 % in -4...+9 s (Zitting 2023)
DESATURATION_PER_S, DESATURATION_FREE_S = 0.26, 6.0  # % per second of event beyond the first (derived, Resat)
DESATURATION_LOG_SD = 0.35  # assumed
DESATURATION_APNEA, DESATURATION_REM, DESATURATION_PER_BMI = 1.3, 1.25, 0.03  # Findley 1985 (REM); assumed
DESATURATION_SCORED = 3.0  # AASM rule 1A
DESATURATION_RECOVERY_S = {"NREM": 9.3, "REM": 12.5}  # the Resat abstract (Sleep suppl., no. 392)

AROUSAL_STAGE_RATE = {N1: 25.0, N2: 12.0, N3: 4.0, REM: 12.0}  # per hour, spontaneous; assumed
AROUSAL_MEDIAN_S, AROUSAL_LOG_SD, AROUSAL_RANGE_S = (7.0, 0.45, (3.2, 15.0))  # AASM >= 3 s; Ferri 2015 6.5 ± 0.9
AROUSAL_SLEEP_BEFORE_S = 10.0  # AASM
AROUSAL_CARRIER_SHARE = {"alpha": 0.5, "beta": 0.3, "theta": 0.2}  # assumed

LIMB_MEAN_S, LIMB_SD_S, LIMB_RANGE_S = 3.2, 1.2, (0.6, 9.5)  # AASM 0.5–10 s; mean Ferri 2015
LIMB_ISOLATED_PER_H = 4.0  # assumed
LIMB_STAGE_RATE = {N1: 0.8, N2: 1.0, N3: 0.5, REM: 0.1}  # N2 > N1 > N3 >> REM; assumed
LIMB_RUN = (4, 40)  # movements in a periodic run; AASM >= 4
LIMB_INTERVAL_LOG_SD = 0.3  # assumed
LIMB_AROUSAL_SHARE = 0.25  # assumed, 20–35 %


def draw_events(rng: np.random.Generator, person: Person, stages: np.ndarray, *, variety: float) -> list[TrueEvent]:
    """Draws all events of a night, sorted by onset; `stages` is (n_epochs,) int8.

    Hypopneas with neither a desaturation of 3 % nor an arousal are not `scored` (rule 1A).
    """
    breathing = _breathing(rng, person, stages)
    limbs = _limb_movements(rng, person, stages, breathing)
    arousals = _arousals(rng, person, stages, breathing, limbs)
    breathing = _score_by_rule_1a(breathing, arousals)
    waves = draw_waves(rng, person, stages, arousals, variety=variety)
    return sorted([*breathing, *limbs, *arousals, *waves], key=lambda event: (event.onset_s, event.kind))


def _draw_breathing_event(rng: np.random.Generator, person: Person, stage: int) -> tuple[EventKind, float, dict]:
    rem = stage == REM
    duration = person.breathing_event_s * np.exp(BREATHING_LOG_SD * rng.standard_normal())
    duration = float(np.clip(duration * (BREATHING_REM_LONGER if rem else 1), *BREATHING_RANGE_S))
    apnea = rng.random() < person.apnea_share
    if not apnea:
        kind = EventKind.HYPOPNEA
    else:
        kinds = (EventKind.CENTRAL_APNEA, EventKind.MIXED_APNEA, EventKind.OBSTRUCTIVE_APNEA)
        central = person.central_share * (0.3 if rem else 1)
        kind = kinds[int(np.searchsorted([central, central + MIXED_SHARE], rng.random(), side="right"))]
    depth = DESATURATION_PER_S * (duration - DESATURATION_FREE_S)
    depth *= 1 + DESATURATION_PER_BMI * (person.bmi - 28)
    depth *= (DESATURATION_APNEA if apnea else 1) * (DESATURATION_REM if rem else 1)
    # Haemoglobin's sigmoid: the same event falls 1.5–2 times deeper from 92 % than from 97 % (assumed).
    depth *= 1 + 0.12 * max(0.0, 97 - person.spo2_percent)
    depth = float(np.clip(depth * np.exp(DESATURATION_LOG_SD * rng.standard_normal()), 0.3, 40))
    arouses = person.breathing_arousal_share
    arouses += {N3: AROUSAL_IN_N3, REM: AROUSAL_IN_REM}.get(stage, 0) + 0.006 * (duration - 22)
    detail: dict[str, float | str] = {
        "flow_left": round(float(rng.uniform(0.02, 0.06) if apnea else rng.uniform(0.25, 0.60)), 3),
        "desaturation_percent": round(depth, 2),
        "arouses": float(rng.random() < arouses),
    }
    if kind is EventKind.HYPOPNEA:
        detail["type"] = "central" if rng.random() < 0.5 * person.central_share else "obstructive"
    return kind, duration, detail


def _would_score(kind: EventKind, detail: dict) -> bool:
    return kind in APNEAS or detail["desaturation_percent"] >= DESATURATION_SCORED or detail["arouses"] > 0


def _breathing(rng: np.random.Generator, person: Person, stages: np.ndarray) -> list[TrueEvent]:
    """Breathing events and their desaturations, at the rate that gives the person's AHI."""
    trial = [_draw_breathing_event(rng, person, N2) for _ in range(100)]
    scored_share = np.mean([_would_score(kind, detail) for kind, _, detail in trial])
    rate = second_rate(stages, BREATHING_STAGE_RATE | {REM: person.rem_ahi_ratio})
    rate *= np.where(_supine(rng, len(rate)), person.supine_ahi_ratio, 1)
    asleep = rate > 0
    if not asleep.any():
        return []
    per_s = rate / rate[asleep].mean() * person.ahi_per_h / 3600 / scored_share
    mean_s = float(np.mean([duration for _, duration, _ in trial]))
    events: list[TrueEvent] = []
    free_s = 0.0
    for time in onsets_s(rng, per_s, mean_s + BREATHING_RECOVERY_S, regular=1.5):
        onset = max(float(time), free_s)
        if onset + 60 >= len(rate) or not asleep[int(onset)]:
            continue
        stage = int(stages[int(onset) // EPOCH_S])
        kind, duration, detail = _draw_breathing_event(rng, person, stage)
        if onset + duration + 60 >= len(rate):
            continue
        event = TrueEvent(kind, rounded(onset), rounded(duration), detail=detail)
        events += [event, _desaturation(rng, person, event, stage)]
        free_s = event.end_s + BREATHING_RECOVERY_S
    return events


def _supine(rng: np.random.Generator, n_seconds: int) -> np.ndarray:
    """(n_seconds,) bool; 5–10 changes of position a night, 65 % supine (Eiseman 2012)."""
    changes = np.sort(rng.integers(0, n_seconds, size=max(1, round(n_seconds / 3600))))
    return np.repeat(rng.random(len(changes) + 1) < 0.65, np.diff([0, *changes, n_seconds]))


def _desaturation(rng: np.random.Generator, person: Person, cause: TrueEvent, stage: int) -> TrueEvent:
    """The fall in SpO2 that lags its event by the circulation time; its onset is where the fall begins."""
    lag = float(np.clip(person.circulation_s + rng.normal(0, 1.5), 10.5, 25))
    onset = cause.onset_s + lag
    nadir = cause.end_s + float(np.clip(lag - 5 + rng.normal(0, 2), 5, 20))
    recovery = DESATURATION_RECOVERY_S["REM" if stage == REM else "NREM"] * float(rng.uniform(0.9, 1.4))
    depth = float(cause.detail["desaturation_percent"])
    return TrueEvent(
        EventKind.DESATURATION,
        rounded(onset),
        rounded(nadir - onset + recovery),
        scored=depth >= DESATURATION_SCORED,
        detail={"depth_percent": depth, "nadir_s": rounded(nadir), "cause_onset_s": cause.onset_s},
    )


def _limb_movements(
    rng: np.random.Generator, person: Person, stages: np.ndarray, breathing: list[TrueEvent]
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
        time = float(start)
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
        detail = {"pattern": pattern, "side": side, "amplitude_uv": round(float(rng.uniform(30, 150)), 1)}
        detail["arouses"] = float(rng.random() < LIMB_AROUSAL_SHARE)
        events.append(TrueEvent(EventKind.LIMB_MOVEMENT, rounded(time), rounded(duration), detail=detail))
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


def _score_by_rule_1a(breathing: list[TrueEvent], arousals: list[TrueEvent]) -> list[TrueEvent]:
    """Marks hypopneas with neither a 3 % desaturation nor an arousal near their end as not scored."""
    onsets = np.array([event.onset_s for event in arousals])
    result = []
    for event in breathing:
        if event.kind is EventKind.HYPOPNEA:
            aroused = len(onsets) > 0 and bool(np.any((onsets > event.end_s - 6) & (onsets < event.end_s + 14)))
            desaturated = event.detail["desaturation_percent"] >= DESATURATION_SCORED
            detail = event.detail | {"arouses": float(aroused)}
            scored = aroused or desaturated
            event = TrueEvent(event.kind, event.onset_s, event.duration_s, scored, detail)
        result.append(event)
    return result
