"""WFDB, as PhysioNet keeps its recordings."""

from fractions import Fraction

import numpy as np
import pytest
import wfdb

from data_pipeline.load import load_night
from data_pipeline.night import RecordingError
from data_pipeline.readers import open_recording
from tests.support.formats import ramp, write_wfdb


@pytest.mark.parametrize("form", ["16", "24", "32", "61", "80", "160", "212"])
def test_wfdb_formats_read_as_the_wfdb_package_reads_them(tmp_path, form):
    digital = (np.arange(3 * 301).reshape(-1, 3) * 37 % 255 - 127).astype(np.int64)
    recording = open_recording(write_wfdb(tmp_path, digital, form))
    expected = wfdb.rdrecord(str(tmp_path / "rec")).p_signal
    assert recording.duration_s == 301 / 250 and [s.unit for s in recording.signals] == ["uV", "mV", "%"]
    for signal in recording.signals:
        np.testing.assert_allclose(recording.read(signal.index), expected[:, signal.index], rtol=1e-6)
        part = recording.read(signal.index, 0.268, 0.8)
        np.testing.assert_allclose(part, expected[67:200, signal.index], rtol=1e-6)


def test_wfdb_signals_with_their_own_rates_skew_and_missing_samples(tmp_path):
    frames = ramp(3, 100).astype("<i2")  # a frame: two samples of the first signal, one of the second
    frames[40, 2] = -32768
    (tmp_path / "rec.dat").write_bytes(bytes(24) + frames.tobytes())
    header = tmp_path / "rec.hea"
    header.write_text(
        "rec 2 62.5 100 22:31:5\nrec.dat 16x2+24 10(3)/uV 16 0 0 0 0 C4\nrec.dat 16:5+24 1 16 0 0 0 0 SpO2\n"
    )
    recording = open_recording(header)
    assert [s.rate_hz for s in recording.signals] == [125, Fraction(125, 2)]
    assert recording.start_clock is None  # two digits each, or it is no time
    np.testing.assert_allclose(recording.read(0), (frames[:, :2].ravel() - 3) / 10, rtol=1e-6)
    late = recording.read(1)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(late)), [35, *range(95, 100)])
    assert late[0] == frames[5, 2] and recording.signals[1].unit == "mV"
    np.testing.assert_array_equal(recording.read(0, 0.008, 0.04), recording.read(0)[1:5])


def test_wfdb_without_gain_has_no_unit_and_is_told(tmp_path):
    path = write_wfdb(tmp_path)
    text = path.read_text()
    path.write_text(text.replace("100.0(7)/uV", "0(7)/uV"))
    recording = open_recording(path)
    assert [s.unit for s in recording.signals] == [
        "",
        "mV",
    ] and "Not calibrated, by its header: channels " in recording.notes[0]
    stored = ramp(2, 400)
    np.testing.assert_allclose(recording.read(0), (stored[:, 0] - 7) / 200, rtol=1e-6)
    np.testing.assert_allclose(recording.read(1), (stored[:, 1] + 5) / -50, rtol=1e-5)
    assert recording.signals[1].physical_range[0] > recording.signals[1].physical_range[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rec.dat", "../rec.dat", "outside its own folder"),
        ("rec.dat", "/etc/passwd", "outside its own folder"),
        ("rec.dat", "-", "outside its own folder"),
        ("rec.dat", "s3://bucket/rec.dat", "outside its own folder"),
        ("rec.dat", "other.dat", "'other.dat' is not beside it"),
        ("rec 2", "rec/3 2", "several segments"),
        ("rec 2", "rec 5", "5 signals at 250 Hz in 2 lines"),
        ("rec 2 250", "rec 2 0", "2 signals at 0 Hz"),
        ("rec 2 250 400", "rec 2 250 401", "holds 1600 bytes, expected 1604 for 401 frames"),
        ("rec 2 250 400", "rec 2 250 399", "holds 1600 bytes, expected 1596 for 399 frames"),
        ("rec 2 250 400", "rec 2 0.000001 400", "days long"),
        ("dat 16 ", "dat 508 ", "stored in format 508"),
        ("dat 16 ", "dat 16x0 ", "no sample in a frame"),
        ("100.0(7)", "1e999(7)", "gain of signal"),
        ("rec 2 250 400", "rec", "no WFDB record line"),
    ],
)
def test_damaged_and_hostile_wfdb_headers_are_refused(tmp_path, old, new, message):
    path = write_wfdb(tmp_path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(RecordingError, match=message) as error:
        open_recording(path)
    assert "rec.hea" in str(error.value)


def test_a_hostile_header_line_takes_no_time(tmp_path):
    path = write_wfdb(tmp_path)
    path.write_text(path.read_text().replace("rec.dat 16 ", "rec.dat 16 " + " " * 900_000 + "x", 1))
    with pytest.raises(RecordingError):
        open_recording(path)


def test_a_channel_without_a_sample_shifts_no_name(tmp_path):
    """Readers that skip it and then count names from the front give the next channel its name."""
    tones = np.array([5, 9, 13])
    stored = (2000 * np.sin(2 * np.pi * tones * np.arange(250 * 40)[:, None] / 250)).astype(np.int64)
    path = write_wfdb(tmp_path, stored)
    stored[:, 1] = -32768
    (tmp_path / "rec.dat").write_bytes(stored.astype("<i2").tobytes())
    path.write_text(path.read_text().replace("C4-M1", "C3-M2").replace("ECG", "C4-M1").replace("SpO2", "O2-M1"))
    night = load_night(path)
    found = {c.slot: np.abs(np.fft.rfft(c.samples)).argmax() / 40 for c in night.channels}
    assert found == {"C3": 5, "O2": 13}
    assert any("'C4-M1' is not used: no usable second: gap" in note for note in night.notes)
