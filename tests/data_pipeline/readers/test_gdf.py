"""GDF, old and new."""

import struct

import numpy as np
import pytest

from data_pipeline.night import RecordingError
from data_pipeline.readers import open_recording
from tests.support.formats import ramp, write_gdf


@pytest.mark.parametrize("old", [False, True])
def test_gdf_keeps_labels_units_and_breaks(tmp_path, old):
    recording = open_recording(write_gdf(tmp_path, old=old))
    assert [(s.label, s.unit) for s in recording.signals] == [("C4", "V"), ("SpO2", "%")]
    assert recording.signals[0].physical_range == pytest.approx((-0.016384, 0.0163835))
    x = recording.read(0)
    assert np.flatnonzero(np.isnan(x)).tolist() == [499, 500]  # how long it stood still is not known
    there = ~np.isnan(x)
    np.testing.assert_allclose(x[there], (ramp(2)[:, 0] * 0.5e-6)[there], rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(recording.read(1)[there], ramp(2)[there, 1], rtol=1e-4)


def test_gdf_with_uneven_rates_is_refused_not_raised_to_one(tmp_path):
    with pytest.raises(RecordingError, match="have 5, 10 samples a record"):
        open_recording(write_gdf(tmp_path, samples=(10, 5)))


def test_gdf_never_closed_is_refused(tmp_path):
    with pytest.raises(RecordingError, match="-1 records"):
        path = write_gdf(tmp_path)
        path.write_bytes(path.read_bytes()[:236] + struct.pack("<q", -1) + path.read_bytes()[244:])
        open_recording(path)


@pytest.mark.parametrize("old", [False, True])
def test_an_event_table_without_end_is_refused(tmp_path, old):
    path = write_gdf(tmp_path, old=old)
    data = bytearray(path.read_bytes())
    table = len(data) - 14  # mode, rate and number of events, one event of 6 bytes
    data[table + 4 - 3 * (not old) : table + 7 - 3 * (not old)] = b"\xff\xff\x02"
    path.write_bytes(data)
    with pytest.raises(RecordingError, match="its event table holds 196607"):
        open_recording(path)
