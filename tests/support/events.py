"""Events and hypnograms as small tests write them."""

import numpy as np

from data_pipeline.night import Event, EventKind

W, N1, N2, N3, R = range(5)
HYPOPNEA, APNEA = EventKind.HYPOPNEA, EventKind.APNEA
CENTRAL, OBSTRUCTIVE = EventKind.CENTRAL_APNEA, EventKind.OBSTRUCTIVE_APNEA


def hypopnea(onset_s, duration_s):
    return Event(HYPOPNEA, float(onset_s), float(duration_s))


def arousal(onset_s, duration_s=5.0):
    return Event(EventKind.AROUSAL, float(onset_s), float(duration_s))


def limb_movement(onset_s, duration_s=2.0):
    return Event(EventKind.LIMB_MOVEMENT, float(onset_s), float(duration_s))


def spans(events):
    return [(e.onset_s, e.end_s) for e in events]


def hypnogram(*parts):
    """Stages from (code, epochs) pairs."""
    return np.concatenate([np.full(n, code, np.int8) for code, n in parts])
