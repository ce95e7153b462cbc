"""ISRUC-Sleep look-alikes from files to shards."""

from pathlib import Path

import pytest

from data_pipeline.cohorts import find_nights
from data_pipeline.night import Demographics
from data_pipeline.prepare.run import prepare
from data_pipeline.prepare.verify import verify
from data_pipeline.shards.manifest import read_manifest
from tests.support.recordings import write_edf

HEADS = ("LOC-A2", "ROC-A1", "F3-A2", "C3-A2", "O1-A2", "F4-A1", "C4-A1", "O2-A1")
OTHERS = ("X1", "X2", "X3", "X4", "X5", "X6", "DC3", "X7", "X8")
LABELS = {
    **dict.fromkeys(HEADS + OTHERS, (200, "uV")),
    "SaO2": (12.5, "%"),
    "DC8": (12.5, ""),
}
DETAILS = (
    "Details of the patients;;;\nSubject;Age;Sex (M/F);Diagnosis\n1;64;M;SAOS of Mr Smith\n8;41.0;f;\n;42;F;\n99;;;\n"
    "Mean;51;;\n"
)


def scorings(folder: Path, n: int, first: str, second: str) -> None:
    for scorer, codes in ((1, first), (2, second)):
        (folder / f"{n}_{scorer}.txt").write_text("\r\n".join([*codes, "", ""]))


@pytest.fixture
def database(tmp_path) -> Path:
    one = write_edf(tmp_path / "db/subgroupI/8/8.rec", LABELS, seconds=120).parent
    scorings(one, 8, "0235555", "023")
    (one / "8_1.xlsx").write_bytes(b"not looked at")
    for session in (1, 2):
        two = write_edf(tmp_path / f"db/Subgroup_2/1/{session}/{session}.rec", {"E1-M2": (200, "uV")}).parent
        scorings(two, session, "05", "50")
    write_edf(tmp_path / "db/SG3/10/10.rec", {"C3": (200, "uV"), "A2": (200, "uV")})
    (tmp_path / "db/Details_subgroup_I_Submission.csv").write_text(DETAILS)
    return tmp_path / "db"


def test_from_files_to_shards(database, tmp_path):
    summary = prepare([database], tmp_path / "out", cohort="isruc")
    assert summary.rejected == () and verify(tmp_path / "out") == []
    manifest = (tmp_path / "out/manifest.jsonl").read_text()
    assert "Smith" not in manifest and "SAOS" not in manifest
    nights = {night.night_id: night for night in read_manifest(tmp_path / "out").nights}
    assert sorted(nights) == ["isruc1-008", "isruc2-001-1", "isruc2-001-2", "isruc3-010"]
    one = nights["isruc1-008"]
    assert one.stages == "0234" and one.scored == ("stages",) and one.demographics == Demographics(41.0, "F")
    assert any("90 s of scored stages lie past the end" in note for note in one.notes)
    assert {c.slot: c.label for c in one.channels if c.slot in ("E1", "CHIN", "ECG", "LEG_R", "SPO2")} == {
        "E1": "LOC-A2",
        "CHIN": "X1",
        "ECG": "X2",
        "LEG_R": "X4",
        "SPO2": "SaO2",
    }
    two = nights["isruc2-001-2"]
    assert two.stages == "04" and any("2 epoch(s) differ between scoring files" in note for note in two.notes)
    assert two.subject_id == nights["isruc2-001-1"].subject_id and two.split == nights["isruc2-001-1"].split
    assert nights["isruc3-010"].scored == () and nights["isruc3-010"].channels[0].label == "C3 - A2"


def test_a_single_recording_is_placed_by_its_folders(database):
    (source,) = find_nights([database / "subgroupI/8/8.rec"], "isruc")
    assert (source.night_id, source.site) == ("isruc1-008", "subgroupI")
    assert [path.name for path in source.scoring] == ["8_1.txt", "8_2.txt"] and source.dialect == "isruc"


@pytest.mark.parametrize("place", ["8/8.rec", "subgroupI/8.rec", "subgroupII/8/8.rec", "subgroupI/anna/8.rec"])
def test_a_recording_elsewhere_is_refused(tmp_path, place):
    write_edf(tmp_path / place, {"C3-A2": (200, "uV")}, seconds=1)
    with pytest.raises(ValueError, match=r"8\.rec: not where ISRUC's recordings are; expected subgroupI/<person>"):
        find_nights([tmp_path], "isruc")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("Subject,Age,Sex\n8,old,F\n", "line 2: column Age is not understood"),
        ("Subject,Age,Sex\n8,41,2\n", "line 2: column Sex is not understood"),
        ("Person,Age,Sex\n8,41,F\n", "no person in it"),
        (b"PK\x03\x04\xff", "not text"),
        (None, "save it as Details_subgroup_I_Submission.csv beside it"),
    ],
)
def test_a_details_table_that_cannot_be_read_is_refused(database, table, message):
    path = database / "Details_subgroup_I_Submission.csv"
    if table is None:
        path.rename(path.with_suffix(".xlsx"))
    else:
        path.write_bytes(table if isinstance(table, bytes) else table.encode())
    with pytest.raises(ValueError, match=message):
        find_nights([database], "isruc")
