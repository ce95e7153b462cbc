"""Nihon Kohden."""

import numpy as np

from data_pipeline.readers import files_of, open_recording
from tests.support.formats import ramp, write_nihon_kohden


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
