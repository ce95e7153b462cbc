"""Apneas, hypopneas, the desaturations that they cause, and what only looks like them."""

from dataclasses import replace

import numpy as np

from data_pipeline.night import APNEAS, EPOCH_S, EventKind
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W
from data_pipeline.simulate.person import Person
from data_pipeline.simulate.timing import TrueEvent, onsets_s, rounded, second_rate, within

BREATHING_STAGE_RATE = {N1: 1.3, N2: 1.0, N3: 0.3}  # relative to N2; REM is a trait; assumed
BREATHING_LOG_SD, BREATHING_RANGE_S = 0.35, (10.5, 90.0)  # within a person; the AASM rule asks for >= 10 s
BREATHING_REM_LONGER = 1.35  # longer in REM in 12 of 12 (Findley 1985); size assumed
BREATHING_RECOVERY_S = 12.0  # least time of open breathing between two events; assumed
MIXED_SHARE = 0.08  # of the apneas; assumed
AROUSAL_IN_N3, AROUSAL_IN_REM = -0.15, 0.05  # added to the share of events that arouse; assumed
DESATURATION_PER_S, DESATURATION_FREE_S = 0.26, 6.0  # % per second of event beyond the first (derived, Resat)
DESATURATION_LOG_SD = 0.35  # assumed
DESATURATION_APNEA, DESATURATION_REM, DESATURATION_PER_BMI = 1.3, 1.25, 0.03  # Findley 1985 (REM); assumed
DESATURATION_SCORED = 3.0  # AASM rule 1A
DESATURATION_LAG_S, DESATURATION_LAG_VARIED_S = (10.5, 25.0), (8.0, 38.0)  # with the oximeter's delay; assumed
DESATURATION_NADIR_S, DESATURATION_NADIR_VARIED_S = (5.0, 20.0), (4.0, 34.0)  # after the event's end; assumed
DESATURATION_RECOVERY_S = {"NREM": 9.3, "REM": 12.5}  # the Resat abstract (Sleep suppl., no. 392)

FLOW_LEFT_APNEA = (0.02, 0.06)  # of a usual breath's peak; the AASM rule asks for less than 0.1
FLOW_LEFT_HYPOPNEA, FLOW_LEFT_HYPOPNEA_VARIED = (0.25, 0.60), (0.12, 0.69)  # AASM: at most 0.7; assumed
CLOSING_S, CLOSING_SHARE, OPENING_S = (0.3, 6.0), 0.3, (0.3, 2.0)  # abrupt or breath by breath; assumed
HYPERPNOEA_RANGE = (1.0, 2.2)  # breaths after an event; assumed, 1.5–2 times and less in the old
RECOVERY_SHORT_S = 5.0  # between events one upon another, in people of 60 /h and more; assumed

PERIODIC_CYCLE_S, PERIODIC_EVENT_SHARE, PERIODIC_RUN = (45.0, 75.0), (0.3, 0.45), (6, 30)  # events in a run; assumed
PERIODIC_APNEA_SHARE, PERIODIC_DEPTH_PERCENT, PERIODIC_AROUSES = 0.6, (2.0, 8.0), 0.4  # assumed
CPAP_RATE = 0.05  # events left under pressure; assumed

NEAR_MISS_PER_H = {W: 15.0, N1: 15.0, N2: 8.0, N3: 3.0, REM: 12.0}  # assumed
NEAR_MISS_LOG_SD, NEAR_MISS_GAP_S = 0.7, 6.0  # from person to person; to a breathing event; assumed
SHALLOW_SHARE, SHALLOW_LEFT, SHALLOW_S = 0.6, (0.75, 0.9), (8.0, 40.0)  # less than a hypopnea's 30 %
SHORT_LEFT, SHORT_S = (0.05, 0.6), (3.5, 8.5)  # less than 10 s
RERA_S = 10.0  # AASM
AWAKE_LEFT, AWAKE_S = (0.05, 0.8), (4.0, 20.0)  # held breath and speech: no event, however long (AASM)


def draw_breathing_events(
    rng: np.random.Generator, person: Person, stages: np.ndarray, *, cpap_from_s: float | None, variety: float
) -> list[TrueEvent]:
    """Breathing events and their desaturations, at the rate that gives the person's AHI; not yet scored.

    From `cpap_from_s` on, few are left. With variety there are near misses too, which nobody scores.
    """
    trial = [_draw_event(rng, person, N2, variety) for _ in range(100)]
    scored_share = np.mean([_would_score(kind, detail) for kind, _, detail in trial])
    rate = second_rate(stages, BREATHING_STAGE_RATE | {REM: person.rem_ahi_ratio})
    rate *= np.where(_supine(rng, len(rate)), person.supine_ahi_ratio, 1)
    asleep = rate > 0
    if not asleep.any():
        return []
    per_s = rate / rate[asleep].mean() * person.ahi_per_h / 3600 / scored_share
    is_periodic = person.constitution.is_periodic & np.isin(np.repeat(stages, EPOCH_S), (N1, N2))
    per_s[is_periodic] /= np.mean(PERIODIC_RUN)
    if cpap_from_s is not None:
        per_s[int(cpap_from_s) :] *= CPAP_RATE
    mean_s = float(np.mean([duration for _, duration, _ in trial]))
    recovery_s = BREATHING_RECOVERY_S
    if variety > 0 and person.ahi_per_h > 0:
        # An hour of so many events leaves no more time between them.
        recovery_s = float(np.clip(0.6 * (3600 / person.ahi_per_h - mean_s), RECOVERY_SHORT_S, recovery_s))
    gap_s = mean_s + recovery_s
    fell_asleep_s = np.maximum.accumulate(np.where(asleep, 0, np.arange(1, len(rate) + 1)))
    events: list[TrueEvent] = []
    free_s = 0.0
    for time in onsets_s(rng, per_s, gap_s, regular=1.5):
        onset = max(float(time), free_s)
        if onset + 60 >= len(rate) or not asleep[int(onset)]:
            continue
        # `onsets_s` makes up for the time that events block; just after waking, nothing has blocked any.
        is_first = free_s < fell_asleep_s[int(onset)]
        if variety > 0 and is_first and rng.random() < min(0.8, per_s[int(onset)] * gap_s):
            continue
        run = _periodic_run if is_periodic[int(onset)] else _single
        for event in run(rng, person, stages, onset, variety):
            if event.end_s + 60 >= len(rate):
                break
            stage = int(stages[int(event.onset_s) // EPOCH_S])
            events += [event, _desaturation(rng, person, event, stage, variety)]
            free_s = event.end_s + recovery_s
    if variety > 0:
        events += _near_misses(rng, stages, events, variety)
    return events


def _single(
    rng: np.random.Generator, person: Person, stages: np.ndarray, onset: float, variety: float
) -> list[TrueEvent]:
    kind, duration, detail = _draw_event(rng, person, int(stages[int(onset) // EPOCH_S]), variety)
    return [TrueEvent(kind, rounded(onset), rounded(duration), detail=detail)]


def _periodic_run(
    rng: np.random.Generator, person: Person, stages: np.ndarray, onset: float, variety: float
) -> list[TrueEvent]:
    """Cheyne–Stokes breathing: central events at an even pace, breaths growing and shrinking between them."""
    cycle_s = rng.uniform(*PERIODIC_CYCLE_S)
    events: list[TrueEvent] = []
    for _ in range(rng.integers(*PERIODIC_RUN)):
        if int(onset) // EPOCH_S >= len(stages) or stages[int(onset) // EPOCH_S] not in (N1, N2):
            break
        duration = max(BREATHING_RANGE_S[0], cycle_s * rng.uniform(*PERIODIC_EVENT_SHARE))
        is_apnea = rng.random() < PERIODIC_APNEA_SHARE
        detail: dict[str, float | str] = {
            "flow_left": round(float(rng.uniform(*(FLOW_LEFT_APNEA if is_apnea else FLOW_LEFT_HYPOPNEA))), 3),
            "desaturation_percent": round(float(rng.uniform(*PERIODIC_DEPTH_PERCENT)), 2),
            "arouses": float(rng.random() < PERIODIC_AROUSES),
            "closing_s": round(0.2 * duration, 2),
            "opening_s": round(0.2 * duration, 2),
            "cycle_s": round(float(cycle_s), 2),
        }
        if not is_apnea:
            detail["type"] = "central"
        kind = EventKind.CENTRAL_APNEA if is_apnea else EventKind.HYPOPNEA
        events.append(TrueEvent(kind, rounded(onset), rounded(duration), detail=detail))
        onset += cycle_s * rng.lognormal(0, 0.05)
    return events


def _near_misses(
    rng: np.random.Generator, stages: np.ndarray, breathing: list[TrueEvent], variety: float
) -> list[TrueEvent]:
    """What looks like an event and is none: too shallow, too short, or awake."""
    free = np.ones(len(stages) * EPOCH_S, dtype=bool)
    for event in breathing:
        if event.kind is not EventKind.DESATURATION:
            free[max(0, int(event.onset_s - NEAR_MISS_GAP_S)) : int(event.end_s + NEAR_MISS_GAP_S) + 1] = False
    often = variety * rng.lognormal(0, NEAR_MISS_LOG_SD) / 3600
    events: list[TrueEvent] = []
    free_s = 0.0
    for onset in onsets_s(rng, often * second_rate(stages, NEAR_MISS_PER_H), 10.0):
        if stages[int(onset) // EPOCH_S] == W:
            left, duration = rng.uniform(*AWAKE_LEFT), rng.uniform(*AWAKE_S)
        elif rng.random() < SHALLOW_SHARE:
            left, duration = rng.uniform(*SHALLOW_LEFT), rng.uniform(*SHALLOW_S)
        else:
            left, duration = rng.uniform(*SHORT_LEFT), rng.uniform(*SHORT_S)
        if onset < free_s or not free[int(onset) : int(onset + duration) + 1].all() or onset + duration >= len(free):
            continue
        detail: dict[str, float | str] = {
            "near_miss": 1.0,
            "flow_left": round(float(left), 3),
            "desaturation_percent": 0.0,
            "arouses": 0.0,
            "type": str(rng.choice(["central", "obstructive"])),
            "hyperpnoea": round(float(rng.uniform(1.0, 1.4)), 2),
        }
        events.append(TrueEvent(EventKind.HYPOPNEA, rounded(onset), rounded(duration), scored=False, detail=detail))
        free_s = events[-1].end_s + NEAR_MISS_GAP_S
    return events


def _draw_event(rng: np.random.Generator, person: Person, stage: int, variety: float) -> tuple[EventKind, float, dict]:
    rem = stage == REM
    duration = person.breathing_event_s * np.exp(BREATHING_LOG_SD * rng.standard_normal())
    duration = within(duration * (BREATHING_REM_LONGER if rem else 1), *BREATHING_RANGE_S)
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
    depth = within(depth * np.exp(DESATURATION_LOG_SD * rng.standard_normal()), 0.3, 40)
    arouses = person.breathing_arousal_share
    arouses += {N3: AROUSAL_IN_N3, REM: AROUSAL_IN_REM}.get(stage, 0) + 0.006 * (duration - 22)
    hypopnea = FLOW_LEFT_HYPOPNEA_VARIED if variety > 0 else FLOW_LEFT_HYPOPNEA
    detail: dict[str, float | str] = {
        "flow_left": round(float(rng.uniform(*(FLOW_LEFT_APNEA if apnea else hypopnea))), 3),
        "desaturation_percent": round(depth, 2),
        "arouses": float(rng.random() < arouses),
    }
    if kind is EventKind.HYPOPNEA:
        detail["type"] = "central" if rng.random() < 0.5 * person.central_share else "obstructive"
    if variety > 0:
        slowest = min(CLOSING_S[1], CLOSING_SHARE * duration)
        detail["closing_s"] = round(float(rng.uniform(CLOSING_S[0], slowest)), 2)
        detail["opening_s"] = round(float(rng.uniform(*OPENING_S)), 2)
        detail["hyperpnoea"] = round(float(rng.uniform(*HYPERPNOEA_RANGE)), 2)
    return kind, duration, detail


def _would_score(kind: EventKind, detail: dict) -> bool:
    return kind in APNEAS or detail["desaturation_percent"] >= DESATURATION_SCORED or detail["arouses"] > 0


def _supine(rng: np.random.Generator, n_seconds: int) -> np.ndarray:
    """(n_seconds,) bool; 5–10 changes of position a night, 65 % supine (Eiseman 2012)."""
    changes = np.sort(rng.integers(0, n_seconds, size=max(1, round(n_seconds / 3600))))
    return np.repeat(rng.random(len(changes) + 1) < 0.65, np.diff([0, *changes, n_seconds]))


def _desaturation(rng: np.random.Generator, person: Person, cause: TrueEvent, stage: int, variety: float) -> TrueEvent:
    """The fall in SpO2 that lags its event by the circulation time; its onset is where the fall begins."""
    lags = DESATURATION_LAG_VARIED_S if variety > 0 else DESATURATION_LAG_S
    nadirs = DESATURATION_NADIR_VARIED_S if variety > 0 else DESATURATION_NADIR_S
    lag = within(person.circulation_s + rng.normal(0, 1.5), *lags)
    onset = cause.onset_s + lag
    nadir = cause.end_s + within(lag - 5 + rng.normal(0, 2), *nadirs)
    if variety > 0:
        nadir = max(nadir, onset + 3)
    recovery = DESATURATION_RECOVERY_S["REM" if stage == REM else "NREM"] * float(rng.uniform(0.9, 1.4))
    depth = float(cause.detail["desaturation_percent"])
    return TrueEvent(
        EventKind.DESATURATION,
        rounded(onset),
        rounded(nadir - onset + recovery),
        scored=depth >= DESATURATION_SCORED,
        detail={"depth_percent": depth, "nadir_s": rounded(nadir), "cause_onset_s": cause.onset_s},
    )


def score_by_rule(breathing: list[TrueEvent], arousals: list[TrueEvent]) -> list[TrueEvent]:
    """Marks hypopneas with neither a 3 % desaturation nor an arousal near their end as not scored (AASM rule 1A).

    A near miss of at least 10 s against a narrowed airway that ends in an arousal is a RERA, and scored.
    """
    onsets = np.array([event.onset_s for event in arousals])
    result = []
    for event in breathing:
        if event.kind is EventKind.HYPOPNEA:
            aroused = len(onsets) > 0 and bool(np.any((onsets > event.end_s - 6) & (onsets < event.end_s + 14)))
            detail = event.detail | {"arouses": float(aroused)}
            if "near_miss" not in event.detail:
                scored = aroused or event.detail["desaturation_percent"] >= DESATURATION_SCORED
                event = replace(event, scored=scored, detail=detail)
            elif aroused and event.duration_s >= RERA_S and event.detail["type"] == "obstructive":
                event = replace(event, kind=EventKind.RERA, scored=True, detail=detail)
        result.append(event)
    return result
