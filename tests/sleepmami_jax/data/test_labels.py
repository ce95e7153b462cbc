"""Which seconds an event makes its own."""

import numpy as np

from data_pipeline.night import Event, EventKind
from data_pipeline.tasks import AROUSAL, BREATHING
from sleepmami_jax.data.labels import event_labels

TASKS = (BREATHING, AROUSAL)


def test_event_labels_take_a_second_that_is_more_than_half_covered():
    scored = {"hypopnea", "apnea", "arousal"}
    events = (
        Event(EventKind.HYPOPNEA, 1.5, 3.0),  # half of second 1: not; 2, 3; half of second 4: not
        Event(EventKind.APNEA, 3.4, 2.2),  # most of 3, 4, and 0.6 of 5
        Event(EventKind.AROUSAL, -4.0, 5.4),  # second 0, and 0.4 of 1
        Event(EventKind.SPINDLE, 7.0, 1.0),
    )
    labels = event_labels(events, scored, TASKS, 0.0, 8)
    assert labels["breathing"].tolist() == [0, 0, 1, 2, 2, 2, 0, 0]
    assert labels["arousal"].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    moved = event_labels(events, scored, TASKS, 2.0, 3)
    assert moved["breathing"].tolist() == [1, 2, 2] and moved["breathing"].dtype == np.int8
    unscored = event_labels(events, {"hypopnea", "stages"}, TASKS, 0.0, 2)
    assert unscored["breathing"].tolist() == unscored["arousal"].tolist() == [-1, -1]
    far = event_labels(
        (Event(EventKind.AROUSAL, 20.0, 3.0), Event(EventKind.AROUSAL, -9.0, 3.0)), scored, TASKS, 0.0, 8
    )
    assert not far["arousal"].any()
