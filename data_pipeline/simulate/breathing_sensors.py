"""Belts and flow sensors that shift, slip and drift through the night."""

import numpy as np

POSTURE_S = 3600.0  # mean time between two turns in bed (Eiseman 2012: 5–10 a night)
POSTURE_LOG_SD, GAIN_DRIFT_LOG_SD = 0.35, 0.15  # of a sensor's gain, at each turn and in 5 minutes; assumed
SLIP_SHARE, SLIP_LEFT = 0.1, (0.12, 0.5)  # of sensors slip for a part of the night; of their signal; assumed
SLIP_S = (600.0, 10800.0)  # assumed
WANDER, WANDER_S = (0.0, 0.4), 40.0  # base line, of a usual breath, and its pace; assumed
NOISE_LOG_SD, NOISE_RANGE = 0.6, (0.3, 2.5)  # factor on the plain sensor's; assumed


def turns(rng: np.random.Generator, n_seconds: int) -> np.ndarray:
    """Sorted seconds at which the sleeper turns over."""
    return np.sort(rng.integers(0, n_seconds, rng.poisson(n_seconds / POSTURE_S)))


def sensor_noise(rng: np.random.Generator, variety: float) -> float:
    """A factor on the usual noise."""
    return float(np.clip(np.exp(variety * NOISE_LOG_SD * rng.standard_normal()), *NOISE_RANGE))


def shift_and_drift(
    rng: np.random.Generator, samples: np.ndarray, turned_s: np.ndarray, rate_hz: int, variety: float
) -> None:
    """Changes the gain and base line of one sensor over the night: `samples` (n,) float32, in place."""
    n_seconds = len(samples) // rate_hz
    seconds = np.arange(n_seconds)
    posture = POSTURE_LOG_SD * rng.standard_normal(len(turned_s) + 1)[np.searchsorted(turned_s, seconds, "right")]
    marks = np.arange(0, n_seconds + 300, 300)
    drift = np.interp(seconds, marks, GAIN_DRIFT_LOG_SD * rng.standard_normal(len(marks)))
    gain = np.exp(variety * (posture + drift))
    if rng.random() < SLIP_SHARE * variety:
        start = int(rng.uniform(0, n_seconds))
        gain[start : start + int(rng.uniform(*SLIP_S))] *= rng.uniform(*SLIP_LEFT)
    knots = np.arange(0, n_seconds + WANDER_S, WANDER_S)
    wander = np.interp(seconds, knots, rng.standard_normal(len(knots))) * rng.uniform(*WANDER) * variety
    whole = samples[: n_seconds * rate_hz].reshape(n_seconds, rate_hz)
    whole *= gain.astype(np.float32)[:, None]
    # A straight line from second to second, so that the base line has no steps.
    part = np.arange(rate_hz, dtype=np.float32) / rate_hz
    steps = np.diff(wander, append=wander[-1]).astype(np.float32)
    whole += wander.astype(np.float32)[:, None] + steps[:, None] * part
