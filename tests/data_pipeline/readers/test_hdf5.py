"""HDF5 recordings: Dreem's, U-Time's and BDSP's layouts, and what is refused."""

import importlib.util
import json

import h5py
import numpy as np
import pytest

from data_pipeline.annotations import scoring_from
from data_pipeline.night import RecordingError
from data_pipeline.readers import hdf5, hdf5_process, is_recording, open_recording

N, RATE_HZ = 6000, 100


@pytest.fixture
def at_once(monkeypatch):
    """Looks through files in this process: another one takes half a second to start."""

    def facts(path):
        try:
            with h5py.File(path, "r") as file:
                return json.loads(json.dumps(hdf5_process.facts(file)))
        except hdf5_process.Refused as error:
            raise RecordingError(path, str(error)) from error

    monkeypatch.setattr(hdf5, "_looked_through", facts)


def write(path, fill):
    with h5py.File(path, "w") as file:
        fill(file)
    return path


def dreem(file):
    for group, name in (("eeg", "C3_M2"), ("emg", "ECG")):
        place = file.require_group(f"signals/{group}")
        place.attrs["fs"], place.attrs["unit"] = RATE_HZ, b"uV"
        place.create_dataset(name, data=np.arange(N, dtype="f4"), compression="gzip")
    file["hypnogram"] = np.array([-1, 4], "i1")
    file.attrs["start_time"] = 1.5e9


def u_time(file):
    file.attrs["sample_rate"] = RATE_HZ
    for name in ("C3-M2", "CHIN"):
        file[f"channels/{name}"] = np.arange(N, dtype="f4")


def bdsp(file):
    file.attrs["sampling_rate"], file.attrs["unit_voltage"] = RATE_HZ, "V"
    file["signals/c3-m2"] = np.arange(N, dtype="f4")[:, None]
    file["annotations/stage"] = np.repeat([5.0, np.nan], N // 2)
    file["annotations/resp"] = np.repeat([0, 1, 0], N // 3)


@pytest.mark.parametrize(
    ("fill", "labels", "unit"),
    [(dreem, ["C3_M2", "ECG"], "uV"), (u_time, ["C3-M2", "CHIN"], ""), (bdsp, ["c3-m2"], "V")],
)
def test_signals_and_their_rates(at_once, tmp_path, fill, labels, unit):
    path = write(tmp_path / "n.h5", fill)
    recording = open_recording(path)
    assert is_recording(path) and recording.duration_s == 60
    assert [(s.label, s.unit, s.rate_hz) for s in recording.signals] == [(label, unit, RATE_HZ) for label in labels]
    np.testing.assert_array_equal(recording.read(0, 1.5, 1.6), np.arange(150, 160))


def test_scorings_in_the_same_file(at_once, tmp_path):
    scoring, _ = scoring_from(open_recording(write(tmp_path / "d.h5", dreem)).annotations, 60)
    assert scoring.stages.tolist() == [-1, 4]  # Dreem's REM is 4
    scoring, _ = scoring_from(open_recording(write(tmp_path / "b.h5", bdsp)).annotations, 60)
    assert scoring.stages.tolist() == [0, -1]
    assert [(str(e.kind), e.onset_s, e.duration_s) for e in scoring.events] == [("obstructive_apnea", 20, 20)]


def test_a_signal_that_ends_early_is_missing_there(at_once, tmp_path):
    def fill(file):
        u_time(file)
        file["channels/short"] = np.ones(N // 2)

    recording = open_recording(write(tmp_path / "n.h5", fill))
    assert np.isnan(recording.read(2, 29, 31)).tolist() == [False] * 100 + [True] * 100
    assert "1 signal(s) end before the others." in recording.notes


def without_rate(file):
    file["signals/C3"] = np.ones(N)


def elsewhere(file):
    u_time(file)
    file["channels/C4"] = h5py.ExternalLink("/etc/passwd", "/x")


def raw_elsewhere(file):
    u_time(file)
    file["channels"].create_dataset("C4", (N,), "f4", external=[("/etc/passwd", 0, 4 * N)])


def never_filled(file):
    u_time(file)
    file["channels"].create_dataset("C4", (10**12,), "f4", chunks=(10**6,))


def wrong_code(file):
    dreem(file)
    del file["hypnogram"]
    file["hypnogram"] = np.array([5, 0], "i1")


def too_long(file):
    u_time(file)
    file["channels"].attrs["fs"] = 0.001


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (without_rate, "no rate is known"),
        (lambda file: None, "no one-dimensional array"),
        (elsewhere, "links to other arrays or files"),
        (raw_elsewhere, "lies in another file"),
        (never_filled, "was never filled"),
        (wrong_code, "1 numbers of a scoring mean nothing"),
        (too_long, "6e\\+06 s long"),
    ],
)
def test_what_is_refused(at_once, tmp_path, fill, message):
    with pytest.raises(RecordingError, match=message):
        open_recording(write(tmp_path / "n.h5", fill))


def test_another_process_looks_through_the_file(tmp_path, monkeypatch):
    path = write(tmp_path / "n.h5", dreem)
    assert [s.label for s in open_recording(path).signals] == ["C3_M2", "ECG"]
    with pytest.raises(RecordingError, match="links to other arrays"):
        open_recording(write(tmp_path / "links.h5", elsewhere))
    monkeypatch.setattr(hdf5, "_START_S", 0.01)
    with pytest.raises(RecordingError, match="still unread after 0 s"):
        open_recording(path)


def test_a_cut_file_is_refused(tmp_path):
    path = write(tmp_path / "n.h5", dreem)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(RecordingError, match="damaged, or a kind of HDF5 file"):
        open_recording(path)


def test_without_h5py_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    path = write(tmp_path / "n.h5", dreem)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecordingError, match=r"pip install 'sleepmami\[hdf5\]'"):
        open_recording(path)
