"""Both legs: quiet muscles that burst at each limb movement."""

import numpy as np

from data_pipeline.night import EPOCH_S, EventKind
from data_pipeline.simulate.body import muscle_noise
from data_pipeline.simulate.hypnogram import W
from data_pipeline.simulate.timing import TrueEvent

LEG_REST_UV = 2.0  # RMS; assumed, 1–4


def make_legs(
    rng: np.random.Generator, stages: np.ndarray, events: list[TrueEvent], rate_hz: int, *, variety: float
) -> np.ndarray:
    """(2, n) float32 µV left and right anterior tibialis: quiet, with a burst at each limb movement."""
    grid = 10
    legs = []
    for side in ("left", "right"):
        rest = LEG_REST_UV * np.where(stages == W, 1.6, 1.0) * np.exp(0.2 * rng.standard_normal(len(stages)))
        envelope = np.repeat(rest, EPOCH_S * grid)
        for event in events:
            if event.kind is EventKind.LIMB_MOVEMENT and event.detail["side"] in (side, "both"):
                part = slice(round(event.onset_s * grid), round(event.end_s * grid))
                t = np.linspace(0, 1, part.stop - part.start)
                # Amplitude is peak to peak of the burst; an interference pattern's RMS is about a quarter.
                envelope[part] += event.detail["amplitude_uv"] / 4 * (0.5 + 0.7 * np.sin(np.pi * t))
        legs.append(muscle_noise(rng, envelope, grid, rate_hz))
    return np.stack(legs)
