"""Scoring in JSON."""

import pytest

from data_pipeline.annotations import read_scoring
from data_pipeline.night import RecordingError
from tests.support.scorings import write

W, N1, N2, N3, REM = range(5)


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
