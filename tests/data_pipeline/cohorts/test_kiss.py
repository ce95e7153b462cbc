"""KISS look-alikes, as two vendors label them, from files to shards."""

import pytest

from data_pipeline.cohorts import find_nights
from data_pipeline.night import Demographics
from data_pipeline.prepare.run import prepare
from data_pipeline.prepare.verify import verify
from data_pipeline.shards.manifest import read_manifest
from tests.support.recordings import write_edf

EXG, SLOW = (200, "V"), (32, "")
EMBLA = {
    **dict.fromkeys(("Gravity X", "Gravity Y"), SLOW),
    **dict.fromkeys(("C3-A2", "C4-A1", "O1-A2", "O2-A1", "Left-A2", "Right-A1", "EMG.", "EKG"), EXG),
    **dict.fromkeys(("Leg/L", "Leg/R"), EXG),
    "Flow": (32, "L/s"),
    **dict.fromkeys(("Thermistor", "Thorax", "Abdomen", "Derived Snore", "Snoring Sensor"), SLOW),
    "SpO2": (4, "%"),
}
NOX = {
    **dict.fromkeys(("X Axis", "Y Axis", "Z Axis"), SLOW),
    **dict.fromkeys(("C3-M2", "C4-M1", "O1-M2", "O2-M1", "E1-M2", "E2-M1", "1-2", "ECG"), EXG),
    **dict.fromkeys(("Left Leg", "Right Leg"), EXG),
    "Flow": (32, "cmH2O"),
    **dict.fromkeys(("Thermistor", "Chest", "Abdomen", "Snore", "Audio Volume dB"), SLOW),
    "Saturation": (4, "%"),
}
ALL_BUT_FRONTAL = [
    "C3", "C4", "O1", "O2", "E1", "E2", "CHIN", "LEG_L", "LEG_R", "ECG", "THERMISTOR", "NASAL_PRESSURE", "THORAX",
    "ABDOMEN", "SPO2",
]  # fmt: skip


def test_from_files_to_shards(tmp_path):
    write_edf(tmp_path / "in/k1.edf", EMBLA)
    write_edf(tmp_path / "in/k2.edf", NOX)
    (tmp_path / "in/k2_hypnogram.csv").write_text("onset,duration,stage\n0,30,N2\n30,30,R\n")
    (tmp_path / "in/demographics.csv").write_text(
        "file,subject_id,site,age_years,sex,bmi\nk1.edf,p1,chuncheon,51,M,27.5\nk2.edf,p1,snuh,52,M,\n"
    )
    summary = prepare([tmp_path / "in"], tmp_path / "out", cohort="kiss")
    assert summary.rejected == () and verify(tmp_path / "out") == []
    embla, nox = read_manifest(tmp_path / "out").nights
    for night in (embla, nox):
        assert [c.slot for c in night.channels] == ALL_BUT_FRONTAL
        assert (night.cohort, night.subject_id) == ("kiss", "p1")
        uv = [c.iqr for c in night.channels if c.modality == "EEG"]
        assert all(10 < value < 40 for value in uv)  # volts became microvolts
    assert {c.slot: c.label for c in nox.channels}["CHIN"] == "1-2"
    assert embla.demographics == Demographics(51.0, "M", 27.5) and embla.site == "chuncheon"
    assert nox.stages == "24" and embla.scored == ()


def test_the_public_pictures_are_refused_with_the_reason(tmp_path):
    (tmp_path / "A1.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match="pictures and no recordings"):
        find_nights([tmp_path], "kiss")
    write_edf(tmp_path / "k1.edf", {"C3-A2": EXG}, seconds=1)
    assert [source.night_id for source in find_nights([tmp_path], "kiss")] == ["k1"]
