"""EEGLAB, in one file or two."""

import numpy as np
import pytest

from data_pipeline.night import RecordingError
from data_pipeline.readers import files_of, open_recording
from tests.support.formats import ramp, write_eeglab


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
    assert files_of(tmp_path / "rec.set") == tuple(tmp_path / f"rec.{s}" for s in ("set", "fdt")[: 1 + separate])


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
