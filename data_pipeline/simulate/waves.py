"""Spindles and K-complexes: the waves of N2 and N3, which arousals interrupt."""

import numpy as np

from data_pipeline.night import EPOCH_S, EventKind
from data_pipeline.simulate.head import SIGMA_N2_DB
from data_pipeline.simulate.hypnogram import N2, N3
from data_pipeline.simulate.person import Person
from data_pipeline.simulate.spread import between
from data_pipeline.simulate.timing import TrueEvent, onsets_s, rounded, second_rate, within

SPINDLE_STAGE_RATE = {N2: 1.0, N3: 0.7}  # visual scoring: fewer seen in N3; assumed
SPINDLE_SLOW_SHARE, SPINDLE_SLOW_HZ = 0.35, -1.4  # frontal slow class (Gorgoni 2016); offset assumed
SPINDLE_GAP_S = 1.5
SPINDLE_INFRASLOW_HZ, SPINDLE_INFRASLOW_DEPTH = 0.02, 0.7  # clustering; assumed
SPINDLE_RISE_PER_NIGHT = 0.3  # fast spindles rise across cycles (Bodizs 2022); size assumed
WIDER_LOG_SD = 0.1  # of the sizes of one person's waves, in a varied night; assumed
MARKED_FROM_UV, MARKED_LOG_SD = (12.0, 28.0), 0.2
"""The amplitude (p-p) from which a scorer of varied nights sees a spindle, and how sharp that border is; assumed. The
background at the spindles' frequency is some 14 µV p-p: what is lower drowns in it, whoever looks."""
K_COMPLEX_GAP_S, K_COMPLEX_THEN_SPINDLE = 4.0, 0.30  # assumed


def draw_waves(
    rng: np.random.Generator, person: Person, stages: np.ndarray, arousals: list[TrueEvent], *, variety: float
) -> list[TrueEvent]:
    """Draws the spindles and K-complexes of a night; none during an arousal."""
    seconds = np.arange(len(stages) * EPOCH_S)
    quiet = np.ones(len(seconds), dtype=bool)
    for event in arousals:
        quiet[max(0, int(event.onset_s) - 2) : int(event.end_s) + 3] = False
    phase = rng.uniform(0, 2 * np.pi)
    cluster = 1 + SPINDLE_INFRASLOW_DEPTH * np.sin(2 * np.pi * SPINDLE_INFRASLOW_HZ * seconds + phase)
    night = seconds / len(seconds)
    rise = 1 + SPINDLE_RISE_PER_NIGHT * (night - 0.5)
    in_n3 = SPINDLE_STAGE_RATE[N3] if person.head is None else person.head.spindle_n3_share
    spindle_rate = second_rate(stages, SPINDLE_STAGE_RATE | {N3: in_n3}) * person.spindle_per_min / 60 * cluster * rise
    k_rate = second_rate(stages, {N2: person.k_complex_per_min / 60}) * (1.5 - night)
    events: list[TrueEvent] = []
    spindle_times: list[tuple[float, bool]] = []
    if k_rate.any():
        for time in onsets_s(rng, k_rate * quiet, K_COMPLEX_GAP_S):
            duration = float(rng.uniform(0.7 - 0.1 * variety, 1.1 + 0.2 * variety))
            detail = {
                "amplitude_uv": round(float(person.k_complex_uv * rng.lognormal(0, 0.2 + WIDER_LOG_SD * variety)), 1)
            }
            events.append(TrueEvent(EventKind.K_COMPLEX, rounded(time), rounded(duration), detail=detail))
            if rng.random() < K_COMPLEX_THEN_SPINDLE:
                spindle_times.append((float(time) + duration + 0.05, True))
    if spindle_rate.any():
        # Spindles that follow K-complexes are part of the density, not on top of it.
        spared = max(0.2, 1 - len(spindle_times) / max(1.0, spindle_rate.sum()))
        spindle_times += [(float(t), False) for t in onsets_s(rng, spindle_rate * quiet * spared, SPINDLE_GAP_S)]
    last_end_s, seen_from_uv = 0.0, _seen_from_uv(rng, person, variety)
    for time, after_k_complex in sorted(spindle_times):
        if time < last_end_s + 0.3 or time + 5 > len(seconds):
            continue
        duration = within(rng.normal(person.spindle_s, 0.25), 0.5, 2.0)
        slow = rng.random() < SPINDLE_SLOW_SHARE
        frequency = person.spindle_hz + (SPINDLE_SLOW_HZ if slow else 0) + rng.normal(0, 0.25)
        detail = {
            "frequency_hz": round(within(frequency, 11, 16), 2),
            "chirp_hz_per_s": round(float(rng.uniform(-0.5 - 0.3 * variety, -0.2 + 0.2 * variety)), 2),
            "amplitude_uv": round(float(person.spindle_uv * rng.lognormal(0, 0.25 + WIDER_LOG_SD * variety)), 1),
            "region": "frontal" if slow else "central",
            "after_k_complex": float(after_k_complex),
        }
        seen = not seen_from_uv or detail["amplitude_uv"] > seen_from_uv * rng.lognormal(0, MARKED_LOG_SD)
        events.append(TrueEvent(EventKind.SPINDLE, rounded(time), rounded(duration), seen, detail))
        last_end_s = events[-1].end_s
    return events


def _seen_from_uv(rng: np.random.Generator, person: Person, variety: float) -> float:
    """What stands out in this person's background for the scorer of this night; 0 where all is marked."""
    if person.head is None:
        return 0.0
    louder_db = person.head.gain_db + person.head.sigma_n2_db - sum(SIGMA_N2_DB) / 2
    return between(rng, *MARKED_FROM_UV, variety) * 10 ** (louder_db / 20)
