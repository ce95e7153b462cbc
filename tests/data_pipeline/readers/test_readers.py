"""What holds for every format beyond EDF: read as stored, at true time, and only from the recording's own folder."""

import numpy as np
import pytest

from data_pipeline.cohorts import find_nights
from data_pipeline.diagnose.diagnosis import diagnose
from data_pipeline.night import RecordingError
from data_pipeline.readers import files_of, open_recording
from tests.support.formats import (
    write_brainvision,
    write_eeglab,
    write_fif,
    write_gdf,
    write_nihon_kohden,
    write_wfdb,
)

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
    expected = "damaged" if largest.suffix == ".set" else rf"{path.name}.* holds \d+ bytes, expected( at least)? \d+"
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
