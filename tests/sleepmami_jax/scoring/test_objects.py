"""Scores as other programs have them: the same stages, events, probabilities and clock."""

import datetime
from dataclasses import replace

import edfio
import mne
import numpy as np
import pytest

from data_pipeline.load import load_night, open_night
from data_pipeline.night import STAGES, Quality
from data_pipeline.readers.mne_raw import recording_of_raw
from sleepmami_jax.scoring.files import annotations_edf, stages_csv
from sleepmami_jax.scoring.objects import sparkline
from sleepmami_jax.scoring.score import summarise
from tests.sleepmami_jax.scoring.test_report import CARD, HOSTILE, THRESHOLDS, make_night
from tests.support.nights import random_night

DAY, CLOCK = datetime.date(2021, 3, 4), "22:31:05"


@pytest.fixture(scope="module")
def scores():
    night, prediction = make_night(240)
    told = replace(night, start_clock=CLOCK, start_day=DAY, night_id=HOSTILE)
    scorable = np.arange(240) != 7
    return summarise(told, replace(prediction, scorable=scorable), THRESHOLDS, CARD)


def test_annotations_begin_with_the_recording_or_say_that_they_do_not_know(scores, tmp_path):
    annotations_edf(scores).write(tmp_path / "a.edf")
    read = edfio.read_edf(tmp_path / "a.edf")
    assert read.startdatetime == datetime.datetime(2021, 3, 4, 22, 31, 5)
    assert (
        mne.io.read_raw_edf(tmp_path / "a.edf", verbose="ERROR").info["meas_date"].strftime("%F %T") == f"{DAY} {CLOCK}"
    )
    for unknown, words in (
        ({"start_day": None}, "day_unknown"),
        ({"start_day": datetime.date(1970, 5, 1), "start_clock": None}, "day_unknown clock_unknown"),
    ):
        annotations_edf(replace(scores, **unknown)).write(tmp_path / "b.edf")
        assert (tmp_path / "b.edf").read_bytes()[88:168].decode().rstrip() == f"Startdate X X X sleepmami {words}"
        assert (tmp_path / "b.edf").read_bytes()[168:176] == b"01.01.85"


def test_annotations_open_in_pyedflib(scores, tmp_path):
    pyedflib = pytest.importorskip("pyedflib")
    annotations_edf(scores).write(tmp_path / "a.edf")
    with pyedflib.EdfReader(str(tmp_path / "a.edf")) as reader:
        onsets, _, texts = reader.readAnnotations()
        assert reader.getStartdatetime() == datetime.datetime(2021, 3, 4, 22, 31, 5)
    assert len(texts) == 240 + len(scores.events) and onsets[1] == 30 and texts[7] == "Sleep stage ?"


def test_rounded_probabilities_sum_to_1(scores):
    thirds = np.full_like(scores.stage_probs, 1 / 3) * np.float32([1, 1, 1, 0, 0])
    for probs in (scores.stage_probs, thirds):
        rows = [line.split(",")[3:8] for line in stages_csv(replace(scores, stage_probs=probs)).splitlines()[1:]]
        assert {sum(round(float(cell) * 1e4) for cell in row) for row in rows} == {10_000}
        assert np.abs(np.array(rows, float) - probs).max() < 1.01e-4


def test_a_table_and_a_hypnogram_of_yasa(scores):
    frame = pytest.importorskip("pandas") and scores.to_dataframe()
    assert frame.stage[6] == STAGES[scores.stages[6]] and frame.stage.isna().to_numpy().nonzero()[0].tolist() == [7]
    assert frame.loc[2].onset_s == 60 and np.isclose(frame.filter(like="prob_").sum(axis=1), 1).all()
    pytest.importorskip("yasa", reason="needs `pip install -e .[yasa]`")
    hypnogram = scores.to_yasa()
    assert hypnogram.hypno.iloc[7] == "UNS" and hypnogram.start.strftime("%F %T") == f"{DAY} {CLOCK}"
    assert hypnogram.sleep_statistics()["TST"] == scores.statistics["tst_min"]


def test_without_yasa_it_says_what_to_install(scores, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "yasa", None)
    with pytest.raises(ImportError, match="pip install yasa"):
        scores.to_yasa()


def test_a_picture_a_line_and_a_cell_of_a_notebook(scores):
    ax = scores.plot_hypnogram()
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["W", "REM", "N1", "N2", "N3"]
    assert ax.get_xlim() == (0, 2) and len(ax.patches) >= 1
    assert len(repr(scores)) < 300 and "240 epochs" in repr(scores)
    cell = scores._repr_html_()
    assert "<svg" in cell and "<script" not in cell and "&lt;script&gt;" in cell
    assert len(sparkline(np.tile([0, 2, 4, -1], 5000), "a long one")) < 6000


def test_a_night_goes_to_mne_and_comes_home(tmp_path):
    night = replace(random_night(1, slots=("C3", "E1", "THORAX", "SPO2")), start_clock=CLOCK, start_day=DAY)
    lost = np.arange(night.duration_s) // 10 == 6  # nobody recorded the 7th ten seconds
    channels = [replace(c, quality=np.where(lost, Quality.GAP, 0).astype(np.uint8)) for c in night.channels]
    night = replace(night, channels=tuple(channels))
    raw = night.to_mne()
    assert raw.ch_names == ["C3", "E1", "THORAX", "SPO2"] and raw.get_channel_types() == ["eeg", "eog", "resp", "misc"]
    assert raw.info["sfreq"] == 128 and raw.info["meas_date"].strftime("%F %T") == f"{DAY} {CLOCK}"
    assert np.allclose(raw.get_data("C3")[0] * 1e6, night.channels[0].samples, atol=1e-3)
    assert np.array_equal(raw.get_data("SPO2")[0][::128], night.channels[3].samples)
    assert [text for text in raw.annotations.description if text.startswith("BAD")] == ["BAD_ACQ_SKIP"]

    raw.info["bads"] = ["E1"]
    home = load_night(raw)
    assert [c.slot for c in home.channels] == ["C3", "THORAX", "SPO2"] and (home.start_clock, home.start_day) == (
        CLOCK,
        DAY,
    )
    assert np.array_equal(home.scoring.stages, night.scoring.stages) and home.n_epochs == night.n_epochs
    assert all((c.quality[60:70] & Quality.GAP).all() for c in home.channels)
    assert any("marked as bad" in note for note in home.notes) and str(DAY) not in repr(home)
    with pytest.raises(TypeError, match=r"a recording is a path, an mne.io.Raw"):
        recording_of_raw(3)


def test_arrays_are_a_recording_and_say_what_is_wrong_with_them():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 20, 90 * 200)
    night = load_night({"C4-M1": (x, 200.0), "SpO2": (np.full(60, 96), 1)})
    assert [c.slot for c in night.channels] == ["C4", "SPO2"] and night.duration_s == 60
    assert np.array_equal(night.channels[1].samples, np.full(60, 96, np.float32)) and night.start_day is None
    assert any("60 to 90 s" in note for note in night.notes)
    for bad in ({"C4": (x, 0.0)}, {"C4": (np.zeros((2, 9)), 1.0)}, {"C4": x}, {"C4": (["a"], 1.0)}):
        with pytest.raises(Exception, match="channel 'C4': expected"):
            open_night(bad)
