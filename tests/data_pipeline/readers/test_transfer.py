"""Data that were copied as text: refused with the reason, and nothing else is."""

import numpy as np
import pytest

from data_pipeline.night import RecordingError
from data_pipeline.readers import open_recording
from tests.data_pipeline.readers.test_edf import ramp, write

HEADER = 512
CHANGES = {
    "each was made an LF": lambda data: data.replace(b"\r\n", b"\n"),
    "there is no CR byte": lambda data: data.replace(b"\r", b""),
    "each LF was made a CR LF": lambda data: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
    "UTF-8 text": lambda data: data.decode("latin-1").encode(),
    "UTF-8 text,": lambda data: data.decode("utf-8", "replace").encode(),
}


def noise(path, amplitude=30000):
    """An EDF of 60 records whose bytes are what the data of a recording are, large or small."""
    write(path, ramp(1_200_000, 20_000))
    digital = np.random.default_rng(5).integers(-amplitude, amplitude, 1_200_000).astype("<i2")
    path.write_bytes(path.read_bytes()[:HEADER] + digital.tobytes())
    return path


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("amplitude", [30000, 9000])
def test_data_that_were_copied_as_text_are_refused(tmp_path, how, amplitude):
    path = noise(tmp_path / "n.edf", amplitude)
    whole = path.read_bytes()
    path.write_bytes(whole[:HEADER] + CHANGES[how](whole[HEADER:]))
    with pytest.raises(RecordingError, match=f"changed in transfer: .*{how}"):
        open_recording(path)


@pytest.mark.parametrize("step", [1, 2, 5])
def test_a_file_that_is_only_cut_is_read(tmp_path, step):
    """Quiet data never hold a CR before an LF, and coarse ones no CR: neither says anything."""
    path = noise(tmp_path / "n.edf", 500)
    whole = path.read_bytes()
    digital = np.frombuffer(whole[HEADER:], "<i2") // step * step
    path.write_bytes(whole[:HEADER] + digital.tobytes()[:-777])
    assert open_recording(path).notes == ("The file is cut: 59 of 60 data records are there.",)


def test_an_edfplus_whose_records_do_not_begin_with_their_time_is_refused(tmp_path):
    path = write(tmp_path / "n.edf", ramp(1000, 100), annotations=[])
    data = path.read_bytes()
    at = len(data) // 2
    path.write_bytes(data[:at] + data[at + 1 :] + b"\0")
    assert b"EDF+C" in data
    with pytest.raises(RecordingError, match=r"data record \d of 10 does not begin with its time stamp"):
        open_recording(path)


def test_records_of_an_edfplus_without_any_annotation_are_read(tmp_path):
    path = write(tmp_path / "n.edf", ramp(1000, 100), annotations=[])
    data = bytearray(path.read_bytes())
    record = (len(data) - 768) // 10
    data[768 + 5 * record + 200 : 768 + 6 * record] = bytes(record - 200)
    path.write_bytes(data)
    assert open_recording(path).duration_s == 10


def test_texts_of_the_header_are_utf8_or_latin1(tmp_path):
    for text, raw in (("Tórax", "Tórax".encode()), ("Tórax", "Tórax".encode("latin-1")), ("Ab", b"Ab\xc3")):
        path = write(tmp_path / "n.edf", ramp(100, 10, "EEG"))
        data = bytearray(path.read_bytes())
        data[256:272] = raw.ljust(16) if text != "Ab" else (b" " * 13 + raw)
        path.write_bytes(data)
        assert open_recording(path).signals[0].label == text


def test_a_short_file_that_lost_as_many_bytes_as_it_would_have_pairs_is_refused(tmp_path):
    path = noise(tmp_path / "n.edf", 9000)
    whole = path.read_bytes()[: HEADER + 40_000 * 6].replace(b"60      ", b"6       ", 1)
    path.write_bytes(whole)
    lost = whole.count(b"\r\n")
    assert 2 < lost < 20 and not open_recording(path).notes
    path.write_bytes(whole[:-lost])  # with its pairs
    assert "is cut" in open_recording(path).notes[0]
    path.write_bytes(whole.replace(b"\r\n", b"\n"))
    with pytest.raises(RecordingError, match="each was made an LF"):
        open_recording(path)
