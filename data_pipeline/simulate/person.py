"""Who sleeps: age, sex and BMI, and the traits of sleep that follow from them.

Every constant below names its source (first author, year). "assumed" marks a value in the usual range that no
single table states. `decades` is (age - 40) / 10.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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

AROUSAL_PER_H, AROUSAL_PER_DECADE, AROUSAL_MEN, AROUSAL_LOG_SD = 8.0, 1.2, 1.5, 0.35
"""Spontaneous arousals only: Boulos 2019 counts 12.5 + 2.1 per decade of all causes."""
PLM_LOGIT_AT_45, PLM_LOGIT_PER_DECADE = -1.10, 0.50  # P(PLMI > 5): .10 .25 .45 .65 at 25 45 65 80 y; assumed
PLM_LOG_MEDIAN_PER_H, PLM_LOG_SD = np.log(17.0), 0.6  # given that there are any; assumed

SLOW_WAVE_UV, SLOW_WAVE_PER_DECADE, SLOW_WAVE_WOMEN = (
    120.0,
    0.90,
    1.25,
)  # p-p frontal at 25 y; Mourtazaev 1995
SPINDLE_PER_MIN, SPINDLE_LOG_PER_DECADE, SPINDLE_SD = 4.5, -0.10, 1.1  # N2 at 25 y; direction Nicolas 2001
SPINDLE_UV, SPINDLE_UV_PER_DECADE, SPINDLE_UV_WOMEN = 40.0, -3.0, 1.15  # p-p; assumed
SPINDLE_HZ, SPINDLE_HZ_SD, SPINDLE_HZ_PER_DECADE = 13.2, 0.6, 0.05  # rises with age (Nicolas 2001)
SPINDLE_S, SPINDLE_S_PER_DECADE = 0.85, -0.04  # falls with age (Nicolas 2001); size assumed
K_COMPLEX_PER_MIN, K_COMPLEX_UV, K_COMPLEX_UV_PER_DECADE = 1.8, 190.0, -16.0  # Colrain 2010; size assumed
ALPHA_HZ, ALPHA_HZ_SD, ALPHA_HZ_PER_DECADE = 9.8, 0.9, -0.08  # after 40 y; assumed
ALPHA_UV, ALPHA_ABSENT_SHARE = 38.0, 0.10  # p-p occipital, and people who make none; assumed

HEART_BPM, HEART_SD, HEART_WOMEN, HEART_PER_BMI = 66.0, 8.0, 4.0, 0.3  # assumed
RMSSD_MS_AT_25, RMSSD_LOG_PER_YEAR, RMSSD_LOG_SD = 45.0, -0.018, 0.4  # assumed
BREATHS_PER_MIN, BREATHS_SD = 15.0, 2.0  # assumed
SPO2_PERCENT, SPO2_PER_DECADE, SPO2_PER_BMI, SPO2_SD = 97.0, -0.35, -0.06, 0.8  # Gries 1996, derived
CIRCULATION_S, CIRCULATION_SD_S = 16.0, 3.0  # airflow to fingertip, with the oximeter's averaging; assumed


@dataclass(frozen=True)
class Person:
    """One sleeper and the traits that stay the same from night to night.

    Percentages are of total sleep time, rates per hour of sleep, amplitudes peak to peak.
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


def draw_person(rng: np.random.Generator, subject_id: str) -> Person:
    """Draws a person: demographics first, then traits that depend on them, each with its spread."""
    age = float(np.clip(rng.normal(AGE_MEAN_YEARS, AGE_SD_YEARS), *AGE_RANGE_YEARS))
    woman = bool(rng.random() < 0.5)
    bmi = float(np.clip(BMI_MEDIAN * np.exp(BMI_LOG_SD * rng.standard_normal()), *BMI_RANGE))
    who = _Draws(rng, age, woman, bmi)
    # The order of the draws is part of a seed.
    ahi, n3, plm = _ahi_per_h(who), _n3_percent(who), _plm_per_h(who)
    spindle_density = SPINDLE_PER_MIN * np.exp(SPINDLE_LOG_PER_DECADE * who.young) + SPINDLE_SD * rng.normal()
    has_alpha = rng.random() >= ALPHA_ABSENT_SHARE
    return Person(
        subject_id=subject_id,
        age_years=round(age, 1),
        sex=who.sex,
        bmi=round(bmi, 1),
        n3_percent=float(min(n3, 40.0)),
        **_sleep(who, ahi),
        ahi_per_h=ahi,
        **_breathing(who, ahi),
        plm_per_h=min(plm, 90.0),
        **_interruptions(who),
        spindle_per_min=float(max(0.3, spindle_density)),
        **_waves(who, has_alpha),
        **_heart_and_lungs(who),
    )


@dataclass(frozen=True)
class _Draws:
    """Draws of traits that depend on who it is."""

    rng: np.random.Generator
    age: float
    woman: bool
    bmi: float

    @property
    def sex(self) -> str:
        return "F" if self.woman else "M"

    @property
    def decades(self) -> float:
        return (self.age - 40) / 10

    @property
    def young(self) -> float:
        """Decades from 25 years."""
        return (self.age - 25) / 10

    def spread(self, log_sd: float) -> float:
        """A factor around 1."""
        return float(np.exp(log_sd * self.rng.standard_normal()))

    def between(self, low: float, high: float, mean: float, sd: float) -> float:
        """A normal number, cut off at both ends."""
        return float(np.clip(self.rng.normal(mean, sd), low, high))


def _ahi_per_h(who: _Draws) -> float:
    log_ahi = AHI_LOG_MEAN[who.sex] + AHI_LOG_SD[who.sex] * who.rng.standard_normal()
    log_ahi += AHI_LOG_PER_DECADE * (who.age - AHI_AGE0_YEARS) / 10 + AHI_LOG_PER_BMI * (who.bmi - AHI_BMI0)
    if who.woman:
        log_ahi += AHI_LOG_MENOPAUSE * (float(who.age >= MENOPAUSE_YEARS) - MENOPAUSE_SHARE)
    return float(min(np.exp(log_ahi), AHI_MAX_PER_H))


def _n3_percent(who: _Draws) -> float:
    if who.woman:
        mean = N3_WOMEN_AT_20 + N3_WOMEN_PER_DECADE * (who.age - 20) / 10
    else:
        mean = max(N3_MEN_FLOOR, N3_MEN_AT_20 + N3_MEN_PER_DECADE * max(0.0, (who.age - 20) / 10))
    return max(0.0, np.sqrt(mean) + N3_ROOT_SD * who.rng.standard_normal()) ** 2


def _plm_per_h(who: _Draws) -> float:
    probability = 1 / (1 + np.exp(-(PLM_LOGIT_AT_45 + PLM_LOGIT_PER_DECADE * (who.age - 45) / 10)))
    has_any = who.rng.random() < probability
    return float(np.exp(PLM_LOG_MEDIAN_PER_H) * who.spread(PLM_LOG_SD)) if has_any else 0.0


def _sleep(who: _Draws, ahi: float) -> dict[str, float]:
    waso_min = max(8.0, WASO_MIN + WASO_PER_DECADE * who.decades)
    latency_min = max(4.0, LATENCY_MEDIAN_MIN + LATENCY_PER_DECADE * who.decades)
    return {
        "n1_percent": float((N1_PERCENT + N1_PER_DECADE * who.decades) * who.spread(0.35) + N1_PER_AHI * ahi),
        "rem_percent": who.between(6, 30, REM_PERCENT + REM_PER_DECADE * who.decades, REM_SD),
        "waso_min": float(waso_min * who.spread(WASO_LOG_SD) + WASO_PER_AHI * ahi),
        "sleep_latency_min": float(latency_min * who.spread(LATENCY_LOG_SD)),
        "cycle_scale": who.spread(CYCLE_LOG_SD),
    }


def _breathing(who: _Draws, ahi: float) -> dict[str, float]:
    event_s = 21.5 + 0.6 * who.decades - 1.5 * who.woman - 0.12 * (who.bmi - 26)
    return {
        # The share of apneas rises with severity; hypopneas stay the majority (assumed).
        "apnea_share": float(np.clip((0.12 + 0.007 * ahi) * who.spread(0.4), 0.05, 0.75)),
        "central_share": float(np.clip(0.12 * who.spread(0.7), 0.02, 0.6)),  # of the apneas; assumed
        # 2.4 ± 2.9 in mild and moderate, towards 1 in severe disease (REMOSA trial 2023; trend assumed).
        "rem_ahi_ratio": float(np.clip((1.2 + 1.2 * np.exp(-ahi / 25)) * who.spread(0.4), 0.6, 6.0)),
        "supine_ahi_ratio": float(1.0 + 1.2 * who.spread(0.5)),  # 60 % of patients have > 2 (Eiseman 2012)
        # Person means 21.7 ± 5.6 s; shorter in women, in the young and at higher BMI (Borker 2021).
        "breathing_event_s": float(np.clip(event_s * who.spread(0.15), 14, 38)),
        "breathing_arousal_share": who.between(0.15, 0.85, 0.40 + 0.004 * ahi, 0.08),  # assumed
    }


def _interruptions(who: _Draws) -> dict[str, float]:
    arousals = max(3.0, AROUSAL_PER_H + AROUSAL_PER_DECADE * who.decades + AROUSAL_MEN * (not who.woman))
    return {
        "arousal_per_h": float(arousals * who.spread(AROUSAL_LOG_SD)),
        # 24–28 s below 55 y, 14–16 s above 65 y (Ferri 2008).
        "plm_interval_s": float(np.interp(who.age, [50, 70], [26.0, 17.0]) * who.spread(0.1)),
    }


def _waves(who: _Draws, has_alpha: bool) -> dict[str, float]:
    """Of the EEG. Women's are larger."""
    slow_wave_uv = SLOW_WAVE_UV * SLOW_WAVE_PER_DECADE**who.young * (SLOW_WAVE_WOMEN if who.woman else 1.0)
    spindle_uv = max(14.0, SPINDLE_UV + SPINDLE_UV_PER_DECADE * who.young) * (
        SPINDLE_UV_WOMEN if who.woman else 1.0
    )
    alpha_hz = ALPHA_HZ + ALPHA_HZ_PER_DECADE * max(0.0, who.decades)
    return {
        "slow_wave_uv": float(slow_wave_uv * who.spread(0.18)),
        "spindle_uv": float(spindle_uv * who.spread(0.2)),
        "spindle_hz": who.between(11.5, 15, SPINDLE_HZ + SPINDLE_HZ_PER_DECADE * who.young, SPINDLE_HZ_SD),
        "spindle_s": float(max(0.55, SPINDLE_S + SPINDLE_S_PER_DECADE * who.young)),
        "k_complex_per_min": float(K_COMPLEX_PER_MIN * who.spread(0.35)),
        "k_complex_uv": float(
            max(90.0, K_COMPLEX_UV + K_COMPLEX_UV_PER_DECADE * who.young) * who.spread(0.15)
        ),
        "alpha_hz": float(who.rng.normal(alpha_hz, ALPHA_HZ_SD)),
        "alpha_uv": float(ALPHA_UV * who.spread(0.3)) if has_alpha else 4.0,
    }


def _heart_and_lungs(who: _Draws) -> dict[str, float]:
    heart_bpm = HEART_BPM + HEART_WOMEN * who.woman + HEART_PER_BMI * (who.bmi - 25)
    rmssd_ms = RMSSD_MS_AT_25 * np.exp(RMSSD_LOG_PER_YEAR * (who.age - 25))
    leak_per_bmi_uv = 0.3 * (who.bmi - 25)  # Purcell 2017
    spo2_of_bmi = SPO2_PER_BMI * max(0.0, who.bmi - 25)
    return {
        "heart_bpm": who.between(45, 95, heart_bpm, HEART_SD),
        "rmssd_ms": float(rmssd_ms * who.spread(RMSSD_LOG_SD)),
        "ecg_r_uv": float(who.rng.uniform(500, 1500)),
        "ecg_leak_uv": float(np.clip(who.rng.uniform(1, 5) + leak_per_bmi_uv, 0.5, 15)),
        "breaths_per_min": who.between(10, 21, BREATHS_PER_MIN, BREATHS_SD),
        "spo2_percent": float(
            min(99.0, who.rng.normal(SPO2_PERCENT + SPO2_PER_DECADE * who.decades, SPO2_SD) + spo2_of_bmi)
        ),
        "circulation_s": who.between(11, 24, CIRCULATION_S, CIRCULATION_SD_S),
    }
