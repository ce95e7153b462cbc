"""Which seconds an event makes its own."""

import numpy as np

from data_pipeline.night import Event, EventKind
from data_pipeline.tasks import APNEA_TYPE, AROUSAL, BREATHING, SPINDLE
from sleepmami_jax.data.labels import event_labels, places_of

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


def test_waves_are_labelled_eighth_by_eighth():
    events = (Event(EventKind.SPINDLE, 2.3, 0.8), Event(EventKind.AROUSAL, 2.0, 1.0))  # eighths 18.4 to 24.8
    labels = event_labels(events, {"spindle", "arousal"}, (SPINDLE, AROUSAL), 1.0, 4)
    assert labels["spindle"].shape == (32,) and labels["arousal"].tolist() == [0, 1, 0, 0]
    assert np.flatnonzero(labels["spindle"]).tolist() == list(range(10, 17))
    assert (event_labels(events, {"arousal"}, (SPINDLE,), 0.0, 2)["spindle"] == -1).all()


def test_a_wave_that_covers_no_second_has_that_of_its_middle():
    short = Event(EventKind.SPINDLE, 3.6, 0.7)
    assert places_of(short, 0.0, 8).tolist() == [3]
    assert places_of(short, 0.0, 8, 8).tolist() == list(range(29, 34))
    assert places_of(short, 4.0, 8).tolist() == []


def test_types_are_told_within_the_events_whose_type_was_told():
    events = [
        Event(EventKind.CENTRAL_APNEA, 2.0, 3.0),
        Event(EventKind.APNEA, 6.0, 2.0),
        Event(EventKind.HYPOPNEA, 8.0, 1.0),
    ]
    labels = event_labels(events, {"central_apnea", "apnea", "hypopnea"}, (APNEA_TYPE,), 0.0, 10)["apnea_type"]
    assert labels.tolist() == [-1, -1, 2, 2, 2, -1, -1, -1, -1, -1]
    assert (event_labels(events, {"apnea", "hypopnea"}, (APNEA_TYPE,), 0.0, 10)["apnea_type"] == -1).all()
