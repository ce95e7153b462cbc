"""Diagnosis: one screen of truth, before anything is trained or scored."""

import json
import os
from pathlib import Path

import edfio
import numpy as np
import pytest

from data_pipeline.diagnose.diagnosis import diagnose
from data_pipeline.diagnose.page import write_report
from data_pipeline.diagnose.polarity import Polarity, check_polarity, has_inverted_range
from data_pipeline.modalities import RATE_HZ, Modality
from data_pipeline.montage.file import read_montage
from data_pipeline.night import Channel, Quality

REAL = os.environ.get("SLEEPMAMI_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="SLEEPMAMI_REAL_DATA names no folder of real recordings")

SECONDS = 40


def write(path, *channels, **options):
    rng = np.random.default_rng(0)
    signals = []
    for label, rate_hz, unit in channels:
        x = rng.normal(0, 20, SECONDS * rate_hz) if unit != "%" else np.full(SECONDS * rate_hz, 96.0)
        limit = (0, 100) if unit == "%" else (-400, 400)
        if label == "C3-M2":
            x[: 10 * rate_hz] = 0.0
        signals.append(edfio.EdfSignal(x, rate_hz, label=label, physical_dimension=unit, physical_range=limit))
    edfio.Edf(signals, **options).write(path)
    return path


def test_each_channel_is_reported_with_its_reason(tmp_path):
    path = write(tmp_path / "n.edf", ("Snore", 100, "uV"), ("C3-M2", 100, "UV"), ("SpO2", 1, "%"), ("C4-M1", 10, "uV"))
    d = diagnose(path)
    assert d.usable and d.duration_s == SECONDS
    assert [c.slot for c in d.channels] == [None, "C3", "SPO2", None]
    assert d.channels[1].good_share == 0.75 and d.channels[1].problems == {"flat": 0.25}
    assert "too slow" in d.channels[3].reason and "snoring" in d.channels[0].reason
    assert "C3" not in d.missing and "CHIN" in d.missing
    assert d.tasks["stages"] == d.tasks["breathing"] == d.tasks["arousal"] == ""


def test_tasks_follow_from_the_channels(tmp_path):
    d = diagnose(write(tmp_path / "n.edf", ("SpO2", 1, "%"), ("Leg/L", 100, "uV")))
    assert d.tasks["stages"] == "EEG or EOG" and d.tasks["arousal"] == "EEG"
    assert d.tasks["breathing"] == ""
    assert "stages: no, needs EEG or EOG" in d.to_text() and "breathing events: will work" in d.to_text()


def test_the_report_fits_a_screen_and_is_plain_json(tmp_path):
    channels = [("C3-M2", 100, "uV"), *((f"Arm {n}", 100, "uV") for n in range(60))]
    d = diagnose(write(tmp_path / "n.edf", *channels))
    text = d.to_text()
    assert "C3 against the opposite mastoid" in text and "and 52 more" in text
    assert len(text.splitlines()) < 25
    assert json.loads(json.dumps(d.to_dict()))["channels"][0]["slot"] == "C3"


def test_less_than_an_epoch_is_not_usable(tmp_path):
    path = tmp_path / "short.edf"
    edfio.Edf([edfio.EdfSignal(np.sin(np.arange(1000)), 100, label="C3-M2", physical_dimension="uV")]).write(path)
    d = diagnose(path)
    assert not d.usable and "10 s long, expected at least one epoch of 30 s" in d.to_text()


def test_what_cannot_be_used_is_a_result(tmp_path):
    d = diagnose(write(tmp_path / "n.edf", ("Snore", 100, "uV")))
    assert not d.usable and "No channel is usable" in d.to_text() and "snoring" in d.to_text()
    (tmp_path / "x.edf").write_bytes(b"hello, world")
    d = diagnose(tmp_path / "x.edf")
    assert not d.usable and "not an EDF" in d.error and "NOT USABLE" in d.to_text()
    assert d.error.startswith("x.edf: ")  # folders may be named after people
    assert not diagnose(tmp_path / "nowhere.edf").usable
    json.dumps(d.to_dict())


def test_confidence_coverage_mains_and_notes_are_told_once(tmp_path):
    d = diagnose(write(tmp_path / "n.edf", ("EEG", 128, "uV"), ("C3-M2", 128, "n/a"), ("O2", 128, "n/a")))
    assert [c.confidence for c in d.channels] == ["guess", "certain", "likely"]
    assert d.coverage["stages"] == 1.0 and "stages: will work\n" in d.to_text()
    assert sum("scale unknown" in note for note in d.notes) == 1 and d.notes[0].startswith("C3, O2: ")
    guess = diagnose(write(tmp_path / "g.edf", ("EEG", 128, "uV")))
    assert "stages: will work, but what the channel is was guessed" in guess.to_text()


def test_mains_is_found_and_named(tmp_path):
    t = np.arange(60 * 256) / 256
    x = np.random.default_rng(0).normal(0, 20, len(t)) + 40 * np.sin(2 * np.pi * 50 * t)
    signal = edfio.EdfSignal(x, 256, label="C3-M2", physical_dimension="uV", physical_range=(-400, 400))
    edfio.Edf([signal]).write(tmp_path / "n.edf")
    d = diagnose(tmp_path / "n.edf")
    assert d.mains_hz == (50.0,) and "mains: 50 Hz, removed" in d.to_text() and not d.notes


def test_little_that_is_usable_is_said(tmp_path):
    x = np.zeros(100 * 100)
    x[: 10 * 100] = np.random.default_rng(0).normal(0, 20, 1000)
    signal = edfio.EdfSignal(x, 100, label="C3-M2", physical_dimension="uV", physical_range=(-400, 400))
    edfio.Edf([signal]).write(tmp_path / "n.edf")
    d = diagnose(tmp_path / "n.edf")
    assert d.coverage["stages"] == pytest.approx(0.1)
    assert "stages: hardly: usable in 10% of the recording" in d.to_text()


def channel(slot, modality, samples):
    seconds = len(samples) // RATE_HZ[modality]
    return Channel(slot, modality, samples.astype(np.float32), np.zeros(seconds, np.uint8), slot, "", 128.0)


def test_polarity_of_heart_and_eyes():
    rng = np.random.default_rng(0)
    t = np.arange(60 * 30 * 128) / 128
    ecg = 800 * np.exp(-(((t % 0.9) - 0.3) ** 2) / 0.0004) - 100 * np.exp(-(((t % 0.9) - 0.34) ** 2) / 0.0004)
    assert check_polarity([channel("ECG", Modality.ECG, ecg)]) == {"ECG": Polarity.R_UP}
    turned = check_polarity([channel("ECG", Modality.ECG, -ecg)])["ECG"]
    assert turned is Polarity.R_DOWN and turned.text.startswith("check: R waves point down")
    swing = 100 * np.sin(2 * np.pi * 0.4 * t) * (t % 600 < 90)
    noise = rng.normal(0, 10, (2, len(t)))
    left, right = (
        channel("E1", Modality.EOG, swing + noise[0]),
        channel("E2", Modality.EOG, -swing + noise[1]),
    )
    turned = channel("E2", Modality.EOG, swing + noise[1])
    assert check_polarity([left, right])["EOG"] is Polarity.EYES_APART
    together = check_polarity([left, turned])["EOG"]
    assert together is Polarity.EYES_TOGETHER and together.text.startswith("check: E1 and E2 move together")
    still = [channel(slot, Modality.EOG, noise[i]) for i, slot in enumerate(("E1", "E2"))]
    assert check_polarity(still)["EOG"] is Polarity.EYES_STILL
    assert check_polarity([left]) == {}
    bad = Channel("ECG", Modality.ECG, left.samples, left.quality | Quality.FLAT, "", "", 128.0)
    assert check_polarity([bad])["ECG"] is Polarity.R_UNSEEN


def test_a_header_that_turns_its_signal_over():
    assert has_inverted_range((1.0, -1.0), (-5, 5)) and has_inverted_range((-1.0, 1.0), (5, -5))
    assert not has_inverted_range((-1.0, 1.0), (-5, 5)) and not has_inverted_range((0.0, 0.0), (-5, 5))


def test_no_word_about_the_person_and_nothing_a_terminal_obeys(tmp_path):
    patient = edfio.Patient(code="MRN-4711", name="Jane_Roe", birthdate=None)
    annotations = [edfio.EdfAnnotation(3, 1, "spoke with Jane")]
    path = write(tmp_path / "n.edf", ("C3-M2", 100, "uV"), patient=patient, annotations=annotations)
    path.write_bytes(path.read_bytes().replace(b"C3-M2 ", b"\x1b[2JX ", 1))
    d = diagnose(path)
    write_report(d, tmp_path / "r.html")
    told = d.to_text() + json.dumps(d.to_dict()) + d.montage_yaml + (tmp_path / "r.html").read_text()
    assert not any(word in told for word in ("Jane", "Roe", "4711"))
    assert "\x1b" not in d.to_text() and str(tmp_path) not in told


def test_the_report_is_one_file_that_shows_each_channel_and_escapes_labels(tmp_path):
    path = write(tmp_path / "n.edf", ("C3-M2", 100, "uV"), ("<b>&Leg/L", 100, "uV"), ("SpO2", 1, "%"))
    d = diagnose(path)
    write_report(d, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "<b>" not in page and "&lt;b&gt;&amp;Leg/L" in page and "data:image/png;base64," in page
    assert "http" not in page
    for name in ("a.png", "b.png"):
        write_report(d, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"\.html or \.png"):
        write_report(d, tmp_path / "r.pdf")
    nothing = diagnose(write(tmp_path / "x.edf", ("Snore", 100, "uV")))
    write_report(nothing, tmp_path / "x.html")
    assert "No channel is usable" in (tmp_path / "x.html").read_text()
    with pytest.raises(ValueError, match="no picture"):
        write_report(nothing, tmp_path / "x.png")


def test_the_command_writes_a_montage_for_review_and_reads_it_back(tmp_path, capsys):
    from sleepmami_jax.cli import make_parser

    path = write(tmp_path / "n.edf", ("Zebra", 100, "uV"), ("EEG", 100, "uV"))

    def run(*options):
        args = make_parser().parse_args(["diagnose", str(path), *map(str, options)])
        return args.run(args), capsys.readouterr().out

    montage = tmp_path / "m.yaml"
    code, text = run("--write-montage", montage)
    assert code == 0 and "guess" in text
    with pytest.raises(ValueError, match="is there already"):
        run("--write-montage", montage)
    montage.write_text(montage.read_text().replace('C4: {terms: {"EEG": 1}', 'F3: {terms: {"Zebra": 1}'))
    code, text = run("--montage", montage, "--json", "--report", tmp_path / "r.png")
    assert code == 0 and (tmp_path / "r.png").exists()
    assert [c["slot"] for c in json.loads(text)["channels"]] == ["F3", "C4"]
    assert diagnose(path, read_montage(montage)).channels[0].confidence == "certain"


@needs_real
def test_odd_files_are_explained():
    said = {path.name: diagnose(path) for path in sorted((Path(REAL) / "odd").glob("*.?df"))}
    assert len(said) == 20
    for name, words in {
        "edfize_zero-data-records.edf": "no whole data record",
        "edfize_invalid-date.edf": "no whole data record",
        "edfize_simulated-01.edf": "at least one epoch",
        "edfjl_test_merged.edf": "1 gap(s), 43194 s",
        "edfjl_test_uneven_samp.edf": "1 byte(s) after the last",
        "made_digital_min_eq_max.edf": "its scale is undefined",
        "made_edfd_two_gaps.edf": "hardly: usable in 4% of the recording",
        "made_nrec_minus1_cut_record.edf": "never closed",
        "mne_duplicate_channel_labels.edf": "not needed: F3 is EEG F1-Ref",
        "preraulab_corrupt_header.edf": "header is damaged",
        "pyedflib_test_subsecond.edf": "turns Fp1 over",
        "wfdb_test_edfann.edf": "annotations only",
        "edfio_SC4001EC-Hypnogram.bdf": "annotations only",
    }.items():
        assert words in said[name].to_text(), name
    usable = {name for name, d in said.items() if d.usable}
    assert usable == {
        "edfjl_bdf_test.edf",
        "made_digital_min_eq_max.edf",
        "made_edfd_two_gaps.edf",
        "made_nrec_minus1_cut_record.edf",
        "made_overlapping_annotations.edf",
        "pyedflib_test_subsecond.edf",
        "pyedflib_test_utf8.edf",
    }
    assert said["made_edfd_two_gaps.edf"].gaps_s == ((60.0, 67.5), (107.5, 3600.0))
    for d in said.values():
        json.dumps(d.to_dict())
