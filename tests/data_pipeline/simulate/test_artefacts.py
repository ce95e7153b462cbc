"""Artefacts do what the truth says."""

import numpy as np
from scipy import signal

from data_pipeline.simulate.artefacts import Artefact, add_electric, add_to_spo2


def test_artefacts_do_what_the_truth_says():
    samples = np.ones(20 * 200, dtype=np.float32)
    add_electric(np.random.default_rng(0), samples, "F3", [Artefact("lead_off", "F3", 5, 5, 0.0)], 60, 200)
    assert not samples[1000:2000].any()
    assert samples[:1000].all() and samples[2000:].all()
    add_electric(np.random.default_rng(0), samples, "F3", [Artefact("mains", "F3", 0, 20, 10.0)], 60, 200)
    frequencies, power = signal.periodogram(samples, 200)
    assert frequencies[np.argmax(power)] == 60
    spo2 = np.full(60, 95.0)
    add_to_spo2(np.random.default_rng(0), spo2, [Artefact("dropout", "SPO2", 10, 5, 0.0)])
    assert list(np.flatnonzero(spo2 == 0)) == [10, 11, 12, 13, 14]
