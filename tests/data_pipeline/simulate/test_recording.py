"""One body seen by two laboratories."""

import edfio
import numpy as np


def test_both_sites_show_microvolts_after_rereferencing(cohort):
    _, paths = cohort
    a, b = (edfio.read_edf(path) for path in paths[:2])
    derived = b.get_signal("C3").data - b.get_signal("M2").data
    chin = 1e3 * (b.get_signal("Chin1").data - b.get_signal("Chin2").data)
    assert 5 < np.median(np.abs(derived)) * 1.48 < 40
    assert 5 < np.median(np.abs(a.get_signal("EEG C3-M2").data)) * 1.48 < 40
    assert np.median(np.abs(derived)) < 0.8 * np.median(np.abs(b.get_signal("C3").data))
    assert 0.5 < np.median(np.abs(chin)) * 1.48 < 25
