"""Bare annotation lists."""

import edfio

from data_pipeline.annotations import read_scoring
from tests.support.scorings import write

W, N1, N2, N3, REM = range(5)


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
