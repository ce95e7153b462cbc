"""Formats beyond EDF: as stored, at true time, and only from the recording's own folder."""

import datetime
import struct
import warnings
from fractions import Fraction
from pathlib import Path

import mne
import numpy as np
import pytest
import scipy.io
import wfdb

from data_pipeline.cohorts import find_nights
from data_pipeline.diagnose.diagnosis import diagnose
from data_pipeline.load import load_night
from data_pipeline.night import Quality, RecordingError
from data_pipeline.readers import files_of, open_recording

# Samples of the look-alikes are small whole numbers: exact in every format.
N, RATE_HZ = 1000, 100


def ramp(n_channels: int, n: int = N) -> np.ndarray:
    """(n, n_channels): sample k of channel c is k + 1 + 10,000 c, kept below 2,000."""
    return (np.arange(n)[:, None] + 1 + 10_000 * np.arange(n_channels)) % 1999


# --- one writer a format ------------------------------------------------------------------------------------


_UNWRITTEN = {"61": lambda x: x.astype(">i2"), "160": lambda x: (x + 32768).astype("<u2")}
"""Formats that the wfdb package reads and does not write."""


def write_wfdb(folder: Path, digital: np.ndarray | None = None, form: str = "16") -> Path:
    """Three signals at most; the second has the negative gain that the wfdb package reads but does not write."""
    digital = ramp(2, 400) if digital is None else digital
    n = digital.shape[1]
    wfdb.wrsamp(
        "rec",
        fs=250,
        units=["uV", "mV", "%"][:n],
        sig_name=["C4-M1", "ECG", "SpO2"][:n],
        d_signal=digital,
        fmt=["16" if form in _UNWRITTEN else form] * n,
        adc_gain=[100.0, 50.0, 1.0][:n],
        baseline=[7, -5, 0][:n],
        write_dir=str(folder),
    )
    path = folder / "rec.hea"
    text = path.read_text().replace("50.0(-5)", "-50.0(-5)")
    if form in _UNWRITTEN:
        (folder / "rec.dat").write_bytes(_UNWRITTEN[form](digital).tobytes())
        text = text.replace("rec.dat 16 ", f"rec.dat {form} ")
    path.write_text(text)
    return path


def write_brainvision(
    folder: Path,
    *,
    vectorized=False,
    dtype="INT_16",
    markers=(),
    name="rec",
    data_name="$b.eeg",
    units=("µV", "UV", "%"),
):
    data = ramp(3).astype({"INT_16": "<i2", "INT_32": "<i4", "IEEE_FLOAT_32": "<f4"}[dtype])
    (folder / f"{name}.eeg").write_bytes((data.T if vectorized else data).tobytes())
    channels = "\n".join(
        f"Ch{n}={label},,{resolution},{unit}"
        for n, (label, resolution, unit) in enumerate(
            zip(("C4", "C4", "SpO2"), ("0.5", "0.1", ""), units, strict=True), 1
        )
    )
    (folder / f"{name}.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n; free text = not a key\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={data_name}\nMarkerFile={name}.vmrk\nDataFormat=BINARY\n"
        f"DataOrientation={'VECTORIZED' if vectorized else 'MULTIPLEXED'}\nNumberOfChannels=3\n"
        f"SamplingInterval=1950\nDataPoints={N}\n[Binary Infos]\nBinaryFormat={dtype}\n[Channel Infos]\n{channels}\n"
        "[Comment]\nA m p l i f i e r  S e t u p\n[neither section\nnor=key = value\n",
        encoding="utf-8",
    )
    lines = "\n".join(f"Mk{n}={marker}" for n, marker in enumerate(markers, 1))
    (folder / f"{name}.vmrk").write_text(
        f"Brain Vision Data Exchange Marker File, Version 1.0\n[Marker Infos]\n{lines}\n", encoding="utf-8"
    )
    return folder / f"{name}.vhdr"


def write_eeglab(folder: Path, *, separate=False, events=(), data_name="rec.fdt") -> Path:
    data = ramp(2).T.astype("<f4")
    if separate:
        (folder / "rec.fdt").write_bytes(data.T.tobytes())
    eeg = {
        "setname": "", "nbchan": 2.0, "pnts": float(N), "trials": 1.0, "srate": float(RATE_HZ), "xmin": 0.0,
        "data": data_name if separate else data, "icaweights": [], "icasphere": [],
        "chanlocs": np.array([("C4",), ("SpO2",)], [("labels", object)]),
        "event": np.array(
            [(kind, at, length) for kind, at, length in events],
            [("type", object), ("latency", object), ("duration", object)],
        ),
    }  # fmt: skip
    scipy.io.savemat(folder / "rec.set", {"EEG": eeg})
    return folder / "rec.set"


def write_fif(folder: Path, *, skip=False, first_samp=0, n=N, **options) -> Path:
    info = mne.create_info(["C4", "SpO2"], RATE_HZ, ["eeg", "misc"])
    raw = mne.io.RawArray(ramp(2, n).T * [[1e-6], [1.0]], info, first_samp=first_samp, verbose="ERROR")
    raw.set_meas_date(datetime.datetime(2020, 1, 1, 22, 31, 5, tzinfo=datetime.UTC))
    onsets, lengths, texts = [1.0, 3.0], [0.0, 2.0], ["Arousal", "Sleep stage N2"]
    if skip:
        onsets, lengths, texts = [*onsets, 4.0], [*lengths, 1.5], [*texts, "BAD_ACQ_SKIP"]
    raw.set_annotations(mne.Annotations(onsets, lengths, texts))
    path = folder / "rec_raw.fif"
    raw.save(path, fmt="single", verbose="ERROR", **options)
    return path


def write_gdf(folder: Path, *, samples=(10, 10), records=100, old=False) -> Path:
    """Header of 256 bytes and of 256 a channel, records of int16, one event of type 32766 before sample 501."""
    n = len(samples)
    fixed = bytearray(256)
    fixed[:8] = b"GDF 1.25" if old else b"GDF 2.20"
    fixed[236:252] = struct.pack("<qII", records, 1, 10)
    if old:
        fixed[168:184] = b"2020010122310500"
        fixed[184:192] = struct.pack("<q", 256 * (n + 1))
        fixed[252:256] = struct.pack("<I", n)
    else:
        fixed[184:186] = struct.pack("<H", n + 1)
        fixed[252:254] = struct.pack("<H", n)
    digital = struct.pack("<2q", -32768, 32767) if old else struct.pack("<2d", -32768, 32767)
    columns = [
        b"".join(label.ljust(16, b"\0") for label in (b"C4", b"SpO2")[:n]),
        bytes(80 * n),
        b"uV      %       " if old else bytes(6 * n) + struct.pack("<2H", 4275, 544),
        struct.pack("<2d", -16384, -32768),
        struct.pack("<2d", 16383.5, 32767),
        digital[:8] * n,
        digital[8:] * n,
        bytes(80 * n),
        struct.pack(f"<{n}I", *samples),
        struct.pack("<2I", 3, 3),
        bytes(32 * n),
    ]
    data = ramp(2, samples[0] * records).astype("<i2").reshape(records, samples[0], 2).transpose(0, 2, 1)
    rows = [row.tobytes() for record in data for row in record]
    count = b"\x64\0\0\x01\0\0\0" if old else b"\x01\0\0" + struct.pack("<f", RATE_HZ)
    events = b"\x01" + count + struct.pack("<IH", 501, 32766)
    (folder / "rec.gdf").write_bytes(bytes(fixed) + b"".join(columns) + b"".join(rows) + events)
    return folder / "rec.gdf"


def write_nihon_kohden(folder: Path, blocks=(6.0, 4.0)) -> Path:
    """By the layout that mne reads: fixed places for the device, a control block, and data blocks of 6 and 4 s."""
    file = bytearray(0x1800)
    file[:16] = file[0x81:0x91] = b"EEG-1100A V01.00"
    file[0x91] = file[0x17FE] = 1
    file[0x92:0x96] = struct.pack("<I", 0x400)
    file[0x400 + 17] = len(blocks)
    start = 0
    for block, seconds in enumerate(blocks):
        file[0x412 + 20 * block : 0x416 + 20 * block] = struct.pack("<I", len(file))
        n = round(seconds * RATE_HZ)
        head = bytearray(0x27 + 20)
        head[0x1A:0x20] = struct.pack("<HI", RATE_HZ | 0xC000, round(seconds * 10))
        head[0x26] = 2
        head[0x27], head[0x31] = 5, 9  # C4 and O2 in the recorder's own list
        data = np.concatenate([ramp(2)[start : start + n], np.zeros((n, 1), int)], axis=1)
        file += head + (data + 0x8000).astype("<u2").tobytes()
        start += n
    (folder / "REC.EEG").write_bytes(file)
    return folder / "REC.EEG"


WRITERS = {
    "wfdb": write_wfdb,
    "brainvision": write_brainvision,
    "eeglab": write_eeglab,
    "eeglab, two files": lambda folder: write_eeglab(folder, separate=True),
    "fif": write_fif,
    "gdf": write_gdf,
    "gdf 1": lambda folder: write_gdf(folder, old=True),
    "nihon kohden": write_nihon_kohden,
}
FORMATS = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


# --- all formats --------------------------------------------------------------------------------------------


@FORMATS
def test_windows_are_the_same_samples_as_the_whole(tmp_path, write):
    recording = open_recording(write(tmp_path))
    rate_hz = float(recording.signals[0].rate_hz)
    for signal in recording.signals:
        whole = recording.read(signal.index)
        assert whole.dtype == np.float32 and len(whole) == round(recording.duration_s * rate_hz)
        assert np.isfinite(whole).mean() > 0.99 and np.nanstd(whole) > 0
        for start_s, stop_s in ((0, 0.5), (0.31, 1.2), (1.55, 1.6), (0.7, 0.7)):
            part = recording.read(signal.index, start_s, stop_s)
            np.testing.assert_array_equal(part, whole[round(start_s * rate_hz) : round(stop_s * rate_hz)])


@FORMATS
def test_a_cut_file_is_refused_with_the_numbers(tmp_path, write):
    path = write(tmp_path)
    largest = max(files_of(path), key=lambda file: file.stat().st_size)
    size = largest.stat().st_size
    largest.write_bytes(largest.read_bytes()[: size // 2 * 2 - 200])
    # A MAT file is compressed or not, and says nothing of its length: only that it is damaged can be told.
    expected = (
        "damaged" if largest.suffix == ".set" else rf"{path.name}.* holds \d+ bytes, expected( at least)? \d+"
    )
    with pytest.raises(RecordingError, match=expected):
        open_recording(path)


@FORMATS
def test_every_format_is_found_and_diagnosed(tmp_path, write):
    path = write(tmp_path)
    (source,) = find_nights([tmp_path])
    assert source.recording == path
    used = [c.slot for c in diagnose(path).channels]
    assert "C4" in used


@FORMATS
def test_a_folder_is_all_a_recording_may_read_from(tmp_path, write):
    path = write(tmp_path)
    assert all(file.parent == tmp_path for file in files_of(path))


# --- WFDB ---------------------------------------------------------------------------------------------------


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
    ] and "Not calibrated, by its header: C4-M1" in recording.notes[0]
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
        ("100.0(7)", "1e999(7)", "gain 1e999"),
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


# --- BrainVision --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vectorized", [False, True])
@pytest.mark.parametrize("dtype", ["INT_16", "INT_32", "IEEE_FLOAT_32"])
def test_brainvision_is_read_as_stored(tmp_path, vectorized, dtype):
    recording = open_recording(write_brainvision(tmp_path, vectorized=vectorized, dtype=dtype))
    assert [(s.label, s.unit) for s in recording.signals] == [("C4", "µV"), ("C4", "UV"), ("SpO2", "%")]
    assert recording.signals[0].rate_hz == Fraction(
        20000, 39
    )  # 1950 µs: int(rate) would lose 0.8 samples a second
    for signal, resolution in zip(recording.signals, (0.5, 0.1, 1), strict=True):
        np.testing.assert_allclose(
            recording.read(signal.index), ramp(3)[:, signal.index] * resolution, rtol=1e-6
        )


def test_brainvision_agrees_with_mne(tmp_path):
    path = write_brainvision(
        tmp_path, markers=["Comment,Arousal,301,150,0"], data_name="rec.eeg", units=("µV", "mV", "nV")
    )
    path.write_text(path.read_text().replace("Ch2=C4", "Ch2=C3"))
    raw, recording = mne.io.read_raw_brainvision(path, verbose="ERROR"), open_recording(path)
    for signal, per_volt in zip(recording.signals, (1e6, 1e3, 1e9), strict=True):
        np.testing.assert_allclose(
            recording.read(signal.index), raw[signal.index][0][0] * per_volt, rtol=1e-6
        )
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
    np.testing.assert_array_equal(
        recording.read(0, 0.9, 10.5), x[round(0.9 * rate_hz) : round(10.5 * rate_hz)]
    )
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
        (",0.5,", ",half,", "channel 1 'C4' has resolution 'half'"),
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


# --- through mne --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separate", [False, True])
def test_eeglab_is_microvolts_and_values_as_stored(tmp_path, separate):
    recording = open_recording(write_eeglab(tmp_path, separate=separate, events=[("Arousal", 101.0, 50.0)]))
    assert [(s.label, s.unit, s.rate_hz) for s in recording.signals] == [
        ("C4", "µV", 100),
        ("SpO2", "µV", 100),
    ]
    for signal in recording.signals:
        np.testing.assert_allclose(recording.read(signal.index), ramp(2)[:, signal.index], rtol=1e-6)
    assert [(a.onset_s, a.duration_s, a.text) for a in recording.annotations] == [(1.0, 0.5, "Arousal")]
    assert files_of(tmp_path / "rec.set") == tuple(
        tmp_path / f"rec.{s}" for s in ("set", "fdt")[: 1 + separate]
    )


def test_eeglab_boundaries_are_gaps_of_their_length(tmp_path):
    events = [("boundary", 300.5, 250.0), ("late", 401.0, 0.0), ("-99", 600.5, float("nan"))]
    recording = open_recording(write_eeglab(tmp_path, separate=True, events=events))
    assert recording.duration_s == 12.5
    x = recording.read(0)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(x)), [*range(300, 550), 849, 850])
    assert x[299] == 300 and x[550] == 301 and x[851] == 602
    assert [(a.onset_s, a.text) for a in recording.annotations] == [(6.5, "late")]
    assert recording.gaps == ((3.0, 5.5), (8.49, 8.51))


def test_eeglab_data_are_in_the_fdt_of_its_own_name(tmp_path):
    (tmp_path / "in").mkdir()
    path = write_eeglab(tmp_path / "in", separate=True, data_name="../other.fdt")
    (path.parent / "rec.fdt").rename(tmp_path / "other.fdt")
    with pytest.raises(RecordingError, match=r"its data are not in 'rec.fdt'"):
        open_recording(path)


def test_eeglab_runs_nothing_from_a_file(tmp_path):
    """A pickle that calls itself a `.set` is no MAT file; and object arrays of a MAT file are cells, not pickles."""
    (tmp_path / "rec.set").write_bytes(b"MATLAB 5.0 MAT-file".ljust(128) + b"\x80\x04cos\nsystem\n.")
    with pytest.raises(RecordingError, match="damaged"):
        open_recording(tmp_path / "rec.set")


@pytest.mark.parametrize(("at", "value"), [(393, 45), (680, 49), (804, 57)])
def test_eeglab_files_that_crash_their_parser_are_refused(tmp_path, at, value):
    """Each of these bytes makes scipy 1.17 read memory that is not its own, which ends the process."""
    path = write_eeglab(tmp_path, separate=True)
    data = bytearray(path.read_bytes())
    data[at] = value
    path.write_bytes(data)
    with pytest.raises(RecordingError, match="damaged"):
        open_recording(path)


@pytest.mark.parametrize("first_samp", [0, 250])
def test_fif_keeps_units_times_and_skips(tmp_path, first_samp):
    recording = open_recording(write_fif(tmp_path, skip=True, first_samp=first_samp))
    assert [(s.label, s.unit) for s in recording.signals] == [("C4", "V"), ("SpO2", "")]
    assert "No unit is known of: SpO2" in recording.notes[-1] and recording.gaps == ((4.0, 5.5),)
    x = recording.read(0)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(x)), np.arange(400, 550))
    np.testing.assert_allclose(x[:400], ramp(2)[:400, 0] * 1e-6, rtol=1e-5)
    assert [(a.onset_s, a.text) for a in recording.annotations] == [(1.0, "Arousal"), (3.0, "Sleep stage N2")]


def test_a_rate_stored_as_a_float_is_the_fraction_it_was(tmp_path):
    """FIF keeps 32 bits of 20000/39 Hz; int() of it would be 15 s out after three hours."""
    raw = mne.io.RawArray(np.ones((1, N)), mne.create_info(["C4"], 20000 / 39, "eeg"), verbose="ERROR")
    raw.save(tmp_path / "rec_raw.fif", verbose="ERROR")
    recording = open_recording(tmp_path / "rec_raw.fif")
    assert recording.signals[0].rate_hz == Fraction(20000, 39) and recording.duration_s == 1.95


def test_fif_in_parts_is_refused(tmp_path):
    path = write_fif(tmp_path, split_size="2MB", n=400_000)
    assert len(list(tmp_path.glob("*.fif"))) > 1
    with pytest.raises(RecordingError, match="one part of several"):
        open_recording(path)


def test_fif_that_leads_in_a_circle_is_refused(tmp_path):
    path = write_fif(tmp_path)
    data = bytearray(path.read_bytes())
    data[36 + 12 : 36 + 16] = struct.pack(">i", 36)  # the second tag names itself as the next
    path.write_bytes(data)
    with pytest.raises(RecordingError, match="leads back to 36"):
        open_recording(path)


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


def test_nihon_kohden_blocks_are_not_joined(tmp_path):
    """No software that can be had writes this format: the file is made by the layout that mne reads."""
    path = write_nihon_kohden(tmp_path)
    (tmp_path / "REC.21E").write_text("[ELECTRODE]\n0005=C4\n0009=O2\n")
    recording = open_recording(path)
    assert files_of(path) == (path, tmp_path / "REC.21E")
    assert [(s.label, s.unit, s.rate_hz) for s in recording.signals] == [("C4", "V", 100), ("O2", "V", 100)]
    x = recording.read(0)
    assert np.flatnonzero(np.isnan(x)).tolist() == [599, 600]
    there = ~np.isnan(x)
    microvolts = ramp(2)[:, 0] * (6399.902 / 65535) - 3200 + 32768 * 6399.902 / 65535
    np.testing.assert_allclose(x[there], microvolts[there] * 1e-6, rtol=1e-4, atol=1e-9)


# --- downstream ---------------------------------------------------------------------------------------------


def test_floats_without_limits_are_never_clipped_and_gaps_are_flagged(tmp_path):
    rng = np.random.default_rng(0)
    info = mne.create_info(["C4-M1"], 128, "eeg")
    raw = mne.io.RawArray(rng.normal(0, 2e-5, (1, 128 * 60)), info, verbose="ERROR")
    raw.set_annotations(mne.Annotations([10.0], [5.0], ["BAD_ACQ_SKIP"]))
    raw.save(tmp_path / "rec_raw.fif", verbose="ERROR")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no arithmetic with infinities
        (channel,) = load_night(tmp_path / "rec_raw.fif").channels
    assert 10 < np.std(channel.samples.reshape(60, -1)[20:]) < 30
    assert (channel.quality[10:15] == Quality.GAP).all() and (channel.quality[15:] == 0).all()


def test_upper_case_units_are_microvolts_and_a_full_range_is_clipped(tmp_path):
    """Readers that do not know UV give the numbers as volts, a million times too much."""
    for unit, resolution in (("UV", 0.1), ("µV", 0.1), ("MV", 1e-4), ("V", 1e-7)):
        stored = np.random.default_rng(0).normal(0, 200, (512 * 60, 3)).astype("<i2")
        stored[512 * 30 : 512 * 31] = 32767
        path = write_brainvision(tmp_path, units=(unit, "%", "%"))
        (tmp_path / "rec.eeg").write_bytes(stored.tobytes())
        text = (
            path.read_text(encoding="utf-8").replace("=1950", "=1953.125").replace(str(N), str(len(stored)))
        )
        path.write_text(
            text.replace("Ch2=C4", "Ch2=Snore").replace(",0.5,", f",{resolution},"), encoding="utf-8"
        )
        night = load_night(path)
        c4 = next(c for c in night.channels if c.slot == "C4")
        assert c4.quality[30] & Quality.CLIPPED and (c4.quality[:29] == 0).all()
        assert 5 < np.std(c4.samples[: 25 * 128]) < 20
        assert not any("scaled" in note for note in night.notes)


def test_a_channel_without_a_sample_shifts_no_name(tmp_path):
    """Readers that skip it and then count names from the front give the next channel its name."""
    tones = np.array([5, 9, 13])
    stored = (2000 * np.sin(2 * np.pi * tones * np.arange(250 * 40)[:, None] / 250)).astype(np.int64)
    path = write_wfdb(tmp_path, stored)
    stored[:, 1] = -32768
    (tmp_path / "rec.dat").write_bytes(stored.astype("<i2").tobytes())
    path.write_text(
        path.read_text().replace("C4-M1", "C3-M2").replace("ECG", "C4-M1").replace("SpO2", "O2-M1")
    )
    night = load_night(path)
    found = {c.slot: np.abs(np.fft.rfft(c.samples)).argmax() / 40 for c in night.channels}
    assert found == {"C3": 5, "O2": 13}
    assert any("'C4-M1' is not used: no usable second: gap" in note for note in night.notes)
