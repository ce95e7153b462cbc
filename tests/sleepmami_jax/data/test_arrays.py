"""Nights as arrays: the same from shards and from memory, normalised, and masked where nothing was recorded."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.night import Demographics
from data_pipeline.prepare.run import prepare
from data_pipeline.tasks import AROUSAL, BREATHING
from sleepmami_jax.data.arrays import (
    Normaliser,
    bucket_length,
    demographics_arrays,
    night_signals,
)
from sleepmami_jax.data.source import PreparedFolder
from tests.support.batches import SMALL, assert_same, night_arrays
from tests.support.nights import random_night

TASKS = (BREATHING, AROUSAL)


@pytest.mark.parametrize("slots", [SLOTS, {Modality.EEG: ("C4", "F3"), Modality.RESP: ("THORAX",)}])
def test_a_night_from_shards_equals_the_night_in_memory(tmp_path, slots):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "n7.edf").write_text("7")
    some = ["F3", "C4", "E1", "CHIN", "THORAX", "SPO2"]
    night = random_night(7, 5, some, night_id="n7")
    gap = night.channels[0].samples.copy()
    gap[1000:9000] = np.nan
    night = replace(night, channels=(replace(night.channels[0], samples=gap), *night.channels[1:]))
    prepare([tmp_path / "in"], tmp_path / "out", load=lambda *args, **facts: night)
    folder = PreparedFolder.open(tmp_path / "out")
    there, here = (
        folder.arrays(0, slots, length=8, tasks=TASKS),
        night_arrays(night, slots, length=8, tasks=TASKS),
    )
    assert_same(there, here, exact=False)
    assert here["EEG"]["signal"].shape == (8, len(slots[Modality.EEG]), 3840)
    f3 = slots[Modality.EEG].index("F3")
    assert not here["EEG"]["usable"][0, f3, 7:].any() and not here["EEG"]["signal"][0, f3, 7 * 128 :].any()
    assert here["EEG"]["usable"][3:5, f3].mean() > 0.9 and here["EEG"]["signal"][3, f3].std() > 0.5
    assert here["epoch_mask"].tolist() == [True] * 5 + [False] * 3 and here["stage"][5:].tolist() == [-1] * 3
    assert not here["EEG"]["present"][5:].any() and not here["EEG"]["signal"][5:].any()
    assert_same(
        folder.arrays(0, slots, start=2, stop=4, tasks=TASKS),
        {**night_arrays_part(night, slots, 2, 4)},
        exact=False,
    )


def night_arrays_part(night, slots, start, stop):
    """Epochs [start, stop) cut from a whole night's arrays; demographics have no epochs."""

    def cut(arrays):
        return {k: cut(v) if isinstance(v, dict) else v[start:stop] for k, v in arrays.items()}

    arrays = night_arrays(night, slots, tasks=TASKS)
    demographics = arrays.pop("demographics")
    return cut(arrays) | {"demographics": demographics}


def test_the_signals_of_a_night_come_part_by_part():
    night = random_night(7, 5, ["F3", "C4", "E1", "SPO2"], night_id="n7")
    whole, parts = night_arrays(night, length=6), list(night_signals(night, SLOTS, 2))
    assert len(parts) == 3
    for modality in SLOTS:
        for name, values in whole[modality].items():
            np.testing.assert_array_equal(np.concatenate([p[modality][name] for p in parts]), values)


def test_signals_are_centred_and_scaled_by_the_good_seconds_of_the_night():
    night = random_night(9, 3, ["C3", "SPO2"])
    c3, spo2 = night.channels
    good = c3.samples.reshape(-1, 128)[c3.quality == 0]
    q25, q50, q75 = np.percentile(good, (25, 50, 75))
    arrays = night_arrays(night, SMALL)
    signal, usable = arrays["EEG"]["signal"][:, 0].reshape(-1, 128), arrays["EEG"]["usable"][:, 0].ravel()
    seconds = c3.samples[: 90 * 128].reshape(-1, 128)
    np.testing.assert_allclose(signal[usable], ((seconds - q50) / (q75 - q25) * 1.349)[usable], atol=1e-5)
    saturation = arrays["SPO2"]["signal"].ravel() * 5 + 95
    np.testing.assert_allclose(saturation[spo2.quality[:90] == 0], spo2.samples[:90][spo2.quality[:90] == 0], atol=1e-4)


def test_a_channel_that_is_absent_or_mostly_bad_or_never_moves_is_masked():
    night = random_night(8, 4, ["C3", "C4", "THORAX", "SPO2"])
    c3, c4, thorax, spo2 = night.channels
    c3 = replace(c3, quality=np.where(np.arange(len(c3.quality)) < 3, 0, 2).astype(np.uint8))
    thorax = replace(thorax, samples=np.zeros_like(thorax.samples))
    spo2 = replace(spo2, samples=np.full_like(spo2.samples, 97))  # steady, and right to be
    arrays = night_arrays(replace(night, channels=(c3, c4, thorax, spo2)))
    assert arrays["EEG"]["present"].any(0).tolist() == [False, False, False, True, False, False]
    assert not arrays["RESP"]["present"].any() and not arrays["EEG"]["signal"][:, 2].any()
    assert arrays["SPO2"]["present"].all()
    np.testing.assert_allclose(arrays["SPO2"]["signal"][arrays["SPO2"]["usable"]], 0.4, rtol=1e-6)
    more = replace(c3, quality=np.where(np.arange(len(c3.quality)) < 9, 0, 2).astype(np.uint8))
    assert night_arrays(replace(night, channels=(more,)))["EEG"]["present"][0, 2]


def test_samples_as_they_are_and_as_stored_come_to_the_same_scale():
    x = np.array([10.0, 14.0, 1e6, -1e6], np.float32)
    np.testing.assert_allclose(Normaliser.fit(Modality.ECG, 10.0, 2.698)(x), [0, 2, 20, -20], rtol=1e-6)
    stored = np.array([0, 8, -3], np.int16)
    np.testing.assert_allclose(
        Normaliser.fit(Modality.EEG, 3.0, 1.5, 0.5, 2.0)(stored),
        Normaliser.fit(Modality.EEG, 3.0, 1.5)(stored * np.float32(0.5) + np.float32(2)),
        rtol=1e-6,
    )
    saturation = Normaliser.fit(Modality.SPO2, None, None)(np.array([95.0, 80, 0]))
    np.testing.assert_allclose(saturation, [0, -3, -10])
    with pytest.raises(ValueError, match=r"EMG with median 0\.0 and IQR 0\.0 has no scale"):
        Normaliser.fit(Modality.EMG, 0.0, 0.0)


def test_demographics_and_buckets():
    known = demographics_arrays(Demographics(41.0, "M", None))
    assert (known["age_years"], known["sex"], known["bmi"]) == (41, 1, 0)
    assert known["age_years_known"] and known["sex_known"] and not known["bmi_known"]
    assert [bucket_length(n) for n in (1, 240, 241, 960)] == [240, 240, 480, 960]


@pytest.mark.skipif("SLEEPMAMI_REAL_DATA" not in os.environ, reason="SLEEPMAMI_REAL_DATA names no folder of recordings")
def test_a_real_night_from_shards_equals_the_night_in_memory(tmp_path):
    from data_pipeline.cohorts import find_nights
    from data_pipeline.load import load_night

    (source,) = find_nights([Path(os.environ["SLEEPMAMI_REAL_DATA"]) / "dreams_spindles" / "excerpt2.edf"])
    prepare([source.recording], tmp_path)
    night = load_night(source.recording, source.scoring)
    assert_same(PreparedFolder.open(tmp_path).arrays(0, tasks=TASKS), night_arrays(night, tasks=TASKS), exact=False)
