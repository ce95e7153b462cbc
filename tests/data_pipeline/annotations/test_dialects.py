"""Scoring in JSON, Dreem's and ISRUC's lists of stages, and bare annotation lists."""

import json
import os
import zipfile
from pathlib import Path

import edfio
import pytest

from data_pipeline.annotations import read_scoring
from data_pipeline.annotations.text import LARGEST_BYTES
from data_pipeline.night import RecordingError

REAL = os.environ.get("SLEEPMAMI_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="SLEEPMAMI_REAL_DATA names no folder of real recordings")

W, N1, N2, N3, REM = range(5)


def write(path: Path, content) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_json_table_is_read_as_a_csv_table(tmp_path):
    marks = [
        {"onset": 40, "duration": 12.5, "type": "Hypopnea", "comment": {"by": "anyone"}},
        {"Onset": 0.0, "Duration": 30.0, "Stage": 2.0},
        {"onset": 30, "duration": None, "type": "Sleep stage R"},
    ]
    scoring, notes = read_scoring(write(tmp_path / "n.json", marks), 60)
    assert scoring.stages.tolist() == [N2, REM] and notes == ()
    assert [(e.kind, e.onset_s, e.duration_s) for e in scoring.events] == [("hypopnea", 40, 12.5)]


def test_an_empty_list_is_an_answer_if_one_says_what_was_looked_for(tmp_path):
    path = write(tmp_path / "n.json", [])
    assert read_scoring(path, 60, ["arousal"])[0].events == ()
    with pytest.raises(RecordingError, match="no stage and no event"):
        read_scoring(path, 60)


def test_dreems_list_of_stages(tmp_path):
    scoring, notes = read_scoring(write(tmp_path / "n.json", [-1, 0, 1, 2, 3, 4, 4]), 6 * 30)
    assert scoring.stages.tolist() == [-1, W, N1, N2, N3, REM] and scoring.scored == {"stages"}
    assert any("30 s of scored stages lie past the end" in note for note in notes)


def test_isrucs_lines_of_stages(tmp_path):
    path = write(tmp_path / "1_1.txt", "0\r\n1\r\n2\r\n3\r\n5\r\n7\r\n5\r\n\r\n\r\n")
    scoring, notes = read_scoring(path, 6 * 30, dialect="isruc")
    assert scoring.stages.tolist() == [W, N1, N2, N3, REM, -1]
    assert any("30 s of scored stages lie past the end" in note for note in notes)


def test_a_bare_annotation_list_is_read_as_inside_an_edf(tmp_path):
    marks = [
        edfio.EdfAnnotation(0, 30, "Sleep stage W"),
        edfio.EdfAnnotation(30, 30, "Sleep stage 4"),
        edfio.EdfAnnotation(31.5, 10, "Obstructive apnea"),
    ]
    edfio.Edf([], annotations=marks).write(tmp_path / "n.edf")
    raw = (tmp_path / "n.edf").read_bytes()[512:]  # after the header of one signal
    listed, notes = read_scoring(write(tmp_path / "n.tal", raw), 60)
    whole, _ = read_scoring(tmp_path / "n.edf", 60)
    assert listed.stages.tolist() == whole.stages.tolist() == [W, N3] and notes == ()
    assert listed.events == whole.events and len(whole.events) == 1
    lone = write(
        tmp_path / "lone.tal", b"+0\x1530\x14N2\x14\0+40\x1512\x14Arousal\x14Hypopnea\x14"
    )  # cut before its last byte
    scoring, _ = read_scoring(lone, 60)
    assert scoring.stages.tolist() == [N2, -1] and [e.kind for e in scoring.events] == ["arousal", "hypopnea"]


@pytest.mark.parametrize(
    ("name", "content", "dialect", "message"),
    [
        ("a.json", "[{", None, "damaged, not JSON"),
        ("a.json", "[" * 100_000, None, "damaged, not JSON"),
        ("a.json", {"events": []}, None, "a JSON dict, expected a list"),
        ("a.json", [{"onset": 1, "type": "arousal"}, "x"], None, "item 2: str, expected an object"),
        ("a.json", [{"onset": "soon", "type": "arousal"}], None, "item 1: column 'onset' holds words"),
        ("a.json", '[{"onset": NaN, "type": "arousal"}]', None, "item 1: column 'onset' holds words"),
        ("a.json", [{"onset": [1], "type": "arousal"}], None, "item 1: 'onset' is a list"),
        ("a.json", [{"when": 1}], None, "names an onset column"),
        ("a.json", [{"onset": 0, "duration": 30, "stage": 4}], None, "may be REM or R&K stage 4"),
        ("a.json", [0, 2, 5], None, "epoch 2: '5' is no stage of a Dreem"),
        ("a.json", [0, True], None, "epoch 1: 'True' is no stage"),
        ("a.json", [0, 1.5], None, "epoch 1: '1.5' is no stage"),
        ("a.txt", "0\n\n1\n", "isruc", "line 2: '', expected one stage code"),
        ("a.txt", "0\nW\n", "isruc", "line 2: 'W', expected one stage code"),
        ("a.txt", "0\n" * 20_161, "isruc", "20161 epochs, expected at most 20160"),
        ("a.txt", "", "isruc", "line 1: '', expected one stage code"),
        ("a.txt", b"\xff\xfe0\0", "isruc", "not text in UTF-8"),
        ("a.tal", b"+0\x1530\x14N2\x14\0hello\0", None, "byte 10: not a time-stamped annotation list"),
        ("a.tal", b"\0\0", None, "no stage and no event"),
    ],
)
def test_what_is_none_of_these_is_refused(tmp_path, name, content, dialect, message):
    path = write(tmp_path / name, content)
    with pytest.raises(RecordingError, match=message) as error:
        read_scoring(path, 90, dialect=dialect)
    assert name in str(error.value)


@pytest.mark.parametrize("suffix", [".csv", ".json", ".tal"])
def test_a_huge_file_is_not_read_into_memory(tmp_path, suffix):
    path = tmp_path / f"n{suffix}"
    with path.open("wb") as file:
        file.truncate(LARGEST_BYTES + 1)  # takes no room on the disk
    with pytest.raises(RecordingError, match="larger than 16 MB"):
        read_scoring(path, 60)


@needs_real
def test_real_dreem_hypnograms(tmp_path):
    counts = {}
    with zipfile.ZipFile(Path(REAL) / "dod_scorers.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".json")]
        for name in names[::20]:
            codes = json.loads(archive.read(name))
            path = write(tmp_path / f"{len(counts)}.json", archive.read(name))
            scoring, _ = read_scoring(path, 30 * len(codes))
            assert scoring.stages.tolist() == codes
            counts[name] = len(set(codes))
    assert len(names) == 400 and len(counts) == 20 and max(counts.values()) == 6  # all five stages and -1
