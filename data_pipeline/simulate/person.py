"""Who sleeps: age, sex and BMI, and the traits of sleep that follow from them.

Every constant below names its source (first author, year). "assumed" marks a value in the usual range that no
single table states. `decades` is (age - 40) / 10.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from data_pipeline.simulate.constitution import PLAIN, Constitution, draw_constitution
from data_pipeline.simulate.head import Head, draw_head

AGE_MEAN_YEARS, AGE_SD_YEARS, AGE_RANGE_YEARS = 52.0, 17.0, (18.0, 88.0)  # assumed: adults of all ages
BMI_MEDIAN, BMI_LOG_SD, BMI_RANGE = 26.0, 0.17, (17.0, 50.0)  # assumed; HypnoLaus 25.6 ± 4.1 (Heinzer 2015)

N3_MEN_AT_20, N3_MEN_PER_DECADE, N3_MEN_FLOOR = 21.0, -2.6, 6.0  # % of TST; Walsleben 2004, Mitterling 2015
N3_WOMEN_AT_20, N3_WOMEN_PER_DECADE = 22.0, -0.9  # Walsleben 2004, Redline 2004, Yiallourou 2022
N3_ROOT_SD = 0.75  # of the square root, which is near normal (Yiallourou 2022); size assumed
N1_PERCENT, N1_PER_DECADE, N1_PER_AHI = 8.0, 0.5, 0.10  # Boulos 2019; per AHI assumed
REM_PERCENT, REM_SD, REM_PER_DECADE = 19.0, 4.0, -0.55  # Boulos 2019; slope Ohayon 2004
WASO_MIN, WASO_PER_DECADE, WASO_LOG_SD, WASO_PER_AHI = 42.0, 9.7, 0.50, 0.30  # Boulos 2019; last two assumed
LATENCY_MEDIAN_MIN, LATENCY_PER_DECADE, LATENCY_LOG_SD = 11.0, 1.1, 0.8  # Boulos 2019; spread assumed
CYCLE_LOG_SD = 0.07  # between persons, assumed

AHI_LOG_MEAN = {"F": 1.93, "M": 2.70}  # ln of the medians 6.9 and 14.9 /h at AGE0, BMI0 (Heinzer 2015)
AHI_LOG_SD = {"F": 0.95, "M": 0.89}  # what age and BMI leave of HypnoLaus' spread (derived)
AHI_AGE0_YEARS, AHI_BMI0 = 57.0, 25.6  # the HypnoLaus sample (Heinzer 2015)
AHI_LOG_PER_DECADE, AHI_LOG_PER_BMI = 0.25, 0.075  # assumed; +10 % weight gives about +30 % AHI
AHI_LOG_MENOPAUSE, MENOPAUSE_YEARS, MENOPAUSE_SHARE = 0.40, 51.0, 0.70  # assumed; share of HypnoLaus women
AHI_MAX_PER_H = 80.0
AHI_NONE_SHARE, AHI_NONE_PER_H = 0.2, (0.0, 1.5)  # who sleeps badly for other reasons, and the healthy; assumed
AHI_CLINIC_SHARE, AHI_CLINIC_PER_H = 0.2, (20.0, 100.0)  # patients of a sleep clinic; assumed

AROUSAL_PER_H, AROUSAL_PER_DECADE, AROUSAL_MEN, AROUSAL_LOG_SD = 8.0, 1.2, 1.5, 0.35
"""Spontaneous arousals only: Boulos 2019 counts 12.5 + 2.1 per decade of all causes."""
PLM_LOGIT_AT_45, PLM_LOGIT_PER_DECADE = -1.10, 0.50  # P(PLMI > 5): .10 .25 .45 .65 at 25 45 65 80 y; assumed
PLM_LOG_MEDIAN_PER_H, PLM_LOG_SD = np.log(17.0), 0.6  # given that there are any; assumed
PLM_MORE_LOG_SD = 0.3  # patients among them; assumed

SLOW_WAVE_UV, SLOW_WAVE_PER_DECADE, SLOW_WAVE_WOMEN = (120.0, 0.90, 1.25)  # p-p frontal at 25 y; Mourtazaev 1995
SPINDLE_PER_MIN, SPINDLE_LOG_PER_DECADE, SPINDLE_SD = 4.5, -0.10, 1.1  # N2 at 25 y; direction Nicolas 2001
SPINDLE_UV, SPINDLE_UV_PER_DECADE, SPINDLE_UV_WOMEN = 40.0, -3.0, 1.15  # p-p; assumed
SPINDLE_HZ, SPINDLE_HZ_SD, SPINDLE_HZ_PER_DECADE = 13.2, 0.6, 0.05  # rises with age (Nicolas 2001)
SPINDLE_S, SPINDLE_S_PER_DECADE = 0.85, -0.04  # falls with age (Nicolas 2001); size assumed
K_COMPLEX_PER_MIN, K_COMPLEX_UV, K_COMPLEX_UV_PER_DECADE = 1.8, 190.0, -16.0  # Colrain 2010; size assumed
ALPHA_HZ, ALPHA_HZ_SD, ALPHA_HZ_PER_DECADE = 9.8, 0.9, -0.08  # after 40 y; assumed
ALPHA_UV, ALPHA_ABSENT_SHARE = 38.0, 0.10  # p-p occipital, and people who make none; assumed

AGE_SD_VARIED_YEARS, AGE_RANGE_VARIED_YEARS = 21.0, (4.0, 95.0)  # assumed
GROWN_YEARS, CHILDREN_SHARE = 18.0, 0.12  # assumed
CHILD_BMI_LESS, CHILD_N3_MORE, CHILD_SLOW_WAVE_MORE, CHILD_CYCLE_SHORTER = 0.35, 0.5, 0.7, 0.25
"""Shares at the youngest age; assumed, directions Ohayon 2004 and Feinberg 2010."""
CHILD_SPINDLE_SLOWER_HZ, CHILD_ALPHA_SLOWER_HZ = 0.9, 1.8  # assumed
# Over people of every age where they vary: uniform, of central EEG; assumed.
SPINDLE_PER_MIN_RANGE, SPINDLE_UV_RANGE, SPINDLE_S_RANGE = (1.2, 7.0), (16.0, 58.0), (0.65, 1.1)
K_COMPLEX_PER_MIN_RANGE, K_COMPLEX_UV_RANGE = (0.2, 2.8), (80.0, 240.0)

HEART_BPM, HEART_SD, HEART_WOMEN, HEART_PER_BMI = 66.0, 8.0, 4.0, 0.3  # assumed
RMSSD_MS_AT_25, RMSSD_LOG_PER_YEAR, RMSSD_LOG_SD = 45.0, -0.018, 0.4  # assumed
BREATHS_PER_MIN, BREATHS_SD = 15.0, 2.0  # assumed
SPO2_PERCENT, SPO2_PER_DECADE, SPO2_PER_BMI, SPO2_SD = 97.0, -0.35, -0.06, 0.8  # Gries 1996, derived
CIRCULATION_S, CIRCULATION_SD_S = 16.0, 3.0  # airflow to fingertip, with the oximeter's averaging; assumed


@dataclass(frozen=True)
class Person:
    """One sleeper and the traits that stay the same from night to night.

    Percentages are of total sleep time, rates per hour of sleep, amplitudes peak to peak. `head` is None where
    people do not vary.
    """

    subject_id: str
    age_years: float
    sex: str
    bmi: float
    n3_percent: float
    n1_percent: float
    rem_percent: float
    waso_min: float
    sleep_latency_min: float
    cycle_scale: float
    ahi_per_h: float
    apnea_share: float
    central_share: float
    rem_ahi_ratio: float
    supine_ahi_ratio: float
    breathing_event_s: float
    breathing_arousal_share: float
    arousal_per_h: float
    plm_per_h: float
    plm_interval_s: float
    slow_wave_uv: float
    spindle_per_min: float
    spindle_uv: float
    spindle_hz: float
    spindle_s: float
    k_complex_per_min: float
    k_complex_uv: float
    alpha_hz: float
    alpha_uv: float
    heart_bpm: float
    rmssd_ms: float
    ecg_r_uv: float
    ecg_leak_uv: float
    breaths_per_min: float
    spo2_percent: float
    circulation_s: float
    constitution: Constitution = PLAIN
    head: Head | None = None


def draw_person(rng: np.random.Generator, subject_id: str, *, variety: float) -> Person:
    """Draws a person: demographics first, then traits that depend on them, each with its spread."""
    age = _age_years(rng, variety)
    woman = bool(rng.random() < 0.5)
    bmi = float(np.clip(BMI_MEDIAN * np.exp(BMI_LOG_SD * rng.standard_normal()), *BMI_RANGE))
    decades = (age - 40) / 10
    young = (age - 25) / 10

    spread = partial(_spread, rng)
    # The order of the draws is part of what a seed means.
    ahi, n3, plm = (
        _ahi_per_h(rng, age, woman, bmi, variety),
        _n3_percent(rng, age, woman),
        _plm_per_h(rng, age, variety),
    )
    spindle_density = SPINDLE_PER_MIN * np.exp(SPINDLE_LOG_PER_DECADE * young) + SPINDLE_SD * rng.normal()
    has_alpha = rng.random() >= ALPHA_ABSENT_SHARE

    person = Person(
        subject_id=subject_id,
        age_years=round(age, 1),
        sex="F" if woman else "M",
        bmi=round(bmi, 1),
        n3_percent=float(min(n3, 40.0)),
        n1_percent=float((N1_PERCENT + N1_PER_DECADE * decades) * spread(0.35) + N1_PER_AHI * ahi),
        rem_percent=float(np.clip(rng.normal(REM_PERCENT + REM_PER_DECADE * decades, REM_SD), 6, 30)),
        waso_min=float(max(8.0, WASO_MIN + WASO_PER_DECADE * decades) * spread(WASO_LOG_SD) + WASO_PER_AHI * ahi),
        sleep_latency_min=float(max(4.0, LATENCY_MEDIAN_MIN + LATENCY_PER_DECADE * decades) * spread(LATENCY_LOG_SD)),
        cycle_scale=spread(CYCLE_LOG_SD),
        ahi_per_h=ahi,
        # The share of apneas rises with severity; hypopneas stay the majority (assumed).
        apnea_share=float(np.clip((0.12 + 0.007 * ahi) * spread(0.4), 0.05, 0.75)),
        central_share=float(np.clip(0.12 * spread(0.7), 0.02, 0.6)),  # of the apneas; assumed
        # 2.4 ± 2.9 in mild and moderate, towards 1 in severe disease (REMOSA trial 2023; trend assumed).
        rem_ahi_ratio=float(np.clip((1.2 + 1.2 * np.exp(-ahi / 25)) * spread(0.4), 0.6, 6.0)),
        supine_ahi_ratio=float(1.0 + 1.2 * spread(0.5)),  # 60 % of patients have > 2 (Eiseman 2012)
        # Person means 21.7 ± 5.6 s; shorter in women, in the young and at higher BMI (Borker 2021).
        breathing_event_s=float(
            np.clip((21.5 + 0.6 * decades - 1.5 * woman - 0.12 * (bmi - 26)) * spread(0.15), 14, 38)
        ),
        breathing_arousal_share=float(np.clip(rng.normal(0.40 + 0.004 * ahi, 0.08), 0.15, 0.85)),  # assumed
        arousal_per_h=float(
            max(3.0, AROUSAL_PER_H + AROUSAL_PER_DECADE * decades + AROUSAL_MEN * (not woman)) * spread(AROUSAL_LOG_SD)
        ),
        plm_per_h=min(plm, 90.0 + 60 * variety),
        # 24–28 s below 55 y, 14–16 s above 65 y (Ferri 2008).
        plm_interval_s=float(np.interp(age, [50, 70], [26.0, 17.0]) * spread(0.1)),
        slow_wave_uv=float(
            SLOW_WAVE_UV * SLOW_WAVE_PER_DECADE**young * (SLOW_WAVE_WOMEN if woman else 1.0) * spread(0.18)
        ),
        spindle_per_min=float(max(0.3, spindle_density)),
        spindle_uv=float(
            max(14.0, SPINDLE_UV + SPINDLE_UV_PER_DECADE * young) * (SPINDLE_UV_WOMEN if woman else 1.0) * spread(0.2)
        ),
        spindle_hz=float(np.clip(rng.normal(SPINDLE_HZ + SPINDLE_HZ_PER_DECADE * young, SPINDLE_HZ_SD), 11.5, 15)),
        spindle_s=float(max(0.55, SPINDLE_S + SPINDLE_S_PER_DECADE * young)),
        k_complex_per_min=float(K_COMPLEX_PER_MIN * spread(0.35)),
        k_complex_uv=float(max(90.0, K_COMPLEX_UV + K_COMPLEX_UV_PER_DECADE * young) * spread(0.15)),
        alpha_hz=float(rng.normal(ALPHA_HZ + ALPHA_HZ_PER_DECADE * max(0.0, decades), ALPHA_HZ_SD)),
        alpha_uv=float(ALPHA_UV * spread(0.3)) if has_alpha else 4.0,
        **_heart_and_lungs(rng, age, woman, bmi),
    )
    if variety == 0:
        return person
    person = _with_head(rng, _as_a_child(person), has_alpha, variety)
    return replace(person, **draw_constitution(rng, person, variety))


def _age_years(rng: np.random.Generator, variety: float) -> float:
    sd = AGE_SD_YEARS + variety * (AGE_SD_VARIED_YEARS - AGE_SD_YEARS)
    age = float(np.clip(rng.normal(AGE_MEAN_YEARS, sd), *(AGE_RANGE_VARIED_YEARS if variety > 0 else AGE_RANGE_YEARS)))
    if variety > 0 and rng.random() < CHILDREN_SHARE * variety:
        age = float(rng.uniform(AGE_RANGE_VARIED_YEARS[0], GROWN_YEARS))
    return age


def _as_a_child(person: Person) -> Person:
    """What the adults' slopes miss below `GROWN_YEARS`: the younger, the more of it; unchanged for the grown."""
    young = max(0.0, (GROWN_YEARS - person.age_years) / (GROWN_YEARS - AGE_RANGE_VARIED_YEARS[0]))
    return replace(
        person,
        bmi=round(person.bmi * (1 - CHILD_BMI_LESS * young), 1),
        n3_percent=min(40.0, person.n3_percent * (1 + CHILD_N3_MORE * young)),
        n1_percent=person.n1_percent * (1 - 0.5 * young),
        waso_min=person.waso_min * (1 - 0.5 * young),
        cycle_scale=person.cycle_scale * (1 - CHILD_CYCLE_SHORTER * young),
        ahi_per_h=person.ahi_per_h * (1 - 0.7 * young),
        slow_wave_uv=person.slow_wave_uv * (1 + CHILD_SLOW_WAVE_MORE * young),
        spindle_hz=person.spindle_hz - CHILD_SPINDLE_SLOWER_HZ * young,
        alpha_hz=person.alpha_hz - CHILD_ALPHA_SLOWER_HZ * young,
    )


def _with_head(rng: np.random.Generator, person: Person, has_alpha: bool, variety: float) -> Person:
    """The person with a head of its own, and waves that differ as much as people's do."""
    head = draw_head(rng, person.slow_wave_uv, has_alpha, variety=variety)
    gain = 10 ** (head.gain_db / 20)

    def mixed(plain: float, low: float, high: float) -> float:
        return (1 - variety) * plain + variety * float(rng.uniform(low, high))

    return replace(
        person,
        head=head,
        spindle_per_min=mixed(person.spindle_per_min, *SPINDLE_PER_MIN_RANGE),
        spindle_uv=mixed(person.spindle_uv, *SPINDLE_UV_RANGE) * gain,
        spindle_s=mixed(person.spindle_s, *SPINDLE_S_RANGE),
        k_complex_per_min=mixed(person.k_complex_per_min, *K_COMPLEX_PER_MIN_RANGE),
        k_complex_uv=mixed(person.k_complex_uv, *K_COMPLEX_UV_RANGE) * gain,
    )


def _spread(rng: np.random.Generator, log_sd: float) -> float:
    """A factor around 1."""
    return float(np.exp(log_sd * rng.standard_normal()))


def _ahi_per_h(rng: np.random.Generator, age: float, woman: bool, bmi: float, variety: float) -> float:
    sex = "F" if woman else "M"
    log_ahi = AHI_LOG_MEAN[sex] + AHI_LOG_SD[sex] * rng.standard_normal()
    log_ahi += AHI_LOG_PER_DECADE * (age - AHI_AGE0_YEARS) / 10 + AHI_LOG_PER_BMI * (bmi - AHI_BMI0)
    if woman:
        log_ahi += AHI_LOG_MENOPAUSE * (float(age >= MENOPAUSE_YEARS) - MENOPAUSE_SHARE)
    if variety > 0:
        drawn = rng.random() / variety
        if drawn < AHI_NONE_SHARE:
            return float(rng.uniform(*AHI_NONE_PER_H))
        if drawn < AHI_NONE_SHARE + AHI_CLINIC_SHARE:
            return float(rng.uniform(*AHI_CLINIC_PER_H))
    return float(min(np.exp(log_ahi), AHI_MAX_PER_H))


def _n3_percent(rng: np.random.Generator, age: float, woman: bool) -> float:
    if woman:
        mean = N3_WOMEN_AT_20 + N3_WOMEN_PER_DECADE * (age - 20) / 10
    else:
        mean = max(N3_MEN_FLOOR, N3_MEN_AT_20 + N3_MEN_PER_DECADE * max(0.0, (age - 20) / 10))
    return max(0.0, np.sqrt(mean) + N3_ROOT_SD * rng.standard_normal()) ** 2


def _plm_per_h(rng: np.random.Generator, age: float, variety: float) -> float:
    probability = 1 / (1 + np.exp(-(PLM_LOGIT_AT_45 + PLM_LOGIT_PER_DECADE * (age - 45) / 10)))
    has_any = rng.random() < probability
    return (
        float(np.exp(PLM_LOG_MEDIAN_PER_H) * _spread(rng, PLM_LOG_SD + PLM_MORE_LOG_SD * variety)) if has_any else 0.0
    )


def _heart_and_lungs(rng: np.random.Generator, age: float, woman: bool, bmi: float) -> dict[str, float]:
    heart_bpm = HEART_BPM + HEART_WOMEN * woman + HEART_PER_BMI * (bmi - 25)
    rmssd_ms = RMSSD_MS_AT_25 * np.exp(RMSSD_LOG_PER_YEAR * (age - 25))
    spo2_percent = SPO2_PERCENT + SPO2_PER_DECADE * ((age - 40) / 10)
    return {
        "heart_bpm": float(np.clip(rng.normal(heart_bpm, HEART_SD), 45, 95)),
        "rmssd_ms": float(rmssd_ms * _spread(rng, RMSSD_LOG_SD)),
        "ecg_r_uv": float(rng.uniform(500, 1500)),
        "ecg_leak_uv": float(np.clip(rng.uniform(1, 5) + 0.3 * (bmi - 25), 0.5, 15)),  # Purcell 2017: BMI
        "breaths_per_min": float(np.clip(rng.normal(BREATHS_PER_MIN, BREATHS_SD), 10, 21)),
        "spo2_percent": float(min(99.0, rng.normal(spo2_percent, SPO2_SD) + SPO2_PER_BMI * max(0.0, bmi - 25))),
        "circulation_s": float(np.clip(rng.normal(CIRCULATION_S, CIRCULATION_SD_S), 11, 24)),
    }
