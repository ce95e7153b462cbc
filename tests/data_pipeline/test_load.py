"""From files to a night: names, units, gaps, scoring, and the same bytes twice."""

import datetime
import os
from pathlib import Path

import edfio
import numpy as np
import pytest

from data_pipeline.load import load_night
from data_pipeline.modalities import RATE_HZ, SLOTS, Modality
from data_pipeline.night import Quality, RecordingError

REAL = os.environ.get("SLEEPMAMI_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="SLEEPMAMI_REAL_DATA names no folder of real recordings")

SECONDS = 90


def wave(label: str, f_hz: float, rate_hz: float = 200, amplitude: float = 20.0, unit: str = "uV", noise=0.0):
    n = round(SECONDS * rate_hz)
    x = amplitude * np.sin(2 * np.pi * f_hz * np.arange(n) / rate_hz)
    if noise:
        x = x + np.random.default_rng(len(label)).normal(0, noise, n)
    limit = 8 * amplitude
    return edfio.EdfSignal(x, rate_hz, label=label, physical_dimension=unit, physical_range=(-limit, limit))


def saturation(values=(96.0,), label="SpO2", unit="%", limits=(0, 100)):
    x = np.resize(np.repeat(np.asarray(values), 10), SECONDS)
    return edfio.EdfSignal(x, 1, label=label, physical_dimension=unit, physical_range=limits)


def write(path: Path, *signals, **options) -> Path:
    edfio.Edf(signals, **options).write(path)
    return path


def frequency_of(channel) -> float:
    spectrum = np.abs(np.fft.rfft(channel.samples))
    return np.fft.rfftfreq(len(channel.samples), 1 / channel.rate_hz)[spectrum.argmax()]


def by_slot(night):
    return {c.slot: c for c in night.channels}


def test_a_night_has_canonical_channels_in_order(tmp_path):
    path = write(
        tmp_path / "n7.edf",
        saturation(),
        wave("Thorax", 0.25, 25, unit=""),
        wave("EKG", 8, 256),
        wave("E1-M2", 3),
        wave("C4-M1", 11, 256),
    )
    night = load_night(path, site="a")
    assert night.night_id == night.subject_id == "n7" and night.duration_s == SECONDS and night.site == "a"
    assert [c.slot for c in night.channels] == ["C4", "E1", "ECG", "THORAX", "SPO2"]
    for c in night.channels:
        assert c.slot in SLOTS[c.modality]
        assert c.samples.shape == (SECONDS * RATE_HZ[c.modality],) and c.samples.dtype == np.float32
        assert c.quality.shape == (SECONDS,) and c.quality.dtype == np.uint8
    assert by_slot(night)["C4"].source_rate_hz == 256
    assert night.scoring is None


def test_skipped_channels_do_not_shift_names(tmp_path):
    path = write(
        tmp_path / "n.edf",
        wave("Snore", 30),
        wave("C3-M2", 5),
        wave("EMG", 1, 1),  # an envelope: refused
        wave("C4-M1", 9),
        wave("Zebra", 20),
        wave("O1-M2", 13),
    )
    night = load_night(path)
    assert {slot: round(frequency_of(c)) for slot, c in by_slot(night).items()} == {
        "C3": 5,
        "C4": 9,
        "O1": 13,
    }
    notes = " ".join(night.notes)
    assert all(f"'{label}' is not used" in notes for label in ("Snore", "EMG"))
    assert "'channel 5' is not used" in notes and "Zebra" not in notes  # it may be a name


def test_referential_electrodes_are_subtracted_sample_by_sample(tmp_path):
    common = 60.0
    path = write(
        tmp_path / "n.edf",
        wave("C3", 7, amplitude=20),
        wave("M2", 7, amplitude=12),
        wave("C4", common, amplitude=5, unit="mV"),
    )
    channels = by_slot(load_night(path))
    assert channels["C3"].label == "C3 - M2"
    middle = channels["C3"].samples[20 * 128 : -20 * 128]
    assert np.abs(middle).max() == pytest.approx(8, abs=0.3)


@pytest.mark.parametrize(
    ("unit", "stored"), [("uV", 20), ("UV", 20), ("mV", 0.02), ("MV", 0.02), ("V", 2e-5), ("nV", 2e4)]
)
def test_units_become_microvolts(tmp_path, unit, stored):
    night = load_night(write(tmp_path / "n.edf", wave("C4-M1", 10, amplitude=stored, unit=unit)))
    assert np.abs(night.channels[0].samples[1280:-1280]).max() == pytest.approx(20, rel=0.05)
    assert not any("scaled" in note for note in night.notes)


def test_a_false_unit_is_mended_and_said(tmp_path):
    night = load_night(write(tmp_path / "n.edf", wave("C4-M1", 10, amplitude=20, unit="V")))
    assert np.abs(night.channels[0].samples[1280:-1280]).max() == pytest.approx(20, rel=0.05)
    assert any("unit 'V'" in note and "1e-06" in note for note in night.notes)


def test_an_unknown_unit_is_left_and_said(tmp_path):
    night = load_night(write(tmp_path / "n.edf", wave("C4-M1", 10, amplitude=0.3, unit="")))
    assert np.abs(night.channels[0].samples[1280:-1280]).max() == pytest.approx(0.3, rel=0.05)
    assert any("scale unknown" in note for note in night.notes)
    assert (night.channels[0].quality == Quality.GOOD).all()


def test_saturation_keeps_its_values_and_flags_the_impossible(tmp_path):
    night = load_night(write(tmp_path / "n.edf", saturation([97, 88, 20])))
    c = night.channels[0]
    assert np.unique(np.round(c.samples, 2)).tolist() == [20, 88, 97]  # no ringing between them
    assert (c.quality[20:30] == Quality.OUT_OF_RANGE).all() and (c.quality[:20] == 0).all()
    fraction = load_night(write(tmp_path / "f.edf", saturation([0.97, 0.9], unit="", limits=(0, 1))))
    assert np.round(fraction.channels[0].samples[:20]).tolist() == [97] * 10 + [90] * 10


def test_non_integer_rates_do_not_drift(tmp_path):
    rate_hz = 499.5
    n = round(SECONDS * rate_hz)
    x = np.zeros(n)
    x[round(80 * rate_hz)] = 500.0  # a click at 80 s; int(499.5) would put it at 79.92 s
    signal = edfio.EdfSignal(x, rate_hz, label="C4-M1", physical_dimension="uV", physical_range=(-600, 600))
    night = load_night(write(tmp_path / "n.edf", signal, data_record_duration=2))
    assert night.channels[0].samples.argmax() == 80 * 128


def test_embedded_and_separate_scoring(tmp_path):
    marks = [edfio.EdfAnnotation(0, 60, "Sleep stage N2"), edfio.EdfAnnotation(70, 90, "Obstructive apnea")]
    path = write(tmp_path / "n.edf", wave("C4-M1", 10), annotations=marks)
    night = load_night(path)
    assert night.scoring.stages.tolist() == [2, 2, -1]
    assert [(e.kind, e.end_s) for e in night.scoring.events] == [("obstructive_apnea", SECONDS)]
    assert any("shortened" in note for note in night.notes)
    stages, events = tmp_path / "stages.csv", tmp_path / "events.csv"
    stages.write_text("onset_s,duration_s,stage\n0,90,REM\n")
    events.write_text("onset_s,duration_s,type\n5,3,micro-arousal\n")
    night = load_night(path, [stages, events])
    assert night.scoring.stages.tolist() == [4, 4, 4]
    assert [e.kind for e in night.scoring.events] == ["arousal"]
    assert night.scoring.scored == {"stages", "arousal"}
    assert "were not used beside its files: apnea, central_apnea, hypopnea, mixed_apnea, obst" in night.notes[-1]


def test_stages_inside_the_recording_stay_beside_events_of_a_file(tmp_path):
    marks = [edfio.EdfAnnotation(30 * k, 30, "Sleep stage N2") for k in range(2)]
    marks.append(edfio.EdfAnnotation(5, 10, "Hypopnea"))
    path = write(tmp_path / "n.edf", wave("C4-M1", 8), annotations=marks)
    events = tmp_path / "n.csv"
    events.write_text("onset_s,duration_s,type\n3,12,Obstructive apnea\n")
    night = load_night(path, [events])
    assert night.scoring.stages.tolist()[:2] == [2, 2] and "stages" in night.scoring.scored
    assert [e.kind for e in night.scoring.events] == ["obstructive_apnea"]  # the file has the word
    assert "inside the recording were used for what no file tells: stages" in night.notes[-1]
    events.write_text("onset_s,duration_s,stage\n0,30,W\n")
    night = load_night(path, [events])
    assert night.scoring.stages.tolist()[:2] == [0, -1] and [e.kind for e in night.scoring.events] == ["hypopnea"]


def test_an_empty_table_beside_a_full_one_does_not_cost_the_night_its_stages(tmp_path):
    path = write(tmp_path / "n.edf", wave("C3-M2", 10))
    stages, events = tmp_path / "n.csv", tmp_path / "n_events.csv"
    stages.write_text("onset_s,duration_s,stage\n0,90,N2\n")
    events.write_text("onset_s,duration_s,type\n")
    night = load_night(path, [stages, events])
    assert night.scoring.stages.tolist() == [2, 2, 2] and night.scoring.scored == {"stages"}
    assert "n_events.csv: it holds no stage and no event" in " ".join(night.notes)
    with pytest.raises(RecordingError, match=r"n_events\.csv: no stage and no event"):
        load_night(path, [events])


def test_a_night_whose_scoring_is_lost_is_not_scored(tmp_path):
    path = write(tmp_path / "n.edf", wave("C3-M2", 10))
    night = load_night(path, scored=frozenset({"stages", "hypopnea"}))
    assert night.scoring is None and any("taken as not scored" in note for note in night.notes)


def test_the_same_file_gives_the_same_bytes(tmp_path):
    path = write(tmp_path / "n.edf", wave("C4-M1", 10, noise=5), wave("C3", 4, noise=5), wave("M2", 4))
    first, second = load_night(path), load_night(path)
    for a, b in zip(first.channels, second.channels, strict=True):
        assert a.samples.tobytes() == b.samples.tobytes() and a.quality.tobytes() == b.quality.tobytes()
    assert first.notes == second.notes


def test_no_usable_channel_names_all_and_why(tmp_path):
    path = write(tmp_path / "n.edf", wave("Snore", 30), wave("EMG", 0.1, 1), saturation([5], "SaO2"))
    with pytest.raises(RecordingError) as error:
        load_night(path)
    text = str(error.value)
    for part in (
        "n.edf",
        "'Snore': snoring",
        "'EMG': 1 Hz is too slow",
        "'SaO2': no usable second: out_of_range",
    ):
        assert part in text


def test_shorter_than_a_second_is_refused(tmp_path):
    signal = edfio.EdfSignal(np.arange(50.0), 100, label="C4-M1", physical_dimension="uV")
    with pytest.raises(RecordingError, match="at least 1 s"):
        load_night(write(tmp_path / "n.edf", signal, data_record_duration=0.5))


@needs_real
@pytest.mark.parametrize("path", sorted(Path(REAL or ".").rglob("*.[eb]df")) if REAL else [], ids=lambda p: p.name)
def test_every_real_file_is_a_night_or_a_clear_refusal(path):
    try:
        night = load_night(path)
    except RecordingError as error:
        assert path.name in str(error)
        return
    assert night.channels and all(np.isfinite(c.samples).all() for c in night.channels)


@needs_real
def test_real_gaps_are_flagged_and_silent():
    night = load_night(Path(REAL) / "odd" / "made_edfd_two_gaps.edf")
    assert night.duration_s == 3640
    c = by_slot(night)["F4"]
    gap = (c.quality & Quality.GAP) > 0
    assert gap[60:68].all() and gap[107:3600].all() and gap.sum() == 8 + 3493
    assert (c.samples.reshape(3640, -1)[gap] == 0).all()
    assert np.abs(c.samples.reshape(3640, -1)[3601:]).max() > 5


@needs_real
def test_real_upper_case_units_and_unknown_scale():
    night = load_night(Path(REAL) / "dreams_spindles" / "excerpt3_full.edf")
    assert not any("mains" in note for note in night.notes)  # recorded at 50 Hz: it cannot hold any
    c3 = by_slot(night)["C3"]
    assert 2 < np.abs(c3.samples).mean() < 50  # mne makes volts of it: a million times as much
    assert {c.modality for c in night.channels} >= {Modality.EEG, Modality.EOG, Modality.EMG, Modality.ECG}
    assert "SPO2" not in by_slot(night) and any("'SAO2' is not used" in note for note in night.notes)
    ucd = load_night(Path(REAL) / "ucddb018" / "ucddb018_eeg.edf")
    assert any("scale unknown" in note for note in ucd.notes) and (ucd.channels[0].quality == 0).mean() > 0.99


def test_a_hypnogram_with_a_start_of_its_own_is_placed_by_it(tmp_path):
    path = write(tmp_path / "n.edf", wave("C4-M1", 11), starttime=datetime.time(22, 0, 0))
    marks = [edfio.EdfAnnotation(0, 30, "Sleep stage 2")]
    hypnogram = write(tmp_path / "h.edf", annotations=marks, starttime=datetime.time(22, 0, 30))
    night = load_night(path, [hypnogram])
    assert night.scoring.stages.tolist() == [-1, 2, -1] and any("begins 30 s after" in note for note in night.notes)
    day = edfio.Recording(startdate=datetime.date(2021, 5, 3))
    later = edfio.Recording(startdate=datetime.date(2021, 5, 8))
    path = write(tmp_path / "n.edf", wave("C4-M1", 11), starttime=datetime.time(22, 0, 0), recording=day)
    hypnogram = write(tmp_path / "h.edf", annotations=marks, starttime=datetime.time(22, 0, 30), recording=later)
    with pytest.raises(RecordingError, match=r"h\.edf: it begins 5 days after the recording"):
        load_night(path, [hypnogram])


def test_lights_are_kept_without_any_scoring(tmp_path):
    path = write(tmp_path / "n.edf", wave("C4-M1", 11), annotations=[edfio.EdfAnnotation(20, None, "Lights off")])
    night = load_night(path)
    assert night.scoring.lights_s == (20.0, None) and night.scoring.scored == frozenset()
