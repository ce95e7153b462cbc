"""ISRUC's lines of stages."""

from data_pipeline.annotations import read_scoring
from tests.support.scorings import write

W, N1, N2, N3, REM = range(5)


def test_isrucs_lines_of_stages(tmp_path):
    path = write(tmp_path / "1_1.txt", "0\r\n1\r\n2\r\n3\r\n5\r\n7\r\n5\r\n\r\n\r\n")
    scoring, notes = read_scoring(path, 6 * 30, dialect="isruc")
    assert scoring.stages.tolist() == [W, N1, N2, N3, REM, -1]
    assert any("30 s of scored stages lie past the end" in note for note in notes)
