"""Annotations in an EDF+ file of their own."""

import edfio

from data_pipeline.annotations import read_scoring

W, N1, N2, N3, REM = range(5)


def test_edfplus_in_a_file_of_its_own(tmp_path):
    path = tmp_path / "hypnogram.edf"
    marks = [
        edfio.EdfAnnotation(0, 60, "Sleep stage W"),
        edfio.EdfAnnotation(60, 30, "Sleep stage 4@@EEG C4"),
    ]
    edfio.Edf([], annotations=marks).write(path)
    scoring, notes = read_scoring(path, 90)
    assert scoring.stages.tolist() == [W, W, N3] and notes == ()
