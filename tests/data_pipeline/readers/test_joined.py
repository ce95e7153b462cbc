"""Several files of one night as one recording."""

import datetime

import edfio
import numpy as np
import pytest

from data_pipeline.load import load_night
from data_pipeline.night import Quality, RecordingError
from data_pipeline.readers import open_recording
from data_pipeline.readers.joined import joined, start_and_length
from tests.data_pipeline.readers.test_edf import ramp, write


def part(path, clock, seconds=30, *labels, rate_hz=100, **options):
    signals = [ramp(seconds * rate_hz, rate_hz, label) for label in labels or ("EEG C4-M1",)]
    return write(path, *signals, starttime=datetime.time(*clock), **options)


def test_parts_lie_at_their_time_of_day_with_a_gap_between(tmp_path):
    a = part(tmp_path / "a.edf", (23, 59, 40), annotations=[edfio.EdfAnnotation(3, None, "one")])
    b = part(tmp_path / "b.edf", (0, 0, 25), annotations=[edfio.EdfAnnotation(2, None, "two")])
    recording = joined([open_recording(a), open_recording(b)])
    assert (recording.duration_s, recording.start_clock, recording.gaps) == (75, "23:59:40", ((30, 45),))
    assert [(m.onset_s, m.text) for m in recording.annotations] == [(3, "one"), (47, "two")]
    assert recording.notes == ("Joined from 2 files; 1 gap(s), 15 s in all, in which nothing was recorded.",)
    whole = recording.read(0)
    assert np.isnan(whole[3000:4500]).all() and not np.isnan(np.delete(whole, np.s_[3000:4500])).any()
    np.testing.assert_allclose(whole[[0, 2999, 4500, 7499]], [0, 999, 0, 999], atol=0.1)
    np.testing.assert_array_equal(recording.read(0, 20.5, 50.25), whole[2050:5025])
    (channel,) = load_night(a, parts=(b,)).channels
    assert (channel.quality[31:44] == Quality.GAP).all() and len(channel.quality) == 75


def test_parts_beside_each_other_bring_each_its_signals(tmp_path):
    a = part(tmp_path / "a.edf", (22, 0, 0), 30, "Flow")
    b = part(tmp_path / "b.edf", (22, 0, 10), 10, "SpO2", rate_hz=1)
    c = part(tmp_path / "c.edf", (22, 0, 29), 30, "Flow")  # headers tell whole seconds
    recording = joined([open_recording(path) for path in (a, b, c)])
    assert [s.label for s in recording.signals] == ["Flow", "SpO2"] and not recording.gaps
    assert recording.duration_s == 60 and not np.isnan(recording.read(0)).any()
    assert np.flatnonzero(~np.isnan(recording.read(1))).tolist() == list(range(10, 20))


def test_what_overlaps_or_does_not_say_when_it_began_is_refused(tmp_path):
    a, b = part(tmp_path / "a.edf", (22, 0, 0)), part(tmp_path / "b.edf", (22, 0, 15))
    with pytest.raises(RecordingError, match="begins before the part before it ends"):
        joined([open_recording(a), open_recording(b)])
    b.write_bytes(b.read_bytes().replace(b"22.00.15", b"XX.XX.XX"))
    assert start_and_length(b) is None
    with pytest.raises(RecordingError, match="does not say when it began"):
        joined([open_recording(a), open_recording(b)])
