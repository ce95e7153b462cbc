"""BrainVision: a header, its markers, its data."""

from fractions import Fraction

import mne
import numpy as np
import pytest

from data_pipeline.cohorts import find_nights
from data_pipeline.load import load_night
from data_pipeline.night import Quality, RecordingError
from data_pipeline.readers import open_recording
from data_pipeline.readers.timeline import Timeline, check_gaps, joint
from tests.support.formats import N, ramp, write_brainvision


@pytest.mark.parametrize("vectorized", [False, True])
@pytest.mark.parametrize("dtype", ["INT_16", "INT_32", "IEEE_FLOAT_32"])
def test_brainvision_is_read_as_stored(tmp_path, vectorized, dtype):
    recording = open_recording(write_brainvision(tmp_path, vectorized=vectorized, dtype=dtype))
    assert [(s.label, s.unit) for s in recording.signals] == [("C4", "µV"), ("C4", "UV"), ("SpO2", "%")]
    assert recording.signals[0].rate_hz == Fraction(20000, 39)  # 1950 µs: int(rate) would lose 0.8 samples a second
    for signal, resolution in zip(recording.signals, (0.5, 0.1, 1), strict=True):
        np.testing.assert_allclose(recording.read(signal.index), ramp(3)[:, signal.index] * resolution, rtol=1e-6)


def test_brainvision_agrees_with_mne(tmp_path):
    path = write_brainvision(
        tmp_path, markers=["Comment,Arousal,301,150,0"], data_name="rec.eeg", units=("µV", "mV", "nV")
    )
    path.write_text(path.read_text().replace("Ch2=C4", "Ch2=C3"))
    raw, recording = mne.io.read_raw_brainvision(path, verbose="ERROR"), open_recording(path)
    for signal, per_volt in zip(recording.signals, (1e6, 1e3, 1e9), strict=True):
        np.testing.assert_allclose(recording.read(signal.index), raw[signal.index][0][0] * per_volt, rtol=1e-6)
    (mark,) = recording.annotations
    assert mark.text == "Arousal" and mark.onset_s == pytest.approx(raw.annotations.onset[0])
    assert mark.duration_s == pytest.approx(raw.annotations.duration[0])


def test_brainvision_segments_are_not_joined(tmp_path):
    rate_hz = 20000 / 39
    markers = [
        "New Segment,,1,1,0,20200101223105000000",
        "Comment,late,700,1,0",
        "New Segment,,501,1,0,20200101223115000000",
    ]
    recording = open_recording(write_brainvision(tmp_path, markers=markers))
    lost = round(10 * rate_hz) - 500
    assert recording.start_clock == "22:31:05"
    assert recording.gaps == ((pytest.approx(500 / rate_hz), pytest.approx((500 + lost) / rate_hz)),)
    x = recording.read(0)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(x)), np.arange(500, 500 + lost))
    np.testing.assert_allclose(x[~np.isnan(x)], ramp(3)[:, 0] * 0.5)
    np.testing.assert_array_equal(recording.read(0, 0.9, 10.5), x[round(0.9 * rate_hz) : round(10.5 * rate_hz)])
    assert recording.annotations[0].onset_s == pytest.approx((699 + lost) / rate_hz)
    (tmp_path / "undated").mkdir()
    recording = open_recording(write_brainvision(tmp_path / "undated", markers=[m[:-21] for m in markers]))
    x = recording.read(0)
    assert np.flatnonzero(np.isnan(x)).tolist() == [499, 500] and len(x) == N
    assert any("does not state" in note for note in recording.notes)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("DataFile=$b.eeg", "DataFile=../rec.eeg", "outside its own folder"),
        ("DataFile=$b.eeg", "DataFile=C:\\\\rec.eeg", "outside its own folder"),
        ("MarkerFile=rec.vmrk", "MarkerFile=/etc/passwd", "outside its own folder"),
        ("DataFile=$b.eeg", "DataFile=none.eeg", "'none.eeg' is not beside it"),
        ("DataPoints=1000", "DataPoints=1001", "holds 6000 bytes, expected 6006 for 1001 samples"),
        ("DataPoints=1000", "DataPoints=", "DataPoints is ''"),
        ("=BINARY", "=ASCII", "data are ASCII"),
        ("Interval=1950", "Interval=0", "every 0 us"),
        ("Interval=1950", "Interval=1e9", "SamplingInterval is '1e9'"),
        ("Interval=1950", "Interval=999999999999", "days long"),
        ("Channels=3", "Channels=4", r"no Ch4 in section \[Channel Infos\]"),
        ("Channels=3", "Channels=2", "holds 6000 bytes, expected 4000"),
        (",0.5,", ",half,", "resolution of channel 1 is not a number"),
        ("[Common Infos]\n", "", "damaged"),
    ],
)
def test_damaged_and_hostile_brainvision_headers_are_refused(tmp_path, old, new, message):
    path = write_brainvision(tmp_path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new.replace("\\\\", "\\")))
    with pytest.raises(RecordingError, match=message):
        open_recording(path)


def test_a_data_file_leads_to_its_header(tmp_path):
    write_brainvision(tmp_path)
    with pytest.raises(RecordingError, match=r"Give its header, 'rec.vhdr'"):
        open_recording(tmp_path / "rec.eeg")
    (source,) = find_nights([tmp_path])
    assert source.recording.name == "rec.vhdr"


def test_upper_case_units_are_microvolts_and_a_full_range_is_clipped(tmp_path):
    """Readers that do not know UV give the numbers as volts, a million times too much."""
    for unit, resolution in (("UV", 0.1), ("µV", 0.1), ("MV", 1e-4), ("V", 1e-7)):
        stored = np.random.default_rng(0).normal(0, 200, (512 * 60, 3)).astype("<i2")
        stored[512 * 30 : 512 * 31] = 32767
        path = write_brainvision(tmp_path, units=(unit, "%", "%"))
        (tmp_path / "rec.eeg").write_bytes(stored.tobytes())
        text = path.read_text(encoding="utf-8").replace("=1950", "=1953.125").replace(str(N), str(len(stored)))
        path.write_text(text.replace("Ch2=C4", "Ch2=Snore").replace(",0.5,", f",{resolution},"), encoding="utf-8")
        night = load_night(path)
        c4 = next(c for c in night.channels if c.slot == "C4")
        assert c4.quality[30] & Quality.CLIPPED and (c4.quality[:29] == 0).all()
        assert 5 < np.std(c4.samples[: 25 * 128]) < 20
        assert not any("scaled" in note for note in night.notes)


@pytest.mark.parametrize(
    ("interval", "date", "message"),
    [
        ("0.05", "20200101000020000000", "20 s are missing at 2e.07 samples a second"),
        ("0.000000001", "20200101000020000000", "missing at 1e.15 samples a second"),
        ("1000", "20200102000000000000", "86399.5 s are missing at 1000 samples"),
    ],
)
def test_a_small_file_cannot_claim_a_gap_that_fills_the_memory(tmp_path, interval, date, message):
    marks = ["New Segment,,1,1,0,20200101000000000000", f"New Segment,,501,1,0,{date}"]
    path = write_brainvision(tmp_path, markers=marks)
    path.write_text(path.read_text().replace("SamplingInterval=1950", f"SamplingInterval={interval}"))
    with pytest.raises(RecordingError, match=message):
        open_recording(path)


def test_gaps_without_number_are_refused(tmp_path):
    marks = [f"New Segment,,{k % 990 + 2},1,0,20200101000000000000" for k in range(10)]
    timeline = Timeline(100_000, Fraction(100), tuple(joint(5 * k + 5, 1) for k in range(10_001)))
    with pytest.raises(RecordingError, match="10001 gaps, expected at most 10000"):
        check_gaps(tmp_path / "n.vhdr", timeline.gaps, 100.0, "by its marks")
    open_recording(write_brainvision(tmp_path, markers=marks))  # joints that lose nothing are no gaps


@pytest.mark.parametrize("name", ["x" * 300 + ".eeg", "../x.eeg", "~x.eeg", "a\\b.eeg"])
def test_no_name_in_a_header_leads_elsewhere(tmp_path, name):
    with pytest.raises(RecordingError, match="a file outside its own folder"):
        open_recording(write_brainvision(tmp_path, data_name=name))
