"""Both legs: quiet muscles that burst at each limb movement."""

import numpy as np

from data_pipeline.night import EPOCH_S, EventKind
from data_pipeline.simulate.body import muscle_noise
from data_pipeline.simulate.hypnogram import W
from data_pipeline.simulate.person import Person
from data_pipeline.simulate.timing import TrueEvent

GRID_HZ = 10  # values of the envelope
REST_LOG_SD, REST_WAKE = 0.2, 1.6  # from epoch to epoch; awake against asleep; assumed
REST_DRIFT_LOG_SD, REST_WAKE_LOG_SD = 0.25, 0.5  # over an hour, from person to person; assumed
TENSE_SHARE_AWAKE, TENSE_SHARE_ASLEEP, TENSE_GAIN = 0.15, 0.01, (2.0, 8.0)  # epochs with standing tone; assumed
WEAKER_SIDE = (0.3, 1.0)  # of a movement of both legs; assumed
CLONIC_HZ = (1.5, 4.0)  # of a movement in jerks; assumed


def make_legs(
    rng: np.random.Generator,
    person: Person,
    stages: np.ndarray,
    events: list[TrueEvent],
    rate_hz: int,
    *,
    variety: float,
) -> np.ndarray:
    """(2, n) float32 µV left and right anterior tibialis: quiet, with a burst at each limb movement."""
    legs = []
    for side, rest_uv in zip(("left", "right"), person.constitution.leg_rest_uv, strict=True):
        rest = rest_uv * np.where(stages == W, REST_WAKE, 1.0) * np.exp(REST_LOG_SD * rng.standard_normal(len(stages)))
        envelope = np.repeat(rest * _tone(rng, stages, variety), EPOCH_S * GRID_HZ)
        for event in events:
            if event.kind is EventKind.LIMB_MOVEMENT and event.detail["side"] in (side, "both"):
                part = slice(round(event.onset_s * GRID_HZ), round(event.end_s * GRID_HZ))
                # Amplitude is peak to peak of the burst; an interference pattern's RMS is about a quarter.
                envelope[part] += event.detail["amplitude_uv"] / 4 * _burst(rng, event, part.stop - part.start, variety)
        legs.append(muscle_noise(rng, envelope, GRID_HZ, rate_hz))
    return np.stack(legs)


def _tone(rng: np.random.Generator, stages: np.ndarray, variety: float) -> np.ndarray | float:
    """(n_epochs,) factor on the resting muscle: drift, and epochs in which the leg is held."""
    if variety == 0:
        return 1.0
    hours = np.arange(0, len(stages) + 120, 120)
    drift = np.interp(np.arange(len(stages)), hours, REST_DRIFT_LOG_SD * rng.standard_normal(len(hours)))
    awake = np.where(stages == W, REST_WAKE_LOG_SD * rng.standard_normal(), 0.0)
    is_tense = rng.random(len(stages)) < np.where(stages == W, TENSE_SHARE_AWAKE, TENSE_SHARE_ASLEEP)
    tense = np.where(is_tense, np.log(rng.uniform(*TENSE_GAIN, len(stages))), 0.0)
    return np.exp(variety * (drift + awake + tense))


def _burst(rng: np.random.Generator, event: TrueEvent, n: int, variety: float) -> np.ndarray:
    """(n,) envelope of a movement; with variety lopsided, in jerks, and one leg weaker than the other."""
    t = np.linspace(0, 1, n)
    if variety == 0:
        return 0.5 + 0.7 * np.sin(np.pi * t)
    peak = 0.5 + variety * rng.uniform(-0.4, 0.4)
    shape = rng.uniform(0.3, 0.7) + 0.7 * np.sin(np.pi * t ** (np.log(0.5) / np.log(peak)))
    if rng.random() < 0.2 * variety:
        jerks = np.sin(2 * np.pi * rng.uniform(*CLONIC_HZ) * t * event.duration_s + rng.uniform(0, np.pi))
        shape *= 0.5 + 0.5 * jerks
    if event.detail["side"] == "both" and rng.random() < 0.5:
        shape *= 1 - variety * (1 - rng.uniform(*WEAKER_SIDE))
    return shape
