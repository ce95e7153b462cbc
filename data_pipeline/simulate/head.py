"""The head of a person: what makes the same sleep look different in two people's EEG.

All of it stays the same from night to night. Levels are decibels of power density. The sizes are assumed, near the
spread of medians over people in public recordings.
"""

from dataclasses import dataclass

import numpy as np

from data_pipeline.simulate.spread import between

EQUALISER_HZ = (0.7, 2.5, 7.0, 14.0, 28.0)
"""Knots of the smooth random curves over frequency, linear between them on a logarithmic axis."""
EQUALISER_SD_DB, TILT_SD_DB, STAGE_SD_DB = 2.2, 1.2, 1.4  # tilt per e-fold of frequency
GAIN_SD_DB = 2.0  # skull, skin and derivation
ALPHA_DB, ALPHA_WIDTH_HZ = (0.0, 11.0), (0.6, 1.4)  # over the background, eyes closed
ALPHA_N1_DB, ALPHA_SLEEP_DB = (0.0, 6.0), (0.0, 3.0)  # drowsy, and in N2, N3 and REM
THETA_HZ, THETA_N1_DB, THETA_REM_DB = (4.0, 6.5), (0.0, 3.0), (0.0, 2.5)
SIGMA_N2_DB, SIGMA_N3_DB = (0.0, 3.5), (0.0, 2.5)  # of the background, between spindles
SLOW_WAVE_REFERENCE_UV, SLOW_WAVE_SHARE, SLOW_WAVE_SD_DB = 95.0, 0.6, 1.5
"""Slow waves of this size give the usual N3; how much of their difference shows in its density, and what else does."""
BLINK_UV, FRONTAL_LEAK, CENTRAL_LEAK = (50.0, 300.0), (0.25, 0.6), (0.15, 0.5)
"""A blink at the lower lid; of it at F3 and F4; of that at C3 and C4."""


@dataclass(frozen=True)
class Head:
    """Traits of a head.

    Attributes:
      equaliser_db, tilt_db: a curve at `EQUALISER_HZ`, and a slope per e-fold of frequency, over all stages.
      stage_db: the same kind of curve for each of the five stages by itself.
      slow_wave_db: of N3 below 4 Hz.
      gain_db: of everything.
      alpha_db, alpha_width_hz, alpha_n1_db, alpha_sleep_db: the peak of wake with closed eyes, of N1, and of the
        rest of sleep.
      theta_hz, theta_n1_db, theta_rem_db: the peaks of N1 and REM.
      sigma_n2_db, sigma_n3_db: the background around the spindles' frequency.
      blink_uv, frontal_leak, central_leak: see `FRONTAL_LEAK`.
      spindle_n3_share: spindles of N3 for one of N2.
    """

    equaliser_db: tuple[float, ...]
    tilt_db: float
    stage_db: tuple[tuple[float, ...], ...]
    slow_wave_db: float
    gain_db: float
    alpha_db: float
    alpha_width_hz: float
    alpha_n1_db: float
    alpha_sleep_db: float
    theta_hz: float
    theta_n1_db: float
    theta_rem_db: float
    sigma_n2_db: float
    sigma_n3_db: float
    blink_uv: float
    frontal_leak: float
    central_leak: float
    spindle_n3_share: float


def draw_head(rng: np.random.Generator, slow_wave_uv: float, has_alpha: bool, *, variety: float) -> Head:
    """Draws the head of a person whose slow waves have this size (p-p) and who makes alpha, or none."""
    n = len(EQUALISER_HZ)
    alpha_db = between(rng, *ALPHA_DB, variety) if has_alpha else 0.0
    slow_wave_db = SLOW_WAVE_SHARE * 20 * np.log10(slow_wave_uv / SLOW_WAVE_REFERENCE_UV)
    return Head(
        equaliser_db=tuple(map(float, rng.normal(0, EQUALISER_SD_DB * variety, n))),
        tilt_db=float(rng.normal(0, TILT_SD_DB * variety)),
        stage_db=tuple(tuple(map(float, row)) for row in rng.normal(0, STAGE_SD_DB * variety, (5, n))),
        slow_wave_db=float(slow_wave_db + rng.normal(0, SLOW_WAVE_SD_DB * variety)),
        gain_db=float(rng.normal(0, GAIN_SD_DB * variety)),
        alpha_db=alpha_db,
        alpha_width_hz=between(rng, *ALPHA_WIDTH_HZ, variety),
        alpha_n1_db=min(alpha_db, between(rng, *ALPHA_N1_DB, variety)),
        alpha_sleep_db=between(rng, *ALPHA_SLEEP_DB, variety),
        theta_hz=between(rng, *THETA_HZ, variety),
        theta_n1_db=between(rng, *THETA_N1_DB, variety),
        theta_rem_db=between(rng, *THETA_REM_DB, variety),
        sigma_n2_db=between(rng, *SIGMA_N2_DB, variety),
        sigma_n3_db=between(rng, *SIGMA_N3_DB, variety),
        blink_uv=between(rng, *BLINK_UV, variety),
        frontal_leak=between(rng, *FRONTAL_LEAK, variety),
        central_leak=between(rng, *CENTRAL_LEAK, variety),
        spindle_n3_share=between(rng, 0.1, 1.0, variety),
    )
