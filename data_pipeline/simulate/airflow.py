"""What a nose and a mask do to the flow of breath: an open mouth, snoring, positive pressure."""

import numpy as np

from data_pipeline.night import EPOCH_S
from data_pipeline.simulate.constitution import Constitution
from data_pipeline.simulate.hypnogram import W

MOUTH_BOUT_S, MOUTH_LEFT = (300.0, 3600.0), (0.0, 0.25)  # of nasal pressure with the mouth open; assumed
SNORE_BOUT_S, SNORE_SIZE = (60.0, 1200.0), (0.05, 0.4)  # RMS against a usual breath's peak; assumed
SNORE_PEAK_SHARE = 0.5  # of an inspiration's peak flow, above which the palate flutters; assumed
CPAP_FITTING_S = (120.0, 600.0)  # the cannula is off and the mask not yet on; assumed
CPAP_OFFSET, CPAP_PLATEAU = (0.3, 1.5), (0.5, 1.2)  # leak, and where flow levels off, of a usual breath; assumed
CPAP_THERMISTOR_LEFT = 0.05  # beneath the mask or taken away; assumed


def bouts(rng: np.random.Generator, stages: np.ndarray, share: float, length_s: tuple[float, float]) -> np.ndarray:
    """(n_seconds,) bool: bouts asleep that fill about `share` of the night."""
    n_seconds = len(stages) * EPOCH_S
    inside = np.zeros(n_seconds, dtype=bool)
    for _ in range(rng.poisson(-np.log(1 - min(share, 0.95)) * n_seconds / np.mean(length_s))):
        start = int(rng.uniform(0, n_seconds))
        inside[start : start + int(rng.uniform(*length_s))] = True
    return inside & np.repeat(stages != W, EPOCH_S)


def nose_share(rng: np.random.Generator, own: Constitution, stages: np.ndarray) -> np.ndarray:
    """(n_seconds,) float32: what of the flow goes through the nose, where a cannula sees it."""
    open_mouth = bouts(rng, stages, own.mouth_share, MOUTH_BOUT_S)
    return np.where(open_mouth, rng.uniform(*MOUTH_LEFT), 1.0).astype(np.float32)


def snoring(rng: np.random.Generator, own: Constitution, stages: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """(n,) float32 of the nasal pressure: the palate flutters near the peak of an inspiration of `flow` (n,)."""
    rate_hz = len(flow) // (len(stages) * EPOCH_S)
    loud = np.where(bouts(rng, stages, own.snore_share, SNORE_BOUT_S), rng.uniform(*SNORE_SIZE), 0).astype(np.float32)
    above = np.maximum(flow - np.float32(SNORE_PEAK_SHARE), 0) * np.float32(1 / (1 - SNORE_PEAK_SHARE))
    return np.repeat(loud, rate_hz) * np.minimum(above, 1) * rng.standard_normal(len(flow), dtype=np.float32)


def put_under_pressure(
    rng: np.random.Generator, flow: np.ndarray, nasal: np.ndarray, thermistor: np.ndarray, start: int, rate_hz: int
) -> None:
    """From sample `start` on, in place: the mask's flow, linear with offset and plateau, stands for nasal pressure."""
    offset, plateau = np.float32(rng.uniform(*CPAP_OFFSET)), np.float32(rng.uniform(*CPAP_PLATEAU))
    mask_on = start + round(rng.uniform(*CPAP_FITTING_S) * rate_hz)
    nasal[start:mask_on] = 0
    nasal[mask_on:] = offset + plateau * np.tanh(flow[mask_on:] / plateau)
    thermistor[start:] *= CPAP_THERMISTOR_LEFT
