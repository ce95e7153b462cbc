"""What one body has and another has not: the shape of its ECG, its rhythm, its nose, its lungs, its legs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # a person has a constitution, so it cannot import one
    from data_pipeline.simulate.person import Person

ECG_WAVES = ((-0.17, 0.022, 0.12), (-0.028, 0.008, -0.1), (0.0, 0.01, 1.0), (0.03, 0.01, -0.2), (0.25, 0.045, 0.28))
"""(seconds from R, width in s, size against R) of P, Q, R, S and T in lead II; assumed."""
QRS_WIDER = (0.8, 1.5)  # QRS of 70 to 130 ms; assumed
R_IS_SMALL_SHARE = 0.2  # of people, the chest electrodes see a small R and a deep S; assumed
FIBRILLATION_SHARE, FIBRILLATION_FROM_YEARS = 0.06, 55.0  # of the older; assumed, 2–10 % of those in sleep clinics
ECTOPIC_SHARE, ECTOPIC_MEDIAN_PER_H, ECTOPIC_LOG_SD = 0.3, 8.0, 1.5  # premature beats; assumed
HEART_SD_BPM, HEART_CHILD_BPM, HEART_RANGE_BPM = 9.0, 25.0, (40.0, 110.0)  # a child of 4 years has that much more
RMSSD_LOG_SD = 0.3  # besides that of person.py; assumed

BREATHS_SD_PER_MIN, BREATHS_CHILD_PER_MIN, BREATHS_RANGE_PER_MIN = 2.0, 8.0, (8.0, 32.0)  # assumed
CHILD_YEARS = (4.0, 18.0)  # from the child's rates to the adult's
INSPIRATION_SHARE = 0.4  # I:E about 1 : 1.5
INSPIRATION_SHARE_RANGE = (0.3, 0.5)  # I:E from 1 : 2.3 to 1 : 1; assumed
EXPIRATION_BEND_RANGE = (0.5, 1.1)  # 1 is a half sine; less, a fast beginning and a long tail; assumed
IRREGULARITY_LOG_SD = 0.3  # assumed
MOUTH_SHARE = 0.25  # of people breathe through the mouth for a part of the night; assumed, 5–15 % of all time
SNORE_SHARE = 0.5  # of people snore in a part of their breaths; assumed
PERIODIC_SHARE, PERIODIC_FROM_YEARS = 0.06, 50.0  # Cheyne–Stokes breathing, of the older; assumed
PERIODIC_AHI_PER_H, PERIODIC_CIRCULATION_S = (15.0, 45.0), (22.0, 34.0)  # a slow heart; 25–40 s; assumed
SPO2_SD_PERCENT, SPO2_RANGE_PERCENT = 0.9, (88.0, 99.0)
LUNG_SHARE, LUNG_SPO2_PERCENT = 0.06, (88.0, 93.0)  # sleeps with low oxygen all night; assumed
CIRCULATION_LOG_SD, CIRCULATION_RANGE_S = 0.25, (10.0, 36.0)  # airflow to finger and oximeter; assumed
BREATHING_AROUSAL_SD = 0.12  # share of events that wake, besides that of person.py; assumed
EVENT_S_LOG_SD = 0.15  # assumed

LEG_REST_UV, LEG_REST_LOG_SD = 2.0, 0.5  # RMS; assumed, 1–4, and up to 8 in a tense leg
LIMB_AROUSAL_SHARE, LIMB_AROUSAL_RANGE = 0.25, (0.05, 0.6)  # assumed, mean 20–35 %


@dataclass(frozen=True)
class Constitution:
    """A body; `PLAIN` is one.

    Attributes:
      ecg_waves: (seconds from R, width in s, size) of each wave, the largest has size 1 or -1.
      fibrillates: atrial fibrillation: no P wave, and no two intervals alike.
      ectopic_per_h: premature beats an hour; ventricular ones are wide and have no P wave.
      is_ventricular: which of the two they are.
      inspiration_share: of a breath. expiration_bend: 1 is a half sine, less is fast at first.
      irregularity: factor on the variation from breath to breath.
      mouth_share, snore_share: of sleep, with the mouth open; of breaths asleep, with a snore.
      is_periodic: Cheyne–Stokes breathing in N1 and N2.
      leg_rest_uv: RMS of the resting left and right anterior tibialis.
      limb_arousal_share: of limb movements.
    """

    ecg_waves: tuple[tuple[float, float, float], ...] = ECG_WAVES
    fibrillates: bool = False
    ectopic_per_h: float = 0.0
    is_ventricular: bool = False
    inspiration_share: float = INSPIRATION_SHARE
    expiration_bend: float = 1.0
    irregularity: float = 1.0
    mouth_share: float = 0.0
    snore_share: float = 0.0
    is_periodic: bool = False
    leg_rest_uv: tuple[float, float] = (LEG_REST_UV, LEG_REST_UV)
    limb_arousal_share: float = LIMB_AROUSAL_SHARE


PLAIN = Constitution()


def draw_constitution(rng: np.random.Generator, person: Person, variety: float) -> dict:
    """The fields of a `Person` that differ from those of `person` in a body of its own, by name.

    `variety` in (0, 1] scales the spread of each trait, and how many people have it.
    """

    def has(share: float) -> bool:
        return bool(rng.random() < share * variety)

    def spread(log_sd: float) -> float:
        return float(np.exp(variety * log_sd * rng.standard_normal()))

    def between(low: float, high: float, plain: float) -> float:
        return float(plain + variety * (rng.uniform(low, high) - plain))

    child = variety * float(np.clip(np.interp(person.age_years, CHILD_YEARS, (1.0, 0.0)), 0, 1))
    bpm = person.heart_bpm + HEART_CHILD_BPM * child + variety * HEART_SD_BPM * rng.standard_normal()
    breaths = person.breaths_per_min + BREATHS_CHILD_PER_MIN * child
    breaths += variety * BREATHS_SD_PER_MIN * rng.standard_normal()
    spo2 = person.spo2_percent + variety * SPO2_SD_PERCENT * rng.standard_normal()
    if has(LUNG_SHARE):
        spo2 = rng.uniform(*LUNG_SPO2_PERCENT)
    circulation_s = person.circulation_s * spread(CIRCULATION_LOG_SD)
    is_periodic = person.age_years >= PERIODIC_FROM_YEARS and has(PERIODIC_SHARE)
    breathing: dict = {}
    if is_periodic:
        circulation_s = rng.uniform(*PERIODIC_CIRCULATION_S)
        breathing = {"ahi_per_h": max(person.ahi_per_h, rng.uniform(*PERIODIC_AHI_PER_H)), "central_share": 0.7}
    fibrillates = person.age_years >= FIBRILLATION_FROM_YEARS and has(FIBRILLATION_SHARE)
    arousal_share = person.breathing_arousal_share + variety * BREATHING_AROUSAL_SD * rng.standard_normal()
    own = Constitution(
        ecg_waves=_ecg_waves(rng, variety),
        fibrillates=fibrillates,
        ectopic_per_h=ECTOPIC_MEDIAN_PER_H * spread(ECTOPIC_LOG_SD) if has(ECTOPIC_SHARE) and not fibrillates else 0.0,
        is_ventricular=bool(rng.random() < 0.5),
        inspiration_share=between(*INSPIRATION_SHARE_RANGE, plain=INSPIRATION_SHARE),
        expiration_bend=between(*EXPIRATION_BEND_RANGE, plain=1.0),
        irregularity=spread(IRREGULARITY_LOG_SD),
        mouth_share=float(rng.uniform(0.1, 0.7)) if has(MOUTH_SHARE) else 0.0,
        snore_share=float(rng.uniform(0.1, 0.7)) if has(SNORE_SHARE) else 0.0,
        is_periodic=is_periodic,
        leg_rest_uv=(LEG_REST_UV * spread(LEG_REST_LOG_SD), LEG_REST_UV * spread(LEG_REST_LOG_SD)),
        limb_arousal_share=between(*LIMB_AROUSAL_RANGE, plain=LIMB_AROUSAL_SHARE),
    )
    return breathing | {
        "constitution": own,
        "heart_bpm": float(np.clip(bpm, *HEART_RANGE_BPM)),
        "rmssd_ms": float(person.rmssd_ms * spread(RMSSD_LOG_SD)),
        "breaths_per_min": float(np.clip(breaths, *BREATHS_RANGE_PER_MIN)),
        "spo2_percent": float(np.clip(spo2, *SPO2_RANGE_PERCENT)),
        "circulation_s": float(np.clip(circulation_s, *CIRCULATION_RANGE_S)),
        "breathing_arousal_share": float(np.clip(arousal_share, 0.1, 0.95)),
        "breathing_event_s": float(np.clip(person.breathing_event_s * spread(EVENT_S_LOG_SD), 12, 45)),
    }


def _ecg_waves(rng: np.random.Generator, variety: float) -> tuple[tuple[float, float, float], ...]:
    """P, Q, R, S and T as electrodes at another place see another heart."""

    def moved(plain: float, low: float, high: float) -> float:
        return float(plain + variety * (rng.uniform(low, high) - plain))

    (p_at, p_width, p), (q_at, q_width, q), (_, r_width, r), (s_at, s_width, s), (t_at, t_width, t) = ECG_WAVES
    wider = moved(1.0, *QRS_WIDER)
    p, q, s, t = moved(p, 0.03, 0.22), moved(q, -0.25, 0.0), moved(s, -0.6, 0.0), moved(t, -0.15, 0.5)
    if rng.random() < R_IS_SMALL_SHARE * variety:
        r, s, t = float(rng.uniform(0.1, 0.5)), -1.0, t * float(rng.choice([-1, 1]))
    return (
        (moved(p_at, -0.21, -0.14), p_width * moved(1.0, 0.7, 1.4), p),
        (q_at * wider, q_width * wider, q),
        (0.0, r_width * wider, r),
        (s_at * wider, s_width * wider, s),
        (moved(t_at, 0.2, 0.31), t_width * moved(1.0, 0.7, 1.4), t),
    )
