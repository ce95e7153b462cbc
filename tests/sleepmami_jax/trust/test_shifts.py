"""Each thing that is put wrong with a night is wrong, in the channels it says, and nothing else is."""

import numpy as np
import pytest

from data_pipeline.modalities import Modality
from sleepmami_jax.trust.shifts import SHIFTS
from tests.support.signals import night_of_noise

SLOTS = ("C3", "C4", "E1", "E2", "CHIN", "ECG", "THERMISTOR", "THORAX", "SPO2")


@pytest.fixture(scope="module")
def night():
    return night_of_noise(80, slots=SLOTS)


@pytest.mark.parametrize("shift", SHIFTS, ids=lambda shift: shift.name)
def test_it_changes_something_of_what_it_needs_and_keeps_the_form(shift, night):
    moved = shift.apply(night, np.random.default_rng(1))
    changed = {
        c.modality for c, was in zip(moved.channels, night.channels, strict=True) if (c.samples != was.samples).any()
    }
    assert changed and set(shift.needs) & changed
    for c, was in zip(moved.channels, night.channels, strict=True):
        assert c.samples.shape == was.samples.shape and c.samples.dtype == np.float32 and np.isfinite(c.samples).all()
        assert c.slot == was.slot and (c.quality == was.quality).all()
    assert moved.scoring.stages.shape == night.scoring.stages.shape
    again = shift.apply(night, np.random.default_rng(1))
    assert all((a.samples == b.samples).all() for a, b in zip(again.channels, moved.channels, strict=True))


def test_a_night_without_its_sensors_is_not_shifted(night):
    alone = night_of_noise(20, slots=("C4",))
    fitting = {shift.name for shift in SHIFTS if shift.fits(alone)}
    assert "EEG upside down" in fitting and "EEG and EMG exchanged" not in fitting and "SpO2 stuck at 97" not in fitting
    assert all(shift.fits(night) for shift in SHIFTS)


def test_epochs_in_another_order_keep_their_stages(night):
    shift = next(shift for shift in SHIFTS if shift.name == "pieces of 0.5 min in another order")
    moved, size = shift.apply(night, np.random.default_rng(0)), 30 * 128
    eeg, was = moved.channels[0].samples.reshape(-1, size), night.channels[0].samples.reshape(-1, size)
    for epoch, stage in zip(eeg, moved.scoring.stages, strict=True):
        (place,) = np.flatnonzero((was == epoch).all(axis=1))
        assert night.scoring.stages[place] == stage
    assert not (moved.scoring.stages == night.scoring.stages).all()


def test_at_twice_the_speed_the_stages_come_twice_as_fast(night):
    shift = next(shift for shift in SHIFTS if shift.name == "signals at 2 times their speed")
    moved = shift.apply(night, np.random.default_rng(0))
    assert (moved.scoring.stages[:40] == night.scoring.stages[::2]).all()
    assert (moved.scoring.stages[40:] == moved.scoring.stages[:40]).all()


def test_exchanged_leads_are_each_other(night):
    shift = next(shift for shift in SHIFTS if shift.name == "EEG and ECG exchanged")
    moved, by_slot = shift.apply(night, np.random.default_rng(0)), {c.slot: c for c in night.channels}
    ecg = next(c for c in moved.channels if c.modality is Modality.ECG)
    assert np.corrcoef(ecg.samples, by_slot["C3"].samples)[0, 1] > 0.999
