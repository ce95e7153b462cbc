"""Electrodes that hum, hiss or fall silent, amplifiers at their rails, lost samples; and that good signals pass."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.load import load_night
from data_pipeline.modalities import Modality
from data_pipeline.night import Quality
from data_pipeline.signals.contact import dropped_flags, habits, hum_flags, open_lead_flags, rail_flags
from data_pipeline.signals.filters import condition
from data_pipeline.simulate.artefacts import ELECTRIC, Artefact, add_electric

REAL = os.environ.get("SLEEPMAMI_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="SLEEPMAMI_REAL_DATA names no folder of real recordings")
SECONDS = 320
GOOD = np.zeros(SECONDS, np.uint8)


def brain(rate_hz: float = 256, seconds: int = SECONDS, seed: int = 0) -> np.ndarray:
    """(n,) float32: 1/f noise of 20 µV RMS, which is what an EEG's spectrum looks like."""
    n = round(seconds * rate_hz)
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(n)) / np.maximum(np.fft.rfftfreq(n, 1 / rate_hz), 0.5)
    x = np.fft.irfft(spectrum, n)
    return (20 * x / x.std()).astype(np.float32)


def hum(rate_hz: float, line_hz: float, peak_uv: float, start_s: int, stop_s: int) -> np.ndarray:
    t = np.arange(round(SECONDS * rate_hz)) / rate_hz
    wave = np.sin(2 * np.pi * line_hz * t)
    if 6 * line_hz < rate_hz:  # its third harmonic, where the recorder lets it through
        wave += 0.2 * np.sin(6 * np.pi * line_hz * t + 1)
    return (peak_uv * wave * ((t >= start_s) & (t < stop_s))).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [200, Fraction(999, 2), 512])
@pytest.mark.parametrize("line_hz", [50, 60, 49.9])
def test_an_open_lead_hums(rate_hz, line_hz):
    x = brain(float(rate_hz))
    off = slice(100 * int(rate_hz), 160 * int(rate_hz))
    x[off] *= 0.02
    x += hum(float(rate_hz), line_hz, 400, 100, 160)
    flags = hum_flags(x, rate_hz, Modality.EEG, SECONDS, 1.0)
    assert (flags[101:159] == Quality.DISCONNECTED).all()
    assert not flags[:99].any() and not flags[161:].any()


def test_hum_that_a_notch_cannot_take_is_told_from_hum_that_it_can():
    x = brain() * 0.1
    swamped = hum_flags(x + hum(256, 50, 60, 0, SECONDS), Fraction(256), Modality.EEG, SECONDS, 1.0)
    assert (swamped == Quality.MAINS).mean() > 0.9
    loud = brain() + hum(256, 50, 60, 0, SECONDS)  # three times the EEG, and steady
    assert not hum_flags(loud, Fraction(256), Modality.EEG, SECONDS, 1.0).any()


def test_a_sleeping_muscle_may_hum():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, SECONDS * 256).astype(np.float32) + hum(256, 60, 30, 0, SECONDS)
    assert not hum_flags(x, Fraction(256), Modality.EMG, SECONDS, 1.0).any()
    assert (hum_flags(x, Fraction(256), Modality.EMG, SECONDS, None) == Quality.MAINS).all()  # scale unknown
    assert (hum_flags(x, Fraction(256), Modality.EMG, SECONDS, 1000.0) == Quality.DISCONNECTED).all()


def test_hum_is_not_looked_for_where_it_cannot_be_seen():
    x = hum(100, 49, 400, 0, SECONDS)
    assert not hum_flags(x, Fraction(100), Modality.EEG, SECONDS, 1.0).any()
    assert not hum_flags(hum(200, 50, 400, 0, SECONDS), Fraction(200), Modality.RESP, SECONDS, None).any()


def test_a_baseline_of_millivolts_does_not_hide_the_hum():
    x = brain() * 0.02 + hum(256, 50, 400, 0, SECONDS) + np.float32(80_000)
    assert (hum_flags(x, Fraction(256), Modality.EEG, SECONDS, 1.0) == Quality.DISCONNECTED).mean() > 0.98


def test_white_noise_is_no_brain_and_tense_muscles_are_no_white_noise():
    rng = np.random.default_rng(0)
    white = rng.normal(0, 20, SECONDS * 128).astype(np.float32)
    assert (open_lead_flags(white, Modality.EEG, GOOD) == Quality.DISCONNECTED).all()
    assert not open_lead_flags(white, Modality.EMG, GOOD).any()
    assert not open_lead_flags(brain(128), Modality.EEG, GOOD).any()
    short = brain(128)
    short[128 * 100 : 128 * 220] = white[: 128 * 120]  # two minutes of it
    assert not open_lead_flags(short, Modality.EEG, GOOD).any()
    muscle = brain(128) * 0.2 + np.diff(white, prepend=0)
    assert not open_lead_flags(muscle, Modality.EEG, GOOD).any()


def test_samples_that_the_recorder_lost():
    x = brain()
    x[256 * 20 + 10 : 256 * 20 + 80] = x[256 * 20 + 10]  # 0.27 s, as a wireless link loses them
    x[256 * 40 : 256 * 40 + 20] = 0.0  # 0.08 s: a crest may do that
    x[256 * 60 - 30 : 256 * 60 + 30] = 0.0
    flags = dropped_flags(x, Fraction(256), Modality.EEG, GOOD, habits([x], Fraction(256)))
    assert np.flatnonzero(flags).tolist() == [20, 59, 60] and flags[20] == Quality.DROPPED
    known = GOOD.copy()
    known[20] = Quality.CLIPPED
    assert dropped_flags(x, Fraction(256), Modality.EEG, known, habits([x], Fraction(256)))[20] == 0
    coarse = np.rint(brain() / 15) * 15  # a converter of 15 µV a step
    assert not dropped_flags(coarse, Fraction(256), Modality.EEG, GOOD, habits([coarse], Fraction(256))).any()


def test_an_amplifier_at_its_rail_inside_the_files_range():
    t = np.arange(SECONDS * 32) / 32
    breath = np.sin(2 * np.pi * 0.25 * t).astype(np.float32) + 0.01 * brain(32) / 20
    assert not rail_flags(breath, Fraction(32), Modality.RESP, SECONDS, habits([breath], Fraction(32))).any()
    cut = breath.copy()
    cut[32 * 100 : 32 * 200] = np.minimum(cut[32 * 100 : 32 * 200] * 4, 1.5)
    flags = rail_flags(cut, Fraction(32), Modality.RESP, SECONDS, habits([cut], Fraction(32)))
    assert not flags[:99].any() and not flags[201:].any()
    assert (flags[100:200] == Quality.CLIPPED).mean() > 0.2  # the crests of breaths
    rest = np.zeros(32 * SECONDS, np.float32)  # a baseline is no rail
    rest[320:352] = breath[:32] + 1
    assert not rail_flags(rest, Fraction(32), Modality.RESP, SECONDS, habits([rest], Fraction(32))).any()
    assert not rail_flags(
        np.full(SECONDS, 100.0),
        Fraction(1),
        Modality.SPO2,
        SECONDS,
        habits([np.full(SECONDS, 100.0)], Fraction(1)),
    ).any()
    assert not rail_flags(
        np.full(SECONDS, np.nan),
        Fraction(1),
        Modality.RESP,
        SECONDS,
        habits([np.full(SECONDS, np.nan)], Fraction(1)),
    ).any()


def test_an_oximeter_at_100_and_a_crest_at_the_rail():
    steps = np.resize([93.0, 94, 95, 96, 97, 98, 100, 100, 100, 100], SECONDS)
    known = habits([steps], Fraction(1))
    assert not rail_flags(steps, Fraction(1), Modality.SPO2, SECONDS, known).any()
    assert rail_flags(steps, Fraction(1), Modality.EEG, SECONDS, known).any()
    crest = np.clip(brain(), -40, 40)
    crest[5000:5100] = 40  # long enough for lost samples, but at the rail
    known = habits([crest], Fraction(256))
    flags = rail_flags(crest, Fraction(256), Modality.EEG, SECONDS, known)
    flags |= dropped_flags(crest, Fraction(256), Modality.EEG, flags, known)
    assert set(flags) == {0, Quality.CLIPPED}


@pytest.mark.parametrize("modality", ELECTRIC)
def test_simulated_lead_off_is_found_and_nothing_else_is(modality):
    rng = np.random.default_rng(3)
    x = brain() if modality is not Modality.EMG else rng.normal(0, 8, SECONDS * 256).astype(np.float32)
    faults = [
        Artefact("mains", "C3", 0.0, float(SECONDS), 12.0),
        Artefact("movement", "C3", 30.0, 20.0, 200.0),
    ]
    faults += [Artefact("lead_off", "C3", 150.0, 60.0, 1200.0), Artefact("pop", "C3", 80.0, 2.0, 500.0)]
    add_electric(rng, x, "C3", faults, 50, 256)
    samples = condition(x, Fraction(256), modality, SECONDS, (50.0,))
    flags = hum_flags(x, Fraction(256), modality, SECONDS, 1.0)
    flags |= dropped_flags(x, Fraction(256), modality, flags, habits([x], Fraction(256))) | open_lead_flags(
        samples, modality, flags
    )
    flags |= rail_flags(x, Fraction(256), modality, SECONDS, habits([x], Fraction(256)))
    lead_off = np.zeros(SECONDS, bool)
    lead_off[150:210] = True
    assert ((flags[lead_off] & Quality.DISCONNECTED) > 0).mean() > 0.95
    assert not flags[~lead_off].any()


@needs_real
def test_real_recordings_are_not_called_disconnected():
    for name in (
        "ucddb018/ucddb018_eeg.edf",
        "dreams_spindles/excerpt2.edf",
        "dreams_spindles/excerpt3_full.edf",
    ):
        for c in load_night(Path(REAL) / name).channels:
            bad = (c.quality & (Quality.DISCONNECTED | Quality.MAINS | Quality.DROPPED)) > 0
            assert not bad.any(), (name, c.slot)
    full = load_night(Path(REAL) / "dreams_spindles/excerpt3_full.edf")
    belt = next(c for c in full.channels if c.slot == "ABDOMEN")
    assert ((belt.quality & Quality.CLIPPED) > 0).mean() > 0.3  # documented: cut over much of the record
