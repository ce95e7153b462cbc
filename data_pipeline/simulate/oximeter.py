"""What an oximeter makes of the saturation: averaged, offset, noisy, rounded."""

import numpy as np
from scipy import ndimage

AVERAGING_S = (2, 16)  # makers offer 2 to 16 s; 3 s or less is advised (AASM manual)
OFFSET_PERCENT = 2.0  # makers state an accuracy of 2 %
NOISE_PERCENT = (0.0, 0.4)  # assumed
STEPS_PERCENT, STEP_SHARES = (1.0, 0.5, 0.1), (0.75, 0.1, 0.15)  # of the display; assumed
STEP_PERCENT = 1.0  # of the plain one


def averaging_s(rng: np.random.Generator, variety: float) -> int:
    """Over how many seconds this oximeter averages: 1 is not at all."""
    return 1 + round(variety * float(rng.uniform(AVERAGING_S[0] - 1, AVERAGING_S[1] - 1)))


def averaged(fall: np.ndarray, length_s: int) -> np.ndarray:
    """(n,) one desaturation as an average over `length_s` seconds shows it: wider, and still as deep as it was scored.

    The delay of an average is part of the lag between event and desaturation.
    """
    wide = ndimage.uniform_filter1d(fall, length_s, mode="constant")
    return wide * (fall.max() / max(wide.max(), 1e-9))


def displayed(rng: np.random.Generator, spo2_percent: np.ndarray, variety: float) -> np.ndarray:
    """(n,) float32: what the display says of `spo2_percent` (n,), once a second."""
    if variety == 0:
        return np.rint(spo2_percent)
    step = float(rng.choice(STEPS_PERCENT, p=STEP_SHARES)) if rng.random() < variety else STEP_PERCENT
    off = variety * rng.uniform(-OFFSET_PERCENT, OFFSET_PERCENT)
    noise = variety * rng.uniform(*NOISE_PERCENT) * rng.standard_normal(len(spo2_percent))
    return np.clip(np.rint((spo2_percent + off + noise) / step) * step, 0, 100).astype(np.float32)
