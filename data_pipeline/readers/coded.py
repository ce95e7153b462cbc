"""Scorings that are signals of whole numbers: hypnograms of the Dreem Open Datasets, vectors of BDSP.

BDSP's own programs (Human Sleep Project, PhysioNet Challenge 2026) write a vector for each family: `stage` (1 N3, 2 N2,
3 N1, 4 REM, 5 W; 0 and 9 not scored), `resp` (1 obstructive, 2 central, 3 mixed apnea, 4 hypopnea, 5 RERA), `arousal`
(1), `limb` (1 isolated, 2 periodic, 3 with arousal, 4 any); 0 is no event. https://github.com/bdsp-core
"""

from pathlib import Path

import numpy as np

from data_pipeline.night import STAGES, RecordingError
from data_pipeline.readers.recording import Annotation
from data_pipeline.runs import runs_of_values

_UNSCORED = "Sleep stage ?"
DREEM = {-1: _UNSCORED, **{code: f"Sleep stage {name}" for code, name in enumerate(STAGES)}}
"""What a number of a Dreem hypnogram means: REM is 4. https://github.com/Dreem-Organization/dreem-learning-evaluation"""
BDSP: dict[str, dict[int, str]] = {
    "stage": {
        **dict.fromkeys((-1, 0, 9), _UNSCORED),
        **{code: f"Sleep stage {name}" for code, name in ((5, "W"), (3, "N1"), (2, "N2"), (1, "N3"), (4, "REM"))},
    },
    "resp": {0: "", 1: "Obstructive apnea", 2: "Central apnea", 3: "Mixed apnea", 4: "Hypopnea", 5: "RERA"},
    "arousal": {0: "", 1: "Arousal"},
    "limb": {0: "", 2: "Periodic limb movement", **dict.fromkeys((1, 3, 4), "Limb movement")},
}
"""Family -> number -> its meaning, "" for no event."""


def coded_marks(path: Path, values: np.ndarray, rate_hz: float, meanings: dict[int, str]) -> list[Annotation]:
    """An annotation for each run of a number that means something.

    Args:
      values: (n,) numbers, NaN where nobody scored.
      rate_hz: numbers a second.
    Raises:
      RecordingError: a number that means nothing.
    """
    codes = np.where(np.isnan(values), min(meanings), values).round()
    if unknown := set(np.unique(codes)) - set(meanings):
        expected = ", ".join(map(str, sorted(meanings)))
        raise RecordingError(path, f"{len(unknown)} numbers of a scoring mean nothing, expected {expected}.")
    return [
        Annotation(float(a / rate_hz), float((b - a) / rate_hz), text)
        for a, b in runs_of_values(codes)
        if (text := meanings[int(codes[a])])
    ]
