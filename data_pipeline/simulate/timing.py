"""What an event is, and when events come: renewal processes whose rate follows the stage."""

from dataclasses import dataclass, field

import numpy as np

from data_pipeline.night import EPOCH_S, EventKind


@dataclass(frozen=True)
class TrueEvent:
    """An event as the simulator made it.

    Attributes:
      kind: what it is.
      onset_s, duration_s: seconds from the first sample, multiples of 0.01.
      scored: whether a scorer following the AASM rules would mark it; others are in the signal only.
      detail: its parameters with units in their names: how deep, how strong, what caused it.
    """

    kind: EventKind
    onset_s: float
    duration_s: float
    scored: bool = True
    detail: dict[str, float | str] = field(default_factory=dict)

    @property
    def end_s(self) -> float:
        return self.onset_s + self.duration_s


def second_rate(stages: np.ndarray, by_stage: dict[int, float]) -> np.ndarray:
    """(n_seconds,) the rate of each second's stage; 0 for stages not named."""
    table = np.array([by_stage.get(stage, 0.0) for stage in range(5)])
    return np.repeat(table[stages], EPOCH_S)


def onsets_s(rng: np.random.Generator, per_s: np.ndarray, gap_s: float, regular: float = 1.0) -> np.ndarray:
    """Sorted onsets (s) of a renewal process of the given rate per second; onsets at least `gap_s` apart.

    `regular` is the shape of the gamma intervals: 1 is Poisson, more is more even.
    """
    # A dead time of gap_s after each onset thins the process; the raised rate undoes that.
    hazard = np.cumsum(per_s / np.maximum(1e-9, 1 - np.minimum(0.8, per_s * gap_s)))
    steps = rng.gamma(regular, 1 / regular, size=int(hazard[-1] * 1.5 + 40))
    marks = np.cumsum(steps)
    times = np.interp(marks[marks < hazard[-1]], hazard, np.arange(1, len(hazard) + 1))
    kept, last = [], -np.inf
    for time in times:
        if time >= last + gap_s:
            kept.append(time)
            last = time
    return np.array(kept)


def rounded(seconds: float) -> float:
    """Seconds to 10 ms, the digits that annotations keep."""
    return round(float(seconds), 2)


def within(value: float, low: float, high: float) -> float:
    """The value, or the end of this range that it lies beyond; of a number, in a tenth of the time of `np.clip`."""
    return float(min(max(value, low), high))
