"""Sleep-EDF look-alikes from files to shards."""

import os
import shutil
from collections import Counter
from pathlib import Path

import edfio
import pytest

from data_pipeline.cohorts import find_nights
from data_pipeline.night import Demographics
from data_pipeline.prepare.run import prepare
from data_pipeline.prepare.verify import verify
from data_pipeline.shards.manifest import read_manifest
from tests.support.recordings import write_edf

REAL = os.environ.get("SLEEPMAMI_REAL_DATA")

CASSETTE = {
    "EEG Fpz-Cz": (100, "uV"),
    "EEG Pz-Oz": (100, "uV"),
    "EOG horizontal": (100, "uV"),
    "Resp oro-nasal": (1, ""),
    "EMG submental": (1, "uV"),
    "Temp rectal": (1, "DegC"),
    "Event marker": (1, ""),
}
TELEMETRY = {
    **{label: CASSETTE[label] for label in ("EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal")},
    "EMG submental": (100, "uV"),
    "Marker": (1, "ST + uV"),
}


def patient(sex: str, name: str) -> edfio.Patient:
    return edfio.Patient(sex=sex, name=name)


def hypnogram(path: Path, *marks: tuple[float, float, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf([], annotations=[edfio.EdfAnnotation(*mark) for mark in marks]).write(path)


@pytest.fixture
def database(tmp_path) -> Path:
    """Two cassette nights of one person, one of another, and a telemetry night."""
    cassette, telemetry = tmp_path / "db" / "sleep-cassette", tmp_path / "db" / "sleep-telemetry"
    write_edf(cassette / "SC4001E0-PSG.edf", CASSETTE, seconds=150, patient=patient("F", "Female_33yr"))
    hypnogram(
        cassette / "SC4001EC-Hypnogram.edf",
        (0, 30, "Sleep stage W"),
        (30, 30, "Sleep stage 4"),
        (60, 30, "Movement time"),
        (90, 30, "Sleep stage R"),
        (120, 30, "Sleep stage ?"),
        (150, 240, "Sleep stage W"),
        (390, 86010, "Sleep stage ?"),
    )
    write_edf(cassette / "SC4002E0-PSG.edf", CASSETTE, seconds=61, patient=patient("F", "Female_33yr"))
    hypnogram(cassette / "SC4002EC-Hypnogram.edf", (0, 60, "Sleep stage 2"))
    write_edf(cassette / "SC4811G0-PSG.edf", CASSETTE, patient=patient("M", "Mr_Smith"))
    write_edf(telemetry / "ST7011J0-PSG.edf", TELEMETRY, patient=patient("M", "Male_101yr"))
    hypnogram(telemetry / "ST7011JP-Hypnogram.edf", (30, 30, "Sleep stage 1"))
    return tmp_path / "db"


def test_from_files_to_shards(database, tmp_path):
    summary = prepare([database], tmp_path / "out", cohort="sleep_edf")
    assert summary.rejected == () and verify(tmp_path / "out") == []
    nights = {night.night_id: night for night in read_manifest(tmp_path / "out").nights}
    assert sorted(nights) == ["SC4001", "SC4002", "SC4811", "ST7011"]
    first = nights["SC4001"]
    assert first.stages == "03?4?" and first.scored == ("stages",) and first.cohort == "sleep_edf"
    assert any("240 s of scored stages lie past the end" in note for note in first.notes)
    assert any("2 of 5 epochs have no known stage" in note for note in first.notes)
    assert {c.slot: c.label for c in first.channels} == {
        "F4": "EEG Fpz-Cz",
        "O2": "EEG Pz-Oz",
        "E1": "EOG horizontal",
    }
    assert any("'EMG submental' is not used: 1 Hz is too slow" in note for note in first.notes)
    assert "CHIN" in {c.slot for c in nights["ST7011"].channels}
    assert nights["ST7011"].stages == "?1" and nights["SC4811"].scored == ()
    assert not any("Said to be scored" in note for note in nights["SC4811"].notes)
    assert "Smith" not in (tmp_path / "out" / "manifest.jsonl").read_text()


def test_persons_sites_and_what_the_header_says_of_them(database):
    sources = {source.night_id: source for source in find_nights([database], "sleep_edf")}
    assert {key: s.subject_id for key, s in sources.items()} == {
        "SC4001": "SC400",
        "SC4002": "SC400",
        "SC4811": "SC481",
        "ST7011": "ST701",
    }
    assert sources["SC4001"].demographics == Demographics(33.0, "F")
    assert sources["ST7011"].demographics == Demographics(101.0, "M")
    assert sources["SC4811"].demographics == Demographics()
    assert (sources["SC4001"].site, sources["ST7011"].site) == ("cassette", "telemetry")


@pytest.mark.parametrize("name", ["Male_33yr", "Female_33yr_old", "Female"])
def test_a_header_that_contradicts_itself_or_says_more_is_not_used(tmp_path, name):
    write_edf(tmp_path / "SC4001E0-PSG.edf", CASSETTE, patient=patient("F", name))
    (source,) = find_nights([tmp_path], "sleep_edf")
    assert source.demographics == Demographics()


def test_other_recordings_are_refused(tmp_path):
    write_edf(tmp_path / "night.edf", CASSETTE)
    with pytest.raises(ValueError, match=r"night\.edf: not named as a night of Sleep-EDF"):
        find_nights([tmp_path], "sleep_edf")


@pytest.mark.skipif(not REAL, reason="SLEEPMAMI_REAL_DATA names no folder of real recordings")
def test_the_real_crop(tmp_path):
    crop = tmp_path / "sleep-cassette"
    shutil.copytree(Path(REAL) / "sleep_edf_crop", crop)
    (night,) = prepare([crop], tmp_path / "out", cohort="sleep_edf").nights
    assert (night.night_id, night.subject_id, night.demographics) == (
        "SC4001",
        "SC400",
        Demographics(33.0, "F"),
    )
    assert Counter(night.stages) == {"0": 10}  # five minutes, all awake
    assert any("scored stages lie past the end" in note for note in night.notes)
    assert {c.slot for c in night.channels} == {"F4", "O2", "E1"}
