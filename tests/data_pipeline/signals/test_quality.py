"""What is usable second by second: gaps, cut and flat signals, values that no body makes."""

from fractions import Fraction

import numpy as np

from data_pipeline.modalities import Modality
from data_pipeline.night import Quality
from data_pipeline.signals.quality import flat_flags, range_flags, raw_flags


def test_quality_of_each_second():
    rate_hz = Fraction(999, 2)
    n_seconds = 6
    x = np.random.default_rng(0).normal(0, 10, 2997).astype(np.float32)
    x[500:510] = 100  # second 1, at the limit
    x[1200] = np.nan  # second 2
    x[int(3 * 499.5) + 1 : int(4 * 499.5)] = 5
    x[int(3 * 499.5)] = 5
    raw = raw_flags(x, rate_hz, Modality.EEG, (100.0, -100.0), n_seconds)
    assert raw.tolist() == [0, Quality.CLIPPED, Quality.GAP, 0, 0, 0] and raw.dtype == np.uint8
    flat = flat_flags(x, rate_hz, Modality.EEG, n_seconds)
    assert flat.tolist() == [0, 0, 0, Quality.FLAT, 0, 0]


def test_a_belt_at_rest_in_an_apnea_is_not_flat():
    x = np.r_[np.sin(np.arange(2000)), np.zeros(10 * 60), np.sin(np.arange(100)), np.zeros(10 * 200)]
    flags = flat_flags(x.astype(np.float32), Fraction(10), Modality.RESP, len(x) // 10)
    assert (flags[:270] == 0).all() and (flags[271:] == Quality.FLAT).all()


def test_values_that_no_body_makes():
    assert range_flags(np.float32([97, 35, 101, 100]), Modality.SPO2, None).tolist() == [0, 8, 8, 0]
    x = np.full(256, 20, np.float32)
    x[200] = -1500
    assert range_flags(x, Modality.EEG, None).tolist() == [0, 8]
    scale_unknown = range_flags(x, Modality.EEG, typical=30.0)  # 60 times the typical
    assert scale_unknown.tolist() == [0, 0]
    assert range_flags(x, Modality.EEG, typical=1.0).tolist() == [0, 8]
