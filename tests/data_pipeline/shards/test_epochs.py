"""A night becomes epochs, and each event is in exactly one of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.night import Event, EventKind, Scoring, blocks
from data_pipeline.shards.epochs import night_epochs, night_events
from data_pipeline.shards.records import decode_epoch, encode_epoch
from data_pipeline.shards.scale import Meter, channel_scale
from tests.support.nights import random_night


def roundtrip(night):
    return [decode_epoch(encode_epoch(epoch)) for epoch in night_epochs(night)]


def test_blocks_of_a_night_give_the_records_of_the_whole(monkeypatch):
    monkeypatch.setattr("data_pipeline.shards.scale.PERCENTILE_SAMPLES", 22_000)  # every 7th, across blocks
    night = random_night(7, 60)
    pieces = [night.read(*span) for span in blocks(night.duration_s)]
    assert len(pieces) == 3
    whole = [encode_epoch(epoch) for epoch in night_epochs(night)]
    assert [encode_epoch(epoch) for epoch in night_epochs(night, pieces=pieces)] == whole
    c3 = next(c for c in night.channels if c.slot == "C3")
    expected = channel_scale(c3)
    meter = Meter(night.duration_s, expected.scale, expected.offset)
    for piece in pieces:
        meter.add(next(c for c in piece if c.slot == "C3"))
    assert meter.scale() == expected
    np.testing.assert_array_equal(meter.quality, c3.quality)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-40_000, 140_000), st.integers(0, 90_000)), max_size=6))
def test_every_event_belongs_to_exactly_one_epoch(marks):
    events = (Event(EventKind.APNEA, onset_ms / 1000, length_ms / 1000) for onset_ms, length_ms in marks)
    events = tuple(sorted(events, key=lambda e: e.onset_s))
    night = random_night(3, 3, ["SPO2"])
    epochs = roundtrip(replace(night, scoring=Scoring(np.zeros(3, np.int8), events, frozenset({"apnea"}))))
    back = night_events(epochs)
    assert len(back) == len(events)
    np.testing.assert_allclose([e.onset_s for e in back], [e.onset_s for e in events], atol=1e-9)
    for epoch in epochs:  # and is seen by every epoch that it touches
        start = epoch.index * 30
        touching = sum(e.onset_s < start + 30 and e.end_s > start for e in events)
        assert sum(e.onset_s < 30 and e.end_s > 0 for e in epoch.events) == touching


def test_an_event_on_the_border_begins_in_the_second_epoch():
    event = Event(EventKind.AROUSAL, 30.0, 5.0)
    night = random_night(3, 2, ["SPO2"])
    first, second = roundtrip(replace(night, scoring=Scoring(np.zeros(2, np.int8), (event,))))
    assert first.events == () and second.events == (replace(event, onset_s=0.0),)


def test_wrong_number_of_stages_is_refused():
    night = random_night(3, 2, ["SPO2"])
    with pytest.raises(ValueError, match="night3: 5 stages for 2 whole epochs"):
        list(night_epochs(replace(night, scoring=Scoring(np.zeros(5, np.int8)))))
