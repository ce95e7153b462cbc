"""Readers: native rates, true time, and clear refusals."""

import datetime
import io
import os
import tracemalloc
import warnings
from fractions import Fraction
from pathlib import Path

import edfio
import numpy as np
import pytest

from data_pipeline.night import RecordingError
from data_pipeline.readers import open_recording
from data_pipeline.readers.tal import read_tals

REAL = os.environ.get("SLEEPMAMI_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="SLEEPMAMI_REAL_DATA names no folder of real recordings")


def ramp(n: int, rate_hz: float, label: str = "EEG C4-M1", bdf: bool = False):
    """A signal whose sample k is k modulo 1000: it shows where each sample went."""
    kind = edfio.BdfSignal if bdf else edfio.EdfSignal
    return kind(np.arange(n) % 1000.0, rate_hz, label=label, physical_dimension="uV", physical_range=(-1000, 1000))


def write(path: Path, *signals, bdf: bool = False, **options) -> Path:
    (edfio.Bdf if bdf else edfio.Edf)(signals, **options).write(path)
    return path


def with_field(path: Path, at: int, value: str) -> Path:
    data = bytearray(path.read_bytes())
    data[at : at + len(value)] = value.encode("latin-1")
    path.write_bytes(bytes(data))
    return path


def discontinuous(path: Path, onsets_s: list[float], rate_hz: int = 10) -> Path:
    """An EDF+D with one record of 1 s at each onset, ramp samples."""
    n = len(onsets_s)
    annotations = [edfio.EdfAnnotation(0.5, None, "Lights off")]
    file = io.BytesIO()
    edfio.Edf([ramp(n * rate_hz, rate_hz)], annotations=annotations, data_record_duration=1).write(file)
    data = bytearray(file.getvalue()).replace(b"EDF+C", b"EDF+D", 1)
    record_bytes = (len(data) - 768) // n
    for i, onset_s in enumerate(onsets_s):
        at = 768 + i * record_bytes + 2 * rate_hz
        tal = f"{onset_s:+g}\x14\x14\x00".encode()
        size = record_bytes - 2 * rate_hz
        data[at : at + size] = tal.ljust(size, b"\0")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("bdf", [False, True])
def test_rates_stay_native_and_exact(tmp_path, bdf):
    rates = (500, 487.5, 499.5, 1)
    path = write(tmp_path / "n.edf", *(ramp(int(4 * r), r, f"S{r}", bdf) for r in rates), bdf=bdf)
    recording = open_recording(path)
    assert [s.rate_hz for s in recording.signals] == [500, Fraction(975, 2), Fraction(999, 2), 1]
    assert recording.duration_s == 4
    for signal, rate in zip(recording.signals, rates, strict=True):
        x = recording.read(signal.index)
        assert x.dtype == np.float32
        np.testing.assert_allclose(x, np.arange(int(4 * rate)) % 1000, atol=0.02)


def test_a_span_is_the_same_samples_as_the_whole(tmp_path):
    recording = open_recording(write(tmp_path / "n.edf", ramp(999 * 4, 499.5)))
    whole = recording.read(0)
    for start_s, stop_s in ((0, 8), (1, 3.5), (2.25, 2.5), (7.9, 8), (3, 3)):
        part = recording.read(0, start_s, stop_s)
        np.testing.assert_array_equal(part, whole[round(start_s * 499.5) : round(stop_s * 499.5)])


def test_channels_of_one_name_stay_two_channels(tmp_path):
    recording = open_recording(write(tmp_path / "n.edf", ramp(100, 10, "C4"), ramp(200, 20, "C4")))
    assert [(s.label, s.rate_hz) for s in recording.signals] == [("C4", 10), ("C4", 20)]
    assert len(recording.read(0)) == 100 and len(recording.read(1)) == 200


def test_a_window_costs_its_own_size_and_not_the_files(tmp_path):
    """An hour of one channel among forty: neither the whole channel nor the other channels are loaded for 10 s."""
    n_channels, seconds, rate_hz = 40, 3600, 100
    path = write(tmp_path / "n.edf", *(ramp(100, 100, f"S{k}") for k in range(n_channels)), data_record_duration=1)
    path.write_bytes(path.read_bytes()[:236] + f"{seconds:<8}".encode() + path.read_bytes()[244:])
    with path.open("r+b") as file:
        file.truncate(256 * (n_channels + 1) + seconds * n_channels * rate_hz * 2)  # sparse zeros
    recording = open_recording(path)
    tracemalloc.start()
    assert len(recording.read(7, 1800, 1810)) == 10 * rate_hz
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000  # one channel is 1.4 MB, all are 29 MB


def test_spans_outside_are_refused(tmp_path):
    recording = open_recording(write(tmp_path / "n.edf", ramp(100, 10)))
    for span in ((-1, 2), (0, 11), (5, 4)):
        with pytest.raises(ValueError, match="within the recording"):
            recording.read(0, *span)
    with pytest.raises(ValueError, match="no signal 1"):
        recording.read(1)


def test_annotations_survive_with_the_subsecond_start(tmp_path):
    path = write(
        tmp_path / "n.edf",
        ramp(100, 10),
        annotations=[edfio.EdfAnnotation(2.5, 1.0, "Arousal"), edfio.EdfAnnotation(30, None, "späte Marke")],
        starttime=datetime.time(22, 5, 1, 400_000),
    )
    recording = open_recording(path)
    assert recording.start_clock == "22:05:01"
    assert [(a.onset_s, a.duration_s, a.text) for a in recording.annotations] == [
        (2.5, 1.0, "Arousal"),
        (30.0, None, "späte Marke"),
    ]


@pytest.mark.parametrize(
    ("recording", "date", "day"),
    [
        (b"Startdate 24-APR-1989 X X X", b"24.04.89", datetime.date(1989, 4, 24)),
        (b"Startdate 24-apr-1989 X X X", b"24.04.89", datetime.date(1989, 4, 24)),
        (b"", b"03.02.21", datetime.date(2021, 2, 3)),
        (b"", b"03.02.99", datetime.date(1999, 2, 3)),
        (b"Startdate X X X X", b"03.02.21", None),
        (b"", b"01.01.85", None),
        (b"", b"31.02.21", None),
        (b"", b"Feb 2021", None),
    ],
)
def test_the_day_stands_beside_the_clock_and_in_no_text(tmp_path, recording, date, day):
    path = write(tmp_path / "n.edf", ramp(100, 10))
    data = bytearray(path.read_bytes())
    data[88:168], data[168:176] = recording.ljust(80), date
    path.write_bytes(data)
    opened = open_recording(path)
    assert opened.start_day == day and str(day) not in repr(opened) and "datetime" not in repr(opened)


def test_gaps_keep_time_true(tmp_path):
    recording = open_recording(discontinuous(tmp_path / "d.edf", [0, 1, 3.5, 4.5]))
    assert recording.duration_s == 5.5
    assert recording.gaps == ((2.0, 3.5),)
    x = recording.read(0)
    assert x.shape == (55,)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(x)), np.arange(20, 35))
    np.testing.assert_allclose(np.r_[x[:20], x[35:]], np.arange(40), atol=0.02)
    np.testing.assert_array_equal(recording.read(0, 1.5, 4.0), x[15:40])
    assert np.isnan(recording.read(0, 2.5, 3.0)).all()
    assert "1 gap(s), 1.5 s" in recording.notes[0]


def test_discontinuous_without_gaps_has_none(tmp_path):
    recording = open_recording(discontinuous(tmp_path / "d.edf", [0, 1, 2]))
    assert recording.gaps == () and recording.duration_s == 3


def test_records_that_go_back_in_time_are_refused(tmp_path):
    with pytest.raises(RecordingError, match="begins before the one before it ends"):
        open_recording(discontinuous(tmp_path / "d.edf", [0, 1, 1.5]))


def test_a_cut_file_is_read_to_its_last_whole_record(tmp_path):
    path = write(tmp_path / "n.edf", ramp(100, 10), data_record_duration=1)
    path.write_bytes(path.read_bytes()[:-30])  # a record has 20 bytes
    recording = open_recording(path)
    assert recording.duration_s == 8
    assert "8 of 10 data records" in recording.notes[0]
    np.testing.assert_allclose(recording.read(0), np.arange(80), atol=0.02)


def test_a_recording_never_closed_is_read(tmp_path):
    path = with_field(write(tmp_path / "n.edf", ramp(100, 10)), 236, "-1      ")
    recording = open_recording(path)
    assert recording.duration_s == 10 and "never closed" in recording.notes[0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.write_bytes(b""), "the file is empty"),
        (lambda p: p.write_bytes(b"RIFF" + bytes(600)), "not an EDF or BDF"),
        (lambda p: p.write_bytes(p.read_bytes()[:100]), "header ends after 100 bytes"),
        (lambda p: p.write_bytes(p.read_bytes()[:400]), "header ends after 400 of 512"),
        (lambda p: p.write_bytes(p.read_bytes()[:512]), "no whole data record"),
        (
            lambda p: p.write_bytes(p.read_bytes() + bytes(400)),
            "declares 10 data records, but the file holds",
        ),
        (lambda p: with_field(p, 252, "Doe "), "'number of signals' holds words, expected"),
        (lambda p: with_field(p, 252, "1;2 "), "'number of signals' holds '1;2'"),
        (lambda p: with_field(p, 244, "0       "), "duration of a data record is 0 s"),
        (lambda p: with_field(p, 244, "9e999999"), "'duration of a data record' holds '9e999999'"),
        (lambda p: with_field(p, 244, "1e-99999"), "'duration of a data record' holds '1e-99999'"),
        (lambda p: with_field(p, 244, "1/0     "), "'duration of a data record' holds '1/0'"),
        (lambda p: with_field(p, 244, "99999999"), "days long"),
        (lambda p: with_field(p, 184, "768     "), "says it is 768 bytes long"),
        (lambda p: with_field(p, 256 + 104, "x       "), "physical or digital range is not a number"),
        (lambda p: p.unlink(), "no such file"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path, damage, message):
    path = write(tmp_path / "night.edf", ramp(100, 10), data_record_duration=1)
    damage(path)
    with pytest.raises(RecordingError, match=message) as error:
        open_recording(path)
    assert "night.edf" in str(error.value)


def test_a_header_padded_with_nul_is_read(tmp_path):
    path = write(tmp_path / "n.edf", ramp(100, 10), data_record_duration=1)
    path.write_bytes(path.read_bytes()[:512].replace(b" ", b"\0") + path.read_bytes()[512:])
    recording = open_recording(with_field(path, 0, "0       "))
    assert recording.signals[0].label == "EEG C4-M1"
    assert recording.duration_s == 10


def test_an_annotation_file_is_no_recording(tmp_path):
    path = tmp_path / "h.edf"
    edfio.Edf([], annotations=[edfio.EdfAnnotation(0, 30, "Sleep stage W")]).write(path)
    with pytest.raises(RecordingError, match="annotations only"):
        open_recording(path)


def test_no_person_is_kept(tmp_path):
    patient = edfio.Patient(name="Doe_Jane", code="4711")
    path = write(tmp_path / "n.edf", ramp(100, 10), patient=patient)
    assert b"Doe_Jane" in path.read_bytes()
    assert "Doe" not in repr(open_recording(path)) and "4711" not in repr(open_recording(path))


@needs_real
@pytest.mark.parametrize("path", sorted(Path(REAL or ".").glob("odd/*.[eb]df")) if REAL else [], ids=lambda p: p.name)
def test_odd_files_are_read_as_edfio_reads_them_or_refused(path):
    try:
        recording = open_recording(path)
    except RecordingError as error:
        assert path.name in str(error)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # edfio's own, about the oddities
        reference = (edfio.read_bdf if path.suffix == ".bdf" else edfio.read_edf)(path)
        assert [s.label for s in recording.signals] == [s.label for s in reference.signals]
        for signal, expected in list(zip(recording.signals, reference.signals, strict=True))[:8]:
            x = recording.read(signal.index)
            scale = max(1e-3, np.abs(expected.data).max())
            np.testing.assert_allclose(x[~np.isnan(x)], expected.data, atol=2e-6 * scale)


@needs_real
def test_real_gaps():
    recording = open_recording(Path(REAL) / "odd" / "made_edfd_two_gaps.edf")
    assert recording.duration_s == 3640
    assert recording.gaps == ((60.0, 67.5), (107.5, 3600.0))
    x = recording.read(0)
    assert x.shape == (364_000,) and np.isnan(x).sum() == 350_000


@pytest.mark.parametrize("lists", [b"+1\x14a\x14\0" * 100_001, b"+1\x14" + b"a\x14" * 100_001 + b"\0"])
def test_annotations_without_number_are_refused(tmp_path, lists):
    with pytest.raises(RecordingError, match="more than 100000 annotations"):
        read_tals(tmp_path / "n.edf", [[lists]])


def test_a_text_without_end_is_cut_and_lists_may_come_in_pieces(tmp_path):
    pieces = [b"+0.5\x14\x14\0+1\x14" + b"a" * 10_000_000 + b"\x14\0", b"+2\x153\x14b\x14\0"]
    long, short = read_tals(tmp_path / "n.edf", [pieces])
    assert (long.onset_s, len(long.text)) == (0.5, 1000) and (short.onset_s, short.duration_s, short.text) == (
        1.5,
        3,
        "b",
    )
