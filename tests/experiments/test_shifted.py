"""A slice of the campaign: two nights, three faults, and the tables that it prints."""

from dataclasses import replace

import numpy as np
import pytest

from data_pipeline.night import Quality
from experiments import adapted
from experiments.real_nights import EegNight
from experiments.shifted import Judged, judged_night, table, with_stages
from sleepmami_jax import load
from sleepmami_jax.trust.shifts import SHIFTS
from tests.support.signals import night_of_noise

SLOTS = ("C3", "C4", "E1", "E2", "CHIN")
SOME = [s for s in SHIFTS if s.name in ("EEG and EMG exchanged", "noise 1/f^0 as EEG", "EEG upside down")]


@pytest.fixture(scope="module")
def groups():
    model = load()
    return model, [judged_night(model, night_of_noise(120, seed, SLOTS), SOME, seed) for seed in range(2)]


def test_each_fault_is_done_to_each_night_and_judged_by_the_bundled_model(groups):
    _, nights = groups
    for night in nights:
        assert [judged.case.shift for judged in night] == ["", *(s.name for s in SOME)]
        turned, exchanged, noise = night[1], night[2], night[3]
        assert not turned.moved or turned.said
        for judged, words in ((exchanged, "looks like an EMG"), (noise, "too much power above 12 Hz")):
            assert judged.named and any(words in reason for reason in judged.reliability.reasons)
            assert not judged.reliability.reliable["stages"]


def test_the_table_counts_what_matters(groups):
    model, nights = groups
    moved = [Judged(j.case, j.reliability, moved=True) for j in nights[0]]
    text = table({"simulated": [moved, nights[1]]}, model)
    row = next(line for line in text.splitlines() if line.startswith("  EEG and EMG exchanged"))
    assert row.split()[-4:] == ["2", str(1 + nights[1][2].moved), "100%", "100%"]
    for words in ("as they are", "ECE", "twenty scored epochs", "trained on simulated nights only"):
        assert words in text


def test_risk_of_epochs_is_beside_whether_they_are_wrong(groups):
    _, nights = groups
    risk, wrong = nights[0][0].wrong_epochs
    assert risk.shape == wrong.shape == (120,) and ((risk >= 0) & (risk <= 1)).all() and wrong.dtype == bool
    assert np.isfinite(risk).all()


def test_a_row_of_adapted_laboratories_and_one_that_has_no_signal_left():
    model = load()
    nights = [
        with_stages(EegNight("", night_of_noise(120, seed, ("C3",)), np.arange(120) % 5, {})) for seed in range(2)
    ]
    found = {shift.name: shift for shift in adapted.faults(nights) if shift is not None}
    assert "EEG below 5 Hz only" in found and "SpO2 600 s late" not in found
    moved = adapted.done_to(found["EEG below 5 Hz only"], nights)
    assert (moved[0].channels[0].samples != nights[0].channels[0].samples).any()
    name, *cells = adapted.row("low", model, moved[:1], moved[1:]).split()
    assert name == "low" and len(list(map(float, cells[:6]))) == 6
    quiet = [replace(c, quality=np.full_like(c.quality, Quality.FLAT)) for c in nights[0].channels]
    flat = [replace(nights[0], channels=tuple(quiet))]
    assert "no usable signal is left" in adapted.row("flat", model, flat, flat)
