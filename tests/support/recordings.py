"""Tiny EDF recordings that look like a cohort's, for the tests of its adapter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import edfio
import numpy as np


def write_edf(
    path: Path,
    labels: Mapping[str, tuple[float, str]],
    *,
    seconds: int = 60,
    patient: edfio.Patient | None = None,
) -> Path:
    """Noise under a cohort's own labels; `labels` gives each its rate in Hz and its unit.

    Values lie around 96 under "%" and around 0 otherwise, tenths of a millivolt at most if the unit is "V".
    """
    rng = np.random.default_rng(seconds)
    signals = []
    for label, (rate_hz, unit) in labels.items():
        noise = rng.standard_normal(round(seconds * rate_hz))
        middle, spread = (96.0, 0.5) if unit == "%" else (0.0, 2e-5 if unit == "V" else 20.0)
        limits = (middle - 8 * spread, middle + 8 * spread)
        signals.append(
            edfio.EdfSignal(
                middle + spread * noise, rate_hz, label=label, physical_dimension=unit, physical_range=limits
            )
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(signals, patient=patient).write(path)
    return path
