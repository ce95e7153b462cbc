"""Diagnosis: one screen of truth, before anything is trained or scored."""

import json

import edfio
import numpy as np

from data_pipeline.diagnose import diagnose

SECONDS = 40


def write(path, *channels):
    rng = np.random.default_rng(0)
    signals = []
    for label, rate_hz, unit in channels:
        x = rng.normal(0, 20, SECONDS * rate_hz) if unit != "%" else np.full(SECONDS * rate_hz, 96.0)
        limit = (0, 100) if unit == "%" else (-400, 400)
        if label == "C3-M2":
            x[: 10 * rate_hz] = 0.0
        signals.append(
            edfio.EdfSignal(x, rate_hz, label=label, physical_dimension=unit, physical_range=limit)
        )
    edfio.Edf(signals).write(path)
    return path


def test_each_channel_is_reported_with_its_reason(tmp_path):
    path = write(
        tmp_path / "n.edf", ("Snore", 100, "uV"), ("C3-M2", 100, "UV"), ("SpO2", 1, "%"), ("C4-M1", 10, "uV")
    )
    d = diagnose(path)
    assert d.usable and d.duration_s == SECONDS
    assert [c.slot for c in d.channels] == [None, "C3", "SPO2", None]
    assert d.channels[1].good_share == 0.75 and d.channels[1].problems == {"flat": 0.25}
    assert "too slow" in d.channels[3].reason and "snoring" in d.channels[0].reason
    assert "C3" not in d.missing and "CHIN" in d.missing
    assert d.tasks["stages"] == d.tasks["breathing events"] == d.tasks["arousals"] == ""


def test_tasks_follow_from_the_channels(tmp_path):
    d = diagnose(write(tmp_path / "n.edf", ("SpO2", 1, "%"), ("Leg/L", 100, "uV")))
    assert d.tasks["stages"] == "EEG or EOG" and d.tasks["arousals"] == "EEG"
    assert d.tasks["breathing events"] == ""
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
    edfio.Edf([edfio.EdfSignal(np.sin(np.arange(1000)), 100, label="C3-M2", physical_dimension="uV")]).write(
        path
    )
    d = diagnose(path)
    assert not d.usable and "10 s long, expected at least one epoch of 30 s" in d.to_text()


def test_what_cannot_be_used_is_a_result(tmp_path):
    d = diagnose(write(tmp_path / "n.edf", ("Snore", 100, "uV")))
    assert not d.usable and "No channel is usable" in d.to_text() and "snoring" in d.to_text()
    (tmp_path / "x.edf").write_bytes(b"hello, world")
    d = diagnose(tmp_path / "x.edf")
    assert not d.usable and "not an EDF" in d.error and "NOT USABLE" in d.to_text()
    assert not diagnose(tmp_path / "nowhere.edf").usable
    json.dumps(d.to_dict())
